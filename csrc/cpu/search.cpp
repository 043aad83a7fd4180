// The decisions of the searches of many problems: what the batched loop calls.
#include "../kernels/search_decision.hpp"

namespace varpro {

namespace {

const double* row(const double* vectors, std::int64_t b, std::int64_t p) { return vectors ? vectors + b * p : nullptr; }

}  // namespace

void search_begin(const SearchRules& rules, SearchNumbers* state, std::int64_t count, const double* cost,
                  const double* terms, const double* size) {
    for (std::int64_t b = 0; b < count; ++b) Decision{rules, state[b]}.begin(cost[b], terms[b], size[b]);
}

void search_open(const SearchRules& rules, SearchNumbers* state, std::int64_t count, const SearchVectors& at) {
    const int p = static_cast<int>(at.p);
    for (std::int64_t b = 0; b < count; ++b)
        Decision{rules, state[b]}.open(
            measure_gradient(p, row(at.gradient, b, p), row(at.curvature, b, p), 1),
            all_seen(rules, p, row(at.curvature, b, p), 1, row(at.natural, b, p), state[b].size));
}

void search_look(const SearchRules& rules, SearchNumbers* state, const std::int64_t* rows, std::int64_t count,
                 const SearchVectors& at, const bool* solved, const double* predicted) {
    const std::int64_t p = at.p;
    for (std::int64_t e = 0; e < count; ++e) {
        const std::int64_t b = rows[e];
        const StepMeasures step = measure_step(static_cast<int>(p), row(at.w, b, p), row(at.natural, b, p),
                                               row(at.gradient, b, p), row(at.diagonal, b, p), row(at.step, e, p));
        Decision{rules, state[b]}.look(solved[e], predicted[e], step);
    }
}

void search_judge(const SearchRules& rules, SearchNumbers* state, std::int64_t count, const double* cost,
                  const double* terms) {
    for (std::int64_t b = 0; b < count; ++b) Decision{rules, state[b]}.judge(cost[b], terms[b]);
}

}  // namespace varpro
