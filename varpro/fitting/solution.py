"""What a search found, in the user's terms: parameters and amplitudes as asked for, and their uncertainties."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.fitting.data import Data
from varpro.fitting.engine import Built, Outcome, Spec, build
from varpro.fitting.linear_part import independent_rows
from varpro.fitting.statistics import Statistics, statistics_of
from varpro.result import Status

VALUES = 1 << 20
"""Values whose residuals are made together."""
COMPUTED = ("nonlinear", "amplitudes", "coefficients", "rss", "cost")
"""What a solution computes once, an array that leads with the problem."""


@dataclass
class Solution:
    """B fitted problems with everything that made them."""

    spec: Spec
    outcome: Outcome
    built: Built
    robust_weights: Array | None = None
    """(B, N, K) that the loss multiplied the weights with"""
    loss: str = "linear"
    """which one"""
    loss_scale: Array | None = None
    """(B,) sigma of the loss, in units of the weighted residual; see fitting.losses_of_residuals"""

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
        """(B, I', K) of the real, mixed columns."""
        return self.built.problem.amplitudes(self.outcome.a, self.outcome.u)  # type: ignore[no-any-return]

    @cached_property
    def kind(self) -> str:
        """What the problem's form is called."""
        return str(self.built.problem.kind)

    @cached_property
    def own(self) -> tuple[Spec, Built]:
        """The specification and its problem with the user's weights alone, without those of a robust loss."""
        if self.robust_weights is None:
            return self.spec, self.built
        spec = replace(self.spec, data=self.own_data)
        return spec, build(spec)

    @cached_property
    def own_data(self) -> Data:
        """The data with the user's weights alone."""
        data, robust = self.spec.data, self.robust_weights
        if robust is None:
            return data
        weights = np.divide(data.total_weight(), robust, out=np.zeros(data.y.shape), where=robust > 0)
        return replace(data, weights=weights[:, :, 0] if weights.shape[2] == 1 else weights)

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
        """(B,) residual sum of squares in the user's weights, without a ridge and without those of a robust loss."""
        linear = self.spec.linear
        if self.robust_weights is None and linear.ridge == 0 and linear.ridge_matrix is None:
            return self.built.problem.squares(self.outcome.cost, self.outcome.u, self.amplitudes)  # type: ignore[no-any-return]
        data, out = self.own_data, np.full(len(self.outcome.cost), np.nan)
        weights, each = data.total_weight(), max(1, VALUES // data.y[0].size)
        good = np.flatnonzero(np.isfinite(self.outcome.u).all(axis=1))
        for first in range(0, len(good), each):
            part = good[first : first + each]
            rest = np.where(weights[part] > 0, data.y[part] - self.fitted(part), 0.0)
            out[part] = np.sum(np.abs(weights[part] * rest) ** 2, axis=(1, 2))
        return out

    @cached_property
    def cost(self) -> Array:
        """(B,) what was minimised."""
        plain = self.robust_weights is None and self.spec.linear.ridge == 0 and self.spec.linear.ridge_matrix is None
        return 0.5 * self.rss if plain else self.outcome.cost

    @property
    def n_parameters(self) -> Array:
        """(B,) real numbers that are asked for in a problem: free parameters, and amplitudes of right-hand sides that
        hold a value."""
        data, equality = self.spec.data, self.spec.linear.equality
        k: Any = data.y.shape[2]
        if data.separate and data.weights is not None:
            k = (data.weights > 0).any(axis=1).sum(axis=1)
        constraints = 0 if equality is None else independent_rows(equality[0])
        each = self.n_amplitudes * (2 if self.spec.complex_data else 1) - constraints
        return np.full(len(data.y), self.spec.names.n_free + each * k)

    def statistics(self, problems: Array, *, absolute: bool) -> Statistics:
        """Errors and degrees of freedom of some problems; absolute: the weights are known errors."""
        return statistics_of(self, problems, absolute=absolute)

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
        """One problem by itself, for reading: what was computed for all goes with it."""
        one = slice(problem, problem + 1)
        data, model = self.spec.data, self.spec.model
        weights = None if data.weights is None else data.weights[one if len(data.weights) > 1 else slice(None)]
        t = data.t[problem] if data.own_t else data.t
        own = replace(
            data, t=t, own_t=False, y=data.y[one], weights=weights, status=data.status[one], valid=data.valid[one]
        )
        model = model.of(problem)
        spec = replace(self.spec, data=own, model=model, names=self.spec.names.of(np.array([problem])))
        arrays: dict[str, Any] = {
            name: getattr(self.outcome, name)[one]
            for name in ("u", "a", "cost", "status", "iterations", "evaluations", "rank")
        }
        robust = None if self.robust_weights is None else self.robust_weights[one]
        scale = None if self.loss_scale is None else self.loss_scale[one]
        solution = Solution(spec, Outcome(**arrays, history=[]), self.built, robust, self.loss, scale)
        solution.__dict__.update({name: getattr(self, name)[one] for name in COMPUTED}, kind=self.kind)
        return solution

    def status(self, problem: int = 0) -> Status:
        """Why a problem stopped."""
        return Status(int(self.outcome.status[problem]))
