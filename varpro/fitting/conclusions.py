"""What is concluded from one fit beyond its error bars: criteria, intervals, draws, warnings."""

from typing import TYPE_CHECKING

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.solution import Solution
from varpro.statistics import EPS

if TYPE_CHECKING:
    from varpro.fitting.bootstrap import Bootstrap, Kind
    from varpro.fitting.posterior import Posterior
    from varpro.fitting.profile import Profile
    from varpro.fitting.result import FitResult
    from varpro.fitting.statistics import Statistics
    from varpro.report.bar import Progress


class Conclusions:
    """The part of a FitResult that judges it."""

    _solution: Solution
    _flat: bool
    _kept_warnings: tuple[str, ...] | None
    rss: float

    @property
    def _statistics(self) -> "Statistics":
        raise NotImplementedError

    @property
    def _this(self) -> "FitResult":
        raise NotImplementedError

    @property
    def r_squared(self) -> float:
        """1 - rss / sum w^2 |y - mean|^2, the mean weighted by w^2; NaN if the data are constant up to rounding."""
        data = self._solution.own_data
        square = data.total_weight()[0] ** 2
        if not square.any():
            return np.nan
        mean = np.sum(square * data.y[0]) / np.sum(square)
        total = float(np.sum(square * np.abs(data.y[0] - mean) ** 2))
        rounding = EPS**2 * square.size * float(np.sum(square * np.abs(data.y[0]) ** 2))
        return 1.0 - float(self._solution.squares[0]) / total if total > rounding else np.nan

    @property
    def reduced_chi2(self) -> float:
        """rss / dof, which is near 1 if the weights are the reciprocals of the errors."""
        dof = float(self._statistics.dof[0])
        return self.rss / dof if dof else np.nan

    @property
    def aic(self) -> float:
        """n log(rss / n) + 2 p for n real values and p fitted numbers; -infinity if no residual is left."""
        return self._criterion(2.0)

    @property
    def aicc(self) -> float:
        """aic + 2 p (p + 1) / (n - p - 1), for few values; infinite if n < p + 2.

        Hurvich and Tsai, Biometrika 76 (1989) 297-307.
        """
        n, p = self._n_values, self._n_fitted
        return self.aic + 2.0 * p * (p + 1.0) / (n - p - 1.0) if n > p + 1 else np.inf

    @property
    def bic(self) -> float:
        """n log(rss / n) + p log n"""
        return self._criterion(float(np.log(self._n_values)))

    @property
    def _n_values(self) -> int:
        return int(self._solution.spec.data.valid[0]) * self._solution.spec.parts

    @property
    def _n_fitted(self) -> float:
        return float(self._statistics.parameters[0])

    def _criterion(self, price: float) -> float:
        n = self._n_values
        with np.errstate(divide="ignore"):
            return float(n * np.log(self.rss / n) + price * self._n_fitted)

    def f_test(self, simpler: "FitResult") -> tuple[float, float]:
        """F and its probability if the simpler of two nested models is true; small values speak for this one.

            F = [(rss_s - rss) / (p - p_s)] / (rss / (n - p))

        simpler : a fit of the same data with fewer parameters, whose model this one contains.  Raises ConfigError.
        """
        from varpro.fitting.comparison import require_same_data

        require_same_data([self._this, simpler])
        n, p, more = self._n_values, self._n_fitted, self._n_fitted - simpler._n_fitted
        if more <= 0:
            raise ConfigError(f"the simpler fit has {simpler._n_fitted:g} parameters and this one {p:g}")
        if not n > p:
            return np.nan, np.nan
        with np.errstate(divide="ignore", invalid="ignore"):
            f = float(np.float64((simpler.rss - self.rss) / more) / (self.rss / (n - p)))
        return f, float(scipy.stats.f.sf(f, more, n - p))

    @property
    def leverage(self) -> Array:
        """(N,) or (N, K): how much of each fitted value is its own datum, between 0 and 1; they add up to the number of
        fitted parameters.  For complex data that of each part."""
        from varpro.fitting.diagnostics import leverage

        values = leverage(self._this)
        return values[:, 0] if self._flat else values

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a statistician would point out; empty where there is nothing.

        Parameters that the data do not determine; those correlated above 0.99; a residual that is not white (runs test
        and Durbin-Watson, in the order of t, together at 1 %); points with a leverage above 0.5.
        """
        from varpro.fitting.diagnostics import warnings_of

        return warnings_of(self._this) if self._kept_warnings is None else self._kept_warnings

    def profile(self, name: str, level: float = 0.95) -> "Profile":
        """The interval of one parameter by profile likelihood: all others are fitted again at each of its values.

        name : a nonlinear parameter; or an amplitude, for a single real right-hand side.  level : between 0 and 1.
        An end that the data, or a bound, leave open is said to be so.  Raises ConfigError.
        """
        from varpro.fitting.profile import profile_of

        return profile_of(self._this, name, level)

    def bootstrap(
        self, n: int = 1000, kind: "Kind" = "residual", *, seed: int = 0, progress: "Progress" = None
    ) -> "Bootstrap":
        """Fit n sets of data drawn from this fit, all as one batch, and keep the parameters.

        kind : 'residual' draws from the residuals, scaled to equal variance; 'parametric' draws normal noise of the
            standard deviation sigma / weight; 'cases' draws whole rows.
        progress : True shows a bar on a terminal or in a notebook; a function gets the number of fits of each part.
        Raises ConfigError.  Davison and Hinkley, Bootstrap Methods and their Application (1997), chapter 6.
        """
        from varpro.fitting.bootstrap import bootstrapped

        return bootstrapped(self._this, n, kind, seed=seed, progress=progress)

    def sample(
        self,
        steps: int = 1000,
        *,
        walkers: int | None = None,
        discard: int | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> "Posterior":
        """Draw from the posterior of all parameters with flat priors, by the affine-invariant sampler of emcee.

        Only the nonlinear parameters walk: amplitudes and noise are integrated out, then drawn for each of their draws.
        walkers : by default 4 for each parameter, at least 16.  discard : steps left out at the beginning, by default a
            quarter.  Raises ConfigError; BackendError if emcee is not installed.
        """
        from varpro.fitting.posterior import sampled

        return sampled(self._this, steps, walkers=walkers, discard=discard, seed=seed, progress=progress)
