"""The Gauss-Newton matrix of the variable projection functional, without its Jacobian.

    J^T J [m, m'] = (A A^T)[j, j'] (D^T P_perp D)[m, m'] + ((Phi^T Phi)^+)[j, j'] (G G^T)[m, m'],    G = D^T R
    g[m]          = -sum_k G[m, k] A[j, k]

with j = j(m).  The first part is Kaufman's (BIT 15 (1975) 49-57); both together are Golub and Pereyra's (1973).  They
lie in orthogonal subspaces, so the sum is exact and costs no more than the first part.  Its size does not depend on K.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, beside, is_device_array, namespace, to_host
from varpro.kernels import gauss_newton as kernel
from varpro.kernels import jacobian_products
from varpro.linalg.damped import damped_step
from varpro.problem import Evaluation, SeparableProblem

DIAGONAL_FLOOR = 1e-8
"""Floor under diag(H), relative to its maximum: pixels that never light up give zero columns."""


@dataclass(frozen=True, slots=True)
class Step:
    """A trial step of b problems."""

    delta: Array
    """(b, P)"""
    predicted: Array
    """(b,) reduction of f that the damped quadratic model promises"""
    solved: Array
    """(b,) bool; False where the damped matrix was not positive definite"""


@dataclass(frozen=True, slots=True)
class NormalEquations:
    """H and g of b problems; kept over rejected steps, only a damped copy is factored."""

    h: Array
    """(b, P, P) float64, lower triangle"""
    gradient: Array
    """(b, P)"""
    diagonal: Array
    """(b, P) scaling of the damping: max(diag H, floor)"""
    single: bool = False
    """H was made in single precision, so its factor may be too"""

    def solve(self, damping: Array) -> Step:
        """(H + lambda diag(d)) s = -g for damping (b,)."""
        delta, solved = damped_step(self.h, self.diagonal, damping, -self.gradient, single=self.single)
        damped = beside(damping[:, None], delta) * self.diagonal * delta
        return Step(delta, to_host(0.5 * np.einsum("bp,bp->b", delta, damped - self.gradient)), solved)


def scaling(diagonal: Array) -> Array:
    """max(diag H, floor), (b, P); ones where the whole diagonal is zero."""
    if not diagonal.size:
        return np.ones_like(diagonal)
    largest = diagonal.max(axis=-1, keepdims=True)
    return np.where(largest > 0, np.maximum(diagonal, DIAGONAL_FLOOR * largest), 1.0)  # type: ignore[no-any-return]


def linearise(problem: SeparableProblem, current: Evaluation) -> NormalEquations:
    """Assemble H and g of the problems of an evaluation from the compressed Jacobian of their bases.

    With a ridge, factor, A and R are those of the augmented problem and the same formulas hold.
    """
    model = problem.model
    tf32 = problem.gn_precision == "tf32"
    d = model.jacobian(current.w, current.problems, "float32" if tf32 else problem.gn_precision)
    z, products = jacobian_products.products(d, current.factor.u, current.residual)
    aat = current.a @ current.a.mT
    inverse_gram = None if problem.kaufman else current.factor.inverse_gram
    h = kernel.normal_matrix(d, z, aat, inverse_gram, products, model.columns, u=current.factor.u, tf32=tf32)
    gradient = -np.einsum("bmk,bmk->bm", products, current.a[:, model.columns])
    if model.parameters is not None:
        h, gradient = _sum_by_parameter(h, gradient, model.parameters, current.w.shape[1])
    return NormalEquations(h, gradient, scaling(np.diagonal(h, axis1=1, axis2=2)), problem.gn_precision != "float64")


def _sum_by_parameter(h: Array, gradient: Array, parameters: Array, n_parameters: int) -> tuple[Array, Array]:
    """E^T H E and E^T g, E the incidence of pairs and parameters; H given and returned by its lower triangle."""
    if not is_device_array(parameters) and np.array_equal(parameters, np.arange(n_parameters)):
        return h, gradient  # every parameter in one column
    xp = namespace(h)
    full = xp.tril(h) + xp.tril(h, -1).mT
    incidence = xp.zeros((len(parameters), n_parameters))
    incidence[xp.arange(len(parameters)), parameters] = 1.0
    return incidence.T @ full @ incidence, gradient @ incidence
