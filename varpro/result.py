"""What a search leaves behind: a named status for each problem, a record for each iteration, the best iterate."""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar, overload

from varpro.arrays import Array


class Status(enum.IntEnum):
    """Why a problem stopped; `.message` says what it means and what to do.

    NumPy takes 10 us to recognise a member as a number, so code that works on arrays of them uses `.value`.
    """

    RUNNING = 0
    COST_TOLERANCE = 1
    STEP_TOLERANCE = 2
    GRADIENT_TOLERANCE = 3
    ITERATIONS = 4
    STALLED = 5
    NONFINITE = 6
    INVALID_DATA = 7
    TOO_FEW_POINTS = 8
    UNDETERMINED = 9
    REWEIGHTING = 10

    @property
    def label(self) -> str:
        """The name in lower case, as written in files."""
        return self.name.lower()

    @property
    def converged(self) -> bool:
        """Whether a tolerance was met."""
        return self in (Status.COST_TOLERANCE, Status.STEP_TOLERANCE, Status.GRADIENT_TOLERANCE)

    @property
    def message(self) -> str:
        """One sentence for the reader."""
        return _MESSAGES[self]

    def message_after(self, n_starts: int) -> str:
        """The sentence for a search from so many starts, the best of which need not be the lowest minimum."""
        if not self.converged:
            return self.message
        return self.message + (ONE_START if n_starts == 1 else f" It is the best of {n_starts} starts.")


ONE_START = " It is the minimum near this start; other starts were not tried."
_MESSAGES = {
    Status.RUNNING: "Still searching.",
    Status.COST_TOLERANCE: "Converged: the relative decrease of the cost fell below cost_tolerance.",
    Status.STEP_TOLERANCE: "Converged: the relative step fell below step_tolerance.",
    Status.GRADIENT_TOLERANCE: "Converged: the scaled gradient fell below gradient_tolerance.",
    Status.ITERATIONS: "The limit on iterations was reached; raise max_iterations to go on.",
    Status.STALLED: "Damping reached its maximum without a decrease; rescale w or relax cost_tolerance.",
    Status.NONFINITE: "The model is not finite at the starting point; choose another w.",
    Status.INVALID_DATA: "The data hold an infinite value; mask it or set it to NaN.",
    Status.UNDETERMINED: "A parameter has no effect on the fit: its column has no amplitude, or is zero, or stays as "
    "it is when the parameter changes, or runs into another column whose amplitude cancels its own; take a smaller "
    "model, another start, or fix it.",
    Status.REWEIGHTING: "Reweighting for the robust loss has not settled: the fit still moves from round to round; "
    "start nearer, set loss_scale, or take 'huber' or 'soft_l1'.",
    Status.TOO_FEW_POINTS: "Fewer valid points than parameters; fix or tie parameters, or take a smaller model.",
}


class IterationRecord(NamedTuple):
    """One trial step of one problem."""

    problem: int
    iteration: int
    cost: float
    """The cost f = 1/2 ||R||^2 (+ ridge) at the best iterate after this trial."""
    damping: float
    gain: float
    """The actual over the predicted reduction; NaN if the trial was not finite."""
    accepted: bool
    rank: int
    """The numerical rank of Phi at the best iterate; 0 if the problem has none."""

    def line(self) -> dict[str, float | bool]:
        """What history.jsonl says of the trial."""
        return {name: value for name, value in self._asdict().items() if name != "problem"}


class Trials(Sequence[IterationRecord]):
    """Records that are made when they are first read: of a single curve that costs as much as two trials."""

    def __init__(self, make: Callable[[], list[IterationRecord]]) -> None:
        self._make = make

    @cached_property
    def _records(self) -> list[IterationRecord]:
        return self._make()

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> IterationRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[IterationRecord]: ...
    def __getitem__(self, index: int | slice) -> IterationRecord | list[IterationRecord]:
        return self._records[index]

    def __reduce__(self) -> tuple[type[list[IterationRecord]], tuple[list[IterationRecord]]]:
        return list, (self._records,)


Evaluation = TypeVar("Evaluation", covariant=True)


@dataclass(frozen=True, slots=True)
class SearchResult(Generic[Evaluation]):
    """The best iterates of B problems."""

    w: Array
    """The parameters, (B, P)."""
    cost: Array
    """The cost, (B,)."""
    status: Array
    """Why each search stopped, (B,) values of Status."""
    iterations: Array
    """The number of linearisations, (B,)."""
    evaluations: Array
    """The number of evaluations of the basis without derivatives, (B,)."""
    effect: Array
    """The least effect of a parameter on the fit, (B,), relative to the terms of the model; see least_effect."""
    evaluation: Evaluation
    """The problem's own evaluation at w."""
    history: Sequence[IterationRecord] = ()
