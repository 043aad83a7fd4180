"""A second look at searches that have ended where a parameter shows next to no effect, by orthogonal columns.

H consists of scalar products, and an effect below the root of their rounding is one of 1e-7 there.  So H cannot tell a
parameter without effect from one with little.  The first is undetermined.  The second may have been held where it is,
for the search took its column for larger than it is: along the true Gauss-Newton step the cost may still fall.
"""

from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array
from varpro.fitting.undetermined import ROUNDING, empty_errors, uncertainty_at
from varpro.linalg.incidence import sum_pairs
from varpro.result import Status
from varpro.statistics import Uncertainty, cancelling

if TYPE_CHECKING:
    from varpro.fitting.spec import Spec

LOOKED_AT = 512
"""Problems whose columns are computed together."""
CONVERGED = [status.value for status in Status if status.converged]
TRIALS = 4.0 ** -np.arange(16)
"""Parts of the step that are tried: where a column vanishes with its parameter, as that of a width at zero, the step is
as much too long as the column is too short."""


def second_look(spec: "Spec", searched: dict[str, Array], problems: Array) -> tuple[Array, Array, Array]:
    """The status (B,) of all problems; those among `problems` that are not at a minimum (c,), and points u (c, F) of
    lower cost.

    searched : the arrays of all problems, see run.
    """
    status, u, names = searched["status"], searched["u"], spec.names
    problems = problems[np.isin(status[problems], [*CONVERGED, Status.STALLED.value])]
    lower: list[Array] = [np.empty((0, u.shape[1]))]
    for first in range(0, len(problems), LOOKED_AT):
        some = problems[first : first + LOOKED_AT]
        a = searched["amplitudes"][some]
        columns = spec.problem.weighted_columns(u[some], some, a)
        free = (u[some] > names.lower) & (u[some] < names.upper)
        y_size = np.linalg.norm(np.linalg.norm(spec.y[some], axis=1), axis=1)
        found = uncertainty_at(spec, columns, u[some], a, y_size)
        cost = searched["objective"][some]
        dof = np.maximum(spec.data.valid[some] * spec.parts - found.influence, 1.0)
        lost = (found.idle & free).any(axis=1) | cancelling(found, a, 2.0 * cost / dof, y_size)
        lost |= empty_errors(spec, u[some], some, found, 2.0 * cost / dof, y_size).any(axis=1)
        status[some[lost]] = Status.UNDETERMINED.value
        gradient = _gradient(spec, some, *columns[:2], a)
        below = _below(spec, u[some], some, gradient, found, cost, y_size)
        below[lost | (status[some] == Status.STALLED.value)] = np.nan
        lower.append(below)
    points = np.concatenate(lower)
    fall = np.isfinite(points).all(axis=1) & (points.shape[1] > 0)
    return status, problems[fall], points[fall]


def _gradient(spec: "Spec", problems: Array, phi: Array, d: Array, a: Array) -> Array:
    """(b, F) -sum_k (D_k a_k)^T r_k from weighted columns; the rows of a ridge have no data."""
    by_right = np.moveaxis(a, 2, 1)
    y = np.zeros((len(a), by_right.shape[1], phi.shape[2]))
    y[:, :, : spec.y.shape[1]] = np.moveaxis(spec.y[problems], 2, 1)
    residual = y - (phi @ by_right[..., None])[..., 0]
    moments = (residual[:, :, None, :] @ d)[:, :, 0] * by_right[:, :, spec.basis.columns]
    return -sum_pairs(moments.sum(axis=1), spec.basis.parameters, spec.names.n_free)


def _below(
    spec: "Spec", u: Array, problems: Array, gradient: Array, found: Uncertainty, cost: Array, y_size: Array
) -> Array:
    """(b, F) the point of least cost among parts of the Gauss-Newton step; NaN where the step promises no more than the
    search was asked for, or nowhere leads further down."""
    below = np.full(u.shape, np.nan)
    step = -(found.nonlinear @ gradient[:, :, None])[:, :, 0]
    least = np.maximum(spec.termination.cost_tolerance * cost, ROUNDING * y_size * np.sqrt(2.0 * cost))
    hopeful = np.flatnonzero(-0.5 * np.einsum("bf,bf->b", gradient, step) > least)
    if not len(hopeful):
        return below
    best = (cost - least)[hopeful]
    with np.errstate(all="ignore"):  # a part of the step may lead out of the model's domain
        for part in TRIALS:
            tried = np.clip(u[hopeful] + part * step[hopeful], spec.names.lower, spec.names.upper)
            found_cost = spec.problem.evaluate(tried, problems[hopeful]).cost
            better = found_cost < best
            best[better] = found_cost[better]
            below[hopeful[better]] = tried[better]
    return below
