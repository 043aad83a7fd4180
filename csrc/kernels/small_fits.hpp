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

/// Numbers as in result.py; `beyond` = a Gram matrix past condition_limit was met, and the problem is left to the
/// orthogonal route, from its start.
enum class SearchStatus : std::int64_t { running, cost, step, gradient, iterations, stalled, nonfinite, beyond = -1 };

/// A trial step, as IterationRecord has it.
struct SearchRecord {
    double problem, iteration, cost, damping, gain, accepted;
};

/// Levenberg-Marquardt on each problem of `fits`, a program, from w (count, p) to the best w, in place; at most 16
/// parameters.  The loop is solvers/loop.py's, trial by trial, which is its reference.  a, cost of the best w; status,
/// iterations, evaluations (count); records (up to n_records, n_recorded of them written) or null.
struct SmallSearchCall {
    SmallFitsCall fits;
    SearchRules rules;
    double* w;
    std::int64_t *status, *iterations, *evaluations;
    SearchRecord* records;
    std::int64_t n_records;
    std::int64_t* n_recorded;
};

#define VARPRO_DECLARE_SMALL_FITS(isa)                \
    namespace isa {                                   \
    void small_fits(const SmallFitsCall& call);       \
    void small_searches(const SmallSearchCall& call); \
    }

VARPRO_DECLARE_SMALL_FITS(baseline)
VARPRO_DECLARE_SMALL_FITS(avx2)
VARPRO_DECLARE_SMALL_FITS(avx512)

}  // namespace varpro
