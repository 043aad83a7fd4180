"""What a statistician would point out about a fit: correlation, residuals that are not white, points that carry it.

    Durbin-Watson   d = sum (r_n - r_(n-1))^2 / sum r_n^2 = r^T T r / r^T r
    leverage        h_n = j_n (J^T J)^-1 j_n^T, the derivative of a fitted value by the value itself

For r = (I - Q Q^T) e with white e and Q (N, p) an orthonormal basis of the columns of J, the moments of d are exact:

    E d = tr M T / (N - p),   var d = 2 [tr (M T)^2 - tr M T E d] / ((N - p) (N - p + 2)),   M = I - Q Q^T

Durbin and Watson, Biometrika 37 (1950) 409-428; Wald and Wolfowitz, Ann. Math. Stat. 11 (1940) 147-162.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.fitting.bands import band_width
from varpro.fitting.complex_parts import both_parts
from varpro.fitting.statistics import statistics_of
from varpro.linalg.incidence import jacobian_of_columns
from varpro.statistics import EPS

if TYPE_CHECKING:
    from varpro.fitting.result import FitResult
    from varpro.fitting.solution import Solution

CORRELATED = 0.99
MOST_CORRELATED = 500
"""Most parameters whose whole correlation is looked at."""
NOT_WHITE = 0.005
"""Probability below which one of the two tests of whiteness speaks; the two together do so for 1 % of white ones."""
LEAST_RUNS = 10
"""Least number of residuals of either sign for the normal approximation of the runs test."""
CARRIES = 0.5
"""Leverage above which a value decides its own fitted value; Huber, Robust Statistics (1981), section 7.2."""
LARGE = 1_000_000
"""With more values, nothing is looked at: the tests would take longer than the fit."""
NAMED = 3
"""Most pairs, or points, that one warning names."""


def leverage(fit: "FitResult") -> Array:
    """(N, K) the leverage of every value, 0 for excluded ones; for complex data that of each part.

    With a robust loss that of the last round, whose weights are part of the data's: an outlier has next to none.
    """
    solution, u = fit._solution, fit._statistics.uncertainty
    if solution.robust_weights is not None:
        solution = replace(solution, robust_weights=None)
        u = statistics_of(solution, np.zeros(1, dtype=int), absolute=False).uncertainty
    width = band_width(solution, u, solution.spec.data.t)
    weight = solution.own_data.total_weight()[0]
    return both_parts(lambda part: np.where(weight > 0, np.square(weight * part), 0.0), width)


def runs_test(residual: Array) -> float:
    """The z of the number of runs of one sign in r (n,): negative where neighbours are alike; NaN for too few."""
    above = residual[residual != 0] > 0
    n, m = int(above.sum()), int((~above).sum())
    if min(n, m) < LEAST_RUNS:
        return np.nan
    runs, mean = 1 + int(np.count_nonzero(above[1:] != above[:-1])), 1 + 2 * n * m / (n + m)
    return float((runs - mean) / np.sqrt((mean - 1) * (mean - 2) / (n + m - 1)))


def durbin_watson(residual: Array, q: Array) -> tuple[float, float]:
    """d and its z, negative where neighbours are alike, for r (n,) and an orthonormal basis q (n, p) of what was
    fitted; NaN where nothing is left over."""
    n, p = q.shape
    square = float(residual @ residual)
    if n - p < 3 or square == 0:
        return np.nan, np.nan
    d = float(np.sum(np.diff(residual) ** 2)) / square
    tq = _second_differences(q)
    inner = q.T @ tq
    trace = 2.0 * (n - 1) - np.trace(inner)
    squares = 6.0 * n - 8.0 - 2.0 * float(np.sum(tq**2)) + float(np.sum(inner**2))
    mean = trace / (n - p)
    variance = 2.0 * (squares - trace * mean) / ((n - p) * (n - p + 2))
    return d, float((d - mean) / np.sqrt(variance)) if variance > 0 else np.nan


def _second_differences(q: Array) -> Array:
    """T q, with r^T T r = sum (r_n - r_(n-1))^2."""
    steps = np.diff(q, axis=0)
    return np.concatenate([-steps[:1], steps[:-1] - steps[1:], steps[-1:]])


def whiteness(fit: "FitResult") -> tuple[float, float, float]:
    """The mean Durbin-Watson d, its z and that of the runs test over all right-hand sides, in the order of t; NaN where
    t has no order or too little is left over."""
    solution = fit._solution
    spec, data = solution.spec, solution.own_data
    order, weight, rest = fit._order, data.total_weight()[0], data.y[0] - fit._fitted
    if order is None:
        return np.nan, np.nan, np.nan
    phi, d, _ = solution.own_spec.problem.weighted_columns(solution.u, np.zeros(1, dtype=int), solution.amplitudes)
    n, found = len(order), []
    for k in range(rest.shape[1]):
        place = k if phi.shape[1] > 1 else 0
        moves = jacobian_of_columns(
            d[0, place], solution.amplitudes[0, :, k], spec.basis.columns, spec.basis.parameters, spec.names.n_free
        )
        jacobian = np.concatenate([phi[0, place], moves], axis=1)
        rows = order[weight[order, k] > 0]
        for part, at in ((rest.real, 0), (rest.imag, n))[: spec.parts]:
            r, q = weight[rows, k] * part[rows, k], _orthonormal(jacobian[at + rows])
            found.append((*durbin_watson(r, q), runs_test(r)))
    table = np.array(found)
    good = np.isfinite(table)
    with np.errstate(invalid="ignore", divide="ignore"):
        sums, counts = np.where(good, table, 0.0).sum(axis=0), good.sum(axis=0)
        watson, serial, runs = (sums / [counts[0], np.sqrt(counts[1]), np.sqrt(counts[2])]).tolist()
    return watson, serial, runs


def _orthonormal(jacobian: Array) -> Array:
    """(n, p) an orthonormal basis of the columns, at unit norm each."""
    size = np.linalg.norm(jacobian, axis=0)
    u, s, _ = np.linalg.svd(jacobian[:, size > 0] / size[size > 0], full_matrices=False)
    return u[:, s > len(jacobian) * EPS * s.max(initial=0.0)]


def not_finite(solution: "Solution", linear_names: tuple[str, ...]) -> str:
    """The first row, and its column, where the model of one problem is not finite; empty if that cannot be told."""
    spec, w = solution.spec, solution.nonlinear
    if not np.isfinite(w).all():
        return ""
    with np.errstate(all="ignore"):
        phi = spec.model.values(w, np.zeros(1, dtype=int))[0, : spec.data.y.shape[1]]
    counts = (spec.data.total_weight()[0] > 0).any(axis=1)
    rows, columns = np.nonzero(~np.isfinite(phi) & counts[:, None])
    if not len(rows):
        return ""
    row, column = int(rows[0]), int(columns[0])
    name = linear_names[column] if column < len(linear_names) else f"column {column}"
    t = (spec.data.t[0] if spec.data.own_t else spec.data.t)[row]
    count = len(np.unique(rows))
    more = f", and {count - 1} more rows are not finite" if count > 1 else ""
    return (
        f" In row {row}, at t = {t}, {name} is {phi[row, column]}{more}; leave out rows that the model is not made for."
    )


def warnings_of(fit: "FitResult") -> tuple[str, ...]:
    """See FitResult.warnings."""
    if not fit.success or fit._solution.spec.data.y.size > LARGE:
        return ()
    return tuple(word for word in (_unknown(fit), _correlated(fit), _not_white(fit), _carried(fit)) if word)


def _unknown(fit: "FitResult") -> str:
    errors = fit.stderr_nonlinear
    parts = np.concatenate([errors.real, errors.imag]) if np.iscomplexobj(errors) else errors
    listed = ", ".join(name for name, error in zip(fit.names, parts, strict=True) if np.isinf(error))
    if not listed:
        return ""
    return f"not determined by the data: {listed}; other values fit as well, so fix one, or take a smaller model"


def _correlated(fit: "FitResult") -> str:
    if fit._covariance_size > MOST_CORRELATED:
        return ""
    names, which = [*fit.names], fit._solution.spec.names.free.tolist()  # one that is tied follows another fully
    if fit._covariance_size == len(names) + len(fit.linear_names):  # else amplitudes are complex, or of several columns
        which += range(len(names), fit._covariance_size)
        names += fit.linear_names
    c = np.abs(fit.correlation)
    pairs = [(float(c[i, j]), i, j) for i in which for j in which if j < i and c[i, j] > CORRELATED]
    if not pairs:
        return ""
    words = [f"{names[j]} and {names[i]} ({value:.4f})" for value, i, j in sorted(pairs, reverse=True)[:NAMED]]
    more = f" and {len(pairs) - NAMED} more pairs" if len(pairs) > NAMED else ""
    return (
        f"correlated above {CORRELATED}: {', '.join(words)}{more}; the data hardly tell them apart, and an error bar "
        "says little about one of them alone"
    )


def _not_white(fit: "FitResult") -> str:
    if fit.ridge or fit._solution.spec.ridged or fit._solution.loss != "linear":
        return ""  # a ridge leaves a bias in the residuals, and a robust loss outliers
    data = fit._solution.spec.data
    if fit._solution.objective[0] <= 0.5 * np.sum((data.y.size * EPS * data.total_weight() * np.abs(data.y)) ** 2):
        return ""  # nothing but rounding is left, which is no noise
    d, z, runs = whiteness(fit)
    by_d, by_runs = scipy.stats.norm.cdf(z) < NOT_WHITE, scipy.stats.norm.cdf(runs) < NOT_WHITE
    if not (by_d or by_runs):
        return ""
    words = [f"Durbin-Watson {d:.2f} (z = {z:.1f})"] if by_d else []
    words += [f"too few runs of one sign (z = {runs:.1f})"] if by_runs else []
    return (
        f"the residual is not white: {', '.join(words)}; the model leaves something over, or the noise is correlated, "
        "and the error bars are too small"
    )


def _carried(fit: "FitResult") -> str:
    h = leverage(fit)
    h = np.maximum(h.real, h.imag) if np.iscomplexobj(h) else h
    limit = max(CARRIES, 3.0 * float(fit._statistics.parameters[0]) / max(fit._n_values, 1))
    rows = np.flatnonzero((np.where(np.isfinite(h), h, 0.0) > limit).any(axis=1))
    if not len(rows) or fit.dof == 0:
        return ""
    most = [f"{n} ({h[n].max():.2f})" for n in rows[np.argsort(-h[rows].max(axis=1))][:NAMED]]
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    rows_named = f"rows {', '.join(most)}{more}"
    return f"points that carry the fit (leverage above {limit:.2g}): {rows_named}; an error there goes unseen"
