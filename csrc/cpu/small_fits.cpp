// The search of small problems, one after another: solvers/loop.py for a program that is compiled in.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "small_problem.hpp"
#include "tiny_cholesky.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// A Point with its own memory, and the w it belongs to.
struct Held {
    std::vector<double> w, a, h, gradient;
    Point point;

    explicit Held(const SmallFitsCall& c)
        : w(c.p), a(c.i * c.k), h(c.p * c.p), gradient(c.p), point{a.data(), h.data(), gradient.data(), 0.0, 0.0} {}
};

/// One problem's search.
class Search {
  public:
    explicit Search(const SmallSearchCall& call)
        : call(call),
          c(call.fits),
          rules(call.rules),
          problem(call.fits),
          current(c),
          trial(c),
          diagonal(c.p),
          step(c.p),
          rhs(c.p) {}

    void run(std::int64_t b);

  private:
    const SmallSearchCall& call;
    const SmallFitsCall& c;
    const SearchRules& rules;
    Problem problem;
    Held current, trial;
    std::vector<double> diagonal, step, rhs;
    double damping = 0.0, growth = 2.0, start_cost = 0.0;
    std::int64_t iterations = 0, evaluations = 0;

    bool evaluate(std::int64_t b, Held& at);
    SearchStatus search(std::int64_t b);
    bool flat();
    void scale();
    double solve(bool* solved);
    bool too_long() const;
    SearchStatus after_step(double old, double predicted) const;
    void record(std::int64_t b, double used, double gain, bool accepted);
};

/// False where the orthogonal route has to take over.
bool Search::evaluate(std::int64_t b, Held& at) {
    ++evaluations;
    problem.evaluate(at.w.data(), b, at.point);
    if (!(at.point.condition < rules.condition_limit)) return false;
    if (!std::isfinite(at.point.cost)) at.point.cost = std::numeric_limits<double>::infinity();
    return true;
}

/// The scaling of the damping: max(diag H, floor).
void Search::scale() {
    const std::int64_t p = c.p;
    double largest = 0.0;
    for (std::int64_t j = 0; j < p; ++j) largest = std::max(largest, current.h[j * p + j]);
    for (std::int64_t j = 0; j < p; ++j)
        diagonal[j] = largest > 0.0 ? std::max(current.h[j * p + j], rules.diagonal_floor * largest) : 1.0;
}

/// No column of J sees the residual.
bool Search::flat() {
    double steepest = 0.0;
    for (std::int64_t j = 0; j < c.p; ++j)
        steepest = std::max(steepest, std::fabs(current.gradient[j]) / std::sqrt(diagonal[j]));
    return steepest <= rules.gradient_tolerance * std::sqrt(2.0 * start_cost);
}

/// The damped step, and the decrease that it promises.
double Search::solve(bool* solved) {
    for (std::int64_t j = 0; j < c.p; ++j) rhs[j] = -current.gradient[j];
    *solved = damped_solve_tiny(current.h.data(), diagonal.data(), damping, rhs.data(), step.data(), c.p) == 0;
    if (!*solved) std::fill(step.begin(), step.end(), 0.0);
    double promised = 0.0;
    for (std::int64_t j = 0; j < c.p; ++j)
        promised += step[j] * (damping * diagonal[j] * step[j] - current.gradient[j]);
    return 0.5 * promised;
}

/// ||s||_d > step_bound ||w||_d
bool Search::too_long() const {
    if (std::isinf(rules.step_bound)) return false;
    double length = 0.0, limit = 0.0;
    for (std::int64_t j = 0; j < c.p; ++j) {
        length += step[j] * step[j] * diagonal[j];
        limit += current.w[j] * current.w[j] * diagonal[j];
    }
    limit *= rules.step_bound * rules.step_bound;
    return length > limit && limit > 0.0 && damping < rules.largest;
}

SearchStatus Search::after_step(double old, double predicted) const {
    const double small = rules.cost_tolerance * old;
    double size = 0.0, length = 0.0;
    for (std::int64_t j = 0; j < c.p; ++j) {
        size += step[j] * step[j];
        const double before = trial.w[j];  // exchanged: the iterate that the step left
        length += before * before;
    }
    if ((old - current.point.cost <= small && predicted <= 2.0 * small) || current.point.cost == 0.0)
        return SearchStatus::cost;
    if (std::sqrt(size) <= rules.step_tolerance * (std::sqrt(length) + rules.step_tolerance)) return SearchStatus::step;
    return iterations >= rules.max_iterations ? SearchStatus::iterations : SearchStatus::running;
}

void Search::record(std::int64_t b, double used, double gain, bool accepted) {
    if (!call.records || *call.n_recorded >= call.n_records) return;
    call.records[(*call.n_recorded)++] = {static_cast<double>(c.problems[b]),
                                          static_cast<double>(iterations),
                                          current.point.cost,
                                          used,
                                          gain,
                                          accepted ? 1.0 : 0.0};
}

SearchStatus Search::search(std::int64_t b) {
    damping = rules.initial;
    growth = 2.0;
    iterations = evaluations = 0;
    if (!evaluate(b, current)) return SearchStatus::beyond;
    start_cost = current.point.cost;
    if (!std::isfinite(start_cost)) return SearchStatus::nonfinite;
    if (rules.max_iterations == 0) return SearchStatus::iterations;
    bool fresh = true;
    while (true) {
        if (fresh) {
            ++iterations;
            scale();
            if (flat()) return SearchStatus::gradient;
        }
        bool solved = false;
        double predicted = solve(&solved);
        while (too_long()) {
            damping *= 4.0;
            predicted = solve(&solved);
        }
        const double old = current.point.cost, used = damping;
        for (std::int64_t j = 0; j < c.p; ++j) trial.w[j] = current.w[j] + step[j];
        if (!evaluate(b, trial)) return SearchStatus::beyond;
        const bool usable = solved && predicted > 0.0 && std::isfinite(trial.point.cost);
        const double gain = usable ? (old - trial.point.cost) / predicted : std::numeric_limits<double>::quiet_NaN();
        const bool accepted = gain > rules.least_gain, first = fresh && solved;
        SearchStatus status = SearchStatus::running;
        if (accepted) {
            const double bounded = 2.0 * std::min(gain, 1.0) - 1.0;
            const double factor = std::max(1.0 / 3.0, 1.0 - bounded * bounded * bounded);
            damping *= std::fabs(gain - 1.0) <= rules.sure ? rules.sure_shrink : factor;
            growth = 2.0;
            std::swap(current, trial);
            status = after_step(old, predicted);
        } else {
            damping *= growth;
            growth *= 2.0;
            if (damping > rules.largest) status = SearchStatus::stalled;
            if (first && predicted <= rules.rounding * old) status = SearchStatus::cost;
        }
        damping = std::max(damping, rules.smallest);
        fresh = accepted;
        record(b, used, gain, accepted);
        if (status != SearchStatus::running) return status;
    }
}

void Search::run(std::int64_t b) {
    problem.load_data(b);
    double* w = call.w + b * c.p;
    std::copy_n(w, c.p, current.w.begin());
    const SearchStatus status = search(b);
    call.status[b] = static_cast<std::int64_t>(status);
    if (status == SearchStatus::beyond) return;
    std::copy_n(current.w.begin(), c.p, w);
    std::copy_n(current.a.begin(), c.i * c.k, c.a + b * c.i * c.k);
    c.cost[b] = current.point.cost;
    call.iterations[b] = iterations;
    call.evaluations[b] = evaluations;
}

}  // namespace

void small_fits(const SmallFitsCall& call) {
    Problem problem(call);
    for (std::int64_t b = 0; b < call.count; ++b) problem.solve(b);
}

void small_searches(const SmallSearchCall& call) {
    Search search(call);
    for (std::int64_t b = 0; b < call.fits.count; ++b) search.run(b);
}

}  // namespace varpro::VARPRO_ISA
