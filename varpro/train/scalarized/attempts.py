"""The sub-networks of one cycle through their ups and downs: those on the disk, those to train, those that fail.

A sub-network that fails is tried once more, on another rank: with the same draw if the machine was at fault, with
another draw if it was the arithmetic.  One that fails again is left out and reported; too many end the run.
"""

from dataclasses import dataclass, field

import numpy as np

from varpro.arrays import Array
from varpro.distributed import Communicator
from varpro.errors import TrainingError, VarproError
from varpro.models.units import Units
from varpro.report.progress import Display
from varpro.report.record import JsonObject
from varpro.result import Status
from varpro.train.checkpoint import Checkpoint
from varpro.train.scalarized.restart import result_of, state_of
from varpro.train.scalarized.subnetworks import Failed, SubnetworkTask, Trained

MOST_FAILURES = 0.05
"""The share of sub-networks that may be left out."""
FIRST, ELSEWHERE, REDRAWN = range(3)
"""An attempt: the first, the same draw on another rank, another draw."""
MACHINE = (MemoryError, OSError)
"""Errors that another rank may be spared."""

Result = Trained | Failed


@dataclass
class Attempts:
    """The sub-networks of a cycle; `arrived` and the results are rank 0's."""

    comm: Communicator
    checkpoint: Checkpoint
    display: Display
    task: SubnetworkTask
    count: int
    name: str
    phase: str
    """The name of the phase in the history."""
    left: list[int] = field(default_factory=list)
    """The sub-networks to train, on every rank."""
    results: dict[int, tuple[Result, int]] = field(default_factory=dict)
    """Result and rank of every sub-network that has ended, on rank 0."""
    restored: set[int] = field(default_factory=set)
    _tried: set[int] = field(default_factory=set)

    def begin(self) -> "Attempts":
        """Take what an earlier process has finished.  Collective."""
        states = self.checkpoint.load_numbered(self._state, self.count)
        self.results = {index: result_of(state) for index, state in states.items()}
        self.restored = set(self.results)
        left = [index for index in range(self.count) if index not in self.results]
        self.left = self.comm.bcast(left)
        for index in sorted(self.results):
            self._tell(self.results[index][0])
        return self

    def work(self, number: int) -> Result:
        """Train a sub-network: number k is the first attempt at self.left[k], k + n the second, n = len(self.left)."""
        attempt, place = divmod(number, len(self.left))
        index = self.left[place]
        try:
            trained = self.task(index, redrawn=int(attempt == REDRAWN))
        except VarproError:
            raise
        except Exception as error:
            return Failed(index, f"{type(error).__name__}: {' '.join(str(error).split())}", isinstance(error, MACHINE))
        self.display.span(f"sub-network {index}", trained.started, trained.seconds, "sub-network")
        return judged(trained)

    def arrived(self, place: int, rank: int, result: Result) -> int | None:
        """Keep a result of self.left[place], or give the number of another attempt.  Raises TrainingError."""
        index = self.left[place]
        if isinstance(result, Failed) and index not in self._tried:
            self._tried.add(index)
            self.display.message(f"sub-network {index} failed on rank {rank} ({result.reason}); it is tried once more")
            return place + len(self.left) * (ELSEWHERE if result.machine else REDRAWN)
        self.keep(result, rank)
        return None

    def keep(self, result: Result, rank: int) -> None:
        """Put a result on the disk, then count it."""
        self.checkpoint.save(f"{self._state}-{result.index}", state_of(result, rank))
        self.results[result.index] = (result, rank)
        self._tell(result)
        if isinstance(result, Failed):
            self.display.message(f"sub-network {result.index} failed again ({result.reason}); it is left out")
            self._require_few_failures()

    @property
    def failed(self) -> list[Failed]:
        """Those left out."""
        return [result for result, _ in self.results.values() if isinstance(result, Failed)]

    def trained(self) -> tuple[list[Trained], list[int]]:
        """The others by number, and the rank of each; empty on ranks other than 0."""
        pairs = [self.results[index] for index in sorted(self.results)]
        found = [(result, rank) for result, rank in pairs if isinstance(result, Trained)]
        return [result for result, _ in found], [rank for _, rank in found]

    def parts(self) -> tuple[list[tuple[Units, Array]], list[tuple[int, int]]]:
        """Units and w of each trained sub-network, and what it was drawn with: its number, and whether it was drawn
        again."""
        trained, _ = self.trained()
        return [(t.units, t.w) for t in trained], [(t.index, t.redrawn) for t in trained]

    def _require_few_failures(self) -> None:
        failed = self.failed
        if len(failed) > MOST_FAILURES * self.count:
            raise TrainingError(
                f"{len(failed)} of {self.count} sub-networks have failed twice, more than "
                f"{100 * MOST_FAILURES:g} %; the first, number {failed[0].index}: {failed[0].reason}"
            )

    def _tell(self, result: Result) -> None:
        self.display.advance(cost=result.cost if isinstance(result, Trained) else None)
        if isinstance(result, Trained):
            for line in history_lines(self.phase, result):
                self.display.line(line)

    @property
    def _state(self) -> str:
        return f"{self.name}-subnetwork"


def judged(trained: Trained) -> Result:
    """The sub-network, or its failure if its numbers are not finite."""
    if trained.status is not Status.NONFINITE and np.isfinite(trained.cost) and np.isfinite(trained.w).all():
        return trained
    return Failed(trained.index, f"its cost is {trained.cost:g} after {trained.iterations} iterations", False)


def history_lines(phase: str, trained: Trained) -> list[JsonObject]:
    """The lines of history.jsonl about a sub-network."""
    return [
        {
            "phase": phase,
            "subnetwork": trained.index,
            **record.line(),
            "status": trained.status.label if record is trained.history[-1] else "running",
        }
        for record in trained.history
    ]
