"""Global refinement: Gauss-Newton-CG on the variable projection functional of the whole network.

It starts with few rows and takes more after every accepted step until all are in use: cheap steps while the network is
far from good, exact ones at the end.  The damping has a floor, or each early step would fit its own sample.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.distributed.communicator import Communicator
from varpro.models.units import Units
from varpro.problems.network import NetworkEvaluation, WholeNetwork
from varpro.problems.sample import Sample
from varpro.report.progress import Display
from varpro.result import IterationRecord, Status
from varpro.search.damping import DampingRule
from varpro.search.loop import search
from varpro.search.termination import Termination
from varpro.train.checkpoint import Checkpoint
from varpro.train.scalarized.glue import Rows
from varpro.train.scalarized.iterates import KeptIterate, Refined


@dataclass(frozen=True, kw_only=True)
class RefineOptions:
    """How the whole network is refined."""

    iterations: int
    first_rows: int
    growth: float
    """The factor on the number of rows after an accepted step."""
    products: int
    """The most conjugate-gradient products per step."""
    ridge: float
    """The ridge mu per row."""
    dtype: type[np.floating]
    damping_floor: float
    kaufman: bool
    exact: bool
    held_bytes: int
    """The most memory for J of the sample, over all ranks."""
    order: Array
    threads: int


def refine(
    comm: Communicator,
    units: Units,
    w0: Array,
    sigma: str,
    rows: Rows,
    n_classes: int,
    options: RefineOptions,
    display: Display,
    name: str,
    score: Callable[[Units, Array, Array], dict[str, float]] | None,
    checkpoint: Checkpoint | None = None,
) -> Refined:
    """Search all parameters of a network at once, or go on where an earlier process was.  Collective; replicated
    result."""
    display.phase(f"{name}: refinement", options.iterations)
    kept = KeptIterate(checkpoint or Checkpoint(), name).load(display)
    if kept.ended is not None:
        return kept.ended
    clock, history = time.perf_counter() - kept.seconds, kept.history
    sample = Sample(
        images=rows.images,
        y=rows.y(slice(None), n_classes),
        order=options.order,
        rows=kept.rows or options.first_rows,
        comm=comm,
        growth=options.growth,
        threads=options.threads,
    )

    def iterate(problem: WholeNetwork, current: NetworkEvaluation) -> None:
        if score is not None:
            history[-1].update(score(units, current.w[0], current.a))
        history[-1]["elapsed_seconds"] = time.perf_counter() - clock
        kept.tell(display, history[-1])

    def between(w: Array, numbers: Array) -> None:
        kept.keep(w, numbers, sample.rows, problem.products.value, time.perf_counter() - clock)

    def observe(record: IterationRecord) -> None:
        history.append(
            {
                **record.line(),
                "rows": sample.rows,
                "products": problem.products.value,
                "elapsed_seconds": time.perf_counter() - clock,
            }
        )
        display.advance(cost=record.cost, n=int(record.accepted))
        if not record.accepted:
            kept.tell(display, history[-1])

    problem = WholeNetwork(
        units=units,
        sigma=sigma,
        sample=sample,
        ridge=options.ridge,
        max_products=options.products,
        dtype=options.dtype,
        kaufman=options.kaufman,
        exact=options.exact,
        held_bytes=options.held_bytes,
        observe_iterate=iterate,
    )
    problem.products.value = kept.products
    found = search(
        problem,
        w0[None] if kept.w is None else kept.w,
        damping=DampingRule(initial=max(1e-2, options.damping_floor), smallest=options.damping_floor, largest=1e6),
        termination=Termination(
            max_iterations=options.iterations, cost_tolerance=0.0, step_tolerance=0.0, confirmed=False
        ),
        observe=observe,
        numbers=kept.numbers,
        between=between,
    )
    if history and history[-1]["accepted"]:
        iterate(problem, found.evaluation)
    w = comm.bcast(np.ascontiguousarray(found.w[0]))
    refined = Refined(w, int(found.iterations[0]), problem.products.value, Status(int(found.status[0])), history)
    kept.end(refined)
    return refined
