"""Training the sub-networks: independent searches, picked up by the ranks as they become free.

Each runs on one BLAS thread, so that its arithmetic is the same wherever it runs; a rank with several cores runs
several side by side.
"""

import time
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.models.units import Units
from varpro.problems.separable import Basis, Evaluation, SeparableProblem
from varpro.result import IterationRecord, SearchResult, Status
from varpro.search.damping import DampingRule
from varpro.search.loop import search
from varpro.search.termination import Termination
from varpro.train.scalarized.cost import subnetwork_gflop
from varpro.train.scalarized.network import one_hot
from varpro.train.scalarized.partition import Design, Draw, draw


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How each sub-network is searched."""

    damping: DampingRule
    termination: Termination
    kaufman: bool = False
    gn_precision: str = "float64"
    ridge: float = 0.0
    rank_tolerance: float | None = None


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


@dataclass(frozen=True)
class SubnetworkTask:
    """The work of one task number; the same object on every rank."""

    design: Design
    images: Array
    """All images that sub-networks draw from, (N, C, L, R)."""
    labels: Array
    n_classes: int
    samples: int
    seed: int
    stream: int
    options: SearchOptions

    def start(self, index: int) -> Draw:
        """What sub-network `index` begins with; the control draws the same."""
        return draw(self.design, self.images, self.samples, self.seed, self.stream, index)

    def problem(self, model: Basis, y: Array) -> SeparableProblem:
        """The least-squares problems of sub-networks bound to their images; y (B, N, K) is where the basis is."""
        options = self.options
        return SeparableProblem(
            model=model,
            y=y,
            ridge=options.ridge,
            rank_tolerance=options.rank_tolerance,
            kaufman=options.kaufman,
            gn_precision=options.gn_precision,
        )

    def __call__(self, index: int) -> Trained:
        started, clock = time.time(), time.perf_counter()
        begin = self.start(index)
        bound = begin.units.bind(self.images[begin.rows], self.design.sigma)
        problem = self.problem(bound, one_hot(self.labels[begin.rows], self.n_classes)[None])
        w0 = bound.lower(begin.w)[None]
        found = search(problem, w0, damping=self.options.damping, termination=self.options.termination)
        w = bound.lift(found.w[0])
        return self.trained(index, begin, found, 0, w, started=started, seconds=time.perf_counter() - clock)

    def trained(
        self,
        index: int,
        begin: Draw,
        found: SearchResult[Evaluation],
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
