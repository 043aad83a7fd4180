// The search of small problems: either the basis comes from a compiled program, and the search runs to its end, or it
// comes from the caller, and each call makes one step.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "small_fits_problem.hpp"
#include "small_fits_secants.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// What is known at the trial w, and the search that uses it.
struct Searching {
    std::vector<double> a, h, gradient, natural, factor, rhs, inside;
    Search<true> search;

    Searching(const SmallFitsCall& c, const SearchRules& rules, const SearchBox& box)
        : a(c.i * c.k),
          h(c.p * c.p),
          gradient(c.p),
          natural(c.p),
          factor(c.p * c.p),
          rhs(c.p),
          inside(box.lower ? box_numbers(static_cast<int>(c.p)) : 0),
          search{rules,
                 static_cast<int>(c.p),
                 static_cast<int>(c.i * c.k),
                 factor.data(),
                 rhs.data(),
                 static_cast<int>(c.p),
                 box,
                 inside.data()} {}

    State state(double* row) const { return State(row, search.p, search.n_linear); }

    void advance(Problem& problem, std::int64_t b, const State& s) {
        Point here = point();
        problem.evaluate(s.trial, b, here, s.numbers->evaluations > 0.0 ? s.a : nullptr);
        search.advance(here, problem.size, s);
    }

    Point point() { return Point{a.data(), h.data(), gradient.data(), natural.data(), 0.0, 0.0, 0.0, true}; }

    void advance_by_secants(Problem& problem, std::int64_t b, const State& s, const Past& past);
    void linearise(Problem& problem, const double* d, const State& s, const Past& past);
    void next_by_secants(const State& s) const;
};

/// The search goes on from the iterate w once its derivatives are known.
void ask_to_linearise(const State& s, int p) {
    s.numbers->asks = static_cast<double>(SearchAsks::linearise);
    s.numbers->fresh = 1.0;
    copy_numbers(s.w, p, s.trial);
}

/// Judges the trial, whose Phi is given.  A step that secants have promised and that is rejected says nothing about
/// damping, so its rejection is taken back and D asked for.
void Searching::advance_by_secants(Problem& problem, std::int64_t b, const State& s, const Past& past) {
    const SearchNumbers before = *s.numbers;
    Point here = point();
    problem.evaluate_values(s.trial, b, here);
    std::copy_n(s.w, search.p, rhs.data());
    const bool moved = search.judge(here, problem.size, s);
    const bool stalled = s.numbers->status == static_cast<double>(SearchStatus::stalled);
    if (!moved && *past.rough != 0.0 && (s.running() || stalled)) {
        SearchNumbers taken_back = before;
        taken_back.iterations -= 1.0;  // its iterate opens again
        taken_back.evaluations = s.numbers->evaluations;
        taken_back.used_damping = s.numbers->used_damping;
        taken_back.gain = s.numbers->gain;
        taken_back.accepted = 0.0;
        *s.numbers = taken_back;
        return ask_to_linearise(s, search.p);
    }
    if (!s.running()) return;
    if (!moved) return search.next(s);
    const bool started = before.growth == 0.0, kept = std::fabs(s.numbers->gain - 1.0) <= kKeptPromise;
    const bool secants = !started && kept && past.tells(rhs.data(), s.w, s.natural);
    if (secants) past.differentiate(rhs.data(), s.w, problem);
    past.keep(problem);
    if (!secants) return ask_to_linearise(s, search.p);
    problem.linearise(here);
    search.keep_model(here, s);
    *past.rough = 1.0;
    next_by_secants(s);
}

/// The next trial, unless it would be the last: where a search ends is for derivatives to say.
void Searching::next_by_secants(const State& s) const {
    const SearchNumbers before = *s.numbers;
    search.next(s);
    if (s.running() && s.numbers->last == 0.0) return;
    *s.numbers = before;
    ask_to_linearise(s, search.p);
}

/// Goes on from the iterate, whose Phi is kept and whose D (m, n) is given.
void Searching::linearise(Problem& problem, const double* d, const State& s, const Past& past) {
    Point here = point();
    problem.take_columns(past.phi, d);
    problem.evaluate_columns(here);
    past.begin(s.w, d);
    problem.linearise(here);
    search.keep_model(here, s);
    search.next(s);
}

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

void small_secants(const SmallSecantCall& call) {
    const SmallFitsCall& fits = call.step.fits;
    Problem problem(fits);
    Searching search(fits, call.step.rules, call.step.box);
    for (std::int64_t b = 0; b < fits.count; ++b) {
        problem.load_data(b);
        const std::int64_t row = call.step.rows[b];
        const State state = search.state(call.step.states + row * call.step.stride);
        const Past past(call, row);
        if (fits.d)
            search.linearise(problem, fits.d + b * fits.m * fits.n, state, past);
        else
            search.advance_by_secants(problem, b, state, past);
    }
}

bool small_differences(const SmallDifferencesCall& call) {
    double rest = 0.0;
    for (std::int64_t b = 0; b < call.count; ++b)
        for (std::int64_t s = 0; s < call.m; ++s)
            rest += call.parts == 2 ? quotient<2>(call, b, s) : quotient<1>(call, b, s);
    return rest == 0.0;
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
