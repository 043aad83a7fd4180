"""What goes around a search: reweighting, where the loss is robust."""

from typing import Any

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.engine import Spec, run
from varpro.fitting.losses_of_residuals import residual_loss
from varpro.fitting.robust import robust_solution
from varpro.fitting.solution import Solution


def solve(spec: Spec, u0: Array, *, loss: str, loss_scale: float | None, **options: Any) -> Solution:
    """Search, reweighted where the loss is robust.  u0 (B, F)."""
    kind = residual_loss(loss)
    if loss_scale is not None and not loss_scale > 0:
        raise ConfigError(f"loss_scale is {loss_scale}; it needs a number above 0, in units of the weighted residual")
    outcome, built = run(spec, u0, **options)
    found = Solution(spec, outcome, built)
    return found if loss == "linear" else robust_solution(spec, u0, found, kind, loss_scale, options)
