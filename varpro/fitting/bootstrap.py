"""Bootstrap of a fit: data drawn again from it, and all of them fitted as one batch.

    residual     y* = fit + r* / w,   r* drawn from r_n / sqrt(1 - h_n), less their mean
    parametric   y* = fit + sigma e / w,   e normal
    cases        rows drawn with replacement: a row that is drawn c times has the weight sqrt(c) w

h is the leverage, see diagnostics.  Davison and Hinkley, Bootstrap Methods and their Application (1997), chapter 6.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError, at_least
from varpro.fitting.data import Data
from varpro.fitting.diagnostics import leverage
from varpro.fitting.draws import Draws
from varpro.fitting.options import BatchOptions
from varpro.fitting.refits import many_of, require_minimum
from varpro.fitting.solution import Solution
from varpro.fitting.solve import solve
from varpro.report.bar import Progress, progress_bar
from varpro.result import Status

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from varpro.fitting.result import FitResult

Kind = Literal["residual", "parametric", "cases"]
VALUES = 1 << 22
"""Values of y that are drawn and fitted together: 32 MB."""
LEAST_LEFT = 1e-6
"""Least 1 - h by whose root a residual is divided: a value that the fit reproduces whatever it is says nothing."""


@dataclass(frozen=True)
class Bootstrap(Draws):
    """The refits of a bootstrap that converged."""

    kind: str
    failed: int
    """How many refits did not converge, and are left out."""

    @property
    def status(self) -> Array:
        """(m,) the status of the draws that are kept, for a plot."""
        return np.full(len(self), Status.COST_TOLERANCE.value)

    def plot(self, path: str | Path | None = None) -> "Figure":
        """A matplotlib figure: a histogram for each parameter and amplitude; saved to `path` if given."""
        from varpro.report.batch_plot import draw_batch

        return draw_batch(self, None, path)

    def _headline(self) -> str:
        left_out = f", {self.failed} that did not converge left out" if self.failed else ""
        return f"{self.kind} bootstrap of {len(self)} refits{left_out}"


def bootstrapped(fit: "FitResult", n: int, kind: Kind, *, seed: int, progress: Progress) -> Bootstrap:
    """See FitResult.bootstrap."""
    require_minimum(fit, "a bootstrap")
    if kind not in get_args(Kind):
        raise ConfigError(f"kind is {kind!r}; choose 'residual', 'parametric' or 'cases'")
    at_least("n, the number of refits,", n, 2)
    at_least("seed", seed, 0)
    if not fit.dof:
        raise ConfigError("a bootstrap needs degrees of freedom: there are as many parameters as values")
    solution, rng = fit._solution, np.random.default_rng(seed)
    spec = replace(solution.own_spec, termination=BatchOptions().termination)
    draw = _Draw(fit, spec.data, kind, rng)
    each, found = max(1, VALUES // spec.data.y[0].size), []
    with progress_bar(progress, n, "bootstrap") as advance:
        for first in range(0, n, each):
            count = min(each, n - first)
            many = many_of(spec, solution.u, count)
            many = replace(many, data=draw.data(many.data, count))
            again = solve(many, np.repeat(solution.u, count, axis=0), loss=solution.loss, advance=advance)
            found.append(_kept(again))
    nonlinear, linear, good = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if not good.sum() >= 2:
        raise ConfigError(f"{n - int(good.sum())} of {n} refits did not converge; the fit is too unstable to bootstrap")
    return Bootstrap(fit.names, fit.linear_names, nonlinear[good], linear[good], kind=kind, failed=int(n - good.sum()))


def _kept(found: Solution) -> tuple[Array, Array, Array]:
    good = np.isin(found.status, [s.value for s in Status if s.converged])
    return found.nonlinear, found.linear, good


class _Draw:
    """New data of one kind."""

    def __init__(self, fit: "FitResult", data: Data, kind: Kind, rng: np.random.Generator) -> None:
        self.kind, self.rng, self.parts = kind, rng, fit._solution.spec.parts
        self.weight, self.fitted = data.total_weight()[0], fit._fitted
        self.used: Array = self.weight > 0
        with np.errstate(divide="ignore"):
            self.inverse = np.where(self.used, 1.0 / self.weight, 0.0)
        self.sigma = fit.sigma / data.weight_unit
        if kind == "residual":
            self.pool = self._pool(fit, data)

    def _pool(self, fit: "FitResult", data: Data) -> Array:
        """(N, K) weighted residuals of equal variance; their mean over the values that count is 0 in each column."""
        rest, h = self.weight * (data.y[0] - self.fitted), leverage(fit)
        share = np.sqrt(np.maximum(1.0 - h.real, LEAST_LEFT)), np.sqrt(np.maximum(1.0 - h.imag, LEAST_LEFT))
        even = rest.real / share[0] + (1j * rest.imag / share[1] if np.iscomplexobj(rest) else 0.0)
        if fit._solution.loss != "linear":  # least squares' leverage does not apply
            even = rest
        count = np.maximum(self.used.sum(axis=0), 1)
        return even - np.where(self.used, even, 0.0).sum(axis=0) / count

    def data(self, many: Data, count: int) -> Data:
        """The data of `count` problems."""
        if self.kind == "cases":
            return self._cases(many, count)
        noise = self._noise(count) if self.kind == "parametric" else self._residuals(count)
        return replace(many, y=np.where(self.used, self.fitted + noise * self.inverse, 0.0))

    def _noise(self, count: int) -> Array:
        shape = (count, *self.fitted.shape)
        noise = self.rng.standard_normal(shape)
        return self.sigma * (noise + 1j * self.rng.standard_normal(shape) if self.parts == 2 else noise)

    def _residuals(self, count: int) -> Array:
        """Rows of residuals, the right-hand sides of a row together where they share their rows."""
        out = np.zeros((count, *self.fitted.shape), dtype=self.pool.dtype)
        together = (self.used == self.used[:, :1]).all()
        for columns in [slice(None)] if together else [slice(k, k + 1) for k in range(self.used.shape[1])]:
            rows = np.flatnonzero(self.used[:, columns][:, 0])
            out[:, rows, columns] = self.pool[rows, columns][self.rng.integers(len(rows), size=(count, len(rows)))]
        return out

    def _cases(self, many: Data, count: int) -> Data:
        rows = np.flatnonzero(self.used.any(axis=1))
        drawn = rows[self.rng.integers(len(rows), size=(count, len(rows)))]
        drawn += len(self.weight) * np.arange(count)[:, None]  # counting is ten times as fast as drawing the counts
        times = np.bincount(drawn.ravel(), minlength=count * len(self.weight)).reshape(count, -1)
        weights = np.sqrt(times)[:, :, None] * self.weight
        valid = (weights > 0).sum(axis=(1, 2))
        if not many.separate:
            weights = weights[:, :, :1]
        return replace(many.with_weights(weights), valid=valid)
