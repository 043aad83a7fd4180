"""When to stop: tests with names.  A stall is reported as a stall, never as convergence.

The tests themselves are in csrc/kernels/search.hpp, once for all carriers; here are their numbers.
"""

from dataclasses import dataclass
from functools import lru_cache

from varpro.errors import ConfigError
from varpro.kernels.search import Rules
from varpro.search.damping import DampingRule


@dataclass(frozen=True, kw_only=True, slots=True)
class Termination:
    """Limits of a search; each formula is below its field.

    The step in the tests is the undamped one, s = -H^-1 g, which promises -g^T s / 2: damping makes steps short and
    promises small, which says nothing about the distance to the minimum.  When a test is met, that step is taken.
    """

    max_iterations: int = 100
    """The most linearisations of a problem."""
    cost_tolerance: float = 1e-8
    """Stop when -g^T s / 2 <= cost_tolerance f, or when it is below the rounding of f: 16 eps ||y|| ||r||."""
    step_tolerance: float = 1e-10
    """Stop when max_p |s_p| ||J_p|| <= step_tolerance sqrt(||y|| ||r||): no parameter's step changes the model by
    more."""
    gradient_tolerance: float = 1e-14
    """Stop when max_p |g_p| / ||J_p|| <= gradient_tolerance ||r||: the residual is orthogonal to every column of J."""
    confirmed: bool = True
    """Whether the undamped step has to confirm the end.  Training does not need a minimum, only an end when progress is
    slow: False stops after a step that gains no more than cost_tolerance f and promised no more than twice that."""

    def __post_init__(self) -> None:
        if self.max_iterations < 0:
            raise ConfigError(f"max_iterations is {self.max_iterations}; it needs 0 or more")
        for name in ("cost_tolerance", "step_tolerance", "gradient_tolerance"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it needs 0 or more")


@lru_cache(maxsize=64)
def rules_of(damping: DampingRule, termination: Termination, **more: float) -> Rules:
    """The rules in the decision's form; more : diagonal_floor, condition_limit, ... of kernels.search.Rules."""
    given = {"diagonal_floor": 0.0, "diagonal_memory": damping.diagonal_memory} | more
    return Rules(
        initial=damping.initial,
        smallest=damping.smallest,
        largest=damping.largest,
        least_gain=damping.least_gain,
        sure=damping.sure,
        sure_shrink=damping.sure_shrink,
        step_bound=damping.step_bound,
        cost_tolerance=termination.cost_tolerance,
        step_tolerance=termination.step_tolerance,
        gradient_tolerance=termination.gradient_tolerance,
        max_iterations=termination.max_iterations,
        confirmed=termination.confirmed,
        **given,
    )
