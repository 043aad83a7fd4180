"""Parameters whose error bar says nothing, found by trying what it says.

A lifetime far below the distance of two points, the width of a step that falls between two of them, or a rate that may
as well be infinite acts on the fit by rounding only.  Its error, from the slope, is then beyond all proportion, or, if
the slope is the rounding of a difference, beyond all reason.  An error is believed if it holds on one side: if

    a hundredth of it raises the cost by no more than the whole should, by half a variance, the others moving along or
    staying where they are, and the whole of it, the others staying, by no less than a hundredth of that

as it does wherever the fit is roughly linear over a hundredth of the error, however the parameters are correlated.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array
from varpro.problems.columns import WeightedColumns
from varpro.statistics import Uncertainty, accuracy_of, uncertainty

if TYPE_CHECKING:
    from varpro.fitting.spec import Spec

DISPROPORTION = 1e2
"""Error of a parameter over itself from which on it is tried, and the factor by which it may be wrong."""
ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""Change of a cost, relative to ||y|| ||r||, that is rounding."""


def uncertainty_at(
    spec: "Spec", columns: WeightedColumns, u: Array, a: Array, y_size: Array, empty: Array | None = None
) -> Uncertainty:
    """The uncertainties of problems at u (b, F); empty (b, F) bool are parameters that are not determined."""
    phi, d, free_a = columns
    free = (u > spec.names.lower) & (u < spec.names.upper)
    with np.errstate(over="ignore", invalid="ignore"):  # a slope at the end of the numbers
        found = uncertainty(
            phi, d, a, spec.basis.columns, spec.basis.parameters,
            free=free if empty is None else free & ~empty,
            free_amplitudes=free_a,
            y_size=y_size,
            n_data=spec.data.y.shape[1] * spec.parts,
            accuracy=accuracy_of(spec.model.derivative, phi.shape[2]),
            rank_tolerance=spec.rank_tolerance,
        )  # fmt: skip
    if empty is None:
        return found
    return replace(found, at_bound=~free, infinite=found.infinite | (empty & free))


def empty_errors(
    spec: "Spec",
    u: Array,
    problems: Array,
    found: Uncertainty,
    variance: Array,
    y_size: Array,
    every: Array | None = None,
) -> Array:
    """(b, F) bool: parameters whose error bar says nothing, on either side.

    u (b, F), variance (b,) of a residual of weight 1, y_size (b,) norms of the weighted data.  every (b,) bool : where
    all errors are tried, not only those that are out of proportion; None for nowhere.
    """
    error = np.sqrt(variance[:, None] * np.einsum("bff->bf", found.nonlinear))
    large: Array = error > DISPROPORTION * np.abs(u)
    out: Array = np.isfinite(error) & ~found.at_bound & (large if every is None else large | every[:, None])
    row, f = np.nonzero(out)
    if not len(row):
        return out
    cost = spec.problem.evaluate(u, problems).cost[row]
    promised, error = 0.5 * variance[row], error[row, f]
    rounding = ROUNDING * y_size[row] * (np.sqrt(2.0 * cost) + ROUNDING * y_size[row])
    with np.errstate(all="ignore"):
        long = np.maximum(1.0, DISPROPORTION * np.sqrt(rounding / promised))  # a rise that is seen beside the rounding
        along = found.nonlinear[row, f] * (variance[row] / error / DISPROPORTION)[:, None]
        alone = np.where(np.arange(u.shape[1]) == f[:, None], error[:, None], 0.0)
        steps = np.stack([along, alone / DISPROPORTION, long[:, None] * alone])
        steps = np.stack([steps, -steps], axis=1)
        wanted = u[row] + steps
        tried = np.clip(wanted, spec.names.lower, spec.names.upper)
        own = (slice(None), slice(None), np.arange(len(f)), f)
        whole = np.abs((tried - wanted)[own]) < 0.5 * np.abs(steps[own])  # not held by a bound
        rise = np.empty(whole.shape)
        for kind, side in np.ndindex(3, 2):
            rise[kind, side] = spec.problem.evaluate(tried[kind, side], problems[row]).cost - cost
        steep = ~(rise[:2] <= np.maximum(promised, rounding)).any(axis=0)
        flat = (rise[2] < long**2 * promised / DISPROPORTION) & whole[2]
        beyond = ~np.isfinite(rise[2])  # the model's domain
    believed = whole[1] & ~steep & ~flat & ~beyond
    boxed = ~whole[1].any(axis=0)  # a hundredth of the error is longer than all that the bounds leave
    out[row, f] = ((steep | flat | beyond).any(axis=0) | boxed) & ~believed.any(axis=0)
    return out
