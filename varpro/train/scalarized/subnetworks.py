"""Training the sub-networks: independent searches, picked up by the ranks as they become free.

Each runs on one BLAS thread, so that its arithmetic is the same wherever it runs; a rank with several cores runs
several side by side.
"""

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from varpro.arrays import Array, Device, beside
from varpro.distributed.communicator import SerialCommunicator
from varpro.models.units import Units
from varpro.models.units.device import DeviceUnits
from varpro.problems.descent import DescentProblem
from varpro.problems.interface import Evaluated, Problem
from varpro.problems.network import WholeNetwork
from varpro.problems.sample import Sample
from varpro.problems.separable import Basis, SeparableProblem
from varpro.result import IterationRecord, SearchResult, Status
from varpro.search.damping import DampingRule
from varpro.search.derivative_free import search_values
from varpro.search.loop import search
from varpro.search.termination import Termination
from varpro.train.scalarized.cost import NETWORK_PRODUCTS, subnetwork_gflop
from varpro.train.scalarized.glue import Rows
from varpro.train.scalarized.partition import Design, Draw, draw

E = TypeVar("E", bound=Evaluated)

NETWORK_RIDGE = 1e-5
"""The ridge of sub-networks whose units own several columns, relative to a column's mean square, if none is given:
neighbouring cells of a unit are nearly equal."""
HELD_BYTES = 2**31
"""Memory for J of a sub-network; beyond it, J is made anew for each use."""


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How each sub-network is searched."""

    damping: DampingRule
    termination: Termination
    kaufman: bool = False
    gn_precision: str = "float64"
    ridge: float = 0.0
    rank_tolerance: float | None = None
    method: str = "levenberg-marquardt"
    """Or gradient, or derivative-free."""
    evaluations: int = 1000
    """The most evaluations of a derivative-free search."""
    squash: bool = False
    """Whether a search without the Gauss-Newton matrix squashes the outputs."""

    @property
    def gauss_newton(self) -> bool:
        """Whether steps come from the Gauss-Newton matrix."""
        return self.method == "levenberg-marquardt"


@dataclass(frozen=True, slots=True)
class Trained:
    """One sub-network after its search; small enough to send between ranks."""

    index: int
    units: Units
    w: Array
    iterations: int
    evaluations: int
    cost: float
    status: Status
    history: list[IterationRecord]
    gflop: float
    started: float
    """The wall-clock time of its start in seconds, from time.time()."""
    seconds: float
    redrawn: int = 0
    """1 if its first draw failed and this is another."""


@dataclass(frozen=True, slots=True)
class Failed:
    """One sub-network that could not be trained."""

    index: int
    reason: str
    machine: bool
    """Whether the machine was at fault, not the numbers."""


@dataclass(frozen=True)
class SubnetworkTask:
    """The work of one task number; the same object on every rank."""

    design: Design
    rows: Rows
    """All rows that sub-networks draw from."""
    n_classes: int
    samples: int
    seed: int
    stream: int
    options: SearchOptions
    device: Device | None = None
    """Where sub-networks are searched; None for the CPU."""
    images: Array | None = None
    """All images on the device."""

    def start(self, index: int, redrawn: int = 0) -> Draw:
        """What sub-network `index` begins with; the control draws the same."""
        return draw(self.design, self.rows.images, self.samples, self.seed, self.stream, index, redrawn)

    def problem(self, model: Basis, y: Array) -> SeparableProblem:
        """The least-squares problems of sub-networks bound to their images; y (B, N, K) is where the basis is."""
        options = self.options
        shared: dict[str, Any] = {"ridge": options.ridge, "rank_tolerance": options.rank_tolerance}
        if not options.gauss_newton:
            return DescentProblem(model=model, y=y, gn_precision=options.gn_precision, squash=options.squash, **shared)
        return SeparableProblem(model=model, y=y, kaufman=options.kaufman, gn_precision=options.gn_precision, **shared)

    def network(self, begin: Draw) -> WholeNetwork:
        """The problem of one sub-network whose units own several columns.  D^T D of (parameters x columns)^2 numbers
        would cost hundreds of times as much as J^T J, so J is made and held, and a step found by conjugate gradients:
        for 4 N K M operations a product, while J^T J and its projection would take N K M (M + 4 I c)."""
        options, n = self.options, len(begin.rows)
        images = self.rows.images[begin.rows] if self.images is None else self.device_images(begin.rows)
        dtype = np.float32 if options.gn_precision == "float32" else np.float64
        ridge = options.ridge / n
        if ridge == 0.0:
            phi = begin.units.at(begin.w, self.design.sigma, dtype).phi(images[: n // 4 + 1])
            ridge = NETWORK_RIDGE * float((phi.astype(np.float64) ** 2).mean())
        sample = Sample(images, self.rows.y(begin.rows, self.n_classes), np.arange(n), n, SerialCommunicator())
        return WholeNetwork(
            units=begin.units,
            sigma=self.design.sigma,
            sample=sample,
            ridge=ridge,
            dtype=dtype,
            kaufman=options.kaufman,
            max_products=NETWORK_PRODUCTS,
            held_bytes=HELD_BYTES,
        )

    def device_images(self, rows: Array) -> Array:
        """The images of some rows on the device."""
        assert self.images is not None
        return self.images[beside(rows, self.images)]

    def __call__(self, index: int, *, redrawn: int = 0) -> Trained:
        with nullcontext() if self.device is None else self.device.current():
            return self._trained(index, redrawn)

    def _trained(self, index: int, redrawn: int) -> Trained:
        started, clock = time.time(), time.perf_counter()
        begin = self.start(index, redrawn)
        if begin.units.columns_per_unit > 1 and self.options.gauss_newton:
            whole = self.search(self.network(begin), begin.w)
            done = self.trained(
                index, begin, whole, 0, whole.w[0], started=started, seconds=time.perf_counter() - clock
            )
            return replace(done, redrawn=redrawn)
        y = self.rows.y(begin.rows, self.n_classes)[None]
        if self.images is None:
            bound = begin.units.bind(self.rows.images[begin.rows], self.design.sigma)
            found = self.search(self.problem(bound, y), bound.lower(begin.w))
            w = bound.lift(found.w[0])
        else:
            there = DeviceUnits.bind(begin.units, self.images, begin.rows[None], self.design.sigma)
            found = self.search(self.problem(there, beside(y, self.images)), beside(begin.w, self.images))
            w = there.lift(found.w)[0]
        done = self.trained(index, begin, found, 0, w, started=started, seconds=time.perf_counter() - clock)
        return replace(done, redrawn=redrawn)

    def search(self, problem: Problem[E], w0: Array) -> SearchResult[E]:
        """The search of one sub-network from w0 (P,)."""
        options = self.options
        if options.method == "derivative-free":
            tolerance = options.termination.cost_tolerance
            return search_values(problem, w0[None], evaluations=options.evaluations, cost_tolerance=tolerance)
        return search(problem, w0[None], damping=options.damping, termination=options.termination)

    def trained(
        self,
        index: int,
        begin: Draw,
        found: SearchResult[E],
        b: int,
        w: Array,
        *,
        started: float,
        seconds: float,
    ) -> Trained:
        """What problem b of a search found for sub-network `index`; w : all its parameters (P,)."""
        iterations, evaluations = int(found.iterations[b]), int(found.evaluations[b])
        return Trained(
            index=index,
            units=begin.units,
            w=w,
            iterations=iterations,
            evaluations=evaluations,
            cost=float(found.cost[b]),
            status=Status(int(found.status[b])),
            history=[record for record in found.history if record.problem == b],
            gflop=subnetwork_gflop(
                n=len(begin.rows),
                m=found.w.shape[1],
                i=begin.units.count,
                k=self.n_classes,
                iterations=iterations,
                evaluations=evaluations,
                c=begin.units.columns_per_unit,
                gauss_newton=self.options.gauss_newton,
                entries=begin.units.size_of_one(self.design.shape, self.design.options).multiplications,
            ),
            started=started,
            seconds=seconds,
        )


def measured_gemm_gflops(dtype: str, *, size: int = 1000, repeats: int = 5) -> float:
    """GFLOP/s of a square matrix product in dtype on this thread's BLAS, the best of `repeats`."""
    a = np.random.default_rng(0).standard_normal((size, size)).astype(dtype)
    out = np.empty_like(a)
    best = np.inf
    for _ in range(repeats):
        clock = time.perf_counter()
        np.matmul(a, a, out=out)
        best = min(best, time.perf_counter() - clock)
    return 2e-9 * size**3 / best
