"""A growing sample of the training rows: a prefix of a random order of them, sharded over ranks and threads."""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.linalg.row_sums import Communicator, ShardedRows


@dataclass
class Sample:
    """Images and right-hand sides, of which the first `rows` of `order` are in use; identical on every rank."""

    images: Array
    """All training images, (N, C, L, R), on every rank."""
    y: Array
    """The right-hand sides, (N, K) float64."""
    order: Array
    """A random order of the rows, (N,)."""
    rows: int
    """The number of rows in the current sample."""
    comm: Communicator
    growth: float = 1.0
    threads: int = 1

    @property
    def sharded(self) -> ShardedRows:
        """The current rows.  Sums over them are always reproducible: products in single precision would amplify a
        change of the last bit to 1e-7."""
        return ShardedRows(self.rows, self.comm, threads=self.threads)

    def first(self, most: int) -> ShardedRows:
        """At most this many of the current rows, from the beginning."""
        return ShardedRows(min(most, self.rows), self.comm, threads=self.threads)

    def blocks(self, rows: ShardedRows | None = None) -> list[Array]:
        """Row indices of this rank's blocks of the current sample, or of its first rows."""
        return [self.order[block] for block in (rows or self.sharded).blocks()]

    def grow(self) -> bool:
        """Use `growth` times as many rows; False if all were in use already."""
        grown = min(len(self.order), int(np.ceil(self.rows * self.growth)))
        grows, self.rows = grown > self.rows, grown
        return grows

    def size(self) -> float:
        """1/2 ||Y||^2 / rows."""
        y = self.y[self.order[: self.rows]]
        return 0.5 * float(np.vdot(y, y)) / self.rows
