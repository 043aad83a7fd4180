"""Every right-hand side with a linear problem of its own: bounds on amplitudes, pinned columns, weights of its own.

For right-hand side k the columns at a bound, and those pinned at 1, are taken out of the projection:

    r = P_perp (y - Phi_fixed a_fixed),   P_perp of the passive columns,   dr = -P_perp D_m a_j - (second term, passive)

so the Hadamard form holds with the coefficients of all columns and a basis of the passive ones only.  H and g are sums
over the right-hand sides.  The active set is found afresh at every evaluation.  Sima and Van Huffel, Comput. Optim.
Appl. 38 (2007) 209-228, treat the constrained functional, which is smooth in pieces.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.fitting.basis import FitBasis
from varpro.fitting.columns import WeightedColumns
from varpro.fitting.general import half_square
from varpro.gauss_newton import NormalEquations, natural_scales, scaling
from varpro.kernels import gauss_newton as kernel
from varpro.kernels import jacobian_products
from varpro.linalg.projector import factor
from varpro.problem import size_of_terms

AT_BOUND = 1e-10
"""A coefficient this close to its bound, relative to the largest one, is on it."""


@dataclass(frozen=True, slots=True)
class SeparateEvaluation:
    """What is known of b problems of K right-hand sides at w (b, F)."""

    problems: Array
    w: Array
    a: Array
    """(b, I, K)"""
    cost: Array
    rank: Array
    """(b,) least over the right-hand sides"""
    u: Array
    """(b, K, N, I) bases of the passive columns; zero columns elsewhere"""
    inverse_gram: Array
    """(b, K, I, I)"""
    residual: Array
    """(b, N, K)"""
    terms: Array
    """(b,) 1/2 (sum_j ||phi_j|| |a_j|)^2, all right-hand sides"""
    squares: Array
    """(b, K, I) squared norms of the columns"""


@dataclass(frozen=True)
class SeparateProblem:
    """B problems; y (B, N, K) with weights multiplied in; weights (1 or B, N, K) or None are those of the columns."""

    basis: FitBasis
    y: Array
    weights: Array | None
    pinned: bool
    """the last column has the coefficient 1"""
    lower: Array
    """(I,) bounds of the coefficients"""
    upper: Array
    kaufman: bool = False
    rank_tolerance: float | None = None
    kind = "separate"
    compiled = False

    @property
    def _bounded(self) -> bool:
        return bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())

    def evaluate(self, w: Array, problems: Array) -> SeparateEvaluation:
        """Solve every right-hand side's linear problem at w (b, F)."""
        y, k = self.y[problems], self.y.shape[2]
        phi = self.own_columns(self.basis.basis(w, problems), problems)
        count, n_rows, n_columns = phi.shape
        right = np.moveaxis(y, 2, 1).reshape(count, n_rows)
        free = n_columns - self.pinned
        known = phi[:, :, free:].sum(axis=2)
        finite: Array = np.asarray(np.isfinite(phi).all(axis=(1, 2)))
        a, passive = self._coefficients(np.where(finite[:, None, None], phi[:, :, :free], 0.0), right - known)
        if self.pinned:
            a = np.concatenate([a, np.ones((count, 1))], axis=1)
            passive = np.concatenate([passive, np.zeros((count, 1), dtype=bool)], axis=1)
        u, inverse, rank, a = self._project(phi, right, a, passive)
        residual = right - np.einsum("bni,bi->bn", phi, a)
        cost = 0.5 * np.einsum("bn,bn->b", residual, residual).reshape(-1, k).sum(axis=1)
        squares = np.einsum("bni,bni->bi", phi, phi)
        terms = size_of_terms(squares, a[:, :, None]).reshape(-1, k).sum(axis=1)
        return SeparateEvaluation(
            problems=problems,
            w=w,
            a=np.moveaxis(a.reshape(-1, k, n_columns), 1, 2),
            cost=np.where(np.isfinite(cost), cost, np.inf),
            rank=self._least_rank(rank.reshape(-1, k), problems),
            u=u.reshape(-1, k, n_rows, n_columns),
            inverse_gram=inverse.reshape(-1, k, n_columns, n_columns),
            residual=np.moveaxis(residual.reshape(-1, k, n_rows), 1, 2),
            terms=terms,
            squares=squares.reshape(-1, k, n_columns),
        )

    def _least_rank(self, ranks: Array, problems: Array) -> Array:
        """(b,) over the right-hand sides that hold a value; ranks (b, K)."""
        if self.weights is None:
            return ranks.min(axis=1)  # type: ignore[no-any-return]
        n_data = self.weights.shape[1] - len(self.basis.extra_rows if self.basis.extra_rows is not None else ())
        held: Array = np.asarray((self.weights[:, :n_data] > 0).any(axis=1))
        held = held if len(held) == 1 else held[problems]
        return np.where(held, ranks, ranks.max(axis=1, keepdims=True)).min(axis=1)  # type: ignore[no-any-return]

    def linearise(self, current: SeparateEvaluation) -> NormalEquations:
        """H and g summed over the right-hand sides."""
        d = self.own_columns(self.basis.jacobian(current.w, current.problems), current.problems)
        b, k, n_rows, n_columns = current.u.shape
        u = current.u.reshape(-1, n_rows, n_columns)
        a = np.moveaxis(current.a, 2, 1).reshape(-1, n_columns, 1)
        residual = np.moveaxis(current.residual, 2, 1).reshape(-1, n_rows, 1)
        z, moments = jacobian_products.products(d, u, residual)
        inverse = None if self.kaufman else current.inverse_gram.reshape(-1, n_columns, n_columns)
        columns, parameters = self.basis.columns, self.basis.parameters
        h = (
            kernel.normal_matrix(d, z, a @ a.mT, inverse, moments, columns)
            .reshape(b, k, *[len(columns)] * 2)
            .sum(axis=1)
        )
        gradient = -(moments[:, :, 0] * a[:, columns, 0]).reshape(b, k, -1).sum(axis=1)
        incidence = np.zeros((len(columns), current.w.shape[1]))
        incidence[np.arange(len(columns)), parameters] = 1.0
        full = np.tril(h) + np.tril(h, -1).mT
        h, gradient = incidence.T @ full @ incidence, gradient @ incidence
        phi_squares = current.squares.reshape(-1, n_columns)
        squares = np.einsum("bnm,bnm->bm", d, d)
        natural = natural_scales(phi_squares, squares, columns, parameters, current.w.shape[1])
        natural = natural.reshape(b, k, -1).min(axis=1)
        return NormalEquations(h, gradient, scaling(np.diagonal(h, axis1=1, axis2=2), 0.0), natural)

    def renew(self, current: SeparateEvaluation) -> SeparateEvaluation:
        """Fixed data."""
        return current

    @property
    def numbers(self) -> int:
        """Phi and D of every right-hand side."""
        return self.y.shape[1] * self.y.shape[2] * (self.basis.n_columns + len(self.basis.columns))

    def size(self, problems: Array) -> Array:
        """(b,) 1/2 ||y||^2, weighted."""
        return half_square(self.y[problems])

    def amplitudes(self, found: Array, u: Array) -> Array:
        """As found."""
        return found

    def weighted_columns(self, u: Array, problems: Array, a: Array) -> WeightedColumns:
        """See columns.WeightedColumns; one set for all right-hand sides where nothing tells them apart."""
        free: Array = np.ones((len(a), a.shape[2], a.shape[1]), dtype=bool)
        inner = np.moveaxis(a, 2, 1)[:, :, : len(self.lower)]
        free[:, :, : len(self.lower)] = (inner > self.lower) & (inner < self.upper)
        if self.pinned:
            free[:, :, -1] = False
        alike = free[:, :1] if self.weights is None and (free == free[:, :1]).all() else free
        phi, d = self.basis.basis(u, problems), self.basis.jacobian(u, problems, fine=True)
        if self.weights is None:
            return phi[:, None] * alike[:, :, None, :], d[:, None], free
        shape = (len(a), a.shape[2], phi.shape[1])
        own = [self.own_columns(columns, problems).reshape(*shape, columns.shape[2]) for columns in (phi, d)]
        return own[0] * free[:, :, None, :], own[1], free

    def squares(self, cost: Array, u: Array, a: Array) -> Array:
        """(B,) residual sums of squares of a fit without a ridge, rows weighted."""
        return 2.0 * cost

    def own_columns(self, array: Array, problems: Array) -> Array:
        """(b, N, J) repeated for each right-hand side with its weights: (b K, N, J)."""
        k = self.y.shape[2]
        if self.weights is None:
            return np.repeat(array, k, axis=0)
        weights = self.weights if len(self.weights) == 1 else self.weights[problems]
        wide = array[:, None] * np.moveaxis(weights, 2, 1)[..., None]
        return np.ascontiguousarray(
            np.broadcast_to(wide, (len(array), k, *array.shape[1:])).reshape(-1, *array.shape[1:])
        )

    def _coefficients(self, phi: Array, right: Array) -> tuple[Array, Array]:
        """Bounded solutions (b, I) and which of their entries are passive; free ones come from the projection."""
        count, _, n_columns = phi.shape
        if not self._bounded:
            return np.zeros((count, n_columns)), np.ones((count, n_columns), dtype=bool)
        a = np.empty((count, n_columns))
        for b in range(count):
            a[b] = bounded_solution(phi[b], right[b], self.lower, self.upper)
        near = AT_BOUND * np.abs(a).max(axis=1, keepdims=True, initial=0.0)
        passive = (a > self.lower + near) & (a < self.upper - near)
        return np.clip(
            np.where(passive, a, np.where(a <= self.lower + near, self.lower, self.upper)), self.lower, self.upper
        ), passive

    def _project(self, phi: Array, right: Array, a: Array, passive: Array) -> tuple[Array, Array, Array, Array]:
        """Basis and inverse Gram matrix of the passive columns, group by group of equal active sets; a on them."""
        count, n_rows, n_columns = phi.shape
        u, inverse = np.zeros((count, n_rows, n_columns)), np.zeros((count, n_columns, n_columns))
        rank, a = np.zeros(count, dtype=int), a.copy()
        for pattern in np.unique(passive, axis=0):
            mine = np.flatnonzero((passive == pattern).all(axis=1))
            on = np.flatnonzero(pattern)
            if not len(on):
                continue
            off = np.flatnonzero(~pattern)
            part = factor(phi[mine][:, :, on], rank_tolerance=self.rank_tolerance)
            rest = right[mine] - np.einsum("bni,bi->bn", phi[mine][:, :, off], a[np.ix_(mine, off)])
            a[np.ix_(mine, on)] = part.coefficients(rest[:, :, None])[:, :, 0]
            u[mine[:, None], :, on] = np.moveaxis(part.u, 2, 1)
            inverse[mine[:, None, None], on[:, None], on] = part.inverse_gram
            rank[mine] = part.rank
        return u, inverse, rank, a


def bounded_solution(phi: Array, y: Array, lower: Array, upper: Array) -> Array:
    """The least-squares solution (I,) within bounds, on the triangle of a QR factorisation of phi (N, I)."""
    q, r = np.linalg.qr(phi)
    right = q.T @ y
    if not np.isfinite(r).all() or not np.isfinite(right).all():
        return np.clip(np.zeros(phi.shape[1]), lower, upper)
    if (lower == 0).all() and np.isinf(upper).all():
        solution: Array = scipy.optimize.nnls(r, right)[0]
    else:
        solution = scipy.optimize.lsq_linear(r, right, bounds=(lower, upper), method="bvls").x
    return solution
