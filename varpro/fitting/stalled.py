"""Searches that have stalled at a minimum which Gauss and Newton's matrix does not show.

Where two columns have run together under a ridge, say, parting them changes nothing at first order.  H all but vanishes
along that way, while the cost rises by its second derivatives: the step that H promises leads nowhere, and no damping
makes it pay.  So the cost itself is asked, by differences over the scales of the columns: a stalled point is a minimum
if the cost rises along every parameter, its Hessian is positive definite, and Newton's step promises no more than a
search is asked for.
"""

from typing import TYPE_CHECKING

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.kernels.search import ROUNDING
from varpro.linalg.incidence import jacobian_of_columns
from varpro.result import Status

if TYPE_CHECKING:
    from varpro.fitting.spec import Spec

SHARE = 1e-4
"""Part of the scale of a parameter over which differences are taken: a cost known to 1e-15 then has a slope of 1e-11
and a curvature of 1e-7 of its own."""
NEAR = 8.0
"""Times what costs show: with so small a promise, a stall is the minimum, as for the search itself."""
MOST = 16
"""Parameters up to which a Hessian, of 2 P^2 + 1 costs, is asked for."""

LOOKED_AT = 1000
"""Most problems that are looked at, one by one; where more have stalled, something else is wrong."""


def confirm_stalled(spec: "Spec", searched: dict[str, Array]) -> None:
    """Give those problems that have stalled at a minimum the status of a search that has converged, in place."""
    status = searched["status"]
    if spec.names.n_free <= MOST:
        for problem in np.flatnonzero(status == Status.STALLED.value)[:LOOKED_AT]:
            if _at_minimum(spec.one(int(problem)), searched["u"][problem], searched["amplitudes"][problem]):
                status[problem] = Status.COST_TOLERANCE.value


def _at_minimum(spec: "Spec", u: Array, a: Array) -> bool:
    step = SHARE * _scales(spec, u, a)
    inside = (u - step >= spec.names.lower) & (u + step <= spec.names.upper)
    if not (np.isfinite(step) & (step > 0) & inside).all():
        return False
    pairs = [(i, j) for i in range(len(u)) for j in range(i)]
    points = u + _steps(len(u), pairs) * step
    with np.errstate(all="ignore"):
        cost = spec.repeated(len(points)).problem.evaluate(points, np.arange(len(points))).cost
    if not np.isfinite(cost).all():
        return False
    here, (up, down) = cost[0], cost[1 : 2 * len(u) + 1].reshape(-1, 2).T
    slope, hessian = 0.5 * (up - down), np.diag(up - 2 * here + down)
    for (i, j), corner in zip(pairs, cost[2 * len(u) + 1 :].reshape(-1, 4), strict=True):
        hessian[i, j] = hessian[j, i] = 0.25 * (corner[0] - corner[1] - corner[2] + corner[3])
    if not (np.minimum(up, down) > here).all():
        return False
    try:
        factor = scipy.linalg.cho_factor(hessian)
    except scipy.linalg.LinAlgError:
        return False
    promise = 0.5 * float(slope @ scipy.linalg.cho_solve(factor, slope))
    visible = 2.0 * ROUNDING * float(np.sqrt(spec.problem.size(np.zeros(1, dtype=int))[0] * here))
    return bool(promise <= max(spec.termination.cost_tolerance * here, NEAR * visible))


def _steps(count: int, pairs: list[tuple[int, int]]) -> Array:
    """None; one along each parameter, there and back; and to the four corners of each pair of them."""
    one = np.eye(count)
    out = [np.zeros(count), *(s * e for e in one for s in (1, -1))]
    return np.array(out + [s * one[i] + r * one[j] for i, j in pairs for s in (1, -1) for r in (1, -1)])


def _scales(spec: "Spec", u: Array, a: Array) -> Array:
    """(F,) the change of each parameter that changes its columns, as far as they have amplitudes, by their own size."""
    phi, d, _ = spec.problem.weighted_columns(u[None], np.zeros(1, dtype=int), a[None])
    k = np.arange(a.shape[1]) if phi.shape[1] > 1 else np.zeros(a.shape[1], dtype=int)
    squares = np.zeros(len(u))
    terms = 0.0
    for q, own in enumerate(k):
        j = jacobian_of_columns(
            d[:, own if d.shape[1] > 1 else 0], a[None, :, q], spec.basis.columns, spec.basis.parameters, len(u)
        )
        squares += np.sum(j[0] ** 2, axis=0)
        terms += float(np.sum((np.linalg.norm(phi[0, own], axis=0) * a[:, q]) ** 2))
    with np.errstate(all="ignore"):
        return np.sqrt(terms / squares)
