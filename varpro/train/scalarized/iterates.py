"""The iterates of a refinement: the last one, with all that the search and the sample remember, and the best."""

import math
from dataclasses import dataclass, field

import numpy as np

from varpro.arrays import Array
from varpro.kernels.search import N_NUMBERS, NUMBERS
from varpro.problems.sample import Sample
from varpro.report.progress import Display
from varpro.report.record import JsonObject
from varpro.result import Status
from varpro.train.checkpoint import Checkpoint, State


@dataclass
class Refined:
    """The refined parameters, and how they were found."""

    w: Array
    """The iterate with the least cost on the validation images; the last of all without any."""
    best: int
    """The iteration that ended there."""
    iterations: int
    products: int
    status: Status
    history: list[JsonObject] = field(default_factory=list)


@dataclass
class KeptIterate:
    """Where a refinement begins: at its start, after the last iterate that was kept, or at its end."""

    checkpoint: Checkpoint
    cycle: str
    """The name of the learning cycle."""
    w: Array | None = None
    """The iterate (1, P); None = the start."""
    numbers: Array | None = None
    """What the search remembers, (1,) of NUMBERS."""
    rows: int = 0
    """The size of the sample; 0 = as the options say."""
    offset: int = 0
    """Where the sample begins in the order of the rows."""
    products: int = 0
    seconds: float = 0.0
    """The time spent so far."""
    history: list[JsonObject] = field(default_factory=list)
    best: Array | None = None
    """The iterate (P,) with the least cost on the validation images so far.  Their accuracy is too noisy to choose by:
    of 10,000 images a standard error is what several steps gain."""
    best_iteration: int = 0
    best_cost: float = math.inf
    ended: Refined | None = None

    @property
    def phase(self) -> str:
        """The name of the phase in the history."""
        return "refine" if self.cycle == "training" else "bootstrap-refine"

    @property
    def name(self) -> str:
        """The name of the state."""
        return f"{self.cycle}-refinement"

    def load(self, display: Display) -> "KeptIterate":
        """Take up what an earlier process has kept.  Collective."""
        state = self.checkpoint.load(self.name)
        if state is None:
            return self
        values = state.values
        self.history, self.products, self.seconds = values["history"], values["products"], values["seconds"]
        for line in self.history:
            self.tell(display, line)
        display.advance(n=sum(bool(line["accepted"]) for line in self.history))
        if values["ended"]:
            iterations, status = int(values["iterations"]), Status(values["status"])
            best = int(values["best_iteration"])
            self.ended = Refined(state.arrays["w"], best, iterations, self.products, status, self.history)
        else:
            self.best_iteration, self.best_cost = int(values["best_iteration"]), float(values["best_cost"])
            self.best = state.arrays.get("best")
            self.w, self.rows, self.offset = state.arrays["w"], int(values["rows"]), int(values["offset"])
            self.numbers = np.ascontiguousarray(state.arrays["numbers"]).view(NUMBERS).reshape(-1)
        return self

    def scored(self, w: Array, iteration: int, cost: float) -> None:
        """An iterate (P,) and its cost on the validation images; NaN if there are none."""
        if cost <= self.best_cost:
            self.best, self.best_iteration, self.best_cost = w.copy(), iteration, cost

    def tell(self, display: Display, line: JsonObject) -> None:
        """A line for history.jsonl."""
        display.line({"phase": self.phase, **line})

    def keep(self, w: Array, numbers: Array, sample: Sample, products: int, seconds: float) -> None:
        """An iterate is done; keep it if it is time.  Collective."""

        def make() -> State:
            where = {"rows": sample.rows, "offset": sample.offset}
            best = {"best_iteration": self.best_iteration, "best_cost": self.best_cost}
            spent = {"products": products, "seconds": seconds}
            arrays = {"w": w, "numbers": numbers.view(np.float64).reshape(-1, N_NUMBERS)}
            if self.best is not None:
                arrays["best"] = self.best
            return State({"ended": False, **where, **best, **spent, "history": self.history}, arrays)

        self.checkpoint.moment(self.name, w.nbytes, make)

    def end(self, refined: Refined) -> None:
        """Keep the result."""
        values = {
            "ended": True,
            "best_iteration": refined.best,
            "iterations": refined.iterations,
            "status": int(refined.status),
            "products": refined.products,
            "seconds": refined.history[-1]["elapsed_seconds"] if refined.history else 0.0,
            "history": refined.history,
        }
        self.checkpoint.save(self.name, State(values, {"w": refined.w}))
