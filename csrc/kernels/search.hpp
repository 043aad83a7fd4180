/// The decision of a search: accept, damp, stop.  One piece of code for every carrier: the compiled small fits of a CPU
/// and of a GPU call it from C++ (search_decision.hpp), the batched loop through the binding;
/// varpro/kernels/search/reference.py says the same in plain Python.
///
/// A carrier repeats these calls for each problem, and passes nothing but measures:
///     begin(cost, terms, size)                the start has been evaluated
///     open(steepest, seen)                    a step is wanted; a new iterate comes with its gradient
///     while asks to solve: look(...)          (H + damping d) s = -g has been solved for the damping it asked for
///     judge(cost, terms)                      the trial has been evaluated
///
/// Every test is relative to a quantity of the problem itself, so a fit in other units takes the same steps:
///     steps       by d, the largest diag(J^T J) so far, which is in the units of w (More, LNM 630 (1978) 105-116): the
///                 column of an amplitude that fades must not set its parameter free
///     size        of the data, 1/2 |y|^2; cost is 1/2 |r|^2; terms, of what the model is summed of, which is more
///                 where its columns cancel
///     rounding    costs are known to rounding 2 sqrt(terms cost), that is eps |y| |r| with room: a smaller decrease
///                 can be neither confirmed nor refuted.  A promise is known far better, to the square of the
///                 gradient's rounding, so below what costs show it is the promise that must go on falling
///     scale       of a parameter, which bounds the first steps: |w|, or the change that changes its columns by
///                 themselves where that is less (a centre in Unix seconds moves by its width)
///
/// Converged means that the UNDAMPED step promises next to nothing: damping shortens steps, and a step that damping has
/// shortened says nothing about the distance to the minimum.  So when a damped step of a new iterate promises little,
/// the undamped one is asked for.  If it promises little too, it is the last trial; otherwise damping is reduced.  A
/// training does not need the minimum, only an end when progress is slow: with `confirmed` 0 the damped step decides.
#pragma once

#include <cstdint>

namespace varpro {

/// search/damping.py and search/termination.py say what each means; the names are those of VARPRO_SEARCH_RULES.
struct SearchRules {
    double initial, smallest, largest, least_gain, sure, sure_shrink, step_bound, diagonal_floor, diagonal_memory;
    double cost_tolerance, step_tolerance, gradient_tolerance, rounding, undamped, confirmed;
    double max_iterations, condition_limit;
};

/// X(name) for each rule: the boundary to Python is generated from this list.
// clang-format off
#define VARPRO_SEARCH_RULES(X) \
    X(initial) X(smallest) X(largest) X(least_gain) X(sure) X(sure_shrink) X(step_bound) X(diagonal_floor) \
    X(diagonal_memory) X(cost_tolerance) X(step_tolerance) X(gradient_tolerance) X(rounding) X(undamped) \
    X(confirmed) X(max_iterations) X(condition_limit)
// clang-format on

/// Numbers as in result.py; `beyond`: somewhere the basis was too ill-conditioned for a compiled search, and the
/// truncated factorisation has to begin again from the problem's start.
enum class SearchStatus : std::int64_t {
    running,
    cost,
    step,
    gradient,
    iterations,
    stalled,
    nonfinite,
    undetermined = 9,
    beyond = -1
};

/// What a search knows between two calls; all double, so that Python can hold problems as rows of one array.
struct SearchNumbers {
    double status;
    double cost;     // of the iterate
    double size;     // of the data, 1/2 |y|^2
    double terms;    // of the model's terms at the iterate, 1/2 (sum_j |phi_j| |a_j|)^2, or size where that is larger
    double damping;  // 0 before the start; a state may bring its own
    double growth;   // factor on damping after the next failure; 0 before the start
    double reach;    // bound on a step, relative to the scale of the parameters
    double asks;     // SearchAsks
    double stage;    // SearchStage
    double trial_damping;  // to solve with
    double predicted;      // decrease that the trial promises
    double inaudible;      // a promise of such a step would be the rounding of the gradient
    double reachable;      // part of the promise by parameters that move by more than their last digits
    double solved;         // 0: the damped matrix was not positive definite, and there is no step
    double effect;         // of the step on the model, at most, in units of sqrt(|y| |r|)
    double shortened;      // 1: the bound has raised the damping at this iterate
    double last;           // 1: the trial is undamped and promises next to nothing
    double promised;       // by the latest such trial since a damped one; infinite where there was none
    double unseen;         // 1: a parameter has no effect on the fit at the iterate
    double fresh;          // 1: the iterate has moved, and needs a new linearisation
    double iterations, evaluations;
    double used_damping, gain, accepted;  // of the latest trial, for the record
};

// clang-format off
#define VARPRO_SEARCH_NUMBERS(X) \
    X(status) X(cost) X(size) X(terms) X(damping) X(growth) X(reach) X(asks) X(stage) X(trial_damping) \
    X(predicted) X(inaudible) X(reachable) X(solved) X(effect) X(shortened) X(last) X(promised) X(unseen) \
    X(fresh) X(iterations) X(evaluations) X(used_damping) X(gain) X(accepted)
// clang-format on

constexpr int kNumbers = sizeof(SearchNumbers) / sizeof(double);

/// The decision asks for the first two; a carrier that works with approximate derivatives, for the third.
enum class SearchAsks : std::int64_t { solve, evaluate, linearise };
/// What the damping is being sought for: a trial; the undamped step, which shows whether anything is left to gain; a
/// trial that damping hides; a trial in any case.
enum class SearchStage : std::int64_t { damped, undamped, relaxed, settled };

/// The same for `count` problems: state (count) by rows; vectors (count, p), natural may be null.
struct SearchVectors {
    const double *w, *natural, *gradient, *curvature, *diagonal, *step;
    std::int64_t p;
};
void search_begin(const SearchRules& rules, SearchNumbers* state, std::int64_t count, const double* cost,
                  const double* terms, const double* size);
void search_open(const SearchRules& rules, SearchNumbers* state, std::int64_t count, const SearchVectors& at);
/// rows (count): whose step this is; the vectors are of all problems but for the step, which is theirs.
void search_look(const SearchRules& rules, SearchNumbers* state, const std::int64_t* rows, std::int64_t count,
                 const SearchVectors& at, const bool* solved, const double* predicted);
void search_judge(const SearchRules& rules, SearchNumbers* state, std::int64_t count, const double* cost,
                  const double* terms);

}  // namespace varpro
