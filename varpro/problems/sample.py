"""A sample of the training rows that grows or moves on: neighbours in a random order, sharded over ranks."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from varpro.arrays import Array, beside
from varpro.linalg.row_sums import Communicator, ShardedRows

SPREAD = 8
"""Blocks from which a few rows come: a part of a sum is held for each."""


@dataclass
class Sample:
    """Images and right-hand sides, of which `rows` of `order` are in use; identical on every rank."""

    images: Array
    """All training images, (N, C, L, R), on every rank; on a device, products with them are computed there."""
    y: Array
    """The right-hand sides, (N, K) float64, on the host."""
    order: Array
    """A random order of the rows, (N,)."""
    rows: int
    """The number of rows in the current sample."""
    comm: Communicator
    growth: float = 1.0
    fresh: bool = False
    """Whether the next sample begins where this one ends."""
    offset: int = 0
    """Where in the order the sample begins."""
    threads: int = 1

    @property
    def sharded(self) -> ShardedRows:
        """The current rows.  Sums over them are always reproducible: products in single precision would amplify a
        change of the last bit to 1e-7."""
        return ShardedRows(self.rows, self.comm, threads=self.threads)

    def some(self, about: int) -> tuple[int, list[tuple[int, int]]]:
        """About so many of the current rows, from blocks far apart, so that every rank has its share of them: how many
        they are, and the numbers of this rank's blocks with how many rows of each."""
        rows = self.sharded
        spread = min(SPREAD, rows.n_blocks)
        most = -(-min(about, self.rows) // spread)
        starts = [i * rows.n_blocks // spread * rows.block_rows for i in range(spread)]
        lengths = {start: min(most, self.rows - start) for start in starts}
        own = [(i, lengths[block.start]) for i, block in enumerate(rows.blocks()) if block.start in lengths]
        return sum(lengths.values()), own

    def blocks(self) -> list[Array]:
        """Row indices of this rank's blocks of the current sample."""
        used = self._used()
        return [used[block] for block in self.sharded.blocks()]

    def pictures(self, block: Array) -> Array:
        """The images of some rows."""
        return self.images[beside(block, self.images)]

    def targets(self, block: Array) -> Array:
        """The right-hand sides of some rows, where the images are."""
        return self._y_there[beside(block, self.images)]

    @cached_property
    def _y_there(self) -> Array:
        return beside(self.y, self.images)

    def advance(self) -> bool:
        """Use `growth` times as many rows, which begin after the present ones if `fresh`; False if all are in use."""
        if self.rows == len(self.order):
            return False
        before = self.offset, self.rows
        if self.fresh:
            self.offset = (self.offset + self.rows) % len(self.order)
        self.rows = min(len(self.order), int(np.ceil(self.rows * self.growth)))
        return (self.offset, self.rows) != before

    def size(self) -> float:
        """1/2 ||Y||^2 / rows."""
        y = self.y[self._used()]
        return 0.5 * float(np.vdot(y, y)) / self.rows

    def _used(self) -> Array:
        """The rows in use: from the offset on, then from the beginning of the order."""
        used: Array = np.roll(self.order, -self.offset)[: self.rows] if self.offset else self.order[: self.rows]
        return used
