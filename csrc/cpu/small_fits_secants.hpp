/// Derivatives of a problem's columns from the iterates of its own search.
///
///     s = (phi - phi_1) / (w - w_1),    dphi/dw = s + (s - s_1) (w - w_1) / (w - w_0)
///
/// the slope at w of the parabola through the columns at the last three iterates; s_1 is the secant before, or the
/// derivative at w_1, and then w_0 = w_1.  The error is phi''' (w - w_1) (w - w_0) / 6: next to nothing once steps are
/// short, so the search ends in as many steps as with derivatives.
#pragma once

#include "small_fits_problem.hpp"

namespace varpro::VARPRO_ISA {
namespace {

constexpr double kKeptPromise = 0.5;  // |gain - 1| up to which the next slopes are secants again
constexpr double kAudible = 1e-7;     // of the natural scale: over a shorter step a secant is mostly rounding
constexpr double kApart = 0.1;  // of the longer one of two steps: w and w_0 closer than that extrapolate too boldly

/// What is kept of a problem between two calls; see small_fits.hpp.
struct Past {
    const SmallFitsCall& c;
    double *phi, *slopes, *before, *rough;

    Past(const SmallSecantCall& call, std::int64_t row)
        : c(call.step.fits),
          phi(call.phi + row * c.n * c.i),
          slopes(call.slopes + row * c.m * c.n),
          before(call.before + row * c.p),
          rough(call.rough + row) {}

    bool tells(const double* from, const double* to, const double* natural) const;
    void differentiate(const double* from, const double* to, Problem& problem) const;
    void keep(const Problem& problem) const;
    void begin(const double* w, const double* d) const;
};

/// Whether each parameter that has a column has moved far enough.
bool Past::tells(const double* from, const double* to, const double* natural) const {
    for (std::int64_t s = 0; s < c.m; ++s) {
        const std::int32_t q = c.parameters[s];
        if (!(std::fabs(to[q] - from[q]) > kAudible * natural[q])) return false;
    }
    return true;
}

/// d, the slope of the parabola, and the secant in place of the one before.
void next_slope(const double* __restrict now, const double* __restrict last, double inverse, double bend,
                std::int64_t n, double* __restrict slope, double* __restrict d) {
    for (std::int64_t r = 0; r < n; ++r) {
        const double secant = (now[r] - last[r]) * inverse;
        d[r] = secant + (secant - slope[r]) * bend;
        slope[r] = secant;
    }
}

/// D at `to` into problem.d, where problem.phi is Phi; phi is still that at `from`.
void Past::differentiate(const double* from, const double* to, Problem& problem) const {
    for (std::int64_t s = 0; s < c.m; ++s) {
        const std::int64_t j = c.columns[s], q = c.parameters[s];
        const double step = to[q] - from[q], last = from[q] - before[q], both = step + last;
        const bool apart = std::fabs(both) > kApart * std::max(std::fabs(step), std::fabs(last));
        const double inverse = 1.0 / step, bend = apart ? step / both : 0.0;
        const double* const now = problem.phi.data() + j * problem.rows;
        next_slope(now, phi + j * c.n, inverse, bend, c.n, slopes + s * c.n, problem.d.data() + s * problem.rows);
    }
    std::copy_n(from, c.p, before);
}

/// Phi of the iterate that the search has moved to.
void Past::keep(const Problem& problem) const {
    for (std::int64_t j = 0; j < c.i; ++j) std::copy_n(problem.phi.data() + j * problem.rows, c.n, phi + j * c.n);
}

/// D (m, n) has been given at w.
void Past::begin(const double* w, const double* d) const {
    std::copy_n(d, c.m * c.n, slopes);
    std::copy_n(w, c.p, before);
    *rough = 0.0;
}

/// One quotient of a column of numbers of `parts` doubles; returns 0, or NaN where one is not finite.
template <int parts>
double quotient(const SmallDifferencesCall& c, std::int64_t b, std::int64_t s) {
    const std::int64_t step = c.strides[1] * parts;
    const double* up = c.up + (b * c.n * c.i + c.columns[s]) * parts;
    const double* base = c.base + (c.rows[b] * c.strides[0] + c.columns[s] * c.strides[2]) * parts;
    const double inverse = c.inverse[b * c.m + s];
    double* const d = c.d + (b * c.pairs + c.places[s]) * c.n * parts;
    for (std::int64_t r = 0; r < c.n; ++r, up += c.i * parts, base += step)
        for (int part = 0; part < parts; ++part) d[r * parts + part] = (up[part] - base[part]) * inverse;
    V zeros{};
    std::int64_t r = 0;
    for (; r + kWidth <= c.n * parts; r += kWidth) zeros += load(d + r) * 0.0;
    double rest = sum(zeros);
    for (; r < c.n * parts; ++r) rest += d[r] * 0.0;
    return rest;
}

}  // namespace
}  // namespace varpro::VARPRO_ISA
