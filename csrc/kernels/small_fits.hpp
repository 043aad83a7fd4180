/// Many small separable problems: all that a search needs to know at w, in one pass over each problem's data.
#pragma once

#include <cstdint>

namespace varpro {

/// A column of a ready model: t^constant, exp(-t/w), exp(-w t), a Gaussian or Lorentzian of centre and width.
enum class ColumnKind : std::int32_t { power, decay, rate, gaussian, lorentzian };
struct ProgramColumn {
    ColumnKind kind;
    std::int32_t first, second;  // the parameters it reads; -1 where there is none
    std::int32_t exponent;       // of a power
};

/// Problem b of `count` is number problems[b] of the data; outputs are indexed by b, data by the number.
///   Phi   from the program and t, w; or given in phi (count, n, i).  D alike, in d (count, n, m); may be null.
///   y (problems, n, k), weights (problems, n) or null, t (n) shared or (problems, n): strides of 0 share.
///   a (count, i, k) = (Phi^T Phi + ridge I)^-1 Phi^T y with one step of refinement; cost = 1/2 |R|^2 + ridge/2 |a|^2
///   h (count, p, p), both triangles, and gradient (count, p): sums over pairs of a parameter of
///       aat[j,j'] (D^T P D)[m,m'] + inverse[j,j'] (G G^T)[m,m'],     -sum_k G[m,k] a[j,k];     untouched without D
///   condition (count): kappa_1 of the Gram matrix of Phi with columns scaled to unit norm; infinite on breakdown, and
///       nothing else of that problem is then to be used.
/// Sums in double.  About n ((i + m)^2 + 2 (i + m) k) operations a problem, all in the first-level cache.
struct SmallFitsCall {
    const ProgramColumn* program;
    const double *t, *w;
    const double *phi, *d;
    const double *y, *weights;
    const std::int64_t* problems;
    const std::int32_t *columns, *parameters;  // of the m pairs
    double *a, *cost, *h, *gradient, *condition;
    std::int64_t count, n, i, k, m, p;
    std::int64_t t_stride, y_stride, weights_stride;
    double ridge;
    bool kaufman, derivatives;
};

/// The rules of the search: solvers/damping.py and solvers/termination.py say what each means.
struct SearchRules {
    double initial, smallest, largest, least_gain;
    double cost_tolerance, step_tolerance, gradient_tolerance, rounding, diagonal_floor;
    std::int64_t max_iterations;
    double condition_limit, step_bound, sure_shrink, sure;
};

/// From the 14 numbers of varpro.kernels.small_fits.rules, which are in this order.
inline SearchRules search_rules(const double* r) {
    return {r[0],  r[1],  r[2],  r[3], r[4], r[5], r[6], r[7], r[8], static_cast<std::int64_t>(r[9]),
            r[10], r[11], r[12], r[13]};
}

/// Numbers as in result.py; `beyond` = a Gram matrix past condition_limit was met, and the problem is left to the
/// orthogonal route, from its start.
enum class SearchStatus : std::int64_t { running, cost, step, gradient, iterations, stalled, nonfinite, beyond = -1 };

/// One problem's search between two evaluations, all double so that Python can hold it as rows of one array:
///   w (p), trial (p), step (p), gradient (p), diagonal (p), h (p, p), a (i, k), then the numbers of SearchNumber.
enum SearchNumber {
    kStatus,
    kCost,
    kDamping,
    kGrowth,
    kStartCost,
    kPredicted,
    kSolved,
    kFresh,
    kIterations,
    kEvaluations,
    kUsedDamping,
    kGain,
    kAccepted,
    kNumbers
};

/// One step of Levenberg-Marquardt for each of `fits.count` problems, whose Phi and D at the trial w are given; the
/// first call of a problem (no evaluations yet) takes them at its start.  The step is solvers/loop.py's, which is its
/// reference.  states (count of all, stride): row rows[b] belongs to problem b of this call; `trial` is the next w to
/// evaluate while the status is running.  At most 16 parameters.
struct SmallAdvanceCall {
    SmallFitsCall fits;
    SearchRules rules;
    double* states;
    const std::int64_t* rows;
    std::int64_t stride;
};

/// The search of each problem of a program, from the trial w of its state to the end.
struct SmallSearchCall {
    SmallFitsCall fits;
    SearchRules rules;
    double* states;
    std::int64_t stride;
    double* log;  // (most, kNumbers): the numbers after each trial of the one problem; or null
    std::int64_t most, *logged;
};

#define VARPRO_DECLARE_SMALL_FITS(isa)                \
    namespace isa {                                   \
    void small_fits(const SmallFitsCall& call);       \
    void small_advance(const SmallAdvanceCall& call); \
    void small_searches(const SmallSearchCall& call); \
    }

VARPRO_DECLARE_SMALL_FITS(baseline)
VARPRO_DECLARE_SMALL_FITS(avx2)
VARPRO_DECLARE_SMALL_FITS(avx512)

}  // namespace varpro
