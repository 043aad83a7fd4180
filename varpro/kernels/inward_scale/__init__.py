"""Rows on a sphere of radius 1 / xi, and gradients mapped back from it.

s = sqrt(||x||^2 + eps),   xhat = x / (xi s),   u = x / s,   (dxhat)^T g = (g - u (u.g)) / (xi s)
"""

import numpy as np

from varpro import _cpu
from varpro.arrays import Array, is_device_array
from varpro.errors import ShapeError
from varpro.kernels._checks import FLOATS
from varpro.kernels.inward_scale import cuda


def inward_scale(x: Array, xi: float, eps: float) -> tuple[Array, Array]:
    """xhat (N, D) in the dtype of x, and s (N,) float64; arithmetic in float64.

    x : (N, D) float32 or float64.  s is not finite if the row is not, or if its square overflows.  A row with s = 0
    is NaN.  Both results are where x is.
    """
    _check(x)
    if is_device_array(x):
        out, s = cuda.inward_scale(x, None, xi, eps)
        return out, s
    out, s = np.empty(x.shape, dtype=x.dtype), np.empty(len(x))
    _cpu.inward_scale(np.ascontiguousarray(x), None, float(xi), float(eps), out, s, None)
    return out, s


def inward_scale_vjp(x: Array, g: Array, xi: float, eps: float) -> tuple[Array, Array, Array]:
    """The gradient (N, D) for x in its dtype, s (N,) and u.g (N,), both float64; g : like x, the gradient for xhat.

    u.g is not finite if the row of g is not.
    """
    _check(x)
    if g.shape != x.shape or g.dtype != x.dtype:
        raise ShapeError(f"g has shape {g.shape} and dtype {g.dtype}, x {x.shape} and {x.dtype}; both need the same")
    if is_device_array(x):
        out, s, along = cuda.inward_scale(x, g, xi, eps)
        return out, s, along
    out, s, along = np.empty(x.shape, dtype=x.dtype), np.empty(len(x)), np.empty(len(x))
    _cpu.inward_scale(np.ascontiguousarray(x), np.ascontiguousarray(g), float(xi), float(eps), out, s, along)
    return out, s, along


def _check(x: Array) -> None:
    if x.ndim != 2 or x.dtype not in FLOATS:
        raise ShapeError(f"x has shape {x.shape} and dtype {x.dtype}; it needs (N, D), float32 or float64")
