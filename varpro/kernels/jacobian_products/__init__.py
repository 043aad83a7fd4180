"""Products with the compressed Jacobian that never unpack it: z = U^T D and g = D^T R.

D is stored with one column per pair, so these are plain matrix products: the vendor's on the CPU.  If D is float32, so
is the first one there, as D^T D is from which z^T z is taken; the second, which is the gradient, is still summed in
float64, by blocks of rows.
"""

import numpy as np

from varpro.arrays import Array, is_device_array
from varpro.kernels._checks import require
from varpro.kernels.jacobian_products import cuda

BLOCK_ROWS = 64
"""Rows of D that are made double at a time: the few products with them then find them in a cache."""


def products(d: Array, u: Array, r: Array) -> tuple[Array, Array]:
    """z (B, rank, M) and g (B, M, K), both float64; on the host, z of a float32 d is summed in float32.

    d : (B, N, M) float32 or float64.  u : (B, N, rank), r : (B, N, K) float64.
    """
    require(
        d.ndim == u.ndim == r.ndim == 3 and d.shape[:2] == u.shape[:2] == r.shape[:2],
        f"d {d.shape}, u {u.shape} and r {r.shape} must agree in problems and rows",
    )
    if is_device_array(d):
        return cuda.jacobian_products(d, u, r)
    rank = u.shape[2]
    if d.dtype == np.float64:
        out = np.concatenate([u, r], axis=2).mT @ d
        return out[:, :rank], np.ascontiguousarray(out[:, rank:].mT)
    z = (u.astype(np.float32).mT @ d).astype(np.float64)
    g = np.zeros((d.shape[0], r.shape[2], d.shape[2]))
    for first in range(0, d.shape[1], BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        g += r[:, rows].mT @ d[:, rows].astype(np.float64)
    return z, np.ascontiguousarray(g.mT)
