"""The variable projection functional for any optimiser: f(w) = 1/2 ||P_perp Y||^2, its gradient and its residual."""

from collections.abc import Sequence

import numpy as np

from varpro.arrays import Array, ArrayLike, to_host
from varpro.errors import ShapeError
from varpro.fitting.arguments import check_backend, require_fittable
from varpro.fitting.data import make_data
from varpro.fitting.make_model import Derivative
from varpro.fitting.model import Function
from varpro.fitting.options import Backend, FitOptions, Limits
from varpro.fitting.spec import Spec
from varpro.fitting.specify import specify
from varpro.linalg.incidence import sum_pairs
from varpro.linalg.one_pool import one_blas_pool
from varpro.problems.curves import FoundCurves


class Functional:
    """f(w) and what optimisers ask for; w (P,) holds the model's parameters, complex ones as [real, imaginary].

    f = varpro.functional(model, t, y, w0)
    scipy.optimize.minimize(f, w0, jac=f.gradient)
    scipy.optimize.minimize(f.value_and_gradient, w0, jac=True)
    scipy.optimize.least_squares(f.residual, w0, jac=f.jacobian)
    """

    def __init__(self, spec: Spec) -> None:
        self._spec, self._problem, self._count = spec, spec.problem, spec.names.n_free
        self._one = np.zeros(1, dtype=int)

    @one_blas_pool()
    def _evaluate(self, w: ArrayLike) -> FoundCurves:
        point = np.asarray(to_host(w), dtype=float)
        if point.shape != (self._count,):
            raise ShapeError(f"w has shape {point.shape}; the functional takes ({self._count},)")
        found: FoundCurves = self._problem.evaluate(point[None], self._one)
        return found

    def __call__(self, w: ArrayLike) -> float:
        """f(w); infinite where the model is not finite."""
        return float(self._evaluate(w).cost[0]) * self._unit * self._unit

    def gradient(self, w: ArrayLike) -> Array:
        """(P,), NaN where f is not finite."""
        return self.value_and_gradient(w)[1]

    @one_blas_pool()
    def value_and_gradient(self, w: ArrayLike) -> tuple[float, Array]:
        """f(w) and its gradient from one evaluation."""
        current, square = self._evaluate(w), self._unit * self._unit
        if not np.isfinite(current.cost[0]):
            return np.inf, np.full(self._count, np.nan)
        return float(current.cost[0]) * square, self._problem.linearise(current).gradient[0] * square

    @property
    def _unit(self) -> float:
        return self._spec.data.weight_unit

    @one_blas_pool()
    def residual(self, w: ArrayLike) -> Array:
        """(N K,) Y - Phi A, weighted, as (N, K) flattened; the rows of a ridge follow.  f = 1/2 ||residual||^2.

        Complex data: the real parts, then the imaginary parts.
        """
        current = self._evaluate(w)
        phi, a = self._spec.basis.basis(current.w, self._one), self._amplitudes(current)
        rows = [_misfit(self._problem.own_columns(phi, self._one), self._spec.y[0], a)]
        if self._problem.ridge:
            rows.append(-np.sqrt(self._problem.ridge) * a)
        return self._unit * np.concatenate([r.ravel() for r in rows])

    @one_blas_pool()
    def jacobian(self, w: ArrayLike) -> Array:
        """Full Golub-Pereyra Jacobian of the residual, one row for each of its values: (N K, P) without a ridge.

        Where rank_tolerance drops singular values, it is that of the truncated problem.
        """
        slopes, basis = self._problem.residual_slopes(self._evaluate(w)), self._spec.basis
        return self._unit * sum_pairs(slopes, basis.parameters, self._count).reshape(-1, self._count)

    @one_blas_pool()
    def coefficients(self, w: ArrayLike) -> Array:
        """(I, K) linear parameters at w, of the model's columns; complex for complex data."""
        a = self._amplitudes(self._evaluate(w))
        return self._spec.coefficients(a[None])[0, : self._spec.n_amplitudes]

    def _amplitudes(self, current: FoundCurves) -> Array:
        """(I', K) amplitudes of the real, mixed columns."""
        return self._problem.amplitudes(current.a, current.w)[0]


def _misfit(phi: Array, y: Array, a: Array) -> Array:
    """y - phi a, (N, K), for phi (1 or K, N, I)."""
    return y - (phi[0] @ a if len(phi) == 1 else np.einsum("kni,ik->nk", phi, a))


def functional(
    model: Function,
    t: ArrayLike,
    y: ArrayLike,
    w0: ArrayLike,
    *,
    derivative: Derivative = None,
    names: Sequence[str] | None = None,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    linear: Limits = "free",
    ridge: float = 0.0,
    fixed_term: Function | None = None,
    fixed_term_derivative: Function | None = None,
    rank_tolerance: float | None = None,
    backend: Backend = "auto",
) -> Functional:
    """The functional of a separable model; w0 (P,) only gives the number of parameters and a point that works.

    The arguments are those of `fit`.  Sections 8.1 and 8.2 of Pereyra's paper use it with several kinds of optimisers.
    """
    return functional_of(model, t, y, w0, FitOptions.of(locals()))


def functional_of(model: Function, t: ArrayLike, y: ArrayLike, w0: ArrayLike, options: FitOptions) -> Functional:
    """The same, from options."""
    check_backend(options.backend)
    data = make_data(t, y, batch=False, weights=options.weights, mask=options.mask)
    start = np.atleast_1d(to_host(w0))[None]
    start = start.astype(complex if np.iscomplexobj(start) else float)
    spec, _ = specify(options, model, data, start, batch=False)
    require_fittable(spec)
    return Functional(spec)
