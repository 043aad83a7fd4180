"""Gluing: one linear least-squares problem over the units of all sub-networks, its rows sharded over the ranks.

    (Phi^T Phi + mu I) A = Phi^T Y

Phi (N x J + 1) is streamed in blocks and never held.  `gram`: Gram matrix in double precision, all-reduce, Cholesky,
one step of iterative refinement with the true residual.  `tsqr`: R of [Phi Y] by TSQR and a truncated SVD of R, for
ill-conditioned problems or exactly truncated solutions.  `cg`: conjugate gradients on streamed rows, where the Gram
matrix does not fit (glue_gradients).  The ridge mu is chosen on the validation split.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from varpro.arrays import Array, beside, is_device_array, namespace, to_host
from varpro.distributed.communicator import Communicator
from varpro.linalg.cholesky import Factored, factor
from varpro.linalg.normal_equations import Watch, normal_equations
from varpro.linalg.row_sums import ShardedRows
from varpro.linalg.tsqr import singular_values, tsqr
from varpro.models.units import Scalarization, Units
from varpro.train.scalarized.glue_gradients import GradientLayers
from varpro.train.scalarized.network import one_hot

RELATIVE_RIDGES = (1e-11, 1e-9, 1e-7, 1e-5, 1e-3)
"""Candidates for mu, relative to the mean diagonal of Phi^T Phi, from just above the Gram matrix's rounding upwards."""
SINGLE_RIDGES = (1e-6, 3e-6, 1e-5, 1e-4, 1e-3)
"""The same in single precision."""
WIDE_ROWS = 250
"""Rows of Phi that are made double at a time: a few megabytes."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Images (N, C, L, R), on the host or on a device, with labels (N,) on the host."""

    images: Array
    labels: Array
    targets: Array | None = None
    """Right-hand sides (N, K) in place of those of the labels: soft guesses."""

    def __len__(self) -> int:
        return len(self.labels)

    def y(self, rows: Array | slice, n_classes: int) -> Array:
        """The right-hand sides (n, K) float64 of some rows, on the host."""
        return one_hot(self.labels[rows], n_classes) if self.targets is None else self.targets[rows]


@dataclass(frozen=True)
class Streamed:
    """Phi of a network on some rows, in the fixed blocks that this rank owns."""

    units: Units
    w: Array
    sigma: str
    rows: Rows
    n_classes: int
    comm: Communicator
    block_rows: int = 2000
    reproducible: bool = False
    single: bool = False
    """Whether Phi, and Phi^T Phi of a block, are computed in single precision."""
    held_bytes: int = 0
    """The most memory that Phi may take, over all ranks, to be kept once it is made."""

    @cached_property
    def _kept(self) -> dict[int, tuple[Array, Array]] | None:
        """(Phi, Y) by the first row of a block; None if all of them together would take too much memory."""
        size = (4 if self.single else 8) * len(self.rows) * self.n_columns
        return {} if size <= self.held_bytes else None

    @cached_property
    def sharded(self) -> ShardedRows:
        """The rows of this rank; BLAS uses its threads within a block."""
        return ShardedRows(len(self.rows), self.comm, self.block_rows, reproducible=self.reproducible)

    @property
    def dtype(self) -> type[np.floating]:
        """That of Phi."""
        return np.float32 if self.single else np.float64

    @cached_property
    def at(self) -> Scalarization:
        """The units at w."""
        return self.units.at(self.w, self.sigma, self.dtype)

    @property
    def n_columns(self) -> int:
        """The number of columns of Phi, including the constant."""
        return self.units.n_columns + 1

    def block(self, block: slice) -> tuple[Array, Array]:
        """(Phi, Y) of some rows, in the same memory as the images; not to be modified."""
        if self._kept is not None and block.start in self._kept:
            return self._kept[block.start]
        phi = self.at.phi(self.rows.images[block])
        y: Array = beside(self.rows.y(block, self.n_classes), phi)
        if self._kept is not None:
            self._kept[block.start] = phi, y
        return phi, y

    def blocks(self) -> Iterator[tuple[Array, Array]]:
        """(Phi, Y) of each block of this rank."""
        return map(self.block, self.sharded.blocks())

    def normal_equations(self, watch: Watch[slice] | None = None) -> tuple[Array, Array]:
        """Phi^T Phi (J + 1, J + 1), its lower triangle, where the images are, and Phi^T Y on the host.  Collective."""
        return normal_equations(
            self.sharded,
            self.sharded.blocks(),
            self.block,
            columns=self.n_columns,
            outputs=self.n_classes,
            like=self.rows.images,
            largest=(max(1.0, self.at.largest_value), 1.0),
            single=self.single,
            watch=watch,
        )


@dataclass(frozen=True, slots=True)
class Glued:
    """The linear layer of the whole network."""

    a: Array
    """The linear layer, (J + 1, K)."""
    ridge: float
    rank: int
    condition: float
    """The square root of an estimate of kappa_1(Phi^T Phi + mu I); with tsqr, sigma_1 / sigma_rank of Phi; NaN with
    cg."""
    residual: float = 0.0
    """With cg, the relative residual of the normal equations at which it ended."""


def glue(
    train: Streamed,
    validation: Streamed | None,
    *,
    method: str = "gram",
    ridge: float | None = None,
    rank_tolerance: float | None = None,
    watch: Watch[slice] | None = None,
) -> Glued:
    """The linear layer from the training rows.  Collective; replicated result.

    ridge : mu, or None to choose the candidate with the best validation accuracy (the largest if several are equal).
    watch : looks after the sums of the Gram matrix while they grow.
    """
    solver: _Gram | _Triangle | _Gradients
    if method == "cg":
        solver = _Gradients(train)
    else:
        solver = _Gram(train, watch) if method == "gram" else _Triangle(train, rank_tolerance)
    relative = SINGLE_RIDGES if train.single else RELATIVE_RIDGES
    candidates = [ridge] if ridge is not None else [c * solver.scale for c in relative]
    if validation is None or not len(validation.rows):
        candidates = candidates[:1] if ridge is not None else [relative[2] * solver.scale]
    solutions = solver.solutions(candidates)
    chosen = 0
    if len(candidates) > 1 and validation is not None:
        correct = count_correct(validation, [s.a for s in solutions])
        chosen = max(range(len(solutions)), key=lambda i: (correct[i], solutions[i].ridge))
    return solver.refined(solutions[chosen])


def count_correct(streamed: Streamed, layers: list[Array]) -> Array:
    """The number of rows whose largest output is the true class, for each linear layer (J + 1, K).  Collective."""
    correct = np.zeros(len(layers), dtype=np.int64)
    # in the precision of Phi: a product of unlike ones would copy Phi, which takes longer than the product
    stacked = beside(np.concatenate(layers, axis=1).astype(streamed.dtype), streamed.rows.images)
    for phi, y in streamed.blocks():
        outputs = (phi @ stacked).reshape(len(phi), len(layers), -1)
        correct += to_host((outputs.argmax(axis=2) == y.argmax(axis=1)[:, None]).sum(axis=0))
    return streamed.comm.allreduce(correct)


def all_scores(streamed: Streamed, a: Array) -> Array:
    """Outputs (N, K), replicated; each block comes from the rank that owns it.  Collective."""
    layer = beside(a, streamed.rows.images)
    parts = [np.concatenate([to_host(wide @ layer) for _, wide in _in_double(phi)]) for phi, _ in streamed.blocks()]
    blocks = [block for part in streamed.comm.allgather(parts) for block in part]
    return np.concatenate(blocks) if blocks else np.zeros((0, a.shape[1]))


def _in_double(phi: Array) -> Iterator[tuple[slice, Array]]:
    """Rows of a block in double precision: all of them, or on the host as many as a cache holds, one part after another
    in the same memory."""
    if phi.dtype == np.float64 or is_device_array(phi):
        yield slice(0, len(phi)), phi.astype(np.float64, copy=False)
        return
    wide = np.empty((min(WIDE_ROWS, len(phi)), phi.shape[1]))
    for first in range(0, len(phi), WIDE_ROWS):
        rows = slice(first, min(first + WIDE_ROWS, len(phi)))
        part = wide[: rows.stop - first]
        np.copyto(part, phi[rows])
        yield rows, part


def _residual_product(phi: Array, y: Array, a: Array) -> Array:
    """Phi^T (Y - Phi A) of a block, in double precision."""
    parts = [wide.T @ (y[rows] - wide @ a) for rows, wide in _in_double(phi)]
    return sum(parts[1:], parts[0])


class _Gram:
    """Gram matrix and Cholesky; different ranks factor different candidates for the ridge."""

    def __init__(self, streamed: Streamed, watch: Watch[slice] | None = None) -> None:
        self.streamed = streamed
        self.gram, self.cross = streamed.normal_equations(watch)
        self.scale = float(namespace(self.gram).diagonal(self.gram).sum()) / streamed.n_columns

    def solutions(self, ridges: list[float]) -> list[Glued]:
        """Replicated solutions for the ridges whose Cholesky factorisation exists, each computed on one rank; the
        condition is that of the one that is refined."""
        comm = self.streamed.comm
        mine, xp = [], namespace(self.gram)
        work = xp.empty_like(self.gram)  # once: clearing new memory takes half as long as factoring in it
        for place in range(comm.rank, len(ridges), comm.size):
            xp.copyto(work, self.gram)
            factored = factor(work, ridges[place], overwrite=True, conditioned=False)
            if factored is not None:
                mine.append((place, Glued(factored.solve(self.cross), ridges[place], len(self.gram), np.nan)))
        everyone = sorted((pair for part in comm.allgather(mine) for pair in part), key=lambda pair: pair[0])
        if not everyone:
            return self.solutions([100.0 * max(max(ridges), RELATIVE_RIDGES[0] * self.scale)])
        return [solution for _, solution in everyone]

    def refined(self, solution: Glued) -> Glued:
        """One step of iterative refinement: A += (G + mu I)^-1 (Phi^T (Y - Phi A) - mu A)."""
        streamed, comm = self.streamed, self.streamed.comm
        a = beside(solution.a, self.gram)
        parts = [to_host(_residual_product(phi, y, a)) for phi, y in streamed.blocks()]
        gradient = streamed.sharded.total(parts, solution.a.shape) - solution.ridge * solution.a
        correction, condition = np.zeros_like(solution.a), np.full(1, np.nan)
        if comm.rank == 0:
            factored: Factored | None = factor(self.gram, solution.ridge, overwrite=True)  # used for the last time
            assert factored is not None
            correction, condition = factored.solve(gradient), np.sqrt([factored.condition])
        comm.bcast_(correction)
        comm.bcast_(condition)
        return Glued(solution.a + correction, solution.ridge, solution.rank, float(condition[0]))


class _Gradients:
    """Conjugate gradients; a layer is made accurate when its ridge has been chosen."""

    def __init__(self, streamed: Streamed) -> None:
        self.layers, self.columns = GradientLayers(streamed), streamed.n_columns
        self.scale = self.layers.scale

    def solutions(self, ridges: list[float]) -> list[Glued]:
        """One layer for each ridge, found side by side."""
        found = zip(self.layers.several(ridges), ridges, strict=True)
        return [Glued(a, mu, self.columns, np.nan) for a, mu in found]

    def refined(self, solution: Glued) -> Glued:
        """The layer at full accuracy."""
        a, residual = self.layers.refined(solution.a, solution.ridge)
        return Glued(a, solution.ridge, solution.rank, np.nan, residual)


class _Triangle:
    """TSQR of [Phi Y] and a truncated SVD of R."""

    def __init__(self, streamed: Streamed, rank_tolerance: float | None) -> None:
        n = streamed.n_columns
        xp = namespace(streamed.rows.images)
        rows = (xp.concatenate([phi, y], axis=1, dtype=np.float64) for phi, y in streamed.blocks())
        r = tsqr(rows, n + streamed.n_classes, streamed.comm, chain=streamed.reproducible)
        self.scale = float(np.sum(r[:, :n] ** 2)) / n
        tolerance = max(len(streamed.rows), n) * np.finfo(float).eps if rank_tolerance is None else rank_tolerance
        packed = (np.zeros((n, n)), np.zeros(n), np.zeros((n, n)))
        if streamed.comm.rank == 0:  # one SVD, on one thread of one rank, so that every rank has the same bits
            packed = singular_values(beside(r[:n, :n], streamed.rows.images))
        u, self.s, self.vt = (np.ascontiguousarray(part) for part in packed)
        for part in (u, self.s, self.vt):
            streamed.comm.bcast_(part)
        self.rank = int(np.count_nonzero(self.s > tolerance * self.s[0]))
        self.projected = u.T @ r[:n, n:]

    def solutions(self, ridges: list[float]) -> list[Glued]:
        """A = V diag(s / (s^2 + mu)) U^T Q^T Y over the numerical rank."""
        s, r = self.s[: self.rank, None], self.rank
        condition = float(self.s[0] / self.s[r - 1]) if r else np.inf
        return [Glued(self.vt[:r].T @ (self.projected[:r] * (s / (s * s + mu))), mu, r, condition) for mu in ridges]

    def refined(self, solution: Glued) -> Glued:
        """The solution itself, since orthogonal factorisations need no refinement."""
        return solution
