"""Conjugate gradients for many right-hand sides at once: each column is a system of its own and stops by itself.

A_s x_s = b_s,    all columns share the passes over the data that a product with the matrices takes
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array

Columns = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class ColumnGradients:
    """Where the columns ended."""

    x: Array
    """The solutions, (J, S)."""
    products: int
    residual: float
    """The largest ||b - A x||_M / ||b||_M of a column, in the norm of the preconditioner."""


def column_gradients(
    apply: Columns, precondition: Columns, b: Array, *, max_products: int, tolerance: float
) -> ColumnGradients:
    """Solve each column of b (J, S) from 0.

    apply(v), precondition(r) : (J, S), symmetric and positive definite in every column.
    A column at the tolerance, or without curvature, stays as it is while others go on.
    """
    x, r = np.zeros_like(b), b.copy()
    z = precondition(r)
    direction, rz = z.copy(), np.einsum("js,js->s", r, z)  # without a preconditioner z is r, which changes in place
    first = np.where(rz > 0, rz, 1.0)
    products = 0
    open_ = rz > 0
    while products < max_products and open_.any():
        applied = apply(direction)
        products += 1
        curvature = np.einsum("js,js->s", direction, applied)
        open_ &= curvature > 0
        length = np.where(open_, rz / np.where(open_, curvature, 1.0), 0.0)
        x += length * direction
        r -= length * applied
        z = precondition(r)
        new = np.einsum("js,js->s", r, z)
        open_ &= new > tolerance**2 * first
        direction = z + np.where(open_, new / np.where(rz > 0, rz, 1.0), 0.0) * direction
        rz = new
    return ColumnGradients(x, products, float(np.sqrt((np.maximum(rz, 0.0) / first).max(initial=0.0))))
