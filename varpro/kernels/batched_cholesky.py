"""Cholesky factors of many matrices of one size on a device: the vendor's routine, or blocks, whichever is faster.

    U_kk^T U_kk = A_kk,     U_kr = U_kk^-T A_kr,     A_rr -= U_kr^T U_kr,     r: what lies right of block k

cuSOLVER's potrfBatched is made for small matrices; of 1,450 rows it may take several times as long as the products in
which the work of a blocked factorisation lies.  Which is faster is a matter of the device and the library's version, so
both are timed on a few of the matrices the first time that a size occurs; the blocks must also give the same factors.
The choice may differ from one run to the next, and with it the last bits.  Inside `by_vendor` there is none;
VARPRO_CHOLESKY=vendor or blocked decides everywhere.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from varpro.arrays import Array, namespace, settle
from varpro.kernels import vendor

BLOCK = 128
"""Rows of a block: the largest for which potrfBatched keeps a matrix in shared memory in double precision."""
SAMPLE = 16
"""Matrices that are timed."""
CLEARLY = 1.2
"""How many times as fast blocks must be: below that a timing may be chance."""
AGREEMENT = 1e-6
"""How far the factors may differ, relative to the largest entry of the vendor's; rounding makes the condition of a
damped matrix times 1e-16 of it."""

_chosen: dict[tuple[int, int], bool] = {}
"""Whether matrices are factored in blocks, by device and size."""


_by_vendor = [False]


@contextmanager
def by_vendor(wanted: bool = True) -> Iterator[None]:
    """Factor by the vendor's routine in all threads, for runs that must repeat to the bit."""
    before, _by_vendor[0] = _by_vendor[0], wanted
    try:
        yield
    finally:
        _by_vendor[0] = before


def cholesky(h: Array) -> Array:
    """Factor the lower triangles of h (B, P, P) float64 in place, h = L L^T; info (B,) int32 on the device.

    info > 0: that leading minor is not positive definite; do not use the problem's factor.
    """
    if h.shape[1] <= 2 * BLOCK or not len(h):
        return vendor.cholesky(h)
    wish = os.environ.get("VARPRO_CHOLESKY")
    if wish in ("vendor", "blocked"):
        return in_blocks(h) if wish == "blocked" else vendor.cholesky(h)
    if _by_vendor[0]:
        return vendor.cholesky(h)
    key = int(h.device.id), h.shape[1]  # type: ignore[attr-defined]
    if key not in _chosen:
        _chosen[key] = _blocks_are_faster(h)
    return in_blocks(h) if _chosen[key] else vendor.cholesky(h)


def in_blocks(h: Array) -> Array:
    """`cholesky` by blocks of rows."""
    n, info = h.shape[1], None
    for first in range(0, n, BLOCK):
        last = min(first + BLOCK, n)
        minor = vendor.cholesky_block(h, first, last)
        minor = namespace(h).where(minor > 0, minor + first, 0)
        info = minor if info is None else namespace(h).where(info > 0, info, minor)
        if last < n:
            vendor.eliminate_block(h, first, last)
    assert info is not None
    return info.astype(np.int32)


def _blocks_are_faster(h: Array) -> bool:
    """Both ways on copies of some matrices, the second time of each."""
    some = h[:SAMPLE]

    def timed(factor: Callable[[Array], Array]) -> tuple[float, Array, Array]:
        for _ in range(2):  # the first loads the library
            work = some.copy()
            settle(work)
            clock = time.perf_counter()
            info = factor(work)
            settle(work)
            seconds = time.perf_counter() - clock
        return seconds, work, info == 0

    slow, expected, well = timed(vendor.cholesky)
    fast, found, _ = timed(in_blocks)
    if not CLEARLY * fast < slow:
        return False
    xp = namespace(h)
    lower = xp.where(well[:, None, None], xp.tril(expected), 0.0)
    error = abs(xp.where(well[:, None, None], xp.tril(found), 0.0) - lower)
    return bool(error.max() <= AGREEMENT * abs(lower).max())
