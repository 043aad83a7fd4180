"""Further starts for one problem: where they lie, and the search from each.

Nothing here depends on units: with the same seed a problem gets the same starts if its t, y or parameters are written
in other units, or if its t counts from another origin.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from varpro.arrays import Array
from varpro.fitting.run import run
from varpro.fitting.spec import Spec
from varpro.fitting.together import searched_side_by_side
from varpro.search.termination import Termination

DECADES = 10.0
"""Ratio of two bounds of one sign beyond which starts are drawn evenly in the logarithm."""
SPREAD = 0.7
"""Standard deviation of the logarithm of the factor between a start and the first one."""
REACH = 3.0
"""Standard deviation of starts about the first one, in units of the change that replaces the columns."""


def several_starts(spec: Spec, u0: Array, count: int, rng: np.random.Generator) -> Array:
    """(count + 1, F): u0 (F,), then one start for each draw.

    A parameter with two bounds is drawn between them, evenly in the logarithm if they have the same sign and are a
    factor of 10 apart.  Any other takes turns: at u0 times a factor of about two, if that is not too far; a few times
    the change that replaces the columns (for a center, its width) away from u0; and, for a ready model, where
    parameters of its kind lie for these t.
    """
    names = spec.names
    uniform, normal = rng.random((count, len(u0))), rng.standard_normal((count, len(u0)))
    reach = reach_of(spec, u0)
    far = np.where(reach > 0, 3 * REACH * reach, np.inf)  # for a center in Unix seconds, a factor leads nowhere
    near, factors = u0 + REACH * reach * normal, u0 + np.clip(u0 * np.expm1(SPREAD * normal), -far, far)
    lower, upper, log = _drawn_between(spec)
    box = _between(lower, upper, log, uniform)
    turn = np.arange(count)[:, None] % 3
    starts = np.where((turn == 1) | (u0 == 0), near, factors)
    closed = np.isfinite(names.lower) & np.isfinite(names.upper)
    starts = np.where(np.isfinite(box) & (closed | (turn == 2)), box, starts)
    return np.vstack([u0[None], np.clip(starts, names.lower, names.upper)])


def _drawn_between(spec: Spec) -> tuple[Array, Array, Array]:
    """(F,) ends, and whether to draw evenly in the logarithm; NaN where neither bounds nor the model give them."""
    names, data, model = spec.names, spec.data, spec.model.function
    lower, upper = np.full(names.n_free, np.nan), np.full(names.n_free, np.nan)
    log = np.zeros(names.n_free, dtype=bool)
    if hasattr(model, "draws") and data.t.ndim == 1 and not spec.complex_w:
        drawn = model.draws(data.t[data.used(0).any(axis=1)])
        if drawn is not None:
            lower, upper, log = (end[names.free] for end in drawn)
    closed = np.isfinite(names.lower) & np.isfinite(names.upper)
    lower, upper = np.where(closed, names.lower, lower), np.where(closed, names.upper, upper)
    with np.errstate(all="ignore"):
        wide = np.maximum(np.abs(lower / upper), np.abs(upper / lower)) > DECADES
    return lower, upper, (np.sign(lower) * np.sign(upper) > 0) & np.where(closed, wide, log)


def _between(lower: Array, upper: Array, log: Array, share: Array) -> Array:
    """Points at `share` (count, F) of the way from lower to upper; where log (F,) holds, between their logarithms."""
    with np.errstate(all="ignore"):
        size = np.exp((1 - share) * np.log(np.abs(lower)) + share * np.log(np.abs(upper)))
        return np.where(log, np.sign(lower) * size, lower + share * (upper - lower))


def reach_of(spec: Spec, u0: Array) -> Array:
    """(F,) the least change of each parameter that replaces its columns: ||phi|| / ||dphi / du|| at u0 (F,).

    0 where the columns do not move or are not finite.
    """
    basis, zero = spec.basis, np.zeros(1, dtype=int)
    with np.errstate(all="ignore"):
        phi, d = basis.basis(u0[None], zero)[0], basis.jacobian(u0[None], zero)[0]
        size = np.linalg.norm(phi, axis=0)[basis.columns] / np.linalg.norm(d, axis=0)
    reach = np.zeros(len(u0))
    for f in range(len(u0)):
        own = size[(basis.parameters == f) & np.isfinite(size)]
        reach[f] = own.min(initial=np.inf)
    return np.where(np.isfinite(reach), reach, 0.0)


def best_start(spec: Spec, starts: Array, advance: Callable[[int], None] | None = None) -> Array:
    """(F,) the solution of least cost among searches from all starts; the first start if none is finite.

    These searches only tell minima apart, so they end as soon as those of a batch do.  The fit goes on from the best.
    """
    many, own, batch = spec.repeated(len(starts)), spec.termination, Termination()
    ending = replace(
        own,
        cost_tolerance=max(own.cost_tolerance, batch.cost_tolerance),
        step_tolerance=max(own.step_tolerance, batch.step_tolerance),
    )
    model = searched_side_by_side(spec.model, spec.basis.w(starts, np.zeros(len(starts), dtype=int)))
    found = run(replace(many, model=model, termination=ending), starts, advance=advance)
    cost = np.where(np.isfinite(found.objective), found.objective, np.inf)
    best = int(np.argmin(cost))
    return np.asarray(found.u[best] if np.isfinite(cost[best]) else starts[0])
