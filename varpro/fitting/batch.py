"""The result of many fits: arrays that lead with the problem."""

from functools import cached_property
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.fitting.result import FitResult, portable
from varpro.fitting.solution import Solution
from varpro.result import Status

STATISTICS_CHUNK = 512


class BatchResult:
    """B fitted problems; `many[b]` is one of them as a FitResult.

    A problem that was not fitted has NaN everywhere and a status that says why.
    """

    def __init__(
        self, solution: Solution, linear_names: tuple[str, ...], *, absolute_sigma: bool, seconds: float
    ) -> None:
        self._solution: Any = solution
        self.absolute_sigma, self.elapsed_seconds = absolute_sigma, seconds
        self.names, self.linear_names = solution.spec.names.names, linear_names
        outcome = solution.outcome
        self.nonlinear: Array = solution.nonlinear
        """(B, P)"""
        self.linear: Array = solution.linear
        """(B, I, K)"""
        self.rss: Array = solution.rss
        """(B,) weighted residual sums of squares"""
        self.status: Array = outcome.status
        """(B,) of varpro.Status"""
        self.rank: Array = outcome.rank
        self.nfev, self.njev = outcome.evaluations, outcome.iterations
        """(B,) evaluations of the basis, and of its derivative"""
        self.dof: Array = solution.dof
        self.derivative = solution.spec.model.derivative
        """where the derivative came from: analytic, complex-step or differences"""

    def __len__(self) -> int:
        return len(self.status)

    def __getitem__(self, problem: int) -> FitResult:
        one = self._solution.slice(
            int(problem) % len(self) if -len(self) <= problem < len(self) else _outside(problem, len(self))
        )
        return FitResult(
            one, self.linear_names, absolute_sigma=self.absolute_sigma, flat=self.linear.shape[2] == 1, seconds=0.0
        )

    @property
    def success(self) -> Array:
        """(B,) bool: a tolerance was met."""
        return np.isin(self.status, [status for status in Status if status.converged])

    @property
    def messages(self) -> list[str]:
        """A sentence for each problem."""
        return [Status(int(status)).message for status in self.status]

    def counts(self) -> dict[str, int]:
        """How many problems ended with each status."""
        values, numbers = np.unique(self.status, return_counts=True)
        return {Status(int(v)).label: int(n) for v, n in zip(values, numbers, strict=True)}

    @property
    def sigma(self) -> Array:
        """(B,) standard deviation of a residual of weight 1."""
        if self.absolute_sigma:
            return np.ones(len(self))
        with np.errstate(all="ignore"):
            return np.sqrt(np.where(self.dof > 0, self._solution.scatter / self.dof, np.nan))

    @cached_property
    def _errors(self) -> tuple[Array, Array]:
        solution = self._solution
        nonlinear = np.full((len(self), len(self.names)), np.nan)
        linear = np.full((len(self), *solution.amplitude_map().shape[:1], self.linear.shape[2]), np.nan)
        good = np.flatnonzero(np.isfinite(self.rss))
        t, names = solution.spec.names.matrix, solution.spec.names
        for chunk in np.array_split(good, max(1, -(-len(good) // STATISTICS_CHUNK))):
            if not len(chunk):
                continue
            u = solution.uncertainty(chunk)
            deviation = np.sqrt(u.nonlinear_variance())
            for p in range(len(t)):
                follows = names.source[p] >= 0
                nonlinear[chunk, p] = abs(names.factor[p]) * deviation[:, names.source[p]] if follows else 0.0
            linear[chunk] = _linear_errors(u, solution, chunk)
        scale = self.sigma
        return scale[:, None] * nonlinear, scale[:, None, None] * linear

    @property
    def stderr_nonlinear(self) -> Array:
        """(B, P) standard errors; of complex parameters the real parts, then the imaginary parts (B, 2 P)."""
        return self._errors[0]

    @property
    def stderr_linear(self) -> Array:
        """(B, I, K) standard errors; of complex amplitudes the real parts, then the imaginary parts (B, 2 I, K)."""
        return self._errors[1]

    def predict(self, problems: Any = None) -> Array:
        """(b, N, K) model values at the data's t, of all problems or those given."""
        every = np.arange(len(self)) if problems is None else np.atleast_1d(problems)
        return self._solution.fitted(every)  # type: ignore[no-any-return]

    def plot(self, path: Any = None, *, shape: tuple[int, int] | None = None) -> Any:
        """A matplotlib figure: histograms of what was fitted, with maps if shape (H, W) is given; saved to `path`."""
        from varpro.report.batch_plot import draw_batch

        return draw_batch(self, shape, path)

    def to_dict(self) -> dict[str, Any]:
        """Arrays by name."""
        return {
            "names": list(self.names),
            "linear_names": list(self.linear_names),
            "nonlinear": self.nonlinear,
            "linear": self.linear,
            "rss": self.rss,
            "status": [Status(int(s)).label for s in self.status],
            "rank": self.rank,
            "nfev": self.nfev,
            "stderr_nonlinear": self.stderr_nonlinear,
            "stderr_linear": self.stderr_linear,
        }

    def to_dataframe(self) -> Any:
        """A pandas table: a row a problem, a column a parameter, amplitude, error, rss and status."""
        from varpro.fitting.export import batch_table

        return batch_table(self)

    def to_xarray(self) -> Any:
        """An xarray Dataset with dimensions problem, parameter, amplitude and right_hand_side."""
        from varpro.fitting.export import batch_dataset

        return batch_dataset(self)

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {name}" for name, n in self.counts().items())
        return f"<BatchResult: {len(self)} problems, {counts}>"

    def __getstate__(self) -> dict[str, Any]:
        """For pickle; a model that does not travel is left behind."""
        state = self.__dict__.copy()
        state["_solution"] = portable(self._solution)
        return state


def _outside(problem: int, count: int) -> int:
    raise IndexError(f"problem {problem} of {count}")


def _linear_errors(u: Any, solution: Any, chunk: Array) -> Array:
    """(b, I, K) before sigma."""
    if solution.built.mixing is None and not solution.spec.linear.pinned:
        deviation = np.sqrt(u.linear_variance())
        if solution.built.problem.kind == "separate":
            free = np.moveaxis(solution._passive(solution.amplitudes[chunk]), 1, 2)
            deviation = np.where(free, deviation, np.nan)
        return deviation
    mixing = solution.amplitude_map()
    slopes = np.einsum("ij,bkjf->bkif", mixing, u.slopes)
    own = np.einsum("ij,bkjl,il->bki", mixing, u.base, mixing)
    spread = np.einsum("bkif,bfg,bkig->bki", slopes, u.nonlinear, slopes)
    return np.moveaxis(np.sqrt(own + spread), 1, 2)
