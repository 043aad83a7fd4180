"""The result of one fit: parameters, their uncertainties, predictions, and a table to read."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy

from varpro.arrays import Array, ArrayLike
from varpro.errors import ConfigError
from varpro.fitting.complex_parts import both_parts
from varpro.fitting.conclusions import Conclusions
from varpro.fitting.diagnostics import not_finite
from varpro.fitting.model import Function, left_behind
from varpro.fitting.pickling import portable
from varpro.fitting.solution import Solution
from varpro.fitting.statistics import Statistics, statistics_of
from varpro.result import IterationRecord, Status

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.figure import Figure

COVARIANCE_LIMIT = 4000
"""Most parameters for which the whole covariance matrix is made: 128 MB."""


class FitResult(Conclusions):
    """One fitted problem.

    Covariances are sigma^2 (J^T J)^-1 with the full Jacobian of all parameters at the solution; sigma^2 is rss / dof,
    or 1 where `absolute_sigma` says that the weights are the reciprocals of known errors.  With a robust loss the
    variance of the M-estimator takes its place.  Errors are infinite for what the data do not determine, NaN for what
    ended on a bound, and 0 for what was not fitted.
    """

    def __init__(
        self,
        solution: Solution,
        linear_names: tuple[str, ...],
        *,
        absolute_sigma: bool,
        flat: bool,
        seconds: float,
        n_starts: int = 1,
        statistics: Callable[[], Statistics] | None = None,
    ) -> None:
        self._solution = solution
        self._kept_fitted: Array | None = None
        self._kept_warnings: tuple[str, ...] | None = None
        self._shared_statistics = statistics
        self.absolute_sigma, self._flat = absolute_sigma, flat
        self.elapsed_seconds = seconds
        """The time that the fit took, in seconds."""
        self.names, self.linear_names = solution.spec.names.names, linear_names
        spec = solution.spec
        self.nonlinear: Array = solution.nonlinear[0]
        """The nonlinear parameters of the basis, (P,) in the order of w0."""
        linear = solution.linear[0]
        self.linear: Array = linear[:, 0] if flat else linear
        """The amplitudes, (I,), or (I, K) for K right-hand sides."""
        self.rss = float(solution.rss[0])
        """The weighted residual sum of squares."""
        self.cost = float(solution.cost[0])
        """The minimised cost: rss / 2 plus the ridge term, under the weights of a robust loss."""
        self.rank = int(solution.rank[0])
        """The numerical rank of the basis at the solution."""
        self.status: Status = solution.status_of()
        self.message = self.status.message_after(n_starts)
        if self.status is Status.NONFINITE:
            self.message += not_finite(solution, linear_names)
        self.nfev, self.njev = int(solution.evaluations[0]), int(solution.iterations[0])
        """The number of evaluations of the basis, and of its derivative."""
        self.derivative = spec.model.derivative
        """Where the derivative came from: analytic, complex-step or differences."""
        self.form = solution.form
        """The form of the problem: small, general, separate (a linear problem for each right-hand side) or compressed
        (many right-hand sides)."""
        mu = spec.linear.smoothness or spec.linear.ridge
        self.ridge = mu * spec.data.weight_unit * spec.data.weight_unit
        """The mu of mu ||A||^2, or of mu ||L A||^2 for second differences L, as given or as chosen from the data."""

    @property
    def _this(self) -> "FitResult":
        return self

    @property
    def _order(self) -> Array | None:
        """(N,) the rows in the order of t; None where t has none."""
        t = self._solution.spec.data.t
        return np.argsort(t, kind="stable") if t.ndim == 1 else None

    @cached_property
    def history(self) -> list[IterationRecord]:
        """One record for each trial step."""
        return list(self._solution.history)

    @property
    def success(self) -> bool:
        """Whether a tolerance was met."""
        return self.status.converged

    @cached_property
    def _statistics(self) -> Statistics:
        """The statistics, as a batch of one."""
        if self._shared_statistics is not None:
            return self._shared_statistics()
        one = np.zeros(1, dtype=int)
        return statistics_of(self._solution, one, absolute=self.absolute_sigma)

    @property
    def dof(self) -> float:
        """Degrees of freedom: the number of valid values less what they have fitted, the trace of the influence matrix.

        An integer unless there is a ridge.  A parameter or amplitude on its bound does not count, nor does one that the
        data do not determine.
        """
        dof: float = self._statistics.dof[0].item()
        return dof

    @property
    def sigma(self) -> float:
        """Standard deviation of a residual of weight 1: sqrt(rss / dof), or 1 with absolute_sigma.

        With a robust loss: 1.4826 times the median residual, times sqrt(n / dof) for the fitted parameters.
        """
        return float(self._statistics.sigma[0])

    @property
    def stderr_nonlinear(self) -> Array:
        """(P,) standard errors; those of a complex parameter are real part + i imaginary part.

        0 for fixed parameters, NaN for one that ended on its bound, infinite for one that the data do not determine.
        """
        errors: Array = self._statistics.stderr_nonlinear[0]
        return errors

    @property
    def stderr_linear(self) -> Array:
        """(I,) or (I, K) standard errors of the amplitudes: NaN on a bound, infinite if not determined."""
        errors: Array = self._statistics.stderr_linear[0]
        return errors[:, 0] if self._flat else errors

    @property
    def _covariance_size(self) -> int:
        return len(self.names) + self._statistics.uncertainty.slopes.shape[1] * len(self._statistics.mixing)

    @cached_property
    def covariance(self) -> Array:
        """The covariance, (P + I K,) squared, of the nonlinear, then the linear parameters (I, K) flattened.

        Complex parameters appear as their real parts, then their imaginary parts.  Rows of fixed parameters are 0,
        those of parameters on a bound NaN; an undetermined parameter has infinite variance and NaN beside it.
        """
        count = self._covariance_size
        if count > COVARIANCE_LIMIT:
            raise ConfigError(
                f"the covariance of {count} parameters takes too much memory "
                f"(limit {COVARIANCE_LIMIT}); stderr_nonlinear and stderr_linear need none"
            )
        return self._statistics.covariance(0)

    @cached_property
    def correlation(self) -> Array:
        """The covariance scaled to a unit diagonal; NaN for a parameter without variance."""
        size = np.sqrt(np.diagonal(self.covariance))
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.covariance / size[:, None] / size

    @property
    def _fitted(self) -> Array:
        """The model at the data's t, (N, K)."""
        kept = self._kept_fitted
        fitted: Array = self._solution.fitted(np.zeros(1, dtype=int))[0] if kept is None else kept
        return fitted

    @property
    def fitted(self) -> Array:
        """The model at the data's t, (N,) or (N, K)."""
        values = self._fitted
        return values[:, 0] if self._flat else values

    @property
    def residual(self) -> Array:
        """y - fitted, unweighted; NaN where a value is missing."""
        data = self._solution.own_data
        missing = data.total_weight()[0] == 0
        values = np.where(missing, np.nan, data.y[0] - self._fitted)
        return values[:, 0] if self._flat else values

    def predict(self, t: ArrayLike) -> Array:
        """The model at other t, (N',) or (N', K)."""
        values = self._model()(self._solution.spec.data.on_axis(t), self.nonlinear) @ self._solution.coefficients[0]
        return values[:, 0] if self._flat else values

    def confidence_band(self, t: ArrayLike, level: float = 0.95, *, prediction: bool = False) -> tuple[Array, Array]:
        """Lower and upper curve that enclose the model at each t, by linear error propagation and Student's t.

        t : any points.  level : confidence, between 0 and 1.  prediction : for a new observation of weight 1.
        Returns two arrays (N',) or (N', K); for complex data each part has its own band.
        """
        return self._band(self._solution.spec.data.on_axis(t), level, prediction, self.predict(t))

    def _band(self, t: Array, level: float, prediction: bool, centre: Array) -> tuple[Array, Array]:
        """The band about the values `centre` at points t of the model."""
        from varpro.fitting.bands import band_width

        if not 0 < level < 1:
            raise ConfigError(f"level is {level}; it needs a number between 0 and 1, such as 0.95")
        scale = float(np.sqrt(self._statistics.variance[0]))
        width = band_width(self._solution, self._statistics.uncertainty, t)
        width = both_parts(lambda part: scale * part, width)
        if prediction:
            width = both_parts(lambda part: np.hypot(part, self.sigma), width)
        quantile = (
            scipy.stats.norm.ppf(0.5 + level / 2)
            if self.absolute_sigma
            else scipy.stats.t.ppf(0.5 + level / 2, self.dof)
        )
        half = both_parts(lambda part: quantile * part, width)
        half = half[:, 0] if self._flat else half
        return both_parts(np.subtract, centre, half), both_parts(np.add, centre, half)

    def plot(self, path: str | Path | None = None) -> "Figure":
        """A matplotlib figure: data, fit, its columns, 95 % band and residuals; saved to `path` if given."""
        from varpro.report.fit_plot import draw_fit

        return draw_fit(self, path)

    def to_dict(self) -> dict[str, object]:
        """The result in plain numbers, lists and strings, as for a JSON file."""
        from varpro.fitting.export import fit_dict

        return fit_dict(self)

    def to_dataframe(self) -> "pandas.DataFrame":
        """A pandas table: one row for each parameter, with value, standard error and 95 % interval."""
        from varpro.fitting.export import fit_table

        return fit_table(self)

    def to_xarray(self, like: "xarray.DataArray | None" = None) -> "xarray.Dataset":
        """An xarray Dataset: parameters and amplitudes with standard errors, fitted values and residuals.

        like : the y that was fitted, (N,) or (N, K), whose dimensions and coordinates the results take over; without it
            they are called row and right_hand_side.  Raises ShapeError if it has another shape.
        """
        from varpro.fitting.export import fit_dataset

        return fit_dataset(self, like)

    def __str__(self) -> str:
        from varpro.fitting.export import fit_text

        return fit_text(self)

    def _repr_html_(self) -> str:
        from varpro.fitting.export import fit_html

        return fit_html(self)

    def __repr__(self) -> str:
        return f"<FitResult: {self.status.label}, rss {self.rss:.6g}, {self.nfev} evaluations>"

    def _model(self) -> Function:
        function = self._solution.spec.model.function
        if function is left_behind:
            raise ConfigError(
                "the model could not be pickled with this result (a lambda or a local function); predict needs it"
            )
        return function

    def __getstate__(self) -> dict[str, object]:
        """For pickle: a model that cannot be pickled stays behind, after all but prediction has been computed."""
        state = {**self.__dict__, "_statistics": self._statistics, "_shared_statistics": None}
        state["_solution"] = kept = portable(self._solution)
        if kept.spec.model.function is left_behind:
            state["_kept_fitted"], state["_kept_warnings"] = self._fitted, self.warnings
        return state
