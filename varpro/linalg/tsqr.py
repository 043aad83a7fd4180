"""R of a tall matrix whose rows are sharded over ranks and streamed in blocks; Q is never formed.

Demmel, Grigori, Hoemmen, Langou, SIAM J. Sci. Comput. 34 (2012) A206-A239.
"""

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import scipy.linalg

from varpro.arrays import Array, beside, is_device_array, namespace, to_host


class PointToPoint(Protocol):
    """The part of a communicator that the tree needs."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def send(self, array: Array, dest: int) -> None: ...

    def recv(self, source: int) -> Array: ...

    def bcast_(self, array: Array, root: int = 0) -> Array: ...


def triangle(rows: Array) -> Array:
    """R (n, n) of the QR factorisation of rows (m, n), with zero rows below if m < n; where the rows are, which may be
    overwritten."""
    xp, n = namespace(rows), rows.shape[1]
    if len(rows) < n:
        rows = xp.concatenate([rows, xp.zeros((n - len(rows), n))])
    if is_device_array(rows):
        upper: Array = xp.linalg.qr(rows, mode="r")
        return upper
    qr, _, _, info = scipy.linalg.lapack.dgeqrf(rows, overwrite_a=True)
    if info != 0:
        raise ValueError(f"LAPACK dgeqrf refused its argument {-info}")
    return np.triu(qr[:n])


def tsqr(blocks: Iterable[Array], n_columns: int, comm: PointToPoint, *, chain: bool = False) -> Array:
    """R (n, n) on the host, replicated, of all blocks of all ranks.  Collective.

    blocks : (m, n) float64 arrays of this rank, taken one at a time; on a device, they are factored there.
    chain : pass R from rank to rank instead of up a binary tree, which is no faster but gives the same bits for any
    number of ranks, since the blocks are then taken in one fixed order.
    """
    r = np.zeros((n_columns, n_columns))
    if chain and comm.rank > 0:
        r = comm.recv(comm.rank - 1)
    for block in blocks:
        r = triangle(namespace(block).concatenate([beside(r, block), block]))
    r = to_host(r)
    if chain:
        if comm.rank + 1 < comm.size:
            comm.send(r, comm.rank + 1)
        root = comm.size - 1
    else:
        r, root = _up_the_tree(r, comm), 0
    comm.bcast_(r, root)
    return r


def _up_the_tree(r: Array, comm: PointToPoint) -> Array:
    distance = 1
    while distance < comm.size:
        if comm.rank % (2 * distance):
            comm.send(r, comm.rank - distance)
            return r
        if comm.rank + distance < comm.size:
            r = triangle(np.concatenate([r, comm.recv(comm.rank + distance)]))
        distance *= 2
    return r


def singular_values(r: Array) -> tuple[Array, Array, Array]:
    """U, s and V^T of R (n, n), found where R is, on the host."""
    if not is_device_array(r):
        return scipy.linalg.svd(r, overwrite_a=False, check_finite=False)
    u, s, vt = namespace(r).linalg.svd(r)
    return to_host(u), to_host(s), to_host(vt)
