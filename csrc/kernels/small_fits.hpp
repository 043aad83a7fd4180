/// Many small separable problems: everything that a search needs at w, in one pass over each problem's data.
#pragma once

#include <cstdint>

#include "launch.hpp"
#include "search.hpp"
#include "variants.hpp"

namespace varpro {

/// A column of a ready model: t^constant, exp(-t/w), exp(-w t), a Gaussian or Lorentzian of centre and width.
enum class ColumnKind : std::int32_t { power, decay, rate, gaussian, lorentzian };
struct ProgramColumn {
    ColumnKind kind;
    std::int32_t first, second;  // the parameters it reads; -1 where there is none
    std::int32_t exponent;       // of a power
};

/// How the parameters of a program follow those that are searched: w[q] = factor[q] u[source[q]] + offset[q] for the Q
/// parameters that its columns read; a source of -1 holds w[q] at offset[q], and factor[q] is 0.  Without source, w is
/// u.  offset (Q) is shared, stride 0, or (problems, Q).  Of the pairs, the derivatives by parameters that are held are
/// left out.
struct ProgramLinks {
    const std::int32_t* source;
    const double *factor, *offset;
    std::int64_t stride;
};

/// kappa_1 of the scaled Gram matrix (the square of Phi's) up to which scalar products of columns are accurate enough
/// for a search: beyond it, D^T P D = D^T D - (Phi^T D)^T (Phi^T Phi)^-1 (Phi^T D) loses digits that decide the step.
/// Of 450 fits with close decay times none ends above the minimum with 1e6 to 1e7, 31 do with 1e10.
constexpr double kGramLimit = 1e6;

/// Problem b of `count` is number problems[b] of the data; outputs are indexed by b, data by the number.
///   parts 2: complex data and amplitudes of a real program, whose i / 2 columns at n / 2 points of t stand in both,
///       Phi = [C, 0; 0, C] and D alike: the real parts of y and a come first, and so do their pairs.  1 otherwise.
///   Phi   from the program and t, w; or given in phi (count, n, i).  D alike, in d (count, n, m); may be null.
///   spans (i, 2): for each column of a program the first of its rows and the one after its last; it is 0 elsewhere, so
///       that several data sets below one another are one problem.  On the CPU alone, with parts 1; null: all rows.
///   y (problems, n, k), weights (problems, n) or null, t (n) shared or (problems, n): strides of 0 share.  On the CPU
///   a
///       row of weight 0 is left out, whatever Phi and D are there.
///   a (count, i, k) = (Phi^T Phi + ridge I)^-1 Phi^T y with one step of refinement; cost = 1/2 |R|^2 + ridge/2 |a|^2
///   terms (count): 1/2 (sum_j |phi_j| |a_j|)^2
///   h (count, p, p), both triangles, and gradient (count, p): sums over pairs of a parameter of
///       aat[j,j'] (D^T P D)[m,m'] + inverse[j,j'] (G G^T)[m,m'],     -sum_k G[m,k] a[j,k];     untouched without D
///   natural (count, p): the change of a parameter that changes its columns by their own size, one over the root of
///       sum over its pairs of |D_m|^2 / |phi_j|^2; infinite for one that moves none
///   condition (count): kappa_1 of the Gram matrix of Phi with columns scaled to unit norm.  Beyond kGramLimit the CPU
///       goes on by orthogonal factorisation of Phi, to the rank tolerance.  Infinite where Phi is not finite or not of
///       full rank: nothing else of that problem may then be used.
///   lower, upper (i): bounds on a, with ridge 0 and on the CPU alone; null for none.  Each right-hand side has its own
///       active set: its projection is onto the columns whose coefficient is inside, the others keep their bound, and h
///       and gradient are sums over the right-hand sides.  condition is 1, or infinite where Phi, all columns of it, is
///       not of full rank.
/// Sums in double.  About n ((i + m)^2 + 2 (i + m) k) operations per problem, all in the first-level cache, where n
/// counts the rows of a column's span in the products of columns; with bounds
/// n (i^2 + 2 k s (s + i) + k m (p + 4)) for s columns inside and, on top, n (s + i) for each exchange.
struct SmallFitsCall {
    const ProgramColumn* program;
    const std::int64_t* spans;  // (i, 2)
    ProgramLinks links;
    const double *t, *w;
    const double *phi, *d;
    const double *y, *weights;
    const std::int64_t* problems;
    const std::int32_t *columns, *parameters;  // of the m pairs
    double *a, *cost, *terms, *h, *gradient, *natural, *condition;
    std::int64_t count, n, i, k, m, p;
    std::int64_t t_stride, y_stride, weights_stride, parts;
    double ridge;
    bool kaufman, derivatives;
    const double *lower, *upper;  // (i), of a
};

/// Bounds (p) that no trial w leaves; null where there are none.
struct SearchBox {
    const double *lower, *upper;
};

/// Between two evaluations, one problem's search is a row of doubles, so that Python can hold it:
///   w (p), trial (p), step (p), gradient (p), diagonal (p), natural (p), h (p, p), a (i, k), then its SearchNumbers.

/// One trial of each of `fits.count` problems, whose Phi and D at the trial w are given; the first call of a problem
/// (no evaluations yet) takes them at its start.  search/loop.py is the reference.  states (count of all, stride): row
/// rows[b] belongs to problem b of this call; `trial` is the next w to evaluate while the status is running.  At most
/// 16 parameters.
struct SmallAdvanceCall {
    SmallFitsCall fits;
    SearchRules rules;
    SearchBox box;
    double* states;
    const std::int64_t* rows;
    std::int64_t stride;
};

/// The same where a column depends on one parameter only and has no derivative of its own: D at a new iterate follows
/// from Phi there and at the last two iterates.  The first linearisation, the one that ends a search, and any after a
/// step that did not do what it had promised are not left to that: then `asks` is SearchAsks::linearise, and the next
/// call for the state brings D.
///   step.fits.phi is Phi at the trial w; or step.fits.d (count, m, n) is D at the iterate w.  The other is null.
///   phi (count of all, i, n), slopes (count of all, m, n), before (count of all, p) and rough (count of all) are kept
///   between calls for the rows of the states: Phi at the iterate, (Phi - Phi before) / (w - w before), or D where w is
///   w before, and whether H and g are from secants.  Weights are in Phi and D already.
struct SmallSecantCall {
    SmallAdvanceCall step;
    double *phi, *slopes, *before, *rough;
};

/// Difference quotients of columns, each between two points in w, as columns of D.
///   d[b, places[s], r] = (up[b, r, columns[s]] - base[rows[b], r, columns[s]]) inverse[b, s]
///   up (count, n, i); base of any strides, counted in numbers; columns, places (m); inverse (count, m), one over the
///   steps; d (count, all pairs, n).  Complex numbers count as `parts` = 2 doubles each, strides too.
/// Reads 2 count n m numbers and writes half as many.
struct SmallDifferencesCall {
    const double *up, *base, *inverse;
    const std::int64_t *rows, *columns, *places;
    double* d;
    std::int64_t count, n, i, m, pairs, parts;
    std::int64_t strides[3];  // of base: problem, row, column
};

/// The search of each problem of a program, from the trial w of its state to the end.
struct SmallSearchCall {
    SmallFitsCall fits;
    SearchRules rules;
    SearchBox box;
    double* states;
    std::int64_t stride;
    SearchNumbers* log;  // (most): the numbers after each trial of the one problem; or null
    std::int64_t most, *logged;
};

// small_differences says whether all are finite
// clang-format off
VARPRO_VARIANTS(
    void small_fits(const SmallFitsCall& call);
    void small_advance(const SmallAdvanceCall& call);
    void small_secants(const SmallSecantCall& call);
    bool small_differences(const SmallDifferencesCall& call);
    void small_searches(const SmallSearchCall& call);
)
// clang-format on

namespace cuda {

/// How a search computes: in double; in float except for the algebra after the sums, with tolerances no finer than
/// float allows; or first in float and then in double from where that ended.
enum class Arithmetic : std::int32_t { full, single, polished };

/// Many small problems, as varpro::SmallFitsCall, and their searches, as SmallSearchCall and SmallAdvanceCall say.
///   program (i) with links and t, or phi (count, n, i) and d (count, n, m).  problems (count) or null: problem b is
///   number b.
///   y and weights float or double; phi and d float or double; t, states and what is inside double.
///   states (any rows, stride): rows[b], or b where rows is null, is the state of problem b.
/// i <= 16, k <= 8, m <= 48, p <= 16.  The result of a problem does not depend on those beside it.
struct SmallLaunch {
    const ProgramColumn* program;
    const double* t;
    const void *phi, *d;
    const void *y, *weights;
    const std::int64_t* problems;
    const std::int32_t *columns, *parameters;
    double* states;
    const std::int64_t* rows;
    std::int64_t count, n, i, k, m, p;
    std::int64_t t_stride, y_stride, weights_stride, stride, parts;
    ProgramLinks links;
    SearchRules rules;
    SearchBox box;
    double ridge;
    bool kaufman, y_is_float, phi_is_float;
    Arithmetic arithmetic;  // of small_searches
    std::int64_t in_turn;   // problems that a team of lanes takes one after another; 0: chosen by count
};

/// The search of each problem of a program from its state to the end; a state that does not run is left alone.
/// Reads a problem's y twice per evaluation, from the caches after the first time.
void small_searches(const SmallLaunch& call, Stream stream);

/// One trial step of each problem, whose phi and d at the trial w are given.
/// Moves n (2 i + m) sizeof(phi) + 2 n k sizeof(y) bytes per problem.
void small_advance(const SmallLaunch& call, Stream stream);

}  // namespace cuda
}  // namespace varpro
