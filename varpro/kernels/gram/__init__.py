"""Gram matrix of a tall matrix whose rows come in blocks, accumulated in double precision."""

import numpy as np
from scipy.linalg.blas import ssyrk

from varpro import _cpu
from varpro.arrays import Array, is_device_array
from varpro.kernels import vendor
from varpro.kernels._checks import doubles, require

PANEL_ROWS = 256
"""Rows of the lower triangle that are added at a time, up to the diagonal of the last one."""


def accumulate(
    phi: Array, y: Array, gram: Array, cross: Array, *, single: bool = False, work: Array | None = None
) -> None:
    """gram += phi^T phi in its lower triangle, cross += phi^T y, in place.

    phi : (N, I), y : (N, K).  gram : (I, I), cross : (I, K), float64, C-contiguous.
    single : form both products of these rows in float32, in half the time; on a device, whose double precision is as
        fast, they are formed in that.
    work : (I, I) float32, finite, C-contiguous, for phi^T phi in single precision on the host; by default new memory,
        which the system has to clear for every block.
    """
    require(phi.ndim == 2, f"phi has shape {phi.shape}; it needs (N, I)")
    n, i = phi.shape
    require(y.ndim == 2 and len(y) == n, f"phi has {n} rows, y has shape {y.shape}; both need the same rows")
    require(
        gram.shape == (i, i) and cross.shape == (i, y.shape[1]),
        f"gram {gram.shape} and cross {cross.shape} need ({i}, {i}) and ({i}, {y.shape[1]})",
    )
    for name, a in (("gram", gram), ("cross", cross)):
        require(
            a.dtype == np.float64 and a.flags.c_contiguous,
            f"{name} must be C-contiguous float64, it is added to in place",
        )
    if is_device_array(phi):
        wide = phi.astype(np.float64, copy=False)
        vendor.accumulate_gram(wide, gram)
        cross += wide.T @ y
        return
    if single:
        narrow = np.asarray(phi, dtype=np.float32)
        work = np.zeros((i, i), dtype=np.float32) if work is None else work
        require(
            work.shape == (i, i) and work.dtype == np.float32 and work.flags.c_contiguous,
            f"work {work.shape} {work.dtype} needs to be ({i}, {i}) float32, C-contiguous",
        )
        ssyrk(1.0, narrow.T, beta=0.0, c=work.T, overwrite_c=True, lower=0)
        for first in range(0, i, PANEL_ROWS):
            last = min(first + PANEL_ROWS, i)
            gram[first:last, :last] += work[first:last, :last]
        cross += narrow.T @ y.astype(np.float32)
        return
    _cpu.accumulate_gram(doubles(phi), doubles(y), gram, cross)
