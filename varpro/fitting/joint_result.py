"""The result of a joint fit: one FitResult over all sets, and what belongs to each of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from varpro.arrays import Array, ArrayLike
from varpro.errors import ConfigError
from varpro.fitting.axis import on_axis
from varpro.fitting.joint_model import JointModel
from varpro.fitting.result import FitResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class SetResult:
    """What a joint fit says of one set; arrays are (N,) or (N, K), amplitudes (I,) or (I, K)."""

    label: str
    names: tuple[str, ...]
    """The parameters of this set's model, by its own names."""
    nonlinear: Array
    stderr_nonlinear: Array
    linear_names: tuple[str, ...]
    linear: Array
    """The amplitudes in this set: linked ones times the set's scale."""
    t: Array = field(repr=False)
    y: Array = field(repr=False)
    """The data; NaN where a value is excluded."""
    fitted: Array = field(repr=False)
    residual: Array = field(repr=False)
    rss: float = np.nan
    """The weighted residual sum of squares of this set; they add up to that of the fit."""


class GlobalFitResult(FitResult):
    """A fit of several sets: everything a FitResult has, over all of them, and `sets`, what belongs to each.

    Names are those of the joint parameters: bare for what is shared or linked, name[label] for what one set has for
    itself, scale[label] for the factor of a set's linked amplitudes.
    """

    labels: tuple[str, ...] = ()
    """What the sets are called."""

    @property
    def _joint(self) -> JointModel:
        return cast(JointModel, self._model())

    def _index(self, of: int | str) -> int:
        if isinstance(of, str) and of in self.labels:
            return self.labels.index(of)
        if isinstance(of, str) or not -len(self.labels) <= of < len(self.labels):
            raise ConfigError(f"there is no set {of!r}; there are {', '.join(self.labels)}")
        return of % len(self.labels)

    @property
    def _order(self) -> Array | None:
        t = self._solution.spec.data.t
        return np.lexsort((t[:, 1], t[:, 0])) if t.shape[1] == 2 else None

    @property
    def sets(self) -> tuple[SetResult, ...]:
        """One for each set, in the order in which they were given."""
        joint, data = self._joint, self._solution.own_data
        weight = data.total_weight()[0]
        y = np.where(weight > 0, data.y[0], np.nan)
        square = np.abs(weight * data.weight_unit * np.nan_to_num(y - self._fitted)) ** 2
        fitted, residual = self.fitted, self.residual
        y = y[:, 0] if self._flat else y
        out = []
        for s, part in enumerate(joint.parts):
            rows, where = data.t[:, 0] == s, joint.layout.of_parameters[s]
            factor = joint.factors(self.nonlinear, s)
            linear = self.linear[joint.layout.of_columns[s]]
            out.append(SetResult(
                part.label, part.parameters, self.nonlinear[where], self.stderr_nonlinear[where], part.columns,
                linear * (factor if self._flat else factor[:, None]), part.t, y[rows], fitted[rows], residual[rows],
                float(square[rows].sum()),
            ))  # fmt: skip
        return tuple(out)

    def _rows(self, t: ArrayLike, s: int) -> Array:
        points = on_axis(t, self._joint.parts[s].clock)
        return np.insert(points[:, None] if points.ndim == 1 else points, 0, s, axis=1)

    def predict(self, t: ArrayLike, of: int | str = 0) -> Array:
        """The model of one set at other t, (N',) or (N', K).  of : its number or label."""
        return super().predict(self._rows(t, self._index(of)))

    def confidence_band(
        self, t: ArrayLike, level: float = 0.95, *, prediction: bool = False, of: int | str = 0
    ) -> tuple[Array, Array]:
        """Lower and upper curve of one set, as FitResult.confidence_band.  of : its number or label."""
        rows, s = self._rows(t, self._index(of)), self._index(of)
        return self._band(rows, level, prediction, super().predict(self._rows(t, s)))

    def plot(self, path: str | Path | None = None) -> "Figure":
        """A matplotlib figure with data, fit, band and residuals of each set; saved to `path` if given."""
        from varpro.report.joint_plot import draw_joint

        return draw_joint(self, path)
