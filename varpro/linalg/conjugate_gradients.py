"""The damped Gauss-Newton step by preconditioned conjugate gradients, for matrices that are applied but never formed.

(H + lambda diag(d)) s = -g, stopped at a relative residual (inexact Newton) or at the limit on products.
Dembo, Eisenstat, Steihaug, SIAM J. Numer. Anal. 19 (1982) 400-408.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array

Operator = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class ConjugateGradients:
    """The state in which the iteration ended."""

    x: Array
    """The solution, (P,)."""
    products: int
    relative_residual: float
    """||b - A x||_M / ||b||_M, in the norm of the preconditioner."""


def conjugate_gradients(
    apply: Operator, precondition: Operator, b: Array, *, max_products: int, tolerance: float
) -> ConjugateGradients:
    """Solve A x = b from x = 0 with A symmetric positive definite.

    apply(v) = A v, precondition(r) = M^-1 r, all (P,).  Every iterate from 0 satisfies x^T A x = x^T b, on which the
    predicted reduction of the search loop relies.  A direction without curvature ends the iteration.
    """
    x, r = np.zeros_like(b), b.copy()
    z = precondition(r)
    direction, rz = z, float(r @ z)
    first, products = rz, 0
    while products < max_products and rz > tolerance**2 * first:
        applied = apply(direction)
        products += 1
        curvature = float(direction @ applied)
        if not curvature > 0:
            break
        length = rz / curvature
        x, r = x + length * direction, r - length * applied
        z = precondition(r)
        rz, old = float(r @ z), rz
        direction = z + (rz / old) * direction
    return ConjugateGradients(x, products, float(np.sqrt(max(rz, 0.0) / first)) if first > 0 else 0.0)
