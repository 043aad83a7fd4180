/// The columns of ready models and their derivatives.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../kernels/small_fits.hpp"
#include "../kernels/small_fits_columns.hpp"
#include "dots.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// Rows from `first` on.
struct Rows {
    std::int64_t first, count;
};

/// The points in whose rows a column of a program may differ from zero.
inline Rows span_of(const SmallFitsCall& c, std::int64_t column) {
    if (!c.spans) return {0, c.n / c.parts};
    const std::int64_t first = c.spans[2 * column];
    return {first, c.spans[2 * column + 1] - first};
}

/// The rows in which a column may differ from zero, in whole vectors.
inline Rows vectors_of(const SmallFitsCall& c, std::int64_t column) {
    const Rows own = c.spans ? span_of(c, column) : Rows{0, c.n};
    const std::int64_t first = own.first / kUnroll * kUnroll;
    return {first, (own.first + own.count - first + kUnroll - 1) / kUnroll * kUnroll};
}

/// The points of a column.
struct Grid {
    const double* t;
    std::int64_t n;
    double step;  // distance of neighbours where they are equidistant to rounding, else 0
};

constexpr std::int64_t kRecurrence = 16 * kUnroll;  // points after which the recurrence restarts: 16 roundings
constexpr double kTinyExponential = 1e-290;         // below this, products would be denormal, and slow

/// out = exp(-rate t).  On an equidistant grid, kUnroll values are the preceding kUnroll times exp(-kUnroll step rate).
void exponentials(const Grid& grid, double rate, double* out) {
    const std::int64_t n = grid.n;
    const auto direct = [rate](V t) { return exp_lane(t * -rate); };
    // one that grows cannot be had from a value before it that has underflowed
    if (grid.step == 0.0 || grid.step * rate < 0.0) return in_vectors(grid.t, n, out, direct);
    const V factor = V{} + exp_lane(-static_cast<double>(kUnroll) * grid.step * rate), tiny = V{} + kTinyExponential;
    for (std::int64_t first = 0; first < n; first += kRecurrence) {
        const std::int64_t end = std::min(first + kRecurrence, n);
        std::int64_t r = std::min(first + kUnroll, end);
        in_vectors(grid.t + first, r - first, out + first, direct);
        V v[4] = {};
        if (r + kUnroll <= end)
            for (int part = 0; part < 4; ++part) v[part] = load(out + first + part * kWidth);
        for (; r + kUnroll <= end; r += kUnroll)
            for (int part = 0; part < 4; ++part) {
                v[part] *= factor;
                v[part] = v[part] < tiny ? V{} : v[part];
                store(out + r + part * kWidth, v[part]);
            }
        in_vectors(grid.t + r, end - r, out + r, direct);
    }
}

/// The step of points that are equidistant to rounding, else 0.
double equidistant_step(const double* t, std::int64_t n) {
    if (n < 2 * kUnroll) return 0.0;
    const double step = (t[n - 1] - t[0]) / static_cast<double>(n - 1);
    const double tolerance =
        4.0 * std::numeric_limits<double>::epsilon() * std::max(std::fabs(t[0]), std::fabs(t[n - 1]));
    double worst = 0.0;
    for (std::int64_t r = 0; r < n; ++r)
        worst = std::max(worst, std::fabs(t[r] - (t[0] + step * static_cast<double>(r))));
    return worst <= tolerance ? step : 0.0;
}

/// The steps of t in the span of each column of a program.
void measure_steps(const SmallFitsCall& c, const double* t, std::vector<double>& steps) {
    steps.resize(c.i / c.parts);
    Rows last{0, -1};
    for (std::int64_t j = 0; j < c.i / c.parts; ++j) {
        const Rows own = span_of(c, j);
        const bool known = own.first == last.first && own.count == last.count;
        steps[j] = known ? steps[j - 1] : equidistant_step(t + own.first, own.count);
        last = own;
    }
}

/// A column of Phi with the parameters p and q, and its derivatives by them, each of which may be null.
void make_column(const ProgramColumn& column, const Grid& grid, double p, double q, double* phi, double* first,
                 double* second) {
    const double* t = grid.t;
    const std::int64_t n = grid.n;
    switch (column.kind) {
        case ColumnKind::power:  // does not depend on w
            std::fill_n(phi, n, 1.0);
            if (column.exponent > 0)
                for (std::int64_t r = 0; r < n; ++r) phi[r] = power(t[r], column.exponent);
            return;
        case ColumnKind::decay: {
            const double rate = 1.0 / p, square = rate * rate;
            exponentials(grid, rate, phi);
            if (first)
                for (std::int64_t r = 0; r < n; ++r) first[r] = decay_slope(phi[r], t[r], square);
            return;
        }
        case ColumnKind::rate:
            exponentials(grid, p, phi);
            if (first)
                for (std::int64_t r = 0; r < n; ++r) first[r] = rate_slope(phi[r], t[r]);
            return;
        case ColumnKind::gaussian: {
            const double inverse = 1.0 / q;
            for (std::int64_t r = 0; r < n; ++r) phi[r] = gaussian_exponent((t[r] - p) * inverse);
            in_vectors(phi, n, phi, [](V u) { return exp_lane(u); });
            if (first)
                for (std::int64_t r = 0; r < n; ++r)
                    first[r] = gaussian_by_centre(phi[r], (t[r] - p) * inverse, inverse);
            if (second)
                for (std::int64_t r = 0; r < n; ++r)
                    second[r] = gaussian_by_width(phi[r], (t[r] - p) * inverse, inverse);
            return;
        }
        case ColumnKind::lorentzian: {
            const double inverse = 1.0 / q;
            for (std::int64_t r = 0; r < n; ++r) phi[r] = lorentzian((t[r] - p) * inverse);
            if (first)
                for (std::int64_t r = 0; r < n; ++r)
                    first[r] = lorentzian_by_centre(phi[r], (t[r] - p) * inverse, inverse);
            if (second)
                for (std::int64_t r = 0; r < n; ++r)
                    second[r] = lorentzian_by_width(phi[r], (t[r] - p) * inverse, inverse);
            return;
        }
    }
}

}  // namespace
}  // namespace varpro::VARPRO_ISA
