"""Rows on a sphere, on a device."""

import numpy as np

from varpro.arrays import Array, namespace
from varpro.kernels._launch import dense, launch


def inward_scale(x: Array, g: Array | None, xi: float, eps: float) -> tuple[Array, ...]:
    """xhat and s of kernels.inward_scale; if g is given, the gradient, s and u.g."""
    xp, (n, d) = namespace(x), x.shape
    out, s = xp.empty(x.shape, dtype=x.dtype), xp.empty(n)
    along = None if g is None else xp.empty(n)
    launch(
        "inward_scale", x, x=xp.ascontiguousarray(x), g=dense(g, x.dtype.type), out=out, s=s, along=along, n=n,
        features=d, is_float=x.dtype == np.float32, xi=float(xi), eps=float(eps),
    )  # fmt: skip
    return (out, s) if along is None else (out, s, along)
