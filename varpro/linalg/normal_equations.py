"""The normal equations of a linear layer, Phi^T Phi and Phi^T Y, from blocks of rows that are computed on demand.

Rows are sharded over the ranks, and a rank's blocks over its threads; Phi is never held as a whole.  Gluing, the
control and refinement all form their normal equations here.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Protocol, TypeVar

import numpy as np

from varpro.arrays import Array, namespace, to_host
from varpro.kernels import gram as kernel
from varpro.linalg.row_sums import ShardedRows, grid_unit, over_ranks, round_to_grid

T = TypeVar("T")


class Watch(Protocol[T]):
    """Looks after sums while they grow, so that they can be continued another time."""

    def begin(self, rows: ShardedRows, blocks: Sequence[T], gram: Array, cross: Array) -> Sequence[T]:
        """Add what is known already to the sums of one rank; the blocks left to this one.  Collective."""

    def after(self, done: int, gram: Array, cross: Array) -> None:
        """This rank has added `done` blocks in all; the sums are its own.  Collective, equally often on every rank."""


def normal_equations(
    rows: ShardedRows,
    blocks: Sequence[T],
    make: Callable[[T], tuple[Array, Array]],
    *,
    columns: int,
    outputs: int,
    like: Array,
    largest: tuple[float, float] = (1.0, 1.0),
    single: bool = False,
    watch: Watch[T] | None = None,
) -> tuple[Array, Array]:
    """Phi^T Phi (J, J), its lower triangle, where `like` is, and Phi^T Y (J, K) on the host; float64.  Collective.

    blocks : those of this rank; make(block) gives its (Phi, Y), where `like` is.  columns : J.  outputs : K.
    largest : bounds on |Phi| and |Y|, which set the grid of reproducible sums.
    single : form each block's Phi^T Phi in single precision.
    watch : for rows that take long; then a rank's blocks follow one another, each with all of its threads in BLAS.
    """
    unit = grid_unit(rows.n_rows * largest[0] * max(largest)) if rows.reproducible else 0.0

    def share(mine: Sequence[T]) -> _Sums:
        sums = _Sums(columns, outputs, unit, namespace(like), single)
        for block in mine:
            sums.add(*make(block))
        return sums

    if watch is not None:
        watched = _watched(_Sums(columns, outputs, unit, namespace(like), single), rows, blocks, make, watch)
        return over_ranks(watched.gram, rows.comm), to_host(over_ranks(watched.cross, rows.comm))
    first, *others = rows.map(share, rows.shares(blocks))
    for other in others:
        first.gram += other.gram
        first.cross += other.cross
    return over_ranks(first.gram, rows.comm), to_host(over_ranks(first.cross, rows.comm))


def _watched(
    sums: "_Sums", rows: ShardedRows, blocks: Sequence[T], make: Callable[[T], tuple[Array, Array]], watch: Watch[T]
) -> "_Sums":
    blocks = watch.begin(rows, blocks, sums.gram, sums.cross)
    most = int(rows.comm.allreduce(np.array([len(blocks)]), "max")[0])
    for turn in range(most):
        if turn < len(blocks):
            sums.add(*make(blocks[turn]))
        watch.after(min(turn + 1, len(blocks)), sums.gram, sums.cross)
    return sums


class _Sums:
    """Sums over blocks; if need be, each block's part is rounded to a grid, so that the order makes no difference."""

    def __init__(self, columns: int, outputs: int, unit: float, xp: ModuleType, single: bool) -> None:
        self.unit, self.single = unit, single
        self.gram, self.cross = xp.zeros((columns, columns)), xp.zeros((columns, outputs))
        self.work = np.zeros((columns, columns), dtype=np.float32) if single and xp is np else None
        self.part = (xp.empty_like(self.gram), xp.empty_like(self.cross)) if unit else (self.gram, self.cross)

    def add(self, phi: Array, y: Array) -> None:
        """Add a block."""
        gram, cross = self.part
        if self.unit:
            gram[:], cross[:] = 0.0, 0.0
        kernel.accumulate(phi, y, gram, cross, single=self.single, work=self.work)
        if self.unit:
            self.gram += round_to_grid(gram, self.unit)
            self.cross += round_to_grid(cross, self.unit)
