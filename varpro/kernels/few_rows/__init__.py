"""A few rows times a large matrix, which is read once."""

import numpy as np

from varpro import _cpu
from varpro.arrays import Array
from varpro.kernels._checks import doubles, require


def few_rows(left: Array, right: Array) -> Array:
    """left (m, N) @ right (N, K), float64; a row of the result depends only on its own row of left.

    For m up to a dozen: a BLAS first copies all of right into its own order, which only pays off for many rows.
    """
    require(
        left.ndim == right.ndim == 2 and left.shape[1] == right.shape[0],
        f"left has shape {left.shape}, right {right.shape}; they need (m, N) and (N, K)",
    )
    out = np.empty((left.shape[0], right.shape[1]))
    _cpu.few_rows(doubles(left), doubles(right), out)
    return out
