"""A linear problem for each right-hand side: bounds on amplitudes, pinned columns, and its own weights.

For right-hand side k the columns at a bound, and those pinned at 1, are taken out of the projection:

    r = P_perp (y - Phi_fixed a_fixed),   P_perp of the passive columns,   dr = -P_perp D_m a_j - (second term, passive)

so the Hadamard form holds with the coefficients of all columns and a basis of the passive ones only.  H and g are sums
over the right-hand sides.  The active set is determined anew at every evaluation.  Sima and Van Huffel, Comput. Optim.
Appl. 38 (2007) 209-228, treat the constrained functional, which is piecewise smooth: H and g are those of the piece
with the passive set at w, and where a column is about to change sides, g is the slope on one of them.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.gauss_newton import NormalEquations, keep_unseen, natural_scales, scaling
from varpro.kernels import gauss_newton as kernel
from varpro.kernels import jacobian_products
from varpro.linalg.incidence import sum_by_parameter
from varpro.linalg.projector import without
from varpro.linalg.truncation import NEGLIGIBLE, Triplets, cotangent, residual_slopes
from varpro.problems.active_sets import Limits, solve_within
from varpro.problems.columns import WeightedColumns
from varpro.problems.compiled_form import CompiledForm
from varpro.problems.curves import CurveBasis, FixedData
from varpro.problems.separable import size_of_terms


@dataclass(frozen=True, slots=True)
class SeparateEvaluation:
    """What is known of b problems of K right-hand sides at w (b, F)."""

    problems: Array
    w: Array
    a: Array
    """The coefficients, (b, I, K)."""
    cost: Array
    rank: Array
    """The least rank over the right-hand sides that have any values, (b,)."""
    u: Array
    """Bases of the passive columns, (b, K, N, I); the other columns are zero."""
    inverse_gram: Array
    """The inverse Gram matrices, (b, K, I, I)."""
    residual: Array
    """The residuals, (b, N, K)."""
    terms: Array
    """1/2 (sum_j ||phi_j|| |a_j|)^2, (b,), summed over all right-hand sides."""
    squares: Array
    """The squared norms of the columns, (b, K, I)."""
    passive: Array
    """Which coefficients are inside their bounds, (b, K, I) bool."""
    ranks: Array
    """The rank of the passive columns, (b, K)."""
    left_out: Array
    """The size of what truncation left out, (b, K)."""


@dataclass(frozen=True)
class SeparateProblem(FixedData):
    """B problems; y (B, N, K) with weights multiplied in; weights (1 or B, N, K) or None are those of the columns."""

    basis: CurveBasis
    y: Array
    weights: Array | None
    pinned: bool
    """Whether the last column has the coefficient 1."""
    lower: Array
    """The lower bounds of the coefficients, (I,); `upper` likewise."""
    upper: Array
    kaufman: bool = False
    rank_tolerance: float | None = None
    compiled: CompiledForm | None = None
    kind = "separate"
    ridge = 0.0

    @property
    def limits(self) -> Limits:
        """The bounds of the coefficients, (I,) twice."""
        return self.lower, self.upper

    def evaluate(self, w: Array, problems: Array) -> SeparateEvaluation:
        """Solve every right-hand side's linear problem at w (b, F)."""
        y, k = self.y[problems], self.y.shape[2]
        phi = self.own_columns(self.basis.basis(w, problems), problems)
        count, n_rows, n_columns = phi.shape
        right = np.moveaxis(y, 2, 1).reshape(count, n_rows)
        solved = solve_within(phi, right, self.limits, pinned=self.pinned, rank_tolerance=self.rank_tolerance)
        a = solved.a
        residual = right - np.einsum("bni,bi->bn", phi, a)
        inside = np.where(solved.projected[:, None], np.einsum("bni,bn->bi", solved.u, residual), 0.0)
        residual = without(residual[:, :, None], solved.u, inside[:, :, None])[:, :, 0]
        cost = 0.5 * np.einsum("bn,bn->b", residual, residual).reshape(-1, k).sum(axis=1)
        squares = np.einsum("bni,bni->bi", phi, phi)
        terms = size_of_terms(squares, a[:, :, None]).reshape(-1, k).sum(axis=1)
        return SeparateEvaluation(
            problems=problems,
            w=w,
            a=np.moveaxis(a.reshape(-1, k, n_columns), 1, 2),
            cost=np.where(np.isfinite(cost), cost, np.inf),
            rank=self._least_rank(solved.rank.reshape(-1, k), problems),
            u=solved.u.reshape(-1, k, n_rows, n_columns),
            inverse_gram=solved.inverse_gram.reshape(-1, k, n_columns, n_columns),
            residual=np.moveaxis(residual.reshape(-1, k, n_rows), 1, 2),
            terms=terms,
            squares=squares.reshape(-1, k, n_columns),
            passive=solved.passive.reshape(-1, k, n_columns),
            ranks=solved.rank.reshape(-1, k),
            left_out=solved.left_out.reshape(-1, k),
        )

    def _least_rank(self, ranks: Array, problems: Array) -> Array:
        """(b,) the least rank over the right-hand sides that have any values; ranks (b, K)."""
        if self.weights is None:
            return ranks.min(axis=1)
        n_data = self.weights.shape[1] - len(self.basis.extra_rows if self.basis.extra_rows is not None else ())
        held: Array = np.asarray((self.weights[:, :n_data] > 0).any(axis=1))
        held = held if len(held) == 1 else held[problems]
        return np.where(held, ranks, ranks.max(axis=1, keepdims=True)).min(axis=1)

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
        each = -(moments[:, :, 0] * a[:, columns, 0]).reshape(b, k, -1)
        for one, right in np.argwhere(current.left_out > NEGLIGIBLE):
            w = self._cotangent(current, int(one), int(right))
            each[one, right] = -np.einsum("nm,nm->m", d[one * k + right], w[:, columns])
        gradient = each.sum(axis=1)
        h, gradient = sum_by_parameter(h, gradient, parameters, current.w.shape[1])
        phi_squares = current.squares.reshape(-1, n_columns)
        squares = np.einsum("bnm,bnm->bm", d, d)
        natural = natural_scales(phi_squares, squares, columns, parameters, current.w.shape[1])
        natural = natural.reshape(b, k, -1).min(axis=1)
        keep_unseen(h, (squares * a[:, columns, 0] ** 2).reshape(b, k, -1).sum(axis=1), parameters)
        return NormalEquations(h, gradient, scaling(np.diagonal(h, axis1=1, axis2=2), 0.0), natural)

    @property
    def numbers(self) -> int:
        """The size of Phi and D for every right-hand side."""
        return self.y.shape[1] * self.y.shape[2] * (self.basis.n_columns + len(self.basis.columns))

    @property
    def weighted(self) -> Array:
        return self.y

    def weighted_columns(self, u: Array, problems: Array, a: Array) -> WeightedColumns:
        """See columns.WeightedColumns; a single set if nothing distinguishes the right-hand sides."""
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

    def own_columns(self, array: Array, problems: Array) -> Array:
        """(b, N, J) repeated for each right-hand side, with its weights: (b K, N, J)."""
        k = self.y.shape[2]
        if self.weights is None:
            return np.repeat(array, k, axis=0)
        weights = self.weights if len(self.weights) == 1 else self.weights[problems]
        wide = array[:, None] * np.moveaxis(weights, 2, 1)[..., None]
        return np.ascontiguousarray(
            np.broadcast_to(wide, (len(array), k, *array.shape[1:])).reshape(-1, *array.shape[1:])
        )

    def residual_slopes(self, current: SeparateEvaluation) -> Array:
        """(N, K, M) derivative of the residual of one problem by each pair, with the passive sets held fixed."""
        assert len(current.w) == 1, "the Jacobian of one problem"
        d = self.own_columns(self.basis.jacobian(current.w, current.problems), current.problems)
        columns, out = self.basis.columns, np.empty((*current.residual.shape[1:], len(self.basis.columns)))
        for right, slopes in enumerate(d):
            on, parts, rest = self._passive_part(current, 0, right)
            u, a = current.u[0, right], current.a[0, columns, right]
            out[:, right] = -(slopes - u @ (u.T @ slopes)) * a
            moving = np.flatnonzero(current.passive[0, right][columns])
            place = np.cumsum(current.passive[0, right]) - 1
            if len(on):
                inner = place[columns[moving]]
                out[:, right, moving] = residual_slopes(parts, rest[:, None], slopes[:, moving], inner)[:, 0]
        return out

    def _cotangent(self, current: SeparateEvaluation, one: int, right: int) -> Array:
        """W (N, I) of df = -<dPhi, W> for a right-hand side whose passive columns are truncated."""
        on, parts, rest = self._passive_part(current, one, right)
        w = np.outer(current.residual[one, :, right], current.a[one, :, right])
        w[:, on] = cotangent(parts, rest[:, None])
        return w

    def _passive_part(self, current: SeparateEvaluation, one: int, right: int) -> tuple[Array, Triplets, Array]:
        """The indices of the passive columns, their triplets, and y less the other columns (N,)."""
        problems = current.problems[one : one + 1]
        phi = self.own_columns(self.basis.basis(current.w[one : one + 1], problems), problems)[right]
        passive, a = current.passive[one, right], current.a[one, :, right]
        rest = self.y[problems[0], :, right] - phi[:, ~passive] @ a[~passive]
        return np.flatnonzero(passive), Triplets.of(phi[:, passive], int(current.ranks[one, right])), rest
