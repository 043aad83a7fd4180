"""What a search found, in the user's terms: parameters and amplitudes as asked for, and how the search ended."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from varpro.arrays import Array, changed
from varpro.fitting.data import Data
from varpro.fitting.spec import Spec
from varpro.result import IterationRecord, Status

VALUES = 1 << 20
"""Values whose residuals are made together."""
SEARCHED = ("u", "amplitudes", "objective", "status", "iterations", "evaluations", "rank")
"""The arrays that a search leaves behind; the others follow from them."""


@dataclass(frozen=True)
class Solution:
    """B fitted problems; NaN where a problem was not fitted."""

    spec: Spec
    u: Array
    """(B, F) free parameters"""
    amplitudes: Array
    """(B, I', K) of the real, mixed columns"""
    objective: Array
    """(B,) what the search minimised, in units of the spec's weights"""
    status: Array
    """(B,) of Status"""
    iterations: Array
    """(B,) linearisations"""
    evaluations: Array
    """(B,) of the basis"""
    rank: Array
    """(B,) of the basis at the solution"""
    history: list[IterationRecord]
    nonlinear: Array
    """(B, P) the model's parameters, complex where they are"""
    coefficients: Array
    """(B, I, K) of the model's columns, the pinned one included"""
    squares: Array
    """(B,) residual sum of squares in the spec's own weights, without a ridge and without those of a robust loss"""
    form: str
    """what the form of the problem is called"""
    robust_weights: Array | None = None
    """(B, N, K) that the loss multiplied the weights with"""
    loss: str = "linear"
    """which one"""
    loss_scale: Array | None = None
    """(B,) sigma of the loss, in units of the weighted residual; see fitting.losses_of_residuals"""

    @classmethod
    def of(
        cls,
        spec: Spec,
        searched: dict[str, Array],
        history: list[IterationRecord],
        *,
        robust_weights: Array | None = None,
        loss: str = "linear",
        loss_scale: Array | None = None,
    ) -> Self:
        """From what a search left behind, SEARCHED by name."""
        u, a = searched["u"], searched["amplitudes"]
        w, coefficients = spec.basis.w(u), spec.coefficients(a)
        if robust_weights is None and not spec.ridged:
            squares = spec.problem.squares(searched["objective"], u, a)
        else:
            squares = _squares(spec, _own_data(spec.data, robust_weights), w, coefficients)
        return cls(
            spec=spec,
            **searched,
            history=history,
            nonlinear=w,
            coefficients=coefficients,
            squares=squares,
            form=spec.problem.kind,
            robust_weights=robust_weights,
            loss=loss,
            loss_scale=loss_scale,
        )

    @property
    def searched(self) -> dict[str, Array]:
        """What the search left behind, by name."""
        return {name: getattr(self, name) for name in SEARCHED}

    @property
    def own_data(self) -> Data:
        """The data with the user's weights alone."""
        return _own_data(self.spec.data, self.robust_weights)

    @property
    def own_spec(self) -> Spec:
        """The specification with the user's weights alone, without those of a robust loss."""
        return self.spec if self.robust_weights is None else replace(self.spec, data=self.own_data)

    @property
    def linear(self) -> Array:
        """(B, I, K) amplitudes, without the pinned one"""
        return self.coefficients[:, : self.spec.n_amplitudes]

    @property
    def rss(self) -> Array:
        """(B,) residual sum of squares in the user's weights"""
        return self._in_users_weights(self.squares)

    @property
    def cost(self) -> Array:
        """(B,) what was minimised."""
        plain = self.robust_weights is None and not self.spec.ridged
        return 0.5 * self.rss if plain else self._in_users_weights(self.objective)

    def _in_users_weights(self, squares: Array) -> Array:
        unit = self.spec.data.weight_unit
        if unit == 1.0:
            return squares
        with np.errstate(over="ignore"):
            return squares * unit * unit

    def fitted(self, problems: Array) -> Array:
        """(b, N, K) model values."""
        return self.spec.values(self.nonlinear[problems], self.coefficients[problems], problems)

    def one(self, problem: int) -> Self:
        """One problem by itself."""
        rows = slice(problem, problem + 1)
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        arrays = {name: value[rows] for name, value in own.items() if isinstance(value, np.ndarray)}
        return replace(changed(self, **arrays), spec=self.spec.one(problem), history=[])

    def status_of(self, problem: int = 0) -> Status:
        """Why a problem stopped."""
        return Status(int(self.status[problem]))


def _own_data(data: Data, robust: Array | None) -> Data:
    """Data whose weights hold those of a robust loss (B, N, K), without them."""
    if robust is None:
        return data
    return data.with_weights(np.divide(data.total_weight(), robust, out=np.zeros(robust.shape), where=robust > 0))


def _squares(spec: Spec, data: Data, w: Array, coefficients: Array) -> Array:
    """(B,) weighted residual sums of squares, the residuals written out; NaN where w (B, P) is not finite."""
    out, weights, each = np.full(len(w), np.nan), data.total_weight(), max(1, VALUES // data.y[0].size)
    good = np.flatnonzero(np.isfinite(w).all(axis=1))
    for first in range(0, len(good), each):
        part = good[first : first + each]
        rest = np.where(weights[part] > 0, data.y[part] - spec.values(w[part], coefficients[part], part), 0.0)
        out[part] = np.sum(np.abs(weights[part] * rest) ** 2, axis=(1, 2))
    return out
