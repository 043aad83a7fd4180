"""When to stop: MINPACK-like tests with names.  A stall is said to be one, never convergence."""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, namespace, to_host
from varpro.errors import ConfigError
from varpro.result import Status

ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""A decrease below this, relative to the cost, is lost in the rounding of a sum of squares."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Termination:
    """Limits of a search; each formula stands below its field."""

    max_iterations: int = 100
    """Linearisations of a problem."""
    cost_tolerance: float = 1e-8
    """(f_old - f_new) <= cost_tolerance f_old on an accepted step whose model promised no more than twice that."""
    step_tolerance: float = 1e-10
    """||s|| <= step_tolerance (||w|| + step_tolerance)"""
    gradient_tolerance: float = 1e-14
    """max_p |g_p| / sqrt(d_p) <= gradient_tolerance sqrt(2 f(w_0)): no column of J sees the residual."""

    def __post_init__(self) -> None:
        if self.max_iterations < 0:
            raise ConfigError(f"max_iterations is {self.max_iterations}; it needs 0 or more")
        for name in ("cost_tolerance", "step_tolerance", "gradient_tolerance"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it needs 0 or more")

    def at_start(self, cost: Array) -> Array:
        """(b,) Status before the first step."""
        status = np.where(np.isfinite(cost), Status.RUNNING.value, Status.NONFINITE.value)
        return np.where((status == Status.RUNNING.value) & (self.max_iterations == 0), Status.ITERATIONS.value, status)

    def at_gradient(self, gradient: Array, diagonal: Array, start_cost: Array) -> Array:
        """(b,) True where the scaled gradient is below its tolerance."""
        if not gradient.shape[1]:
            return np.ones(len(gradient), dtype=bool)
        steepest = to_host((abs(gradient) / np.sqrt(diagonal)).max(axis=1))
        return steepest <= self.gradient_tolerance * np.sqrt(2.0 * start_cost)

    def at_rounding(self, cost: Array, predicted: Array) -> Array:
        """(b,) True where a first trial step promises less than the cost's own rounding: nothing more can be told."""
        return predicted <= ROUNDING * cost

    def harmless(self, old: Array, new: Array) -> Array:
        """(b,) True where a cost is no higher than rounding explains: the gain of such a step is noise, the step is
        still Gauss and Newton's, and keeping it makes the end the same on every machine."""
        return new <= old * (1.0 + ROUNDING)

    def after_step(self, old: Array, new: Array, predicted: Array, step: Array, w: Array, iterations: Array) -> Array:
        """(b,) Status after an accepted step: old and new cost (b,), step and w (b, P)."""
        small = self.cost_tolerance * old
        flat = (old - new <= small) & (predicted <= 2.0 * small)
        size, whole = (to_host(namespace(a).linalg.norm(a, axis=1)) for a in (step, w))
        short = size <= self.step_tolerance * (whole + self.step_tolerance)
        status = np.where(iterations >= self.max_iterations, Status.ITERATIONS.value, Status.RUNNING.value)
        status = np.where(short, Status.STEP_TOLERANCE.value, status)
        return np.where(flat | (new == 0), Status.COST_TOLERANCE.value, status)
