"""Global refinement: Gauss-Newton-CG on the variable projection functional of the whole network.

It starts with few rows and takes more, or others, after every accepted step until all are in use: cheap steps while the
network is far from good, exact ones at the end.  The damping has a floor, or each early step would fit its own sample.
What is handed on is the iterate that is best on the validation images.
"""

import math
import time
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.models.units import Units
from varpro.problems.network import NetworkEvaluation, WholeNetwork
from varpro.problems.network_entropy import EntropyNetwork
from varpro.problems.sample import Sample
from varpro.result import IterationRecord, Status
from varpro.search.damping import DampingRule
from varpro.search.loop import search
from varpro.search.termination import Termination
from varpro.train.scalarized.glue import Rows
from varpro.train.scalarized.iterates import KeptIterate, Refined
from varpro.train.scalarized.partition import REFINEMENT, generator
from varpro.train.scalarized.run import Run, Score


def refine(run: Run, units: Units, w0: Array, rows: Rows, *, stream: int, name: str, score: Score | None) -> Refined:
    """Search all parameters of a network at once, or go on where an earlier process was.  Collective; replicated
    result.

    stream : of random numbers.  name : of the learning cycle.  score : called with each new iterate, for the history.
    """
    settings = run.config.refine
    run.display.phase(f"{name}: refinement", settings.iterations)
    kept = KeptIterate(run.checkpoint, name).load(run.display)
    if kept.ended is not None:
        return kept.ended
    notes = _Notes(run, kept, units, score, time.perf_counter() - kept.seconds)
    problem = _problem(run, units, _sample(run, rows, stream, kept), notes)
    found = search(
        problem,
        w0[None] if kept.w is None else kept.w,
        damping=DampingRule(
            initial=max(settings.initial_damping, settings.damping_floor), smallest=settings.damping_floor, largest=1e6
        ),
        termination=Termination(
            max_iterations=settings.iterations, cost_tolerance=0.0, step_tolerance=0.0, confirmed=False
        ),
        observe=lambda record: notes.trial(problem, record),
        numbers=kept.numbers,
        between=lambda w, numbers: notes.keep(problem, w, numbers),
    )
    if kept.history and kept.history[-1]["accepted"]:
        notes.iterate(problem, found.evaluation)
    iterations, status = int(found.iterations[0]), Status(int(found.status[0]))
    w, best = (found.w[0], iterations) if kept.best is None else (kept.best, kept.best_iteration)
    w = run.comm.bcast(np.ascontiguousarray(w))
    refined = Refined(w, best, iterations, problem.products.value, status, kept.history)
    kept.end(refined)
    return refined


def _sample(run: Run, rows: Rows, stream: int, kept: KeptIterate) -> Sample:
    """The rows in a random order, of which those are in use that an earlier process ended with."""
    settings = run.config.refine
    return Sample(
        images=rows.images if run.device is None else run.on_device(rows.images),
        y=rows.y(slice(None), run.n_classes),
        order=generator(run.config.seed, REFINEMENT, stream).permutation(len(rows)),
        rows=kept.rows or min(settings.first_rows, len(rows)),
        comm=run.comm,
        growth=settings.growth,
        fresh=settings.fresh,
        offset=kept.offset,
        threads=run.threads if run.device is None else 1,
    )


def _problem(run: Run, units: Units, sample: Sample, notes: "_Notes") -> WholeNetwork:
    settings = run.config.refine
    kind = EntropyNetwork if settings.loss == "cross_entropy" else WholeNetwork
    problem = kind(
        units=units,
        sigma=run.config.model.sigma,
        sample=sample,
        ridge=settings.ridge,
        max_products=settings.products,
        dtype=np.float32 if settings.precision == "fp32" else np.float64,
        kaufman=settings.jacobian == "kaufman",
        exact=settings.step == "exact",
        held_bytes=round(1e9 * settings.memory),
        observe_iterate=notes.iterate,
    )
    problem.products.value = notes.kept.products
    return problem


@dataclass(frozen=True)
class _Notes:
    """What a refinement says and keeps on its way."""

    run: Run
    kept: KeptIterate
    units: Units
    score: Score | None
    begun: float
    """When it began on this process's clock, less the time that earlier processes took."""

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self.begun

    def trial(self, problem: WholeNetwork, record: IterationRecord) -> None:
        """A step was tried: a line of the history."""
        size, products = problem.sample.rows, problem.products.value
        line = {**record.line(), "rows": size, "products": products, "elapsed_seconds": self._seconds}
        self.kept.history.append(line)
        self.run.display.advance(cost=record.cost, n=int(record.accepted))
        if not record.accepted:
            self.kept.tell(self.run.display, line)

    def iterate(self, problem: WholeNetwork, current: NetworkEvaluation) -> None:
        """A step was accepted: its scores."""
        line = self.kept.history[-1]
        if self.score is not None:
            scores = self.score(self.units, current.w[0], current.a)
            line.update(scores)
            self.kept.scored(current.w[0], line["iteration"], scores.get("validation_cost", math.nan))
        line["elapsed_seconds"] = self._seconds
        self.kept.tell(self.run.display, line)

    def keep(self, problem: WholeNetwork, w: Array, numbers: Array) -> None:
        """The next step begins here: keep it if it is time."""
        self.kept.keep(w, numbers, problem.sample, problem.products.value, self._seconds)
