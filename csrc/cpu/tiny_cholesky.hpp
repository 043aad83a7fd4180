/// The damped solve for a few parameters, where calling LAPACK would cost more than the work itself.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "../kernels/small_fits_search.hpp"

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
    const int failed = damped_cholesky(h, diagonal, lambda, rhs, x, static_cast<int>(p), l, kTiny);
    if (failed == 0) std::copy_n(x, p, step);
    return failed;
}

}  // namespace
}  // namespace varpro
