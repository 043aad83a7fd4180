/// The search of one small problem: solvers/loop.py cut at its evaluations, for a thread of a CPU or of a GPU.
#pragma once

#include <cmath>
#include <cstdint>

#include "portable.hpp"
#include "small_fits.hpp"

namespace varpro {
namespace {

VARPRO_PORTABLE bool is_finite(double x) { return fabs(x) <= kLargest; }
VARPRO_PORTABLE double larger(double a, double b) { return a < b ? b : a; }

VARPRO_PORTABLE void copy_numbers(const double* from, int count, double* to) {
    for (int e = 0; e < count; ++e) to[e] = from[e];
}

/// (h + lambda diag(diagonal)) x = rhs from the lower triangle of h (p, p); l (p, width) is scratch.  Returns 0, or the
/// number of the leading minor that is not positive (p where a value is not finite: Cholesky lets a NaN through).
VARPRO_PORTABLE int damped_cholesky(const double* h, const double* diagonal, double lambda, const double* rhs,
                                    double* x, int p, double* l, int width) {
    for (int j = 0; j < p; ++j) {
        double value = rhs[j];
        for (int c = 0; c <= j; ++c) {
            double entry = h[j * p + c];
            if (c == j) entry += lambda * diagonal[j];
            for (int q = 0; q < c; ++q) entry -= l[j * width + q] * l[c * width + q];
            if (c < j)
                l[j * width + c] = entry / l[c * width + c];
            else if (entry > 0.0 && is_finite(entry))
                l[j * width + j] = sqrt(entry);
            else
                return j + 1;
        }
        for (int q = 0; q < j; ++q) value -= l[j * width + q] * x[q];
        x[j] = value / l[j * width + j];
    }
    bool finite = true;
    for (int j = p - 1; j >= 0; --j) {
        for (int q = j + 1; q < p; ++q) x[j] -= l[q * width + j] * x[q];
        x[j] /= l[j * width + j];
        finite = finite && is_finite(x[j]);
    }
    return finite ? 0 : p;
}

/// The row of a problem, as small_fits.hpp lays it out.
struct State {
    double *w, *trial, *step, *gradient, *diagonal, *h, *a, *numbers;

    /// n_linear : I K
    VARPRO_PORTABLE State(double* row, int p, int n_linear)
        : w(row),
          trial(w + p),
          step(trial + p),
          gradient(step + p),
          diagonal(gradient + p),
          h(diagonal + p),
          a(h + p * p),
          numbers(a + n_linear) {}

    VARPRO_PORTABLE double& operator[](SearchNumber number) const { return numbers[number]; }
    VARPRO_PORTABLE void stop(SearchStatus status) const { numbers[kStatus] = static_cast<double>(status); }
    VARPRO_PORTABLE bool running() const { return numbers[kStatus] == 0.0; }
};

/// What is known at one w; the arrays are the caller's.
struct Point {
    double *a, *h, *gradient;
    double cost, condition;
};

/// factor (p, width) and rhs (p) are scratch.
struct Search {
    const SearchRules& rules;
    int p, n_linear;
    double *factor, *rhs;
    int width;

    /// Accept or reject the trial, which has been evaluated, and find the next one.
    VARPRO_PORTABLE void advance(Point point, const State& s) const {
        s[kEvaluations] += 1.0;
        if (!(point.condition < rules.condition_limit)) return s.stop(SearchStatus::beyond);
        if (!is_finite(point.cost)) point.cost = kInfinite;
        if (s[kGrowth] == 0.0)
            begin(point, s);
        else
            decide(point, s);
        if (s.running()) next(s);
    }

  private:
    /// The start; a state may bring its damping along.
    VARPRO_PORTABLE void begin(const Point& point, const State& s) const {
        if (s[kDamping] == 0.0) s[kDamping] = rules.initial;
        s[kGrowth] = 2.0;
        s[kStartCost] = point.cost;
        keep(point, s);
        if (!is_finite(point.cost))
            s.stop(SearchStatus::nonfinite);
        else if (s[kIterations] >= static_cast<double>(rules.max_iterations))
            s.stop(SearchStatus::iterations);
    }

    /// The trial becomes the iterate.
    VARPRO_PORTABLE void keep(const Point& point, const State& s) const {
        copy_numbers(s.trial, p, s.w);
        copy_numbers(point.a, n_linear, s.a);
        copy_numbers(point.h, p * p, s.h);
        copy_numbers(point.gradient, p, s.gradient);
        s[kCost] = point.cost;
        s[kFresh] = 1.0;
    }

    /// Accept or reject by the gain, move the damping, test for the end.
    VARPRO_PORTABLE void decide(const Point& point, const State& s) const {
        const double old = s[kCost], predicted = s[kPredicted], cost = point.cost;
        const bool solved = s[kSolved] != 0.0, usable = solved && predicted > 0.0 && is_finite(cost);
        const double gain = usable ? (old - cost) / predicted : kNotANumber;
        // a first step that promises less than the rounding of the cost: its gain is noise; kept unless it harms
        const bool last = s[kFresh] != 0.0 && solved && predicted <= rules.rounding * old;
        const bool accepted = gain > rules.least_gain || (last && cost <= old * (1.0 + rules.rounding));
        s[kUsedDamping] = s[kDamping];
        s[kGain] = gain;
        s[kAccepted] = accepted ? 1.0 : 0.0;
        if (last) {
            s.stop(SearchStatus::cost);
            if (accepted) keep(point, s);
        } else if (accepted) {
            const double bounded = 2.0 * (gain < 1.0 ? gain : 1.0) - 1.0;
            const double factor = larger(1.0 / 3.0, 1.0 - bounded * bounded * bounded);
            s[kDamping] *= fabs(gain - 1.0) <= rules.sure ? rules.sure_shrink : factor;
            s[kGrowth] = 2.0;
            s.stop(after_step(s, old, cost, predicted));
            keep(point, s);
        } else {
            s[kDamping] *= s[kGrowth];
            s[kGrowth] *= 2.0;
            if (s[kDamping] > rules.largest || !is_finite(s[kDamping])) s.stop(SearchStatus::stalled);
            s[kFresh] = 0.0;
        }
        s[kDamping] = larger(s[kDamping], rules.smallest);
    }

    /// Status after the step from w to the trial, which is accepted.
    VARPRO_PORTABLE SearchStatus after_step(const State& s, double old, double cost, double predicted) const {
        const double small = rules.cost_tolerance * old;
        double size = 0.0, length = 0.0;
        for (int j = 0; j < p; ++j) {
            size += s.step[j] * s.step[j];
            length += s.w[j] * s.w[j];
        }
        if ((old - cost <= small && predicted <= 2.0 * small) || cost == 0.0) return SearchStatus::cost;
        if (sqrt(size) <= rules.step_tolerance * (sqrt(length) + rules.step_tolerance)) return SearchStatus::step;
        return s[kIterations] >= static_cast<double>(rules.max_iterations) ? SearchStatus::iterations
                                                                           : SearchStatus::running;
    }

    /// The next trial: a new scaling and the test of the gradient after an accepted step, then the damped step.
    VARPRO_PORTABLE void next(const State& s) const {
        if (s[kFresh] != 0.0) {
            s[kIterations] += 1.0;
            double largest = 0.0, steepest = 0.0;
            for (int j = 0; j < p; ++j) largest = larger(largest, s.h[j * p + j]);
            for (int j = 0; j < p; ++j) {
                s.diagonal[j] = largest > 0.0 ? larger(s.h[j * p + j], rules.diagonal_floor * largest) : 1.0;
                steepest = larger(steepest, fabs(s.gradient[j]) / sqrt(s.diagonal[j]));
            }
            if (steepest <= rules.gradient_tolerance * sqrt(2.0 * s[kStartCost])) return s.stop(SearchStatus::gradient);
        }
        solve(s);
        while (too_long(s)) {
            s[kDamping] *= 4.0;
            solve(s);
        }
        for (int j = 0; j < p; ++j) s.trial[j] = s.w[j] + s.step[j];
    }

    /// The damped step, and the decrease that it promises.
    VARPRO_PORTABLE void solve(const State& s) const {
        const double damping = s[kDamping];
        for (int j = 0; j < p; ++j) rhs[j] = -s.gradient[j];
        const bool solved = damped_cholesky(s.h, s.diagonal, damping, rhs, s.step, p, factor, width) == 0;
        double promised = 0.0;
        for (int j = 0; j < p; ++j) {
            if (!solved) s.step[j] = 0.0;
            promised += s.step[j] * (damping * s.diagonal[j] * s.step[j] - s.gradient[j]);
        }
        s[kSolved] = solved ? 1.0 : 0.0;
        s[kPredicted] = 0.5 * promised;
    }

    /// ||s||_d > step_bound ||w||_d
    VARPRO_PORTABLE bool too_long(const State& s) const {
        if (!is_finite(rules.step_bound)) return false;
        double length = 0.0, limit = 0.0;
        for (int j = 0; j < p; ++j) {
            length += s.step[j] * s.step[j] * s.diagonal[j];
            limit += s.w[j] * s.w[j] * s.diagonal[j];
        }
        limit *= rules.step_bound * rules.step_bound;
        return length > limit && limit > 0.0 && s[kDamping] < rules.largest;
    }
};

}  // namespace
}  // namespace varpro
