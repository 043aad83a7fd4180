/// The decision of search.hpp for one problem, on a thread of a CPU or a GPU.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "portable.hpp"
#include "search.hpp"

namespace varpro {

/// A step by the measures that count.
struct StepMeasures {
    double length = 0.0;     // |s|_d^2
    double scale = 0.0;      // |scale of w|_d^2
    double effect = 0.0;     // max |s_j| sqrt(d_j)
    double reachable = 0.0;  // 1/2 sum |g_j s_j| where s_j is more than the last digits of w_j
};

namespace {

constexpr double kNoColumn = std::numeric_limits<double>::min();  // in place of the square of nothing
constexpr double kScaleOfColumns =
    4.0;  // times their size that columns may change by: the start of a peak may be off by widths
constexpr double kLastDigits = 4.0 * kEpsilon;  // of a parameter: a step within them is none
constexpr double kRaise = 4.0;                  // on damping, where a step is too long
constexpr double kRelax = 1.0 / 64.0;           // on damping, where it hides what is left
constexpr double kTrusted = 0.75;               // gain from which a bound that has held a step back is doubled
constexpr double kNear = 8.0;   // times what costs show: with so small a promise, a stall is the minimum
constexpr double kFalls = 0.5;  // of the last promise, for undamped steps to go on although costs show no decrease

VARPRO_PORTABLE bool is_finite(double x) { return fabs(x) <= kLargest; }
VARPRO_PORTABLE double larger(double a, double b) { return a < b ? b : a; }
VARPRO_PORTABLE double smaller(double a, double b) { return b < a ? b : a; }

/// natural: the change of w_j that changes its columns by their own size; infinite where that is not known.
VARPRO_PORTABLE double scale_of(double w, double natural) {
    const double own = fabs(w), by_columns = kScaleOfColumns * natural;
    if (!is_finite(by_columns)) return own;
    return own > 0.0 ? smaller(own, by_columns) : by_columns;
}

/// natural may be null.
VARPRO_PORTABLE StepMeasures measure_step(int p, const double* w, const double* natural, const double* gradient,
                                          const double* diagonal, const double* step) {
    StepMeasures m;
    for (int j = 0; j < p; ++j) {
        const double scale = scale_of(w[j], natural ? natural[j] : kInfinite), square = step[j] * step[j] * diagonal[j];
        m.length += square;
        m.scale += scale * scale * diagonal[j];
        m.effect = larger(m.effect, square);
        if (fabs(step[j]) > kLastDigits * fabs(w[j])) m.reachable += 0.5 * fabs(gradient[j] * step[j]);
    }
    m.effect = sqrt(m.effect);
    return m;
}

/// max |g_j| / sqrt(curvature_j): the cosine of residual and columns of J, times |r|; curvature has `stride`.
VARPRO_PORTABLE double measure_gradient(int p, const double* gradient, const double* curvature, int stride) {
    double steepest = 0.0;
    for (int j = 0; j < p; ++j) {
        const double square = curvature[j * stride];
        if (square > 0.0) steepest = larger(steepest, fabs(gradient[j]) / sqrt(square));
    }
    return steepest;
}

/// Whether every parameter is seen in the fit: its natural change changes the residual by more than the rounding of the
/// data.  An empty pixel's lifetime is not seen: any value would be a minimum.  A parameter that a bound holds has an
/// infinite curvature; natural may be null, and then nothing is tested.
VARPRO_PORTABLE bool all_seen(const SearchRules& rules, int p, const double* curvature, int stride,
                              const double* natural, double size) {
    const double least = rules.rounding * sqrt(2.0 * size);
    bool seen = true;
    for (int j = 0; natural && j < p; ++j) seen = seen && sqrt(curvature[j * stride]) * natural[j] > least;
    return seen;
}

/// d = max(diag H, floor of its largest, memory of d before), in place; h is the diagonal, with `stride`.  If a column
/// is zero, its parameter stays where it is for any d > 0.
VARPRO_PORTABLE void measure_scaling(const SearchRules& rules, int p, const double* h, int stride, double* diagonal) {
    double largest = 0.0;
    for (int j = 0; j < p; ++j) largest = larger(largest, h[j * stride]);
    for (int j = 0; j < p; ++j)
        diagonal[j] = larger(larger(h[j * stride], rules.diagonal_floor * largest),
                             larger(rules.diagonal_memory * diagonal[j], kNoColumn));
}

/// The decision for one problem.
struct Decision {
    const SearchRules& rules;
    SearchNumbers& s;

    VARPRO_PORTABLE bool running() const { return s.status == 0.0; }
    VARPRO_PORTABLE bool asks_to_solve() const { return running() && s.asks == 0.0; }
    /// There is no minimum if a parameter is not seen.
    VARPRO_PORTABLE void stop(SearchStatus status) const {
        const bool converged =
            status == SearchStatus::cost || status == SearchStatus::step || status == SearchStatus::gradient;
        s.status = static_cast<double>(converged && s.unseen != 0.0 ? SearchStatus::undetermined : status);
    }

    VARPRO_PORTABLE void begin(double cost, double terms, double size) const {
        if (s.damping == 0.0) s.damping = rules.initial;
        s.growth = 2.0;
        s.reach = rules.step_bound;
        s.cost = is_finite(cost) ? cost : kInfinite;
        s.size = size;
        s.terms = larger(terms, size);
        s.promised = kInfinite;
        s.fresh = 1.0;
        s.evaluations += 1.0;
        if (!is_finite(cost))
            stop(SearchStatus::nonfinite);
        else if (s.iterations >= rules.max_iterations)
            stop(SearchStatus::iterations);
    }

    VARPRO_PORTABLE void open(double steepest, bool seen) const {
        if (s.fresh != 0.0) {
            s.iterations += 1.0;
            s.unseen = seen ? 0.0 : 1.0;
            s.shortened = 0.0;
            if (steepest <= rules.gradient_tolerance * sqrt(2.0 * s.cost)) return stop(SearchStatus::gradient);
        }
        s.last = 0.0;
        ask(SearchStage::damped, s.damping);
    }

    VARPRO_PORTABLE void look(bool solved, double predicted, const StepMeasures& step) const {
        s.solved = solved ? 1.0 : 0.0;
        s.predicted = predicted;
        const double typical = sqrt(2.0 * sqrt(s.size) * sqrt(s.cost));
        s.effect = typical > 0.0 ? step.effect / typical : 0.0;
        // r is freed of its part along Phi, so g_p / |J_p| is off by less than eps |terms|; D is not, so by more than
        // eps |r|: between the two
        s.inaudible = 0.125 * rules.rounding * sqrt(2.0 * sqrt(s.terms) * sqrt(s.cost)) * sqrt(step.length);
        s.reachable = step.reachable;
        if (stage() == SearchStage::undamped) return look_undamped(solved, too_long(step));
        if (too_long(step)) {
            s.damping *= kRaise;
            s.shortened = 1.0;
            return ask(stage() == SearchStage::damped ? SearchStage::damped : SearchStage::settled, s.damping);
        }
        s.asks = static_cast<double>(SearchAsks::evaluate);
        if (rules.confirmed == 0.0) return;
        if (s.fresh == 0.0 && solved && predicted <= visible()) return ask(SearchStage::undamped, least_damping());
        const bool little = solved && promises_little();
        if (little && s.fresh != 0.0 && stage() == SearchStage::damped)
            return ask(SearchStage::undamped, least_damping());
        if (little && stage() == SearchStage::relaxed && s.damping > rules.smallest) return relax();
    }

    VARPRO_PORTABLE void judge(double cost, double terms) const {
        if (!is_finite(cost)) cost = kInfinite;
        const bool usable = s.solved != 0.0 && s.predicted > 0.0 && is_finite(cost);
        s.evaluations += 1.0;
        s.used_damping = s.trial_damping;
        s.gain = usable ? (s.cost - cost) / s.predicted : kNotANumber;
        if (s.last != 0.0)
            judge_last(cost);
        else if (s.gain > rules.least_gain)
            accept(cost);
        else
            reject();
        if (s.accepted != 0.0) s.terms = larger(terms, s.size);
    }

  private:
    VARPRO_PORTABLE SearchStage stage() const { return static_cast<SearchStage>(static_cast<std::int64_t>(s.stage)); }

    VARPRO_PORTABLE void ask(SearchStage stage, double damping) const {
        s.asks = static_cast<double>(SearchAsks::solve);
        s.stage = static_cast<double>(stage);
        s.trial_damping = damping;
    }

    /// Differences of costs below this are rounding.
    VARPRO_PORTABLE double visible() const { return rules.rounding * 2.0 * sqrt(s.terms) * sqrt(s.cost); }

    VARPRO_PORTABLE double negligible() const { return larger(rules.cost_tolerance * s.cost, visible() + s.inaudible); }

    VARPRO_PORTABLE bool promises_little() const { return s.predicted <= negligible() || step_is_short(); }

    VARPRO_PORTABLE bool step_is_short() const { return s.effect <= rules.step_tolerance; }

    VARPRO_PORTABLE bool too_long(const StepMeasures& step) const {
        return s.reach <= kLargest && step.scale > 0.0 && step.length > s.reach * s.reach * step.scale &&
               s.damping < rules.largest;
    }

    VARPRO_PORTABLE double least_damping() const { return smaller(s.damping, larger(rules.undamped, rules.smallest)); }

    VARPRO_PORTABLE void look_undamped(bool solved, bool long_step) const {
        if (!solved && s.trial_damping < s.damping)  // a matrix that rounding has made indefinite
            return ask(SearchStage::undamped, smaller(s.damping, 100.0 * s.trial_damping));
        if (s.fresh == 0.0) {  // no step of this iterate has lowered the cost: is there anything to gain?
            const bool near = solved && smaller(s.predicted, s.reachable) <= kNear * visible() + s.inaudible;
            return stop(near ? SearchStatus::cost : SearchStatus::stalled);
        }
        if (!solved || !promises_little()) return relax();
        if (long_step && s.predicted > negligible()) return relax();
        if (long_step) return stop(SearchStatus::cost);  // along what the data do not determine: it leads nowhere
        s.last = 1.0;
        s.asks = static_cast<double>(SearchAsks::evaluate);
    }

    /// Less damping: with the present one, steps promise nothing although there is something to gain.
    VARPRO_PORTABLE void relax() const {
        s.damping = larger(rules.smallest, kRelax * s.damping);
        ask(SearchStage::relaxed, s.damping);
    }

    VARPRO_PORTABLE void keep(double cost) const {
        s.cost = cost;
        s.accepted = s.fresh = 1.0;
        s.growth = 2.0;
    }

    VARPRO_PORTABLE void accept(double cost) const {
        if (s.shortened != 0.0 && s.gain >= kTrusted) s.reach *= 2.0;
        const double bounded = 2.0 * smaller(s.gain, 1.0) - 1.0;
        const double factor = larger(1.0 / 3.0, 1.0 - bounded * bounded * bounded);
        s.damping = larger(rules.smallest, s.damping * (fabs(s.gain - 1.0) <= rules.sure ? rules.sure_shrink : factor));
        s.promised = kInfinite;
        const double slow = rules.cost_tolerance * s.cost;
        const bool ended = rules.confirmed == 0.0 && s.cost - cost <= slow && s.predicted <= 2.0 * slow;
        keep(cost);
        stop_after(ended || cost == 0.0 ? SearchStatus::cost : SearchStatus::running);
    }

    VARPRO_PORTABLE void reject() const {
        s.accepted = s.fresh = 0.0;
        s.damping = larger(rules.smallest, s.damping * s.growth);
        s.growth *= 2.0;
        if (s.damping > rules.largest || !is_finite(s.damping)) stop(SearchStatus::stalled);
    }

    /// The undamped step is kept unless it does harm: at rounding level its gain is noise, but it is still the
    /// Gauss-Newton step, and keeping it makes the end the same on every machine.  A cost that falls by much more than
    /// promised has left the region where promises hold (a parameter on a plateau), and the search goes on.
    VARPRO_PORTABLE void judge_last(double cost) const {
        const double old = s.cost, noise = visible(), enough = rules.cost_tolerance * old;
        const bool by_step = step_is_short(), reached = s.predicted <= enough;
        const bool stuck = s.predicted <= noise && s.predicted > kFalls * s.promised;
        const bool as_promised = old - cost <= 2.0 * larger(s.predicted, larger(enough, noise));
        if (!(cost <= old + noise)) {
            if (!reached && !stuck && s.predicted > noise + s.inaudible) return reject();
            s.accepted = s.fresh = 0.0;
            return stop(SearchStatus::cost);
        }
        keep(cost);
        s.promised = s.predicted;
        s.damping = larger(rules.smallest, rules.sure_shrink * s.damping);
        if (cost == 0.0 || (as_promised && (reached || stuck)))
            stop_after(SearchStatus::cost);
        else
            stop_after(as_promised && by_step ? SearchStatus::step : SearchStatus::running);
    }

    VARPRO_PORTABLE void stop_after(SearchStatus status) const {
        const bool spent = status == SearchStatus::running && s.iterations >= rules.max_iterations;
        stop(spent ? SearchStatus::iterations : status);
    }
};

}  // namespace
}  // namespace varpro
