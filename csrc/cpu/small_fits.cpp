// The search of small problems: solvers/loop.py cut at its evaluations, so that the basis may come from a compiled
// program, and the search run to its end, or from the caller, one step a call.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "small_problem.hpp"
#include "tiny_cholesky.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// The row of a problem, as small_fits.hpp lays it out.
struct State {
    double *w, *trial, *step, *gradient, *diagonal, *h, *a, *numbers;

    State(double* row, const SmallFitsCall& c)
        : w(row),
          trial(w + c.p),
          step(trial + c.p),
          gradient(step + c.p),
          diagonal(gradient + c.p),
          h(diagonal + c.p),
          a(h + c.p * c.p),
          numbers(a + c.i * c.k) {}

    double& operator[](SearchNumber number) const { return numbers[number]; }
    void stop(SearchStatus status) const { numbers[kStatus] = static_cast<double>(status); }
    bool running() const { return numbers[kStatus] == 0.0; }
};

/// What is known at the trial w; its arrays are scratch.
struct Trial {
    std::vector<double> a, h, gradient;
    Point point;

    explicit Trial(const SmallFitsCall& c)
        : a(c.i * c.k), h(c.p * c.p), gradient(c.p), point{a.data(), h.data(), gradient.data(), 0.0, 0.0} {}
};

class Search {
  public:
    Search(const SmallFitsCall& fits, const SearchRules& rules) : c(fits), rules(rules), trial(fits), rhs(fits.p) {}

    void advance(Problem& problem, std::int64_t b, const State& s);

  private:
    const SmallFitsCall& c;
    const SearchRules& rules;
    Trial trial;
    std::vector<double> rhs;

    bool begin(const State& s);
    void decide(const State& s);
    void keep(const State& s) const;
    void next(const State& s);
    void solve(const State& s);
    bool too_long(const State& s) const;
    SearchStatus after_step(const State& s, double old, double predicted) const;
};

/// Evaluate the trial, accept or reject it, and find the next one.
void Search::advance(Problem& problem, std::int64_t b, const State& s) {
    problem.evaluate(s.trial, b, trial.point);
    s[kEvaluations] += 1.0;
    if (!(trial.point.condition < rules.condition_limit)) return s.stop(SearchStatus::beyond);
    if (!std::isfinite(trial.point.cost)) trial.point.cost = std::numeric_limits<double>::infinity();
    if (s[kEvaluations] == 1.0) {
        if (!begin(s)) return;
    } else {
        decide(s);
    }
    if (s.running()) next(s);
}

/// The start; false where there is nothing to search.
bool Search::begin(const State& s) {
    s[kDamping] = rules.initial;
    s[kGrowth] = 2.0;
    s[kStartCost] = trial.point.cost;
    keep(s);
    if (!std::isfinite(trial.point.cost))
        s.stop(SearchStatus::nonfinite);
    else if (rules.max_iterations == 0)
        s.stop(SearchStatus::iterations);
    return s.running();
}

/// The trial becomes the iterate.
void Search::keep(const State& s) const {
    std::copy_n(s.trial, c.p, s.w);
    std::copy(trial.a.begin(), trial.a.end(), s.a);
    std::copy(trial.h.begin(), trial.h.end(), s.h);
    std::copy(trial.gradient.begin(), trial.gradient.end(), s.gradient);
    s[kCost] = trial.point.cost;
    s[kFresh] = 1.0;
}

/// Accept or reject by the gain, move the damping, test for the end.
void Search::decide(const State& s) {
    const double old = s[kCost], predicted = s[kPredicted], cost = trial.point.cost;
    const bool solved = s[kSolved] != 0.0, usable = solved && predicted > 0.0 && std::isfinite(cost);
    const double gain = usable ? (old - cost) / predicted : std::numeric_limits<double>::quiet_NaN();
    const bool accepted = gain > rules.least_gain;
    s[kUsedDamping] = s[kDamping];
    s[kGain] = gain;
    s[kAccepted] = accepted ? 1.0 : 0.0;
    if (accepted) {
        const double bounded = 2.0 * std::min(gain, 1.0) - 1.0;
        const double factor = std::max(1.0 / 3.0, 1.0 - bounded * bounded * bounded);
        s[kDamping] *= std::fabs(gain - 1.0) <= rules.sure ? rules.sure_shrink : factor;
        s[kGrowth] = 2.0;
        s.stop(after_step(s, old, predicted));
        keep(s);
    } else {
        s[kDamping] *= s[kGrowth];
        s[kGrowth] *= 2.0;
        if (s[kDamping] > rules.largest) s.stop(SearchStatus::stalled);
        if (s[kFresh] != 0.0 && solved && predicted <= rules.rounding * old) s.stop(SearchStatus::cost);
        s[kFresh] = 0.0;
    }
    s[kDamping] = std::max(s[kDamping], rules.smallest);
}

/// Status after the step from w to the trial, which is accepted.
SearchStatus Search::after_step(const State& s, double old, double predicted) const {
    const double small = rules.cost_tolerance * old, cost = trial.point.cost;
    double size = 0.0, length = 0.0;
    for (std::int64_t j = 0; j < c.p; ++j) {
        size += s.step[j] * s.step[j];
        length += s.w[j] * s.w[j];
    }
    if ((old - cost <= small && predicted <= 2.0 * small) || cost == 0.0) return SearchStatus::cost;
    if (std::sqrt(size) <= rules.step_tolerance * (std::sqrt(length) + rules.step_tolerance)) return SearchStatus::step;
    return s[kIterations] >= static_cast<double>(rules.max_iterations) ? SearchStatus::iterations
                                                                       : SearchStatus::running;
}

/// The next trial: a new scaling and the test of the gradient after an accepted step, then the damped step.
void Search::next(const State& s) {
    const std::int64_t p = c.p;
    if (s[kFresh] != 0.0) {
        s[kIterations] += 1.0;
        double largest = 0.0, steepest = 0.0;
        for (std::int64_t j = 0; j < p; ++j) largest = std::max(largest, s.h[j * p + j]);
        for (std::int64_t j = 0; j < p; ++j) {
            s.diagonal[j] = largest > 0.0 ? std::max(s.h[j * p + j], rules.diagonal_floor * largest) : 1.0;
            steepest = std::max(steepest, std::fabs(s.gradient[j]) / std::sqrt(s.diagonal[j]));
        }
        if (steepest <= rules.gradient_tolerance * std::sqrt(2.0 * s[kStartCost]))
            return s.stop(SearchStatus::gradient);
    }
    solve(s);
    while (too_long(s)) {
        s[kDamping] *= 4.0;
        solve(s);
    }
    for (std::int64_t j = 0; j < p; ++j) s.trial[j] = s.w[j] + s.step[j];
}

/// The damped step, and the decrease that it promises.
void Search::solve(const State& s) {
    const double damping = s[kDamping];
    for (std::int64_t j = 0; j < c.p; ++j) rhs[j] = -s.gradient[j];
    const bool solved = damped_solve_tiny(s.h, s.diagonal, damping, rhs.data(), s.step, c.p) == 0;
    if (!solved) std::fill_n(s.step, c.p, 0.0);
    double promised = 0.0;
    for (std::int64_t j = 0; j < c.p; ++j)
        promised += s.step[j] * (damping * s.diagonal[j] * s.step[j] - s.gradient[j]);
    s[kSolved] = solved ? 1.0 : 0.0;
    s[kPredicted] = 0.5 * promised;
}

/// ||s||_d > step_bound ||w||_d
bool Search::too_long(const State& s) const {
    if (std::isinf(rules.step_bound)) return false;
    double length = 0.0, limit = 0.0;
    for (std::int64_t j = 0; j < c.p; ++j) {
        length += s.step[j] * s.step[j] * s.diagonal[j];
        limit += s.w[j] * s.w[j] * s.diagonal[j];
    }
    limit *= rules.step_bound * rules.step_bound;
    return length > limit && limit > 0.0 && s[kDamping] < rules.largest;
}

}  // namespace

void small_fits(const SmallFitsCall& call) {
    Problem problem(call);
    for (std::int64_t b = 0; b < call.count; ++b) problem.solve(b);
}

void small_advance(const SmallAdvanceCall& call) {
    Problem problem(call.fits);
    Search search(call.fits, call.rules);
    for (std::int64_t b = 0; b < call.fits.count; ++b) {
        problem.load_data(b);
        search.advance(problem, b, State(call.states + call.rows[b] * call.stride, call.fits));
    }
}

void small_searches(const SmallSearchCall& call) {
    Problem problem(call.fits);
    Search search(call.fits, call.rules);
    for (std::int64_t b = 0; b < call.fits.count; ++b) {
        problem.load_data(b);
        const State state(call.states + b * call.stride, call.fits);
        while (state.running()) {
            search.advance(problem, b, state);
            if (call.log && *call.logged < call.most && state[kEvaluations] > 1.0)
                std::copy_n(state.numbers, kNumbers, call.log + (*call.logged)++ * kNumbers);
        }
    }
}

}  // namespace varpro::VARPRO_ISA
