"""What goes around a search: several starts, a robust loss by reweighting, a ridge by cross-validation."""

from dataclasses import replace
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.cross_validation import cross_validated
from varpro.fitting.engine import Spec, run
from varpro.fitting.losses_of_residuals import LOSSES, residual_loss
from varpro.fitting.robust import robust_solution
from varpro.fitting.solution import Solution

__all__ = ["LOSSES", "best_start", "cross_validated", "repeated", "several_starts", "solve"]


def solve(spec: Spec, u0: Array, *, loss: str, loss_scale: float | None, **options: Any) -> Solution:
    """Search, reweighted where the loss is robust.  u0 (B, F)."""
    kind = residual_loss(loss)
    if loss_scale is not None and not loss_scale > 0:
        raise ConfigError(f"loss_scale is {loss_scale}; it needs a number above 0, in units of the weighted residual")
    outcome, built = run(spec, u0, **options)
    found = Solution(spec, outcome, built)
    return found if loss == "linear" else robust_solution(spec, u0, found, kind, loss_scale, options)


def several_starts(names: Any, u0: Array, count: int, rng: np.random.Generator) -> Array:
    """(count + 1, F): u0 (F,), then starts drawn in the box, or around u0 by factors of about two where it is open."""
    lower, upper = names.lower, names.upper
    around = u0 * np.exp(0.7 * rng.standard_normal((count, len(u0)))) + (u0 == 0) * rng.standard_normal(
        (count, len(u0))
    )
    closed = np.isfinite(lower) & np.isfinite(upper)
    box = np.where(closed, lower, 0.0) + rng.random((count, len(u0))) * np.where(
        closed, upper - np.where(closed, lower, 0), 0.0
    )
    drawn = np.clip(np.where(closed, box, around), lower, upper)
    return np.vstack([u0[None], drawn])


def repeated(spec: Spec, count: int) -> Spec:
    """The one problem of a spec, `count` times."""
    data = spec.data
    own = replace(
        data,
        y=np.repeat(data.y, count, axis=0),
        status=np.repeat(data.status, count),
        valid=np.repeat(data.valid, count),
    )
    return replace(spec, data=own)


def best_start(spec: Spec, starts: Array) -> Array:
    """(F,) the solution with the least cost of searches from all starts; the first start where none is finite."""
    outcome, _ = run(repeated(spec, len(starts)), starts)
    cost = np.where(np.isfinite(outcome.cost), outcome.cost, np.inf)
    best = int(np.argmin(cost))
    return np.asarray(outcome.u[best] if np.isfinite(cost[best]) else starts[0])
