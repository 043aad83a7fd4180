"""What a search found, in the user's terms: parameters and amplitudes as asked for, and their uncertainties."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.fitting.engine import Built, Outcome, Spec
from varpro.linalg.one_pool import one_blas_pool
from varpro.result import Status
from varpro.statistics import Uncertainty, uncertainty

AT_BOUND = 1e-9
"""A parameter this close to its bound, relative to 1 + |bound|, is taken as fixed there."""


@dataclass
class Solution:
    """B fitted problems with everything that made them."""

    spec: Spec
    outcome: Outcome
    built: Built
    robust_weights: Array | None = None
    """(B, N, K) that the loss multiplied the weights with"""

    @property
    def n_amplitudes(self) -> int:
        """I, the pinned column not counted."""
        return self.spec.model.n_columns - self.spec.linear.pinned

    @cached_property
    def nonlinear(self) -> Array:
        """(B, P), complex where the model's parameters are."""
        return self.built.basis.w(self.outcome.u)

    @cached_property
    def coefficients(self) -> Array:
        """(B, I, K) of the model's columns, the pinned one included."""
        a = self.amplitudes
        if self.built.mixing is not None:
            a = np.einsum("ij,bjk->bik", self.built.mixing, a)
        if self.spec.complex_data:
            half = a.shape[1] // 2
            a = a[:, :half] + 1j * a[:, half:]
        return a

    @cached_property
    def amplitudes(self) -> Array:
        """(B, I', K): a compressed fit has searched without them."""
        with one_blas_pool():
            return self.built.problem.amplitudes(self.outcome.a, self.outcome.u)

    @property
    def linear(self) -> Array:
        """(B, I, K)"""
        return self.coefficients[:, : self.n_amplitudes]

    def fitted(self, problems: Array) -> Array:
        """(b, N, K) model values."""
        with np.errstate(all="ignore"):
            return self.spec.model.values(self.nonlinear[problems], problems) @ self.coefficients[problems]

    @cached_property
    def rss(self) -> Array:
        """(B,) weighted residual sum of squares, without ridge and without the weights of a robust loss."""
        plain = self.robust_weights is None and self.spec.linear.ridge == 0 and self.spec.linear.ridge_matrix is None
        if plain:
            return 2.0 * self.outcome.cost
        every = np.arange(len(self.outcome.cost))
        weighted = self.spec.data.misfit(self.fitted(every))
        return np.sum(np.abs(weighted) ** 2, axis=(1, 2))  # type: ignore[no-any-return]

    @cached_property
    def scatter(self) -> Array:
        """(B,) the sum that sigma^2 is taken from: rss, with the weights of a robust loss, if any."""
        if self.robust_weights is None:
            return self.rss
        every = np.arange(len(self.outcome.cost))
        weighted = self.spec.data.misfit(self.fitted(every))
        return np.sum(np.abs(weighted) ** 2, axis=(1, 2))  # type: ignore[no-any-return]

    @property
    def n_parameters(self) -> int:
        """Real numbers that were fitted in a problem: free parameters and amplitudes."""
        k = self.spec.data.y.shape[2]
        constraints = 0 if self.spec.linear.equality is None else len(self.spec.linear.equality[1])
        each = self.n_amplitudes * (2 if self.spec.complex_data else 1) - constraints
        return self.spec.names.n_free + each * k

    @property
    def dof(self) -> Array:
        """(B,) valid values (a complex one counts twice) less fitted numbers."""
        values = self.spec.data.valid * (2 if self.spec.complex_data else 1)
        return np.maximum(values - self.n_parameters, 0)

    def uncertainty(self, problems: Array) -> Uncertainty:
        """Covariances of some problems, in the real, mixed amplitudes and the free parameters, without sigma^2."""
        u, k = self.outcome.u[problems], self.spec.data.y.shape[2]
        basis = self.built.basis
        phi, d = basis.basis(u, problems)[:, None], basis.jacobian(u, problems)[:, None]
        own = self._own_weights(problems)
        if own is not None:
            phi, d = phi * own, d * own
        a = self.amplitudes[problems]
        if self.built.problem.kind == "separate":
            phi = phi * self._passive(a)[:, :, None, :]
        elif self.spec.linear.ridge > 0 and basis.extra_rows is None:  # the rows that the projector works with
            rows = np.sqrt(self.spec.linear.ridge) * np.eye(phi.shape[3])
            phi = np.concatenate([phi, np.broadcast_to(rows, (*phi.shape[:2], *rows.shape))], axis=2)
            d = np.concatenate([d, np.zeros((*d.shape[:2], len(rows), d.shape[3]))], axis=2)
        lower, upper = self.spec.names.lower, self.spec.names.upper
        below, above = (np.where(np.isfinite(bound), AT_BOUND * (1 + np.abs(bound)), 0.0) for bound in (lower, upper))
        free = (u > lower + below) & (u < upper - above)
        assert phi.shape[1] in (1, k)
        return uncertainty(phi, d, a, basis.columns, basis.parameters, free)

    def _own_weights(self, problems: Array) -> Array | None:
        """(b, K, N', 1) weights that differ between right-hand sides."""
        data = self.spec.data
        if not data.separate:
            return None
        assert data.weights is not None
        weights = np.broadcast_to(data.weights, data.y.shape)[problems]
        own = np.moveaxis(weights, 2, 1)
        if self.spec.complex_data:
            own = np.concatenate([own, own], axis=2)
        extra = self.built.y.shape[1] - own.shape[2]
        return np.concatenate([own, np.ones((*own.shape[:2], extra))], axis=2)[..., None]

    def _passive(self, a: Array) -> Array:
        """(b, K, I') 1 where an amplitude is free, 0 on a bound or pinned."""
        linear = self.spec.linear
        pinned = bool(linear.pinned or linear.equality is not None)
        free = np.ones(a.shape, dtype=bool)
        if linear.lower is not None and linear.upper is not None:
            inner = a[:, : len(linear.lower)]
            free[:, : len(linear.lower)] = (inner > linear.lower[:, None]) & (inner < linear.upper[:, None])
        if pinned:
            free[:, -1] = False
        return np.moveaxis(free, 2, 1)

    def amplitude_map(self) -> Array:
        """(I, I') from mixed to the user's real amplitudes (complex: real, then imaginary parts), pinned left out."""
        basis = self.built.basis
        mixing = np.eye(basis.n_columns) if self.built.mixing is None else self.built.mixing.copy()
        if self.built.mixing is not None:
            mixing[:, -1] = 0.0
        keep = np.ones(len(mixing), dtype=bool)
        if self.spec.linear.pinned:
            each = self.spec.model.n_columns
            keep[each - 1 :: each] = False
        return mixing[keep]

    def slice(self, problem: int) -> "Solution":
        """One problem by itself."""
        one = slice(problem, problem + 1)
        data, model = self.spec.data, self.spec.model
        weights = None if data.weights is None else data.weights[one if len(data.weights) > 1 else slice(None)]
        t = data.t[problem] if data.own_t else data.t
        own = replace(
            data, t=t, own_t=False, y=data.y[one], weights=weights, status=data.status[one], valid=data.valid[one]
        )
        model = replace(model, t=t, own_t=False, together=False)
        spec = replace(self.spec, data=own, model=model, names=self.spec.names.of(problem))
        arrays: dict[str, Any] = {
            name: getattr(self.outcome, name)[one]
            for name in ("u", "a", "cost", "status", "iterations", "evaluations", "rank", "effects")
        }
        from varpro.fitting.engine import build

        robust = None if self.robust_weights is None else self.robust_weights[one]
        solution = Solution(spec, Outcome(**arrays, history=[]), build(spec), robust)
        solution.__dict__.update({name: getattr(self, name)[one] for name in ("rss", "scatter")})
        return solution

    def status(self, problem: int = 0) -> Status:
        """Why a problem stopped."""
        return Status(int(self.outcome.status[problem]))
