"""A search that needs values only: Powell's method on the projected residual, as SciPy has it.

Section 8.1 of the paper allows any method that needs no derivatives.  Powell's searches one direction after another
with exact line searches, so every evaluation counts and the cost never rises.  It needs about ten evaluations for each
parameter to have seen them all once: a method for small sub-networks, or for units whose derivative is not at hand.
M. J. D. Powell, Computer J. 7 (1964) 155-162.
"""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import scipy.optimize

from varpro.arrays import Array
from varpro.problems.interface import Evaluated, Problem
from varpro.result import IterationRecord, SearchResult, Status

Found = TypeVar("Found", bound=Evaluated)

NOT_FINITE = 10.0
"""The cost of a model that is not finite, in units of the first one: finite, since line searches interpolate."""


class _SpentError(Exception):
    """The evaluations are spent."""


@dataclass
class _Watched(Generic[Found]):
    """The cost of one problem as a function of w, with the best seen so far."""

    problem: Problem[Found]
    limit: int
    best: Found
    evaluations: int = 1
    sweeps: int = 0
    history: list[IterationRecord] = field(default_factory=list)

    def __call__(self, w: Array) -> float:
        if self.evaluations >= self.limit:
            raise _SpentError
        self.evaluations += 1
        found = self.problem.evaluate(w[None], np.arange(1))
        if found.cost[0] < self.best.cost[0]:
            self.best = found
        return float(found.cost[0]) if np.isfinite(found.cost[0]) else NOT_FINITE * self.first

    def __post_init__(self) -> None:
        self.first = float(self.best.cost[0])
        self.record()

    def record(self, *_: object) -> None:
        """Note the best cost after another sweep over all directions."""
        cost, rank = float(self.best.cost[0]), int(self.best.rank[0])
        self.history.append(IterationRecord(0, self.sweeps, cost, 0.0, float("nan"), True, rank))
        self.sweeps += 1


def search_values(
    problem: Problem[Found], w0: Array, *, evaluations: int, cost_tolerance: float
) -> SearchResult[Found]:
    """Minimise the cost of one problem from w0 (1, P), keeping the best iterate.

    evaluations : the most.  cost_tolerance : relative decrease in a sweep over all directions below which it stops.
    """
    watched = _Watched(problem, evaluations, problem.evaluate(np.array(w0, dtype=float), np.arange(1)))
    status = Status.NONFINITE
    if np.isfinite(watched.first):
        try:
            scipy.optimize.fmin_powell(
                watched, w0[0], xtol=1e-2, ftol=cost_tolerance, maxfun=evaluations + 1, disp=0, callback=watched.record
            )
            status = Status.COST_TOLERANCE
        except _SpentError:
            status = Status.ITERATIONS
        watched.record()
    return SearchResult(
        w=watched.best.w,
        cost=watched.best.cost,
        status=np.array([status.value]),
        iterations=np.zeros(1, dtype=int),
        evaluations=np.array([watched.evaluations]),
        effect=np.full(1, np.inf),
        evaluation=watched.best,
        history=watched.history,
    )
