"""What a search found, in the user's terms: parameters and amplitudes, and how the search ended."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from varpro.arrays import Array
from varpro.arrays.batch import changed
from varpro.fitting.data import Data
from varpro.fitting.spec import Spec
from varpro.result import IterationRecord, Status

VALUES = 1 << 20
"""Values whose residuals are computed together."""
SEARCHED = ("u", "amplitudes", "objective", "status", "iterations", "evaluations", "rank")
"""The arrays that a search leaves behind; the others follow from them."""


@dataclass(frozen=True)
class Solution:
    """B fitted problems; NaN where a problem was not fitted."""

    spec: Spec
    u: Array
    """The free parameters, (B, F)."""
    amplitudes: Array
    """The amplitudes of the real, mixed columns, (B, I', K)."""
    objective: Array
    """What the search minimised, (B,) in units of the spec's weights."""
    status: Array
    """How each search ended, (B,) values of Status."""
    iterations: Array
    """The number of linearisations, (B,)."""
    evaluations: Array
    """The number of evaluations of the basis, (B,)."""
    rank: Array
    """The rank of the basis at the solution, (B,)."""
    history: Sequence[IterationRecord]
    nonlinear: Array
    """The model's parameters, (B, P), complex where the user's are."""
    coefficients: Array
    """The coefficients of the model's columns, the pinned one included, (B, I, K)."""
    squares: Array
    """The residual sum of squares in the spec's own weights, (B,), without a ridge and the weights of a robust loss."""
    form: str
    """The name of the problem's form."""
    robust_weights: Array | None = None
    """The factors (B, N, K) that the loss put on the weights."""
    loss: str = "linear"
    """The name of the loss."""
    loss_scale: Array | None = None
    """The sigma of the loss, (B,), in units of the weighted residual; see fitting.losses_of_residuals."""

    @classmethod
    def of(
        cls,
        spec: Spec,
        searched: dict[str, Array],
        history: Sequence[IterationRecord],
        *,
        robust_weights: Array | None = None,
        loss: str = "linear",
        loss_scale: Array | None = None,
    ) -> Self:
        """The solution from what a search left behind, by the names in SEARCHED."""
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
        """The data with the user's weights only."""
        return _own_data(self.spec.data, self.robust_weights)

    @property
    def own_spec(self) -> Spec:
        """The specification with the user's weights only, without those of a robust loss."""
        return self.spec if self.robust_weights is None else replace(self.spec, data=self.own_data)

    @property
    def linear(self) -> Array:
        """The amplitudes without the pinned one, (B, I, K)."""
        return self.coefficients[:, : self.spec.n_amplitudes]

    @property
    def rss(self) -> Array:
        """The residual sum of squares in the user's weights, (B,)."""
        return self._in_users_weights(self.squares)

    @property
    def cost(self) -> Array:
        """What was minimised, (B,), in the user's weights."""
        plain = self.robust_weights is None and not self.spec.ridged
        return 0.5 * self.rss if plain else self._in_users_weights(self.objective)

    def _in_users_weights(self, squares: Array) -> Array:
        unit = self.spec.data.weight_unit
        if unit == 1.0:
            return squares
        with np.errstate(over="ignore"):
            return squares * unit * unit

    def fitted(self, problems: Array) -> Array:
        """The model's values, (b, N, K)."""
        return self.spec.values(self.nonlinear[problems], self.coefficients[problems], problems)

    def one(self, problem: int) -> Self:
        """The solution of one problem by itself."""
        rows = slice(problem, problem + 1)
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        arrays = {name: value[rows] for name, value in own.items() if isinstance(value, np.ndarray)}
        return replace(changed(self, **arrays), spec=self.spec.one(problem), history=[])

    def status_of(self, problem: int = 0) -> Status:
        """Why the search of a problem stopped."""
        return Status(int(self.status[problem]))


def _own_data(data: Data, robust: Array | None) -> Data:
    """The data without the weights of a robust loss (B, N, K), which their weights include."""
    if robust is None:
        return data
    return data.with_weights(np.divide(data.total_weight(), robust, out=np.zeros(robust.shape), where=robust > 0))


def _squares(spec: Spec, data: Data, w: Array, coefficients: Array) -> Array:
    """(B,) weighted residual sums of squares, from explicit residuals; NaN where w (B, P) is not finite."""
    out, weights, each = np.full(len(w), np.nan), data.total_weight(), max(1, VALUES // data.y[0].size)
    good = np.flatnonzero(np.isfinite(w).all(axis=1))
    for first in range(0, len(good), each):
        part = good[first : first + each]
        rest = np.where(weights[part] > 0, data.y[part] - spec.values(w[part], coefficients[part], part), 0.0)
        out[part] = np.sum(np.abs(weights[part] * rest) ** 2, axis=(1, 2))
    return out
