"""The result of many fits: arrays whose first axis is the problem."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array, ArrayLike, to_host
from varpro.fitting.pickling import portable
from varpro.fitting.result import FitResult
from varpro.fitting.solution import Solution
from varpro.fitting.statistics import Statistics, statistics_of
from varpro.result import Status

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.figure import Figure

STATISTICS_CHUNK = 512
"""Problems whose statistics are computed together."""
KEPT = ("dof", "sigma", "stderr_nonlinear", "stderr_linear")


class BatchResult:
    """B fitted problems; `many[b]` is one of them as a FitResult.

    A problem that was not fitted has NaN everywhere and a status that says why.
    """

    def __init__(
        self, solution: Solution, linear_names: tuple[str, ...], *, absolute_sigma: bool, seconds: float
    ) -> None:
        self._solution = solution
        self.absolute_sigma, self.elapsed_seconds = absolute_sigma, seconds
        self.names, self.linear_names = solution.spec.names.names, linear_names
        self.nonlinear: Array = solution.nonlinear
        """The fitted parameters of the basis, (B, P)."""
        self.linear: Array = solution.linear
        """The fitted amplitudes, (B, I, K)."""
        self.rss: Array = solution.rss
        """The weighted residual sums of squares, (B,)."""
        self.status: Array = solution.status
        """How each search ended, (B,) values of varpro.Status."""
        self.rank: Array = solution.rank
        """The numerical rank of the basis at the solution, (B,)."""
        self.nfev, self.njev = solution.evaluations, solution.iterations
        """The number of evaluations of the basis, and of its derivative, (B,) each."""
        self._latest: tuple[int, Statistics] | None = None
        self._travelled: list[Statistics] | None = None
        self.derivative = solution.spec.model.derivative
        """Where the derivative came from: analytic, complex-step or differences."""

    def __len__(self) -> int:
        return len(self.status)

    def __getitem__(self, problem: int) -> FitResult:
        b = int(problem) % len(self) if -len(self) <= problem < len(self) else _outside(problem, len(self))
        return FitResult(
            self._solution.one(b),
            self.linear_names,
            absolute_sigma=self.absolute_sigma,
            flat=self.linear.shape[2] == 1,
            seconds=0.0,
            statistics=lambda: self._chunk(b // STATISTICS_CHUNK).row(b % STATISTICS_CHUNK),
        )

    @property
    def success(self) -> Array:
        """Whether a tolerance was met, (B,) bool."""
        return np.isin(self.status, [status for status in Status if status.converged])

    @property
    def messages(self) -> list[str]:
        """One sentence for each problem."""
        return [Status(int(status)).message_after(1) for status in self.status]

    def counts(self) -> dict[str, int]:
        """How many problems ended with each status."""
        values, numbers = np.unique(self.status, return_counts=True)
        return {Status(int(v)).label: int(n) for v, n in zip(values, numbers, strict=True)}

    def _chunk(self, number: int) -> Statistics:
        """Statistics of the problems from 512 number on; always grouped alike, so that a row is the same to the bit."""
        if self._travelled is not None:
            return self._travelled[number]
        if self._latest is None or self._latest[0] != number:
            first = number * STATISTICS_CHUNK
            problems = np.arange(first, min(first + STATISTICS_CHUNK, len(self)))
            self._latest = number, statistics_of(self._solution, problems, absolute=self.absolute_sigma)
        return self._latest[1]

    @cached_property
    def _statistics(self) -> dict[str, Array]:
        """The statistics that are kept for all problems, by name."""
        chunks = [{name: getattr(chunk, name) for name in KEPT} for chunk in self._chunks()]
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in KEPT}

    def _chunks(self) -> Iterator[Statistics]:
        return map(self._chunk, range(-(-len(self) // STATISTICS_CHUNK)))

    @property
    def dof(self) -> Array:
        """(B,) degrees of freedom, see FitResult.dof."""
        return self._statistics["dof"]

    @property
    def sigma(self) -> Array:
        """(B,) standard deviation of a residual of weight 1, see FitResult.sigma."""
        return self._statistics["sigma"]

    @property
    def stderr_nonlinear(self) -> Array:
        """(B, P) standard errors; those of a complex parameter are real part + i imaginary part."""
        return self._statistics["stderr_nonlinear"]

    @property
    def stderr_linear(self) -> Array:
        """(B, I, K) standard errors; those of a complex amplitude are real part + i imaginary part."""
        return self._statistics["stderr_linear"]

    def predict(self, problems: ArrayLike | None = None) -> Array:
        """(b, N, K) model values at the data's t, for all problems or the given ones."""
        every = np.arange(len(self)) if problems is None else np.atleast_1d(to_host(problems))
        return self._solution.fitted(every)

    def plot(self, path: str | Path | None = None, *, shape: tuple[int, int] | None = None) -> "Figure":
        """A matplotlib figure: histograms of the results, and maps for a shape (H, W); saved to `path` if given."""
        from varpro.report.batch_plot import draw_batch

        return draw_batch(self, shape, path)

    def to_dict(self) -> dict[str, Array | list[str]]:
        """The results as arrays by name."""
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

    def to_dataframe(self) -> "pandas.DataFrame":
        """A pandas table: one row per problem, one column for each parameter, amplitude, error, rss and status."""
        from varpro.fitting.export import batch_table

        return batch_table(self)

    def to_xarray(self) -> "xarray.Dataset":
        """An xarray Dataset with dimensions problem, parameter, amplitude and right_hand_side."""
        from varpro.fitting.export import batch_dataset

        return batch_dataset(self)

    def _repr_html_(self) -> str:
        from varpro.fitting.export import batch_html

        return batch_html(self)

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {name}" for name, n in self.counts().items())
        return f"<BatchResult: {len(self)} problems, {counts}>"

    def __getstate__(self) -> dict[str, object]:
        """For pickle: a model that cannot be pickled stays behind, after all but prediction has been computed."""
        state = {**self.__dict__, "_solution": portable(self._solution)}
        state["_travelled"], state["_latest"] = list(self._chunks()), None
        return state


def _outside(problem: int, count: int) -> int:
    raise IndexError(f"problem {problem} of {count}")
