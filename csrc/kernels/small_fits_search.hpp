/// The search of one small problem, from evaluation to evaluation, on a thread of a CPU or a GPU: it carries out the
/// decisions of search.hpp.
#pragma once

#include <cmath>
#include <cstdint>

#include "portable.hpp"
#include "search_decision.hpp"
#include "small_fits.hpp"

namespace varpro {
namespace {

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
    double *w, *trial, *step, *gradient, *diagonal, *natural, *h, *a;
    SearchNumbers* numbers;

    /// n_linear : I K
    VARPRO_PORTABLE State(double* row, int p, int n_linear)
        : w(row),
          trial(w + p),
          step(trial + p),
          gradient(step + p),
          diagonal(gradient + p),
          natural(diagonal + p),
          h(natural + p),
          a(h + p * p),
          numbers(reinterpret_cast<SearchNumbers*>(a + n_linear)) {}

    VARPRO_PORTABLE bool running() const { return numbers->status == 0.0; }
};

/// Doubles of a row.
VARPRO_PORTABLE int state_length(int p, int n_linear) { return 6 * p + p * p + n_linear + kNumbers; }

/// What is known at one w; the arrays are the caller's.  If `finite` is false, nothing else is set.
struct Point {
    double *a, *h, *gradient, *natural;
    double cost, condition, terms;  // terms: 1/2 (sum_j |phi_j| |a_j|)^2
    bool finite;
};

/// Doubles of scratch that a search inside a box needs: h (p, p), gradient, curvature, diagonal and step (p).
VARPRO_PORTABLE int box_numbers(int p) { return p * (p + 4); }

/// factor (p, width) and rhs (p) are scratch; so is `inside`, box_numbers(p), if there is a box.  kBoxed: whether there
/// may be one.
template <bool kBoxed>
struct Search {
    const SearchRules& rules;
    int p, n_linear;
    double *factor, *rhs;
    int width;
    SearchBox box;
    double* inside;

    /// Accept or reject the trial, which has been evaluated, and find the next one.  size : 1/2 |y|^2.
    VARPRO_PORTABLE void advance(const Point& point, double size, const State& s) const {
        if (judge(point, size, s)) keep_model(point, s);
        if (s.running()) next(s);
    }

    /// Accept or reject the trial; returns whether it has become the iterate.  Of the point this needs no derivatives.
    VARPRO_PORTABLE bool judge(const Point& point, double size, const State& s) const {
        const Decision decision{rules, *s.numbers};
        if (point.finite && !(point.condition < rules.condition_limit)) {
            s.numbers->evaluations += 1.0;
            decision.stop(SearchStatus::beyond);
            return false;
        }
        const double cost = point.finite ? point.cost : kInfinite;
        if (s.numbers->growth == 0.0)
            decision.begin(cost, point.terms, size);
        else
            decision.judge(cost, point.terms);
        const bool moved = s.numbers->fresh != 0.0;
        if (moved) copy_numbers(s.trial, p, s.w);
        if (moved && point.finite) copy_numbers(point.a, n_linear, s.a);
        return moved;
    }

    /// H and g of the iterate are those of the point.
    VARPRO_PORTABLE void keep_model(const Point& point, const State& s) const {
        if (!point.finite) return;
        copy_numbers(point.h, p * p, s.h);
        copy_numbers(point.gradient, p, s.gradient);
        copy_numbers(point.natural, p, s.natural);
        for (int j = 0; j < p; ++j)
            if (s.h[j * (p + 1)] < kNoColumn) forget_column(j, s);
    }

    /// The next trial.
    VARPRO_PORTABLE void next(const State& s) const {
        const Decision decision{rules, *s.numbers};
        if (s.numbers->fresh != 0.0) measure_scaling(rules, p, s.h, p + 1, s.diagonal);
        if constexpr (kBoxed)
            if (box.lower) return next_inside(decision, s);
        decision.open(measure_gradient(p, s.gradient, s.h, p + 1),
                      all_seen(rules, p, s.h, p + 1, s.natural, s.numbers->size));
        while (decision.asks_to_solve()) {
            double predicted = 0.0;
            const bool solved = solve(s, s.numbers->trial_damping, predicted);
            decision.look(solved, predicted, measure_step(p, s.w, s.natural, s.gradient, s.diagonal, s.step));
        }
        for (int j = 0; j < p; ++j) s.trial[j] = s.w[j] + s.step[j];
    }

  private:
    /// A column whose square underflows is none: its part of g does not, and would ask for a step without end.
    VARPRO_PORTABLE void forget_column(int j, const State& s) const {
        for (int l = 0; l < p; ++l) s.h[j * p + l] = s.h[l * p + j] = 0.0;
        s.gradient[j] = 0.0;
    }

    /// Some of the parameters, of which a state has 16 at most.
    using Some = unsigned;
    VARPRO_PORTABLE static bool among(Some some, int j) { return (some >> j & 1u) != 0u; }

    /// The next trial within the box: search/bounded_steps.py is the reference.  A parameter that its bound holds back
    /// has no gradient, and counts as determined.
    VARPRO_PORTABLE void next_inside(const Decision& decision, const State& s) const {
        double *const gradient = inside + p * p, *const curvature = gradient + p;
        Some held = 0;
        for (int j = 0; j < p; ++j) {
            const double slope = s.gradient[j];
            const bool out = (s.w[j] <= box.lower[j] && slope > 0.0) || (s.w[j] >= box.upper[j] && slope < 0.0);
            if (out) held |= 1u << j;
            gradient[j] = out ? 0.0 : slope;
            curvature[j] = out ? kInfinite : s.h[j * (p + 1)];
        }
        decision.open(measure_gradient(p, gradient, curvature, 1),
                      all_seen(rules, p, curvature, 1, s.natural, s.numbers->size));
        while (decision.asks_to_solve()) {
            double predicted = 0.0;
            const bool solved = solve_inside(s, s.numbers->trial_damping, held, predicted);
            decision.look(solved, predicted, measure_step(p, s.w, s.natural, gradient, s.diagonal, s.step));
        }
        for (int j = 0; j < p; ++j) s.trial[j] = larger(box.lower[j], smaller(box.upper[j], s.w[j] + s.step[j]));
    }

    /// The damped step that stays in the box: a parameter that would leave it goes to its bound, and the others are
    /// solved for again.
    VARPRO_PORTABLE bool solve_inside(const State& s, double damping, Some fixed, double& predicted) const {
        bool outside = true, solved = true;
        for (int j = 0; j < p; ++j) s.step[j] = 0.0;
        for (int round = 0; outside && round <= p; ++round) {
            solved = solve_free(s, damping, fixed);
            outside = false;
            for (int j = 0; j < p; ++j) {
                const double at = s.w[j] + s.step[j];
                if (among(fixed, j) || (at >= box.lower[j] && at <= box.upper[j])) continue;
                s.step[j] = (at < box.lower[j] ? box.lower[j] : box.upper[j]) - s.w[j];
                fixed |= 1u << j;
                outside = true;
            }
        }
        double slope = 0.0, bend = 0.0;
        for (int j = 0; j < p; ++j) {
            slope += s.gradient[j] * s.step[j];
            for (int l = 0; l < p; ++l) bend += s.step[j] * s.h[j * p + l] * s.step[l];
        }
        predicted = -slope - 0.5 * bend;
        return solved;
    }

    /// The step of the parameters that are not fixed; zero if the matrix is not positive definite.
    VARPRO_PORTABLE bool solve_free(const State& s, double damping, Some fixed) const {
        double *const h = inside, *const diagonal = h + p * (p + 2), *const step = diagonal + p;
        for (int j = 0; j < p; ++j) {
            const bool still = among(fixed, j);
            rhs[j] = still ? 0.0 : -s.gradient[j];
            diagonal[j] = still ? 1.0 : s.diagonal[j];
            for (int l = 0; l < p; ++l) {
                h[j * p + l] = still || among(fixed, l) ? (j == l ? 1.0 : 0.0) : s.h[j * p + l];
                if (!still && among(fixed, l)) rhs[j] -= s.h[j * p + l] * s.step[l];
            }
        }
        const bool solved = damped_cholesky(h, diagonal, damping, rhs, step, p, factor, width) == 0;
        for (int j = 0; j < p; ++j)
            if (!among(fixed, j)) s.step[j] = solved ? step[j] : 0.0;
        return solved;
    }

    /// The damped step, and the decrease that it promises.
    VARPRO_PORTABLE bool solve(const State& s, double damping, double& predicted) const {
        for (int j = 0; j < p; ++j) rhs[j] = -s.gradient[j];
        const bool solved = damped_cholesky(s.h, s.diagonal, damping, rhs, s.step, p, factor, width) == 0;
        double promised = 0.0;
        for (int j = 0; j < p; ++j) {
            if (!solved) s.step[j] = 0.0;
            promised += s.step[j] * (damping * s.diagonal[j] * s.step[j] - s.gradient[j]);
        }
        predicted = 0.5 * promised;
        return solved;
    }
};

}  // namespace
}  // namespace varpro
