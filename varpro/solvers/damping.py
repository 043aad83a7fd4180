"""How far to trust the Gauss-Newton model: one damping parameter a problem, moved by the gain ratio."""

from dataclasses import dataclass, replace

import numpy as np

from varpro.arrays import Array, to_host
from varpro.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class DampingRule:
    """Nielsen's rule.  H. B. Nielsen, report IMM-REP-1999-05, Technical University of Denmark (1999)."""

    initial: float = 1e-2
    """lambda of the first step, in units of the scaled diagonal of H."""
    smallest: float = 1e-12
    """lambda never falls below; a search on sampled rows needs a real floor, or each step fits its own sample."""
    largest: float = 1e12
    """lambda above this without a decrease: the problem has stalled."""
    sure_shrink: float = 1.0 / 3.0
    """factor on lambda after a step whose gain is within `sure` of 1: the model is nearly exact, damping only delays"""
    sure: float = 0.05
    step_bound: float = np.inf
    """||s||_d <= step_bound ||w||_d, the norms scaled by d: a longer step is damped more before it is tried.  A model
    with few parameters can run away in one step (More, LNM 630 (1978) 105-116); a network of thousands does not."""
    least_gain: float = 1e-4
    """A step is accepted when actual / predicted reduction exceeds this."""

    def __post_init__(self) -> None:
        if not 0 < self.sure_shrink < 1:
            raise ConfigError(f"sure_shrink is {self.sure_shrink}; it needs a number between 0 and 1")
        if not self.step_bound > 0:
            raise ConfigError(f"step_bound is {self.step_bound}; it needs a number above 0, or inf for none")
        if not 0 < self.smallest <= self.initial <= self.largest:
            raise ConfigError(
                f"damping needs 0 < smallest <= initial <= largest; got {self.smallest}, {self.initial}, {self.largest}"
            )

    def start(self, n_problems: int) -> "Damping":
        """The state of n problems before their first step."""
        return Damping(self, np.full(n_problems, self.initial), np.full(n_problems, 2.0))


@dataclass(frozen=True, slots=True)
class Damping:
    """lambda and its growth factor for each problem; both (b,)."""

    rule: DampingRule
    value: Array
    growth: Array

    def too_long(self, step: Array, w: Array, diagonal: Array) -> Array:
        """(b,) True where a step (b, P) from w breaks the bound; never where w is zero."""
        if np.isinf(self.rule.step_bound):
            return np.zeros(len(step), dtype=bool)
        length = to_host(np.einsum("bp,bp,bp->b", step, step, diagonal))
        limit = self.rule.step_bound**2 * to_host(np.einsum("bp,bp,bp->b", w, w, diagonal))
        return (length > limit) & (limit > 0) & (self.value < self.rule.largest)  # type: ignore[no-any-return]

    def accepts(self, gain: Array) -> Array:
        """Which trials to keep; a gain that is not a number is refused."""
        return gain > self.rule.least_gain

    def after(self, gain: Array, accepted: Array) -> "Damping":
        """lambda max(1/3, 1 - (2 gain - 1)^3), or sure_shrink, after success; times growth, doubled, after failure."""
        bounded = np.where(accepted, np.minimum(gain, 1.0), 0.0)
        factor = np.maximum(1.0 / 3.0, 1.0 - (2.0 * bounded - 1.0) ** 3)
        shrunk = self.value * np.where(np.abs(gain - 1.0) <= self.rule.sure, self.rule.sure_shrink, factor)
        value = np.where(accepted, shrunk, self.value * self.growth)
        return replace(
            self,
            value=np.maximum(value, self.rule.smallest),
            growth=np.where(accepted, 2.0, 2.0 * self.growth),
        )

    def exhausted(self) -> Array:
        """Where lambda has passed its maximum, (b,) bool."""
        return self.value > self.rule.largest
