"""The result of one fit: parameters, their uncertainties, predictions, and a table to read."""

import pickle
from functools import cached_property
from typing import Any

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.solution import Solution
from varpro.result import IterationRecord, Status

COVARIANCE_LIMIT = 4000
"""Parameters up to which the whole covariance matrix is made: 128 MB."""


class FitResult:
    """One fitted problem.

    Covariances are sigma^2 (J^T J)^-1 with the full Jacobian of all parameters at the solution; sigma^2 is rss / dof,
    both with the weights of a robust loss, or 1 where `absolute_sigma` says that the weights are the reciprocals of
    known errors.
    """

    def __init__(
        self, solution: Solution, linear_names: tuple[str, ...], *, absolute_sigma: bool, flat: bool, seconds: float
    ) -> None:
        self._solution: Any = solution
        self.absolute_sigma, self._flat = absolute_sigma, flat
        self.elapsed_seconds = seconds
        """time of the fit"""
        self.names, self.linear_names = solution.spec.names.names, linear_names
        self.nonlinear: Array = solution.nonlinear[0]
        """(P,) parameters of the basis, in the order of w0"""
        linear = solution.linear[0]
        self.linear: Array = linear[:, 0] if flat else linear
        """(I,) amplitudes, or (I, K) for K right-hand sides"""
        outcome = solution.outcome
        self.rss = float(solution.rss[0])
        """weighted residual sum of squares"""
        self.cost = float(outcome.cost[0])
        """what was minimised: rss / 2, plus the ridge term, under the robust loss's weights"""
        self.rank = int(outcome.rank[0])
        """numerical rank of the basis at the solution"""
        self.status: Status = solution.status()
        self.message = self.status.message
        self.nfev, self.njev = int(outcome.evaluations[0]), int(outcome.iterations[0])
        """evaluations of the basis, and of its derivative"""
        self.dof = int(solution.dof[0])
        """degrees of freedom: valid values less fitted numbers"""
        self.history: list[IterationRecord] = outcome.history
        """a record for each trial step"""
        self.derivative = solution.spec.model.derivative
        """where the derivative came from: analytic, complex-step or differences"""
        self.form = solution.built.problem.kind
        """small, general, separate (a linear problem a right-hand side), or compressed (many right-hand sides)"""
        self.ridge: Any = solution.spec.linear.ridge

    @property
    def success(self) -> bool:
        """Whether a tolerance was met."""
        return self.status.converged

    @cached_property
    def _uncertainty(self) -> Any:
        return self._solution.uncertainty(np.zeros(1, dtype=int))

    @property
    def sigma(self) -> float:
        """Standard deviation of a residual of weight 1: sqrt(rss / dof), or 1 with absolute_sigma.

        With a robust loss the residuals count by its weights, so that outliers do not widen the errors.
        """
        if self.absolute_sigma:
            return 1.0
        return float(np.sqrt(self._solution.scatter[0] / self.dof)) if self.dof else np.nan

    @cached_property
    def stderr_nonlinear(self) -> Array:
        """(P,) standard errors; complex parameters have them as real part + i imaginary part; fixed ones 0."""
        names, u = self._solution.spec.names, self._uncertainty
        t = names.matrix
        variance = np.where(u.hidden[0], np.nan, u.nonlinear_variance()[0])
        out: Array = np.zeros(len(t))
        for p in range(len(t)):
            if names.source[p] >= 0:
                out[p] = abs(names.factor[p]) * np.sqrt(variance[names.source[p]])
        return self.sigma * _joined(out, self._solution.spec.complex_w)

    @cached_property
    def stderr_linear(self) -> Array:
        """(I,) or (I, K) standard errors of the amplitudes; NaN for one on its bound."""
        solution, u = self._solution, self._uncertainty
        mixing = solution.amplitude_map()
        spread = np.einsum("kif,fg->kig", u.slopes[0], u.nonlinear[0])
        out = np.empty((len(mixing), u.slopes.shape[1]))
        for k in range(out.shape[1]):
            slope = mixing @ u.slopes[0, k]
            base = mixing @ u.base[0, k if len(u.base[0]) > 1 else 0] @ mixing.T
            out[:, k] = np.sqrt(np.diagonal(base) + np.einsum("if,if->i", mixing @ spread[k], slope))
        free = solution._passive(solution.amplitudes)[0] if solution.built.problem.kind == "separate" else None
        if free is not None and solution.built.mixing is None:
            out = np.where(free[:, : len(out)].T, out, np.nan)
        if solution.built.mixing is None:
            out = np.where(u.undetermined[0].T[: len(out)] & ~np.isnan(out), np.inf, out)
        out = self.sigma * _joined(out, solution.spec.complex_data)
        return out[:, 0] if self._flat else out

    @cached_property
    def covariance(self) -> Array:
        """(P + I K,) squared, of the nonlinear, then the linear parameters (I, K) flattened.

        Complex blocks stand as their real parts, then their imaginary parts.  Rows of fixed parameters are 0.
        """
        solution, u = self._solution, self._uncertainty
        names, mixing = solution.spec.names, solution.amplitude_map()
        k, i, f = u.slopes.shape[1:]
        if len(names.names) + len(mixing) * k > COVARIANCE_LIMIT:
            raise ConfigError(
                f"the covariance of {len(names.names) + len(mixing) * k} parameters takes too much memory "
                f"(limit {COVARIANCE_LIMIT}); stderr_nonlinear and stderr_linear need none"
            )
        total = u.full(0)
        move = np.zeros((len(names.names) + len(mixing) * k, f + i * k))
        move[: len(names.names), :f] = names.matrix
        move[len(names.names) :, f:] = np.kron(mixing, np.eye(k))
        out: Array = self.sigma**2 * (move @ total @ move.T)
        return out

    @cached_property
    def correlation(self) -> Array:
        """The covariance scaled to a unit diagonal; NaN for a parameter without variance."""
        size = np.sqrt(np.diagonal(self.covariance))
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.covariance / np.outer(size, size)

    @property
    def fitted(self) -> Array:
        """(N,) or (N, K) model at the data's t."""
        values = self._solution.fitted(np.zeros(1, dtype=int))[0]
        return values[:, 0] if self._flat else values

    @property
    def residual(self) -> Array:
        """y - fitted, not weighted; missing values are NaN."""
        data = self._solution.spec.data
        missing = data.total_weight()[0] == 0
        values = np.where(missing, np.nan, data.y[0] - self._solution.fitted(np.zeros(1, dtype=int))[0])
        return values[:, 0] if self._flat else values

    @property
    def r_squared(self) -> float:
        """1 - rss / sum w^2 (y - mean)^2, the mean weighted with w^2."""
        data = self._solution.spec.data
        square = data.total_weight()[0] ** 2
        if not square.any():
            return np.nan
        mean = np.sum(square * data.y[0]) / np.sum(square)
        total = float(np.sum(square * np.abs(data.y[0] - mean) ** 2))
        return 1.0 - self.rss / total if total > 0 else np.nan

    @property
    def reduced_chi2(self) -> float:
        """rss / dof; near 1 where the weights are the reciprocals of the errors."""
        return self.rss / self.dof if self.dof else np.nan

    @property
    def aic(self) -> float:
        """n log(rss / n) + 2 p for n real values and p fitted numbers."""
        p, n = self._solution.n_parameters, self.dof + self._solution.n_parameters
        return float(n * np.log(self.rss / n) + 2 * p)

    @property
    def bic(self) -> float:
        """n log(rss / n) + p log n"""
        p, n = self._solution.n_parameters, self.dof + self._solution.n_parameters
        return float(n * np.log(self.rss / n) + p * np.log(n))

    def predict(self, t: Any) -> Array:
        """The model at other t: (N',) or (N', K)."""
        values = self._model()(self._solution.spec.data.on_axis(t), self._own_w()) @ self._solution.coefficients[0]
        return values[:, 0] if self._flat else values

    def confidence_band(self, t: Any, level: float = 0.95, *, prediction: bool = False) -> tuple[Array, Array]:
        """Lower and upper curve between which the model lies at each t, by linear error propagation and Student's t.

        t : any points.  level : of confidence, between 0 and 1.  prediction : for a new observation of weight 1.
        Returns two arrays (N',) or (N', K); of complex data both parts have their band.
        """
        if not 0 < level < 1:
            raise ConfigError(f"level is {level}; it needs a number between 0 and 1, such as 0.95")
        from varpro.fitting.bands import band_width

        centre = self.predict(t)
        width = self.sigma * band_width(self._solution, self._solution.spec.data.on_axis(t))
        if prediction:
            width = _both_parts(lambda part: np.hypot(part, self.sigma), width)
        quantile = (
            scipy.stats.norm.ppf(0.5 + level / 2)
            if self.absolute_sigma
            else scipy.stats.t.ppf(0.5 + level / 2, self.dof)
        )
        half = quantile * width
        half = half[:, 0] if self._flat else half
        return centre - half, centre + half

    def plot(self, path: Any = None) -> Any:
        """A matplotlib figure: data, fit, 95 % band and residuals; saved to `path` if given."""
        from varpro.report.fit_plot import draw_fit

        return draw_fit(self, path)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings, as for a JSON file."""
        names = {
            name: _plain(value) for name, value in zip(self.names, _parts(self.nonlinear, self._solution), strict=True)
        }
        return {
            "status": self.status.label,
            "message": self.message,
            "success": self.success,
            "nonlinear": names,
            "stderr_nonlinear": _plain(self.stderr_nonlinear),
            "linear_names": list(self.linear_names),
            "linear": _plain(self.linear),
            "stderr_linear": _plain(self.stderr_linear),
            "rss": self.rss,
            "dof": self.dof,
            "rank": self.rank,
            "nfev": self.nfev,
            "njev": self.njev,
            "derivative": self.derivative,
            "elapsed_seconds": self.elapsed_seconds,
        }

    def to_dataframe(self) -> Any:
        """A pandas table: a row for each parameter with value, standard error and 95 % interval."""
        from varpro.fitting.export import fit_table

        return fit_table(self)

    def __str__(self) -> str:
        from varpro.fitting.export import fit_text

        return fit_text(self)

    def __repr__(self) -> str:
        return f"<FitResult: {self.status.label}, rss {self.rss:.6g}, {self.nfev} evaluations>"

    def _own_w(self) -> Array:
        return self._solution.nonlinear[0]  # type: ignore[no-any-return]

    def _model(self) -> Any:
        function = self._solution.spec.model.function
        if function is None:
            raise ConfigError(
                "the model could not be pickled with this result (a lambda or a local function); predict needs it"
            )
        return function

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: a model that cannot travel is left behind, with all that needs it computed before."""
        _ = self.stderr_nonlinear, self.stderr_linear
        state = self.__dict__.copy()
        state["_solution"] = portable(self._solution)
        return state


def portable(solution: Solution) -> Solution:
    """A copy that pickles; functions that do not are replaced by None."""
    from dataclasses import replace

    model = solution.spec.model
    kept = {name: _or_none(getattr(model, name)) for name in ("function", "columns_function")}
    _ = solution.amplitudes, solution.coefficients, solution.nonlinear, solution.rss
    travelling = replace(model, **kept)
    spec = replace(solution.spec, model=travelling)
    built = replace(solution.built, problem=Travelled(solution.built.problem.kind), basis=replace(solution.built.basis, model=travelling))  # type: ignore[arg-type]
    copy = Solution(spec, solution.outcome, built, solution.robust_weights)
    copy.__dict__.update(
        {k: v for k, v in solution.__dict__.items() if k in ("amplitudes", "coefficients", "nonlinear", "rss")}
    )
    return copy


class Travelled:
    """What is left of a problem that was pickled."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def amplitudes(self, found: Array, u: Array) -> Array:
        """As found: a solution that travels has computed its own."""
        return found


def _or_none(function: Any) -> Any:
    try:
        pickle.dumps(function)
    except Exception:  # pickle raises whatever the object raises
        return None
    return function


def _both_parts(function: Any, values: Array) -> Array:
    """function of the values, or of their real and imaginary parts."""
    out: Array = function(values.real) + 1j * function(values.imag) if np.iscomplexobj(values) else function(values)
    return out


def _joined(values: Array, is_complex: bool) -> Array:
    """Real parts, then imaginary parts, as complex numbers."""
    half = len(values) // 2
    return values[:half] + 1j * values[half:] if is_complex else values


def _parts(values: Array, solution: Any) -> Array:
    return np.concatenate([values.real, values.imag]) if solution.spec.complex_w else values


def _plain(values: Any) -> Any:
    array = np.asarray(values)
    if np.iscomplexobj(array):
        return {"real": array.real.tolist(), "imag": array.imag.tolist()}
    return array.tolist()
