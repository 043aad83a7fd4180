// The search of small problems: either the basis comes from a compiled program, and the search runs to its end, or it
// comes from the caller, and each call makes one step.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "small_fits_problem.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// What is known at the trial w, and the search that uses it.
struct Searching {
    std::vector<double> a, h, gradient, natural, factor, rhs;
    SearchIn<true> search;

    Searching(const SmallFitsCall& c, const SearchRules& rules, const SearchBox& box)
        : a(c.i * c.k),
          h(c.p * c.p),
          gradient(c.p),
          natural(c.p),
          factor(c.p * c.p),
          rhs(c.p),
          search{rules,
                 static_cast<int>(c.p),
                 static_cast<int>(c.i * c.k),
                 factor.data(),
                 rhs.data(),
                 static_cast<int>(c.p),
                 box} {}

    State state(double* row) const { return State(row, search.p, search.n_linear); }

    void advance(Problem& problem, std::int64_t b, const State& s) {
        Point point{a.data(), h.data(), gradient.data(), natural.data(), 0.0, 0.0, 0.0, true};
        problem.evaluate(s.trial, b, point, s.numbers->evaluations > 0.0 ? s.a : nullptr);
        search.advance(point, problem.size, s);
    }
};

}  // namespace

void small_fits(const SmallFitsCall& call) {
    Problem problem(call);
    for (std::int64_t b = 0; b < call.count; ++b) problem.solve(b);
}

void small_advance(const SmallAdvanceCall& call) {
    Problem problem(call.fits);
    Searching search(call.fits, call.rules, call.box);
    for (std::int64_t b = 0; b < call.fits.count; ++b) {
        problem.load_data(b);
        search.advance(problem, b, search.state(call.states + call.rows[b] * call.stride));
    }
}

void small_searches(const SmallSearchCall& call) {
    Problem problem(call.fits);
    Searching search(call.fits, call.rules, call.box);
    for (std::int64_t b = 0; b < call.fits.count; ++b) {
        problem.load_data(b);
        const State state = search.state(call.states + b * call.stride);
        while (state.running()) {
            search.advance(problem, b, state);
            if (call.log && *call.logged < call.most && state.numbers->evaluations > 1.0)
                call.log[(*call.logged)++] = *state.numbers;
        }
    }
}

}  // namespace varpro::VARPRO_ISA
