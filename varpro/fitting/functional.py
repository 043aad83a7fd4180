"""The variable projection functional for any optimiser: f(w) = 1/2 ||P_perp Y||^2, its gradient and its residual."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.errors import ShapeError
from varpro.fitting.api import _check_backend, _linear, _require_fittable, _specify
from varpro.fitting.data import make_data
from varpro.fitting.engine import build
from varpro.fitting.model import Derivative, Function
from varpro.solvers.damping import DampingRule
from varpro.solvers.termination import Termination


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

    def value_and_gradient(self, w: Any) -> tuple[float, Array]:
        """f(w) and its gradient from one evaluation."""
        current = self._evaluate(w)
        if not np.isfinite(current.cost[0]):
            return np.inf, np.full(self._count, np.nan)
        return float(current.cost[0]), self._built.linearise(self._built.problem, current).gradient[0]

    def residual(self, w: Any) -> Array:
        """(N K,) Y - Phi A, weighted, as (N, K) flattened; with a ridge its rows follow.  f = 1/2 ||residual||^2."""
        phi, y, a = self._solution(w)
        rows = [y - phi @ a]
        ridge = getattr(self._built.problem, "ridge", None) or getattr(
            getattr(self._built.problem, "general", None), "ridge", 0.0
        )
        if ridge:
            rows.append(-np.sqrt(ridge) * a)
        return np.concatenate([r.ravel() for r in rows])

    def jacobian(self, w: Any) -> Array:
        """(N K, P) full Golub-Pereyra Jacobian of the residual, without a ridge."""
        point = np.asarray(w, dtype=float)[None]
        phi, y, a = self._solution(w)
        from varpro.linalg.projector import factor

        fac, basis = factor(phi[None]), self._built.basis
        d, u = basis.jacobian(point, self._one)[0], fac.u[0]
        residual = y - phi @ a
        pinv_t = u @ fac.back[0].T
        out = np.zeros((*y.shape, self._count))
        for m, (j, p) in enumerate(zip(basis.columns, basis.parameters, strict=True)):
            projected = d[:, m] - u @ (u.T @ d[:, m])
            out[:, :, p] -= np.outer(projected, a[j]) + np.outer(pinv_t[:, j], d[:, m] @ residual)
        return out.reshape(-1, self._count)

    def coefficients(self, w: Any) -> Array:
        """(I, K) the linear parameters at w."""
        return self._solution(w)[2]

    def _solution(self, w: Any) -> tuple[Array, Array, Array]:
        current = self._evaluate(w)
        point = np.asarray(w, dtype=float)[None]
        return self._built.basis.basis(point, self._one)[0], self._built.y[0], current.a[0]


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
    _check_backend(backend)
    data = make_data(t, y, batch=False, weights=weights, mask=mask)
    start = np.atleast_1d(np.asarray(w0))[None]
    start = start.astype(complex if np.iscomplexobj(start) else float)
    spec, u0 = _specify(
        model, data, start, derivative, names, None, None, None, _linear(linear, None, ridge, fixed_term is not None),
        fixed_term, fixed_term_derivative, "golub-pereyra", Termination(), DampingRule(), rank_tolerance, batch=False,
    )  # fmt: skip
    _require_fittable(spec)
    return Functional(build(spec), u0.shape[1])
