"""The variable projection functional for any optimiser: f(w) = 1/2 ||P_perp Y||^2, its gradient and its residual."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.errors import ShapeError
from varpro.fitting.arguments import check_backend, require_fittable
from varpro.fitting.data import make_data
from varpro.fitting.engine import build
from varpro.fitting.make_model import Derivative
from varpro.fitting.model import Function
from varpro.fitting.request import Request, specify
from varpro.linalg.one_pool import one_blas_pool
from varpro.linalg.projector import factor
from varpro.linalg.truncation import Triplets, residual_slopes, with_ridge_rows


class Functional:
    """f(w) and what optimisers ask for; w (P,) are the parameters of the model, complex ones as [real, imaginary].

    f = varpro.functional(model, t, y, w0)
    scipy.optimize.minimize(f, w0, jac=f.gradient)
    scipy.optimize.minimize(f.value_and_gradient, w0, jac=True)
    scipy.optimize.least_squares(f.residual, w0, jac=f.jacobian)
    """

    def __init__(self, built: Any, n_parameters: int) -> None:
        self._built, self._count = built, n_parameters
        self._one = np.zeros(1, dtype=int)

    @one_blas_pool()
    def _evaluate(self, w: Any) -> Any:
        point = np.asarray(w, dtype=float)
        if point.shape != (self._count,):
            raise ShapeError(f"w has shape {point.shape}; the functional takes ({self._count},)")
        return self._built.problem.evaluate(point[None], self._one)

    def __call__(self, w: Any) -> float:
        """f(w); infinite where the model is not finite."""
        return float(self._evaluate(w).cost[0])

    def gradient(self, w: Any) -> Array:
        """(P,); NaN where f is not finite."""
        return self.value_and_gradient(w)[1]

    @one_blas_pool()
    def value_and_gradient(self, w: Any) -> tuple[float, Array]:
        """f(w) and its gradient from one evaluation."""
        current = self._evaluate(w)
        if not np.isfinite(current.cost[0]):
            return np.inf, np.full(self._count, np.nan)
        return float(current.cost[0]), self._built.problem.linearise(current).gradient[0]

    @property
    def _linear(self) -> Any:
        """What holds ridge and rank_tolerance: the problem, or its general form."""
        general = getattr(self._built.problem, "general", self._built.problem)
        return getattr(general, "inner", general)

    @property
    def _ridge(self) -> float:
        return float(getattr(self._linear, "ridge", 0.0))  # a separate problem has it in its rows

    def residual(self, w: Any) -> Array:
        """(N K,) Y - Phi A, weighted, as (N, K) flattened; with a ridge its rows follow.  f = 1/2 ||residual||^2."""
        phi, y, a, _ = self._solution(w)
        rows = [_misfit(phi, y, a)]
        if self._ridge:
            rows.append(-np.sqrt(self._ridge) * a)
        return np.concatenate([r.ravel() for r in rows])

    @one_blas_pool()
    def jacobian(self, w: Any) -> Array:
        """Full Golub-Pereyra Jacobian of the residual, a row for each of its values, (N K, P) without a ridge.

        Of the truncated problem where rank_tolerance leaves singular values out.
        """
        phi, y, _, current = self._solution(w)
        basis, own = self._built.basis, getattr(self._built.problem, "residual_slopes", None)
        if own is not None:
            slopes = own(current)
        else:
            d = basis.jacobian(np.asarray(w, dtype=float)[None], self._one)[0]
            rank = factor(phi, ridge=self._ridge, rank_tolerance=self._linear.rank_tolerance).rank[0]
            whole, y, d = with_ridge_rows(phi[0], self._ridge, y, d)
            slopes = residual_slopes(Triplets.of(whole, int(rank)), y, d, basis.columns)
        incidence = np.zeros((len(basis.columns), self._count))
        incidence[np.arange(len(basis.columns)), basis.parameters] = 1.0
        return (slopes @ incidence).reshape(-1, self._count)

    def coefficients(self, w: Any) -> Array:
        """(I, K) the linear parameters at w."""
        return self._solution(w)[2]

    @one_blas_pool()
    def _solution(self, w: Any) -> tuple[Array, Array, Array, Any]:
        """Phi (1 or K, N, I), y (N, K), a (I, K), and the evaluation."""
        current = self._evaluate(w)
        phi, y = self._built.basis.basis(np.asarray(w, dtype=float)[None], self._one), self._built.y[0]
        a = self._built.problem.amplitudes(current.a, current.w)[0]
        return self._own(phi), y, a, current

    def _own(self, columns: Array) -> Array:
        """Columns (1, N, J) with the weights of each right-hand side, (1 or K, N, J)."""
        return self._built.problem.own_columns(columns, self._one)  # type: ignore[no-any-return]


def _misfit(phi: Array, y: Array, a: Array) -> Array:
    """(N, K)"""
    return y - (phi[0] @ a if len(phi) == 1 else np.einsum("kni,ik->nk", phi, a))


def functional(
    model: Function,
    t: Any,
    y: Any,
    w0: Any,
    *,
    derivative: Derivative = None,
    names: Sequence[str] | None = None,
    weights: Any = None,
    mask: Any = None,
    linear: Any = "free",
    ridge: float = 0.0,
    fixed_term: Function | None = None,
    fixed_term_derivative: Function | None = None,
    rank_tolerance: float | None = None,
    backend: str = "auto",
) -> Functional:
    """The functional of a separable model; w0 (P,) only tells how many parameters there are and where the model works.

    Arguments as in `fit`.  Sections 8.1 and 8.2 of Pereyra's paper use it with optimisers of several kinds.
    """
    check_backend(backend)
    data = make_data(t, y, batch=False, weights=weights, mask=mask)
    start = np.atleast_1d(np.asarray(w0))[None]
    start = start.astype(complex if np.iscomplexobj(start) else float)
    request = Request(
        derivative=derivative,
        names=names,
        linear=linear,
        ridge=ridge,
        fixed_term=fixed_term,
        fixed_term_derivative=fixed_term_derivative,
        rank_tolerance=rank_tolerance,
    )
    spec, u0 = specify(request, model, data, start, batch=False)
    require_fittable(spec)
    return Functional(build(spec), u0.shape[1])
