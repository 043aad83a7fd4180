"""One full learning cycle: sub-networks, gluing, global refinement.

The training set and, in bootstrapping, the test set with guessed labels go through the same cycle.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from varpro.arrays import Array
from varpro.distributed.queue import run_tasks
from varpro.distributed.threads import blas_threads
from varpro.kernels.batched_cholesky import by_vendor
from varpro.models.units import Units
from varpro.search.damping import DampingRule
from varpro.search.termination import Termination
from varpro.train.scalarized.attempts import Attempts, judged
from varpro.train.scalarized.device_subnetworks import DeviceTask, searched_side_by_side
from varpro.train.scalarized.glue import Glued, Rows
from varpro.train.scalarized.iterates import Refined
from varpro.train.scalarized.network import Network
from varpro.train.scalarized.partition import TRAINING, generator, join_units, require_classes
from varpro.train.scalarized.refine import refine
from varpro.train.scalarized.run import Run, Score
from varpro.train.scalarized.subnetworks import Failed, SearchOptions, SubnetworkTask, Trained


@dataclass
class Cycle:
    """What a learning cycle leaves behind; replicated, except that `trained` is complete on rank 0 only."""

    network: Network
    glued: Glued
    trained: list[Trained] = field(default_factory=list)
    task_ranks: list[int] = field(default_factory=list)
    """The rank that trained each sub-network."""
    refined: Refined | None = None
    draws: list[tuple[int, int]] = field(default_factory=list)
    """The number of each sub-network in the network, and whether it was drawn again; the control draws the same."""
    failed: list[Failed] = field(default_factory=list)
    """The sub-networks that were left out, on rank 0."""
    restored: set[int] = field(default_factory=set)
    """The sub-networks that an earlier process has trained, on rank 0."""
    seconds: dict[str, float] = field(default_factory=dict)


def learning_cycle(
    run: Run, rows: Rows, *, stream: int, name: str, validation: Rows | None, ridge: float | None, score: Score | None
) -> Cycle:
    """Train a network on rows.  Collective.

    stream : of random numbers.  ridge : of the linear layer; None = chosen on the validation rows.
    """
    seconds = {"subnetworks": 0.0, "glue": 0.0, "refine": 0.0}
    attempts: Attempts | None = None
    draws: list[tuple[int, int]] = []
    refined: Refined | None = None
    if run.config.subnetworks:
        with _timed(seconds, "subnetworks"):
            attempts = _train_subnetworks(run, rows, stream, name)
            parts, draws = run.comm.bcast(attempts.parts())
            units, w = join_units(parts)
    else:
        units, w = untrained(run, rows, stream)
    run.checkpoint.begin_phase()
    if run.config.refine.enabled:
        with _timed(seconds, "refine"), blas_threads(1):
            refined = refine(run, units, w, rows, stream=stream, name=name, score=score)
        w = refined.w
    run.display.phase(f"{name}: gluing", 1)
    run.checkpoint.begin_phase()
    with _timed(seconds, "glue"), run.all_threads():
        glued = run.glued(units, w, rows, validation, ridge, f"{name}-glue")
    run.display.advance()
    cycle = Cycle(run.network(units, w, glued.a), glued, refined=refined, draws=draws, seconds=seconds)
    if attempts is not None:
        cycle.trained, cycle.task_ranks = attempts.trained()
        cycle.failed, cycle.restored = attempts.failed, attempts.restored
    return cycle


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note the seconds that the block takes."""
    clock = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - clock


def subnetwork_task(run: Run, rows: Rows, stream: int) -> SubnetworkTask:
    """The sub-networks of a run on some rows, as numbered tasks."""
    config = run.config
    search = config.search
    options = SearchOptions(
        damping=DampingRule(initial=search.initial_damping),
        termination=Termination(
            max_iterations=search.iterations, cost_tolerance=search.cost_tolerance, confirmed=False
        ),
        kaufman=search.jacobian == "kaufman",
        gn_precision={"fp64": "float64", "fp32": "float32", "tf32": "tf32"}[search.gn_precision],
        ridge=search.ridge,
        rank_tolerance=search.rank_tolerance,
        method=search.method,
        evaluations=search.evaluations,
        squash=search.squash,
    )
    return SubnetworkTask(
        design=run.design,
        rows=rows,
        n_classes=run.n_classes,
        samples=config.samples,
        seed=config.seed,
        stream=stream,
        options=options,
        device=run.device,
        images=None if run.device is None else run.on_device(rows.images),
    )


def untrained(run: Run, rows: Rows, stream: int, draws: list[tuple[int, int]] | None = None) -> tuple[Units, Array]:
    """The untrained units of a cycle, drawn again for the control.  draws : those of the cycle; None = all, once."""
    if not run.config.subnetworks:
        return run.design.start(generator(run.config.seed, stream), rows.images)
    task = subnetwork_task(run, rows, stream)
    chosen = [(index, 0) for index in range(run.config.subnetworks)] if draws is None else draws
    begun = [task.start(index, redrawn) for index, redrawn in chosen]
    return join_units([(d.units, d.w) for d in begun])


def _train_subnetworks(run: Run, rows: Rows, stream: int, name: str) -> Attempts:
    """All sub-networks, complete on rank 0; each runs on one BLAS thread, so that its bits depend on nothing else."""
    config, task = run.config, subnetwork_task(run, rows, stream)
    count = config.subnetworks
    if stream == TRAINING:  # guessed labels may lack a class, the user's must not
        partition = {"count": count, "samples": config.samples, "seed": config.seed, "stream": stream}
        require_classes(rows.labels, run.class_names, **partition)
    run.display.phase(f"{name}: sub-networks", count)
    phase = "train" if stream == TRAINING else "bootstrap"
    attempts = Attempts(run.comm, run.checkpoint, run.display, task, count, name, phase).begin()
    run.checkpoint.begin_phase()
    with blas_threads(1):
        size = config.model.kind.size_of_one(run.shape, config.model.options)
        if run.device is not None and searched_side_by_side(config.model.kind, size.columns):
            attempts.left = _train_on_device(run, attempts)
        run_tasks(
            run.comm,
            len(attempts.left),
            attempts.work,
            threads=1 if run.device is not None else max(1, min(run.threads, len(attempts.left))),
            on_result=attempts.arrived,
            pause=run.checkpoint.asked,
        )
    return attempts


def _train_on_device(run: Run, attempts: Attempts) -> list[int]:
    """The same in batches, each a task of the queue; returns the sub-networks that failed, which are tried once more,
    one by one."""
    comm, failed = run.comm, []
    batches = DeviceTask.of(attempts.task, attempts.left, comm, run.threads)

    def arrived(_: int, rank: int, batch: list[Trained]) -> None:
        for trained in batch:
            result = judged(trained)
            if isinstance(result, Failed):
                failed.append(trained.index)
            else:
                attempts.keep(result, rank)

    with by_vendor(run.config.reproducible):
        run_tasks(comm, len(batches), batches, on_result=arrived, pause=run.checkpoint.asked)
    return comm.bcast(sorted(failed))
