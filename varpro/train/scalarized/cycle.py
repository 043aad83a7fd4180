"""One full learning cycle: sub-networks, gluing, global refinement.

The training set and, in bootstrapping, the test set with guessed labels go through the same cycle.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

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
from varpro.train.scalarized.device_subnetworks import DeviceTask
from varpro.train.scalarized.glue import Glued, Rows, Streamed, glue
from varpro.train.scalarized.network import Network
from varpro.train.scalarized.partition import REFINEMENT, TRAINING, Design, generator, join_units, require_classes
from varpro.train.scalarized.refine import Refined, RefineOptions, refine
from varpro.train.scalarized.subnetworks import SearchOptions, SubnetworkTask, Trained


@dataclass(frozen=True)
class Run:
    """What every part of a run shares."""

    config: ScalarizedConfig
    comm: Communicator
    display: Display
    threads: int
    """The number of cores of this rank."""
    shape: tuple[int, int, int]
    n_classes: int
    class_names: tuple[str, ...]
    dataset: str
    device: Device | None = None
    """The GPU of this rank; None computes on the CPU."""
    _uploaded: dict[int, tuple[Array, Array]] = field(default_factory=dict)
    """Images on the host and their copy on the device, by the identity of the former."""

    @property
    def design(self) -> Design:
        """The units of one sub-network, or of the whole network if there are no sub-networks."""
        model = self.config.model
        return Design(model.unit, self.shape, self.config.units, model.options, model.sigma)

    def streamed(self, units: Units, w: Array, rows: Rows) -> Streamed:
        """Phi of units on rows, sharded over the ranks; computed on the device if there is one."""
        config = self.config
        if self.device is not None:
            rows = Rows(self.on_device(rows.images), rows.labels)
        return Streamed(
            units,
            w,
            config.model.sigma,
            rows,
            self.n_classes,
            self.comm,
            config.glue.block_rows,
            config.reproducible,
            config.glue.precision == "fp32",
        )

    def on_device(self, images: Array) -> Array:
        """Images (N, C, L, R) on the device, copied there only once."""
        assert self.device is not None
        if id(images) not in self._uploaded:
            self._uploaded[id(images)] = (images, self.device.put(images))
        return self._uploaded[id(images)][1]

    def network(self, units: Units, w: Array, a: Array) -> Network:
        """A network with this run's classes."""
        return Network(units, w, self.config.model.sigma, a, self.class_names, self.dataset)

    def sum_threads(self) -> int:
        """The number of BLAS threads for sums over rows: one if they must be reproducible."""
        return 1 if self.config.reproducible else self.threads


@dataclass
class Cycle:
    """What a learning cycle leaves behind; replicated, except that `trained` is complete on rank 0 only."""

    network: Network
    glued: Glued
    trained: list[Trained] = field(default_factory=list)
    task_ranks: list[int] = field(default_factory=list)
    """The rank that trained each sub-network."""
    refined: Refined | None = None
    start: tuple[Units, Array] | None = None
    """The same units untrained, for the control."""
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
    if config.subnetworks:
        task = subnetwork_task(run, rows, stream)
        if stream == TRAINING:  # guessed labels may lack a class, the user's must not
            partition = {"count": config.subnetworks, "samples": config.samples, "seed": config.seed, "stream": stream}
            require_classes(rows.labels, run.class_names, **partition)
        trained, ranks = _train_on_device(run, task, name) if run.device else _train_subnetworks(run, task, name)
        parts = run.comm.bcast([(t.units, t.w) for t in trained] if run.comm.rank == 0 else None)
        assert parts is not None
        units, w = join_units(parts)
        seconds["subnetworks"], clock = time.perf_counter() - clock, time.perf_counter()
    else:
        units, w = run.design.start(generator(config.seed, stream), rows.images)
    start = (units, w)
    refined = None
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
            )
        w = refined.w
        seconds["refine"], clock = time.perf_counter() - clock, time.perf_counter()
    run.display.phase(f"{name}: gluing", 1)
    with blas_threads(run.sum_threads()):
        held = run.streamed(units, w, validation) if validation is not None else None
        glued = glue(
            run.streamed(units, w, rows),
            held,
            method=config.glue.method,
            ridge=ridge,
            rank_tolerance=config.search.rank_tolerance,
        )
    run.display.advance()
    seconds["glue"] = time.perf_counter() - clock
    return Cycle(run.network(units, w, glued.a), glued, trained, ranks, refined, start, seconds)


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
    )
    return SubnetworkTask(
        design=run.design,
        images=rows.images,
        labels=rows.labels,
        n_classes=run.n_classes,
        samples=config.samples,
        seed=config.seed,
        stream=stream,
        options=options,
    )


def untrained(run: Run, rows: Rows, stream: int) -> tuple[Units, Array]:
    """The untrained units of a cycle, drawn again for the control."""
    if not run.config.subnetworks:
        return run.design.start(generator(run.config.seed, stream), rows.images)
    task = subnetwork_task(run, rows, stream)
    draws = [task.start(index) for index in range(run.config.subnetworks)]
    return join_units([(d.units, d.w) for d in draws])


def _train_subnetworks(run: Run, task: SubnetworkTask, name: str) -> tuple[list[Trained], list[int]]:
    """All sub-networks, complete on rank 0; each runs on one BLAS thread, so that its bits depend on nothing else."""
    count = run.config.subnetworks
    ranks = [0] * count
    run.display.phase(f"{name}: sub-networks", count)

    def arrived(index: int, rank: int, result: Trained) -> None:
        ranks[index] = rank
        run.display.advance(cost=result.cost)

    with blas_threads(1):
        results = run_tasks(run.comm, count, task, threads=min(run.threads, count), on_result=arrived)
    return (results or []), ranks


def _train_on_device(run: Run, task: SubnetworkTask, name: str) -> tuple[list[Trained], list[int]]:
    """The same, with each rank's equal share trained in batches on its device."""
    assert run.device is not None
    count, comm = run.config.subnetworks, run.comm
    run.display.phase(f"{name}: sub-networks", count)
    work = DeviceTask(task, run.device, run.on_device(task.images), run.threads)
    with blas_threads(1):
        mine = work(list(range(comm.rank, count, comm.size)), lambda t: run.display.advance(cost=t.cost))
    everyone = comm.gather(mine) or []
    run.display.advance(n=sum(map(len, everyone[1:])))
    results = sorted((t for part in everyone for t in part), key=lambda t: t.index)
    return results, [index % comm.size for index in range(count)]


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
