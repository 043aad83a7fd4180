"""Sums over rows that are spread over several ranks; if need be with the same bits for any number of ranks.

Floating-point addition is not associative, so a sum depends on the order of its additions.  Reproducible sums round
each block's part to a common grid, so coarse that no further addition can round: then every order gives the same bits.
The grid is bound / 2^51, so the loss is of the order of the rounding of an ordinary sum.  The blocks are fixed rows of
the data, independent of the ranks.  Demmel and Nguyen, IEEE Trans. Comput. 64 (2015) 2060-2070.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np

from varpro.arrays import Array, beside, is_device_array, largest, settle, to_host

T = TypeVar("T")
BLOCK_ROWS = 1000
"""Rows of Phi that are computed at a time by default."""


class Communicator(Protocol):
    """The part of a communicator that sums need; the serial one is for a single process."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def reads_devices(self) -> bool: ...

    def allreduce(self, array: Array, op: Literal["sum", "max", "min"] = "sum") -> Array: ...

    def allreduce_(self, array: Array, op: Literal["sum", "max", "min"] = "sum") -> Array: ...


def grid_unit(bound: float) -> float:
    """The power of two such that sums of absolute value up to bound are exact in multiples of it."""
    return 2.0 ** (math.ceil(math.log2(bound)) - 51) if bound > 0 else 0.0


def round_to_grid(a: Array, unit: float) -> Array:
    """a (float64) rounded to multiples of unit, in place."""
    if unit > 0:
        shift = 1.5 * 2.0**52 * unit
        a += shift
        a -= shift
    return a


def row_blocks(n_rows: int, block_rows: int, comm: Communicator) -> list[slice]:
    """The fixed blocks of rows that belong to this rank: contiguous, and as even as whole blocks allow."""
    count = -(-n_rows // block_rows)
    first, last = count * comm.rank // comm.size, count * (comm.rank + 1) // comm.size
    return [slice(b * block_rows, min((b + 1) * block_rows, n_rows)) for b in range(first, last)]


def sum_blocks(
    parts: Iterable[Array],
    like: Array,
    comm: Communicator,
    *,
    reproducible: bool,
    n_blocks: int,
    bound: float | None = None,
) -> Array:
    """Sum of float64 arrays, one per block, over the blocks of all ranks, on the host.  Collective.

    parts : on the host or a device, where they are then added; may be overwritten.
    like : a zero array of their shape, which a rank without blocks contributes.
    n_blocks : the blocks of all ranks; times the largest entry, this bounds every partial sum.
    bound : a bound on every partial sum, if known beforehand: then the parts are taken one at a time, not held.
    """
    if not reproducible:
        return comm.allreduce(_sum(parts, like))
    if bound is None:
        parts = list(parts)
        most = max(map(largest, parts), default=0.0)
        bound = n_blocks * float(comm.allreduce(np.array([most]), op="max")[0])
    if not math.isfinite(bound):
        return np.full_like(like, np.nan)
    unit = grid_unit(bound)
    return comm.allreduce(_sum((round_to_grid(p, unit) for p in parts), like))


def over_ranks(part: Array, comm: Communicator) -> Array:
    """The sum over ranks, where the part is, which may be overwritten.  Collective; through the host's memory unless
    the MPI reads that of devices."""
    if comm.size == 1:
        return part
    if is_device_array(part) and comm.reads_devices:
        settle(part)  # MPI knows nothing of streams
        return comm.allreduce_(part)
    total = to_host(part)
    comm.allreduce_(total)
    return beside(total, part)


def _sum(parts: Iterable[Array], zero: Array) -> Array:
    total = zero
    for part in parts:
        total = part if total is zero and is_device_array(part) else total + part
    return to_host(total)


@dataclass(frozen=True)
class ShardedRows:
    """Rows 0 to n_rows - 1 in fixed blocks: those of this rank, the threads that work on them, and sums over all
    ranks."""

    n_rows: int
    comm: Communicator
    block_rows: int = BLOCK_ROWS
    threads: int = 1
    """The number of threads of this rank, in `map`."""
    reproducible: bool = True
    """Whether sums have the same bits for any number of ranks."""

    @property
    def n_blocks(self) -> int:
        """The number of blocks of all ranks."""
        return -(-self.n_rows // self.block_rows)

    def blocks(self) -> list[slice]:
        """The blocks of this rank."""
        return row_blocks(self.n_rows, self.block_rows, self.comm)

    def map(self, function: Callable[..., T], *lists: Sequence[object]) -> Iterator[T]:
        """The function over the lists on this rank's threads, results in order; lazy if there is only one thread."""
        if self.threads == 1:
            return map(function, *lists)
        with ThreadPoolExecutor(self.threads) as pool:
            return iter(list(pool.map(function, *lists)))

    def shares(self, items: Sequence[T]) -> list[Sequence[T]]:
        """The items dealt out to the threads, for sums that each thread makes on its own."""
        return [items[thread :: self.threads] for thread in range(self.threads)]

    def total(self, parts: Iterable[Array], shape: tuple[int, ...], bound: float | None = None) -> Array:
        """Sum of arrays, one per block, over the blocks of all ranks.  Collective; arguments as in `sum_blocks`."""
        return sum_blocks(
            parts, np.zeros(shape), self.comm, reproducible=self.reproducible, n_blocks=self.n_blocks, bound=bound
        )
