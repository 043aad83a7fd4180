"""B separable least-squares problems of one shape, and what is known of them at one w.

    f(w) = min_A 1/2 ||Y - Phi(w) A||_F^2 + mu/2 ||A||_F^2

An Evaluation is made once per w and shared by the gain test, the Gauss-Newton matrix and the statistics, so that
nothing is factored twice.  Golub and Pereyra, Inverse Problems 19 (2003) R1-R26.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from varpro.arrays import Array, beside, namespace, to_host
from varpro.errors import ShapeError
from varpro.gauss_newton import (
    DIAGONAL_FLOOR,
    NormalEquations,
    keep_unseen,
    natural_scales,
    scaling,
)
from varpro.kernels import gauss_newton as kernel
from varpro.kernels import jacobian_products
from varpro.linalg.incidence import sum_by_parameter
from varpro.linalg.projector import Factor, factor
from varpro.linalg.truncation import NEGLIGIBLE, Triplets, cotangent, with_ridge_rows


class Basis(Protocol):
    """A model bound to its data: Phi(w) and the compressed Jacobian of B problems."""

    @property
    def columns(self) -> Array:
        """(M,) int32: the column j(m) of Phi that pair m belongs to."""

    @property
    def parameters(self) -> Array | None:
        """(M,) int32: the parameter p(m) of pair m; None where p(m) = m."""

    def basis(self, w: Array, problems: Array) -> Array:
        """Phi (b, N, I) of the given problems, w (b, P)."""

    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        """D (b, N, M): column m is d phi_j(m) / d w_p(m)."""


def size_of_terms(squares: Array, a: Array) -> Array:
    """1/2 (sum_j ||phi_j|| ||a_j||)^2, (b,), from squared norms of columns (b, I) and a (b, I, K): the rounding error
    of the model is that of its terms, however much they cancel."""
    with np.errstate(all="ignore"):
        total = np.sqrt(squares * np.einsum("bik,bik->bi", a, a)).sum(axis=1)
        return to_host(np.where(np.isfinite(total), 0.5 * total * total, 0.0))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything the search needs to know about b problems at w."""

    problems: Array
    """Which of the B problems these are, (b,)."""
    w: Array
    """The nonlinear parameters, (b, P)."""
    factor: Factor
    a: Array
    """The linear parameters, (b, I, K)."""
    residual: Array
    """Y - Phi A, (b, N, K)."""
    cost: Array
    """The cost, (b,); infinite where the model is not finite."""
    terms: Array
    """1/2 (sum_j ||phi_j|| ||a_j||)^2, (b,), the size of the model's terms; 0 where not requested."""
    squares: Array | None = None
    """The squared norms of the columns of Phi, (b, I), where requested."""

    @property
    def rank(self) -> Array:
        """Numerical rank of Phi, (b,)."""
        return self.factor.rank


@dataclass(frozen=True, kw_only=True)
class SeparableProblem:
    """A basis bound to its data, with its right-hand sides; this is what the search loop sees."""

    model: Basis
    y: Array
    """The right-hand sides, (B, N, K) float64."""
    ridge: float = 0.0
    rank_tolerance: float | None = None
    kaufman: bool = False
    """Whether the term in range(Phi) is left out: the gradient stays exact, the Gauss-Newton matrix does not."""
    gn_precision: str = "float64"
    """The dtype of D and of D^T D; Phi, residual and acceptance test stay in float64.  On a device also "tf32": D in
    float32, and the factors of D^T D rounded to ten bits."""
    diagonal_floor: float = DIAGONAL_FLOOR
    """The floor under the scaling of the damping, relative to its largest entry."""
    column_scales: bool = False
    """Whether the natural scales of the parameters are needed, for bounds on the first steps."""

    def evaluate(self, w: Array, problems: Array) -> Evaluation:
        """Solve for the linear parameters at w (b, P); a model that is not finite gets an infinite cost."""
        phi = self.model.basis(w, problems)
        y = self.y if len(problems) == len(self.y) else self.y[beside(problems, self.y)]
        if phi.shape[:2] != y.shape[:2]:
            raise ShapeError(f"phi has shape {phi.shape}, y {y.shape}; problems and rows must agree")
        fac = factor(phi, ridge=self.ridge, rank_tolerance=self.rank_tolerance)
        a = fac.coefficients(y)
        residual = fac.residual(y, phi, a, self.ridge)
        cost = to_host(0.5 * (np.einsum("bnk,bnk->b", residual, residual) + self.ridge * np.einsum("bik,bik->b", a, a)))
        squares, terms = None, np.zeros(len(problems))
        if self.column_scales:
            squares = np.einsum("bni,bni->bi", phi, phi)
            terms = size_of_terms(squares, a)
        return Evaluation(problems, w, fac, a, residual, np.where(np.isfinite(cost), cost, np.inf), terms, squares)

    def size(self, problems: Array) -> Array:
        """1/2 ||Y||_F^2 of problems, (b,)."""
        y = self.y if len(problems) == len(self.y) else self.y[beside(problems, self.y)]
        return to_host(0.5 * np.einsum("bnk,bnk->b", y, y))

    def linearise(self, current: Evaluation) -> NormalEquations:
        """Assemble H and g of the problems of an evaluation from the compressed Jacobian of their bases.

        With a ridge, factor, A and R are those of the augmented problem, and the same formulas hold.  Where the factor
        has left out singular values that are not zero, the gradient is that of the truncated functional
        (linalg.truncation), while H is the Gauss-Newton matrix as if they were zero.
        """
        model = self.model
        tf32 = self.gn_precision == "tf32"
        d = model.jacobian(current.w, current.problems, "float32" if tf32 else self.gn_precision)
        z, products = jacobian_products.products(d, current.factor.u, current.residual)
        aat = current.a @ current.a.mT
        inverse_gram = None if self.kaufman else current.factor.inverse_gram
        h = kernel.normal_matrix(d, z, aat, inverse_gram, products, model.columns, u=current.factor.u, tf32=tf32)
        gradient = -np.einsum("bmk,bmk->bm", products, current.a[:, model.columns])
        cut = np.flatnonzero(to_host(current.factor.left_out) > NEGLIGIBLE)
        if len(cut):
            gradient[beside(cut, gradient)] = self._truncated_gradient(current, d, cut)
        if model.parameters is not None:
            h, gradient = sum_by_parameter(h, gradient, model.parameters, current.w.shape[1])
        natural = None
        if self.column_scales:
            assert current.squares is not None
            assert model.parameters is not None
            squares = np.einsum("bnm,bnm->bm", d, d)
            natural = natural_scales(current.squares, squares, model.columns, model.parameters, current.w.shape[1])
            keep_unseen(h, squares * np.einsum("bii->bi", aat)[:, model.columns], model.parameters)
        diagonal = scaling(np.diagonal(h, axis1=1, axis2=2), self.diagonal_floor)
        return NormalEquations(h, gradient, diagonal, natural, self.gn_precision != "float64")

    def _truncated_gradient(self, current: Evaluation, d: Array, cut: Array) -> Array:
        """(len(cut), M) gradient by pairs of the problems `cut` (host) of an evaluation whose Phi is truncated."""
        problems = to_host(current.problems)[cut]
        phi = self.model.basis(current.w[beside(cut, current.w)], problems)
        xp, rows = namespace(phi), []
        for b, one, number in zip(cut, phi, problems, strict=True):
            whole, y = with_ridge_rows(one, self.ridge, self.y[int(number)])
            w = cotangent(Triplets.of(whole, int(current.factor.rank[b])), y)[: len(one), self.model.columns]
            rows.append(-xp.einsum("nm,nm->m", d[int(b)], w))
        stacked: Array = xp.stack(rows)
        return stacked

    def renew(self, current: Evaluation) -> Evaluation:
        """The evaluation itself: the data are fixed, so nothing is drawn afresh between iterations."""
        return current
