"""What a training loop does with a batch on which an objective has no value."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from varpro.arrays import Array, namespace
from varpro.errors import ConfigError, DegenerateBatchError
from varpro.losses import LossResult

OnDegenerate = Literal["raise", "skip", "ridge"]
"""raise: the error.  skip: the value 0 and zero gradients.  ridge: the same batch with a ridge of 1e-2 tr(S_t) / D.
`info["status"]` then says what was done; an error that a ridge cannot avoid is raised."""


def require_policy(policy: str, *, ridge: bool) -> None:
    """Raise ConfigError for a policy that the objective does not have."""
    allowed = ("raise", "skip", "ridge") if ridge else ("raise", "skip")
    if policy not in allowed:
        raise ConfigError(f"on_degenerate is {policy!r}; it is one of {', '.join(allowed)} here")


def guarded(
    loss: Callable[..., LossResult], policy: OnDegenerate, mended: Callable[..., LossResult] | None = None
) -> Callable[..., LossResult]:
    """The loss under the policy; `mended` is its form with a ridge."""

    def run(*inputs: Array, **named: object) -> LossResult:
        try:
            return loss(*inputs, **named)
        except DegenerateBatchError as error:
            if policy == "skip":
                return _nothing(inputs[0], f"skipped: {error}")
            if policy == "raise" or mended is None:
                raise
            result = mended(*inputs, **named)
            return LossResult(result.value, result.gradient, {**result.info, "status": f"ridge: {error}"})

    return run


def _nothing(first: Array, status: str) -> LossResult:
    value = np.zeros(len(first)) if first.ndim == 3 else 0.0
    return LossResult(value, namespace(first).zeros_like(first), {"status": status})
