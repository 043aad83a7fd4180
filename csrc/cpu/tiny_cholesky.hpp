/// The damped solve of a few parameters, where a call of LAPACK costs more than its work.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace varpro {
namespace {

constexpr std::int64_t kTiny = 16;

/// Cholesky lets a NaN through.
inline bool all_finite(const double* x, std::int64_t p) {
    for (std::int64_t i = 0; i < p; ++i)
        if (!std::isfinite(x[i])) return false;
    return true;
}

/// (h + lambda diag(diagonal)) step = rhs from the lower triangle of h (p, p), p <= kTiny.  Returns 0, or the number of
/// the leading minor that is not positive (p where a value is not finite); step is then untouched.
inline int damped_solve_tiny(const double* h, const double* diagonal, double lambda, const double* rhs, double* step,
                             std::int64_t p) {
    double l[kTiny * kTiny], x[kTiny];
    for (std::int64_t j = 0; j < p; ++j) {
        double value = rhs[j];
        for (std::int64_t c = 0; c <= j; ++c) {
            double entry = h[j * p + c];
            if (c == j) entry += lambda * diagonal[j];
            for (std::int64_t q = 0; q < c; ++q) entry -= l[j * kTiny + q] * l[c * kTiny + q];
            if (c < j)
                l[j * kTiny + c] = entry / l[c * kTiny + c];
            else if (entry > 0.0 && std::isfinite(entry))
                l[j * kTiny + j] = std::sqrt(entry);
            else
                return static_cast<int>(j) + 1;
        }
        for (std::int64_t q = 0; q < j; ++q) value -= l[j * kTiny + q] * x[q];
        x[j] = value / l[j * kTiny + j];
    }
    for (std::int64_t j = p - 1; j >= 0; --j) {
        for (std::int64_t q = j + 1; q < p; ++q) x[j] -= l[q * kTiny + j] * x[q];
        x[j] /= l[j * kTiny + j];
    }
    if (!all_finite(x, p)) return static_cast<int>(p);
    std::copy_n(x, p, step);
    return 0;
}

}  // namespace
}  // namespace varpro
