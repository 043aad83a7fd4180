"""How far to trust the Gauss-Newton model: one damping parameter per problem, adjusted by the gain ratio.

The rule itself is in csrc/kernels/search.hpp, once for all carriers; here are its numbers.
"""

from dataclasses import dataclass

import numpy as np

from varpro.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class DampingRule:
    """Nielsen's rule: lambda times max(1/3, 1 - (2 gain - 1)^3) after success; times 2, 4, 8, ... after failures.

    H. B. Nielsen, report IMM-REP-1999-05, Technical University of Denmark (1999).
    """

    initial: float = 1e-2
    """The lambda of the first step, in units of the scaled diagonal of H."""
    smallest: float = 1e-12
    """The least lambda; a search on sampled rows needs a real floor, or each step fits its own sample."""
    largest: float = 1e12
    """The largest lambda; a problem that reaches it without a decrease has stalled."""
    sure_shrink: float = 1.0 / 3.0
    """The factor on lambda after a step whose gain is within `sure` of 1: the model is nearly exact, so damping only
    delays."""
    sure: float = 0.05
    step_bound: float = np.inf
    """The bound in ||s||_d <= step_bound ||scale of w||_d; a longer first step is damped more before it is tried.  A
    model with few parameters can run away in one step (More, LNM 630 (1978) 105-116); a network of thousands does not.
    The bound doubles whenever it has held back a step that then did what it promised, so that a parameter can change
    its sign."""
    diagonal_memory: float = 0.0
    """The factor in d = max(diag H, diagonal_memory times the previous d).  1 keeps the largest so far, as More does,
    so that the parameter of a fading term is not set free; 0 takes H as it is, for networks, whose parameters are
    alike."""
    least_gain: float = 1e-4
    """The ratio of actual to predicted reduction above which a step is accepted."""

    def __post_init__(self) -> None:
        if not 0 < self.sure_shrink < 1:
            raise ConfigError(f"sure_shrink is {self.sure_shrink}; it needs a number between 0 and 1")
        if not self.step_bound > 0:
            raise ConfigError(f"step_bound is {self.step_bound}; it needs a number above 0, or inf for none")
        if not 0 < self.smallest <= self.initial <= self.largest:
            raise ConfigError(
                f"damping needs 0 < smallest <= initial <= largest; got {self.smallest}, {self.initial}, {self.largest}"
            )
