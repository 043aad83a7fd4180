"""One full learning cycle: sub-networks, gluing, global refinement.

The training set and, in bootstrapping, the test set with guessed labels go through the same cycle.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import numpy as np

from varpro.arrays import Array, Device
from varpro.config.scalarized import ScalarizedConfig
from varpro.distributed.communicator import Communicator
from varpro.distributed.queue import run_tasks
from varpro.distributed.threads import blas_threads
from varpro.models.units import Units
from varpro.report.progress import Display
from varpro.search.damping import DampingRule
from varpro.search.termination import Termination
from varpro.train.checkpoint import Checkpoint
from varpro.train.scalarized.attempts import Attempts, judged
from varpro.train.scalarized.device_subnetworks import DeviceTask, searched_side_by_side
from varpro.train.scalarized.glue import Glued, Rows, Streamed, glue
from varpro.train.scalarized.glue_entropy import glue_entropy
from varpro.train.scalarized.iterates import Refined
from varpro.train.scalarized.kept_sums import KeptSums
from varpro.train.scalarized.network import Network
from varpro.train.scalarized.partition import REFINEMENT, TRAINING, Design, generator, join_units, require_classes
from varpro.train.scalarized.refine import RefineOptions, refine
from varpro.train.scalarized.restart import layer_of, state_of_layer
from varpro.train.scalarized.subnetworks import Failed, SearchOptions, SubnetworkTask, Trained


@dataclass(frozen=True)
class Run:
    """What every part of a run shares."""

    config: ScalarizedConfig
    comm: Communicator
    display: Display
    threads: int
    """The number of cores of this rank."""
    shape: tuple[int, ...]
    n_classes: int
    class_names: tuple[str, ...]
    dataset: str
    device: Device | None = None
    """The GPU of this rank; None computes on the CPU."""
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    """Where what is done is kept."""
    why_cpu: str | None = None
    """Why `backend: auto` took the CPU, where a GPU was expected."""
    _uploaded: dict[int, tuple[Array, Array]] = field(default_factory=dict)
    """Images on the host and their copy on the device, by the identity of the former."""
    _latest: list[Streamed] = field(default_factory=list)
    """Those of the units that were asked for last, on the host, with what they hold of Phi."""

    @property
    def design(self) -> Design:
        """The units of one sub-network, or of the whole network if there are no sub-networks."""
        model = self.config.model
        return Design(model.unit, self.shape, self.config.units, model.options, model.sigma)

    def streamed(self, units: Units, w: Array, rows: Rows) -> Streamed:
        """Phi of units on rows, sharded over the ranks; computed on the device if there is one.  On the host it is held
        as long as the same units are asked for, if it fits into `glue.memory`."""
        config, held = self.config, round(1e9 * self.config.glue.memory)
        if self.device is not None:
            rows, held = replace(rows, images=self.on_device(rows.images)), 0
        self._latest[:] = [known for known in self._latest if known.units is units and known.w is w]
        for known in self._latest:
            if known.rows is rows:
                return known
        streamed = Streamed(
            units,
            w,
            config.model.sigma,
            rows,
            self.n_classes,
            self.comm,
            config.glue.block_rows,
            config.reproducible,
            config.glue.precision == "fp32",
            held,
        )
        if self.device is None:
            self._latest.append(streamed)
        return streamed

    def on_device(self, images: Array) -> Array:
        """Images (N, C, L, R) on the device, copied there only once."""
        assert self.device is not None
        if id(images) not in self._uploaded:
            self._uploaded[id(images)] = (images, self.device.put(images))
        return self._uploaded[id(images)][1]

    def glued(
        self, units: Units, w: Array, rows: Rows, validation: Rows | None, ridge: float | None, name: str
    ) -> Glued:
        """The linear layer of units on rows, or the one that an earlier process has found.  Collective.

        ridge : None = chosen on the validation rows.  name : of its states in the checkpoint.
        """
        found = self.checkpoint.load(name)
        if found is not None:
            return layer_of(found)
        train = self.streamed(units, w, rows)
        held = None if validation is None else self.streamed(units, w, validation)
        if self.config.glue.loss == "cross_entropy":
            glued = glue_entropy(train, held, ridge=ridge)
        else:
            glued = glue(
                train,
                held,
                method=self.config.glue.method,
                ridge=ridge,
                rank_tolerance=self.config.search.rank_tolerance,
                watch=KeptSums(self.checkpoint, f"{name}-sums", self.comm),
            )
        self.checkpoint.save(name, state_of_layer(glued))
        self.checkpoint.forget(f"{name}-sums")
        return glued

    def network(self, units: Units, w: Array, a: Array) -> Network:
        """A network with this run's classes."""
        return Network(units, w, self.config.model.sigma, a, self.class_names, self.dataset)

    def all_threads(self) -> AbstractContextManager[None]:
        """All threads of this rank for one computation; one in BLAS if sums over rows must be reproducible."""
        return blas_threads(1 if self.config.reproducible else self.threads, rows=self.threads)


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


Score = Callable[[Units, Array, Array], dict[str, float]]
"""Accuracies of a network (units, w, a) by name, for the curve of a refinement."""


def learning_cycle(
    run: Run, rows: Rows, *, stream: int, name: str, validation: Rows | None, ridge: float | None, score: Score | None
) -> Cycle:
    """Train a network on rows.  Collective.

    stream : of random numbers.  ridge : of the linear layer; None = chosen on the validation rows.
    """
    config, clock = run.config, time.perf_counter()
    seconds = {"subnetworks": 0.0, "glue": 0.0, "refine": 0.0}
    trained: list[Trained] = []
    ranks: list[int] = []
    draws: list[tuple[int, int]] = []
    attempts: Attempts | None = None
    if config.subnetworks:
        task = subnetwork_task(run, rows, stream)
        if stream == TRAINING:  # guessed labels may lack a class, the user's must not
            partition = {"count": config.subnetworks, "samples": config.samples, "seed": config.seed, "stream": stream}
            require_classes(rows.labels, run.class_names, **partition)
        attempts = _train_subnetworks(run, task, name)
        trained, ranks = attempts.trained()
        parts, draws = run.comm.bcast(([(t.units, t.w) for t in trained], [(t.index, t.redrawn) for t in trained]))
        units, w = join_units(parts)
        seconds["subnetworks"], clock = time.perf_counter() - clock, time.perf_counter()
    else:
        units, w = run.design.start(generator(config.seed, stream), rows.images)
    refined = None
    run.checkpoint.begin_phase()
    if config.refine.enabled:
        with blas_threads(1):
            refined = refine(
                run.comm,
                units,
                w,
                config.model.sigma,
                rows,
                run.n_classes,
                _refine_options(run, stream, rows),
                run.display,
                name,
                score,
                run.checkpoint,
            )
        w = refined.w
        seconds["refine"], clock = time.perf_counter() - clock, time.perf_counter()
    run.display.phase(f"{name}: gluing", 1)
    run.checkpoint.begin_phase()
    with run.all_threads():
        glued = run.glued(units, w, rows, validation, ridge, f"{name}-glue")
    run.display.advance()
    seconds["glue"] = time.perf_counter() - clock
    cycle = Cycle(run.network(units, w, glued.a), glued, trained, ranks, refined, draws, seconds=seconds)
    if attempts is not None:
        cycle.failed, cycle.restored = attempts.failed, attempts.restored
    return cycle


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
    )


def untrained(run: Run, rows: Rows, stream: int, draws: list[tuple[int, int]] | None = None) -> tuple[Units, Array]:
    """The untrained units of a cycle, drawn again for the control.  draws : those of the cycle; None = all, once."""
    if not run.config.subnetworks:
        return run.design.start(generator(run.config.seed, stream), rows.images)
    task = subnetwork_task(run, rows, stream)
    chosen = [(index, 0) for index in range(run.config.subnetworks)] if draws is None else draws
    begun = [task.start(index, redrawn) for index, redrawn in chosen]
    return join_units([(d.units, d.w) for d in begun])


def _train_subnetworks(run: Run, task: SubnetworkTask, name: str) -> Attempts:
    """All sub-networks, complete on rank 0; each runs on one BLAS thread, so that its bits depend on nothing else."""
    count = run.config.subnetworks
    run.display.phase(f"{name}: sub-networks", count)
    phase = "train" if task.stream == TRAINING else "bootstrap"
    attempts = Attempts(run.comm, run.checkpoint, run.display, task, count, name, phase).begin()
    run.checkpoint.begin_phase()
    with blas_threads(1):
        if run.device is not None and searched_side_by_side(run.config, run.shape):
            attempts.left = _train_on_device(run, attempts)
        run_tasks(
            run.comm,
            len(attempts.left),
            attempts.work,
            threads=max(1, min(run.threads, len(attempts.left))),
            on_result=attempts.arrived,
            pause=run.checkpoint.asked,
        )
    return attempts


def _train_on_device(run: Run, attempts: Attempts) -> list[int]:
    """The same, with each rank's equal share trained in batches on its device; returns those that failed, which the
    host tries once more."""
    assert run.device is not None
    comm, task = run.comm, attempts.task
    work = DeviceTask(task, run.device, run.on_device(task.rows.images), run.threads)
    failed: list[int] = []

    def arrived(trained: Trained, rank: int) -> None:
        result = judged(trained)
        if isinstance(result, Failed):
            failed.append(trained.index)
        else:
            attempts.keep(result, rank)

    mine = work(attempts.left[comm.rank :: comm.size], lambda t: arrived(t, 0) if comm.rank == 0 else None)
    for rank, part in enumerate(comm.gather(mine if comm.rank else []) or []):
        for trained in part:
            arrived(trained, rank)
    return comm.bcast(sorted(failed))


def _refine_options(run: Run, stream: int, rows: Rows) -> RefineOptions:
    settings = run.config.refine
    return RefineOptions(
        iterations=settings.iterations,
        first_rows=min(settings.first_rows, len(rows)),
        growth=settings.growth,
        products=settings.products,
        ridge=settings.ridge,
        dtype=np.float32 if settings.precision == "fp32" else np.float64,
        damping_floor=settings.damping_floor,
        kaufman=settings.jacobian == "kaufman",
        exact=settings.step == "exact",
        held_bytes=round(1e9 * settings.memory),
        order=generator(run.config.seed, REFINEMENT, stream).permutation(len(rows)),
        threads=run.threads,
    )
