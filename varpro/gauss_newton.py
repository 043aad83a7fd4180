"""The Gauss-Newton matrix of the variable projection functional, without its Jacobian.

    J^T J [m, m'] = (A A^T)[j, j'] (D^T P_perp D)[m, m'] + ((Phi^T Phi)^+)[j, j'] (G G^T)[m, m'],    G = D^T R
    g[m]          = -sum_k G[m, k] A[j, k]

with j = j(m).  The first part is Kaufman's (BIT 15 (1975) 49-57); both together are Golub and Pereyra's (1973).  They
lie in orthogonal subspaces, so the sum is exact and costs no more than the first part.  Its size does not depend on K.
Nothing here knows a problem: there are sums over the pairs of a parameter, scales, and the damped step.
"""

import math
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, beside, to_host
from varpro.kernels.small_fits import UNSEEN
from varpro.linalg.damped import damped_step
from varpro.linalg.incidence import sum_pairs

DIAGONAL_FLOOR = 1e-8
"""Floor under diag(H) of a network, relative to its maximum: pixels that hardly ever light up would be sent far away.
A fit has no floor: its parameters differ in their units, so one says nothing about another."""
NO_COLUMN = float(np.finfo(np.float64).tiny)
"""Scaling of a parameter whose column is zero, so that it stays where it is, whatever its damping."""


@dataclass(frozen=True, slots=True)
class Step:
    """A trial step of b problems."""

    delta: Array
    """The change of the parameters, (b, P)."""
    predicted: Array
    """The reduction of f that the damped quadratic model promises, (b,)."""
    solved: Array
    """Whether the damped matrix was positive definite, (b,) bool."""


@dataclass(frozen=True, slots=True)
class NormalEquations:
    """H and g of b problems; kept across rejected steps, since only a damped copy is factored."""

    h: Array
    """The matrix H, (b, P, P) float64, lower triangle."""
    gradient: Array
    """The gradient g, (b, P)."""
    diagonal: Array
    """The scaling of the damping, (b, P): max(diag H, floor)."""
    natural: Array | None = None
    """The change of each parameter that changes its columns by their own size, (b, P); None if not requested."""
    single: bool = False
    """Whether H was made in single precision, so that its factor may be, too."""

    def __post_init__(self) -> None:
        """A column whose square underflows is none: its part of g does not, and would ask for a step without end."""
        for problem, p in np.argwhere(to_host(self.curvature) < NO_COLUMN):
            self.h[problem, p, :] = self.h[problem, :, p] = 0.0
            self.gradient[problem, p] = 0.0

    @property
    def curvature(self) -> Array:
        """diag H, (b, P)."""
        return np.diagonal(self.h, axis1=1, axis2=2)

    def solve(self, damping: Array) -> Step:
        """(H + lambda diag(d)) s = -g for damping (b,)."""
        delta, solved = damped_step(self.h, self.diagonal, damping, -self.gradient, single=self.single)
        damped = beside(damping[:, None], delta) * self.diagonal * delta
        return Step(delta, to_host(0.5 * np.einsum("bp,bp->b", delta, damped - self.gradient)), solved)


def keep_unseen(h: Array, squares: Array, parameters: Array) -> None:
    """Raise diag(H) (b, P, P), in place, to at least the rounding error of the projection, so that a parameter without
    effect stays where it is.  squares : (b, M) ||D_m||^2 a_j(m)^2."""
    diagonal = np.einsum("bpp->bp", h)
    np.maximum(diagonal, UNSEEN * sum_pairs(squares, parameters, h.shape[1]), out=diagonal)


def scaling(diagonal: Array, floor: float = DIAGONAL_FLOOR) -> Array:
    """max(diag H, floor times the largest), (b, P), above 0: search.hpp's measure_scaling for matrices that are large
    or on a device."""
    if not diagonal.size:
        return np.ones_like(diagonal)
    wide = np.maximum(diagonal, floor * diagonal.max(axis=-1, keepdims=True))
    return np.maximum(wide, NO_COLUMN)


def least_effect(w: Array, curvature: Array, natural: Array | None, terms: Array, size: Array) -> Array:
    """(b,) the least effect of a parameter: how much the residual changes when the parameter changes its columns by
    their own size, or itself, relative to the terms of the model; or how much of the terms is left in their sum, if
    that is less.

        min_p sqrt(H_pp) min(natural_p, |w_p|) / sum_j ||phi_j|| ||a_j||,    ||y|| / sum_j ||phi_j|| ||a_j||

    w, curvature, natural (b, P), terms (b,) 1/2 (sum_j ||phi_j|| ||a_j||)^2, size (b,) 1/2 ||y||^2.  Infinite if
    natural is not known.
    """
    if natural is None:
        return np.full(len(curvature), np.inf)
    with np.errstate(all="ignore"):
        whole = np.sqrt(terms)
        part = np.minimum.reduce(np.sqrt(curvature) * np.fmin(natural, np.abs(w)), axis=1, initial=np.inf)
        return np.fmin(part / (math.sqrt(2.0) * whole), np.sqrt(size) / whole)


def natural_scales(phi_squares: Array, d_squares: Array, columns: Array, parameters: Array, count: int) -> Array:
    """The change of each of `count` parameters that changes its columns by their own size, (b, P).

        1 / sqrt(sum over the pairs m of a parameter of ||D_m||^2 / ||phi_j(m)||^2)

    phi_squares (b, I) and d_squares (b, M) are squared norms of columns.  Infinite if none of its columns changes.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        size = phi_squares[:, columns]
        share = np.where(size > 0, d_squares / size, 0.0)
        return 1.0 / np.sqrt(sum_pairs(share, parameters, count))
