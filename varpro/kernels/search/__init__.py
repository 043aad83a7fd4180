"""The decisions of a search (accept, damp, stop) for many problems at once, each with its own damping and status.

csrc/kernels/search.hpp is the contract and the code, for this entry and for the compiled small fits of CPU and GPU.
varpro/kernels/search/reference.py does the same in plain Python; tests compare them trial by trial.
"""

from dataclasses import dataclass, field, fields
from typing import Protocol

import numpy as np

from varpro import _cpu
from varpro.arrays import Array
from varpro.kernels._checks import doubles

NUMBERS = np.dtype([(name, np.float64) for name in _cpu.search_numbers])
"""What a search remembers between two calls; search.hpp describes each number."""
N_NUMBERS = len(_cpu.search_numbers)

ROUNDING = 16 * float(np.finfo(np.float64).eps)
"""Accuracy of a cost 1/2 ||r||^2 relative to ||y|| ||r||: generous for the rounding of r = y - Phi a."""
UNDAMPED = 1e-12
"""Damping so small that the step is Gauss and Newton's; less would be lost in the rounding of H."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The rules of a search; search/damping.py and search/termination.py describe each of them."""

    initial: float
    smallest: float
    largest: float
    least_gain: float
    sure: float
    sure_shrink: float
    step_bound: float
    diagonal_floor: float
    diagonal_memory: float
    cost_tolerance: float
    step_tolerance: float
    gradient_tolerance: float
    max_iterations: float
    rounding: float = ROUNDING
    undamped: float = UNDAMPED
    confirmed: float = 1.0
    condition_limit: float = np.inf
    """kappa_1 of the Gram matrix of Phi beyond which a compiled search hands a problem back to its caller."""
    compiled: _cpu.SearchRules = field(init=False, repr=False, compare=False)
    """The same rules in the form that kernels use."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", _cpu.SearchRules(**self.by_name()))

    def by_name(self) -> dict[str, float]:
        """The name and value of each rule, for the boundary."""
        return {f.name: float(getattr(self, f.name)) for f in fields(self) if f.init}


class Steps(Protocol):
    """The steps of c problems; a solver's result has more."""

    @property
    def delta(self) -> Array:
        """(c, P)"""

    @property
    def predicted(self) -> Array:
        """(c,) the decrease of the cost that each promises"""

    @property
    def solved(self) -> Array:
        """(c,) bool"""


class Decision:
    """The decision for b problems, in compiled code; `numbers` (b,) of NUMBERS are updated in place.

    A new iterate is opened with its gradient; then steps are computed for as long as problems ask, each with its own
    damping, and looked at; then the trials are judged by their costs.
    """

    def begin(self, rules: Rules, cost: Array, terms: Array, size: Array) -> Array:
        """Numbers (b,) after the evaluation of the start, from cost, terms = 1/2 (sum_j ||phi_j|| ||a_j||)^2 and size =
        1/2 ||y||^2, (b,) each."""
        numbers = np.zeros(len(cost), dtype=NUMBERS)
        _cpu.search_begin(rules.compiled, _rows(numbers), doubles(cost), doubles(terms), doubles(size))
        return numbers

    def open(self, rules: Rules, numbers: Array, gradient: Array, curvature: Array, natural: Array | None) -> None:
        """Ask for a step at each iterate, given gradient, diagonal of H (infinite where a bound holds a parameter), and
        natural scales, which may be None; all (b, P)."""
        _cpu.search_open(
            rules.compiled, _rows(numbers), doubles(gradient), doubles(curvature),
            None if natural is None else doubles(natural),
        )  # fmt: skip

    def look(
        self, rules: Rules, numbers: Array, rows: Array, w: Array, natural: Array | None, gradient: Array,
        diagonal: Array, step: Steps,
    ) -> None:  # fmt: skip
        """Decide about the steps (delta (c, P), predicted and solved (c,)) that problems `rows` (c,) asked for.

        w, gradient, diagonal and natural, which may be None, are (b, P), for all problems.
        """
        _cpu.search_look(
            rules.compiled, _rows(numbers), rows, doubles(w), None if natural is None else doubles(natural),
            doubles(gradient), doubles(diagonal), doubles(step.delta), np.ascontiguousarray(step.solved, dtype=bool),
            doubles(step.predicted),
        )  # fmt: skip

    def judge(self, rules: Rules, numbers: Array, cost: Array, terms: Array) -> None:
        """Accept or reject trials by their cost and terms (b,)."""
        _cpu.search_judge(rules.compiled, _rows(numbers), doubles(cost), doubles(terms))


def asking(numbers: Array) -> Array:
    """The problems that ask for a step, (c,)."""
    return np.flatnonzero((numbers["status"] == 0) & (numbers["asks"] == 0))


def _rows(numbers: Array) -> Array:
    rows: Array = numbers.view(np.float64).reshape(len(numbers), N_NUMBERS)
    return rows


__all__ = ["NUMBERS", "N_NUMBERS", "ROUNDING", "UNDAMPED", "Decision", "Rules", "Steps", "asking"]
