"""The formulas of rows on a sphere."""

import numpy as np

from varpro.arrays import Array


def inward_scale_reference(x: Array, xi: float, eps: float) -> tuple[Array, Array]:
    """xhat and s, from their formula."""
    wide = x.astype(np.float64)
    s = np.sqrt((wide**2).sum(axis=1) + eps)
    return (wide / (xi * s[:, None])).astype(x.dtype), s


def inward_scale_vjp_reference(x: Array, g: Array, xi: float, eps: float) -> tuple[Array, Array, Array]:
    """The gradient, s and u.g, from their formulas."""
    wide, given = x.astype(np.float64), g.astype(np.float64)
    s = np.sqrt((wide**2).sum(axis=1) + eps)
    unit = wide / s[:, None]
    along = (unit * given).sum(axis=1)
    return ((given - unit * along[:, None]) / (xi * s[:, None])).astype(x.dtype), s, along
