"""The decision of a search: accept, damp, stop; for many problems at once, each with its own damping and status.

csrc/kernels/search.hpp is the contract and the code, for this entry as for the compiled small fits of CPU and GPU.
varpro/kernels/search/reference.py says the same in plain Python; tests compare them trial by trial.
"""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from varpro import _cpu
from varpro.arrays import Array
from varpro.kernels._checks import doubles

NUMBERS = np.dtype([(name, np.float64) for name in _cpu.search_numbers])
"""What a search knows between two calls; search.hpp says what each is."""
N_NUMBERS = len(_cpu.search_numbers)

ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""A cost 1/2 ||r||^2 is known to this, times ||y|| ||r||: the rounding of r = y - Phi a, with room."""
UNDAMPED = 1e-12
"""Damping small enough that the step is Gauss and Newton's; less would be lost in the rounding of H."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The rules of a search; search/damping.py and search/termination.py says what each means."""

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
    """kappa_1 of the Gram matrix of Phi beyond which a compiled search leaves a problem to its caller"""
    compiled: Any = field(init=False, repr=False, compare=False)
    """The same, as the kernels take them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", _cpu.SearchRules(**self.by_name()))

    def by_name(self) -> dict[str, float]:
        """Name and value of each, for the boundary."""
        return {f.name: float(getattr(self, f.name)) for f in fields(self) if f.init}


class Decision:
    """The decision for b problems, in compiled code; `numbers` (b,) of NUMBERS are moved in place.

    A new iterate is opened with its gradient; then steps are solved for as long as problems ask, each with its own
    damping, and looked at; then the trials are judged by their costs.
    """

    def begin(self, rules: Rules, cost: Array, terms: Array, size: Array) -> Array:
        """Numbers (b,) after the evaluation of the start: cost, terms = 1/2 (sum_j ||phi_j|| ||a_j||)^2 and size =
        1/2 ||y||^2, (b,)."""
        numbers = np.zeros(len(cost), dtype=NUMBERS)
        _cpu.search_begin(rules.compiled, _rows(numbers), doubles(cost), doubles(terms), doubles(size))
        return numbers

    def open(self, rules: Rules, numbers: Array, gradient: Array, curvature: Array, natural: Array | None) -> None:
        """Ask for a step at each iterate with gradient, diagonal of H (infinite where a bound holds a parameter), and
        natural scales, which may be None; all (b, P)."""
        _cpu.search_open(
            rules.compiled, _rows(numbers), doubles(gradient), doubles(curvature),
            None if natural is None else doubles(natural),
        )  # fmt: skip

    def look(
        self, rules: Rules, numbers: Array, rows: Array, w: Array, natural: Array | None, gradient: Array,
        diagonal: Array, step: Any,
    ) -> None:  # fmt: skip
        """What to do with the steps (delta (c, P), predicted and solved (c,)) that problems `rows` (c,) asked for.

        w, gradient, diagonal and natural, which may be None, (b, P) are those of all problems.
        """
        _cpu.search_look(
            rules.compiled, _rows(numbers), rows, doubles(w), None if natural is None else doubles(natural),
            doubles(gradient), doubles(diagonal), doubles(step.delta), np.ascontiguousarray(step.solved, dtype=bool),
            doubles(step.predicted),
        )  # fmt: skip

    def judge(self, rules: Rules, numbers: Array, cost: Array, terms: Array) -> None:
        """Accept or reject trials of cost and terms (b,)."""
        _cpu.search_judge(rules.compiled, _rows(numbers), doubles(cost), doubles(terms))


def asking(numbers: Array) -> Array:
    """(c,) the problems that ask for a step."""
    return np.flatnonzero((numbers["status"] == 0) & (numbers["asks"] == 0))


def _rows(numbers: Array) -> Array:
    rows: Array = numbers.view(np.float64).reshape(len(numbers), N_NUMBERS)
    return rows


__all__ = ["NUMBERS", "N_NUMBERS", "ROUNDING", "UNDAMPED", "Decision", "Rules", "asking"]
