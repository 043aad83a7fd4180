"""What an optimised DMD found: eigenvalues, modes and amplitudes, their errors, and what they foretell.

The errors come from trials on parts of the snapshots where there are any, otherwise from the fit's linear propagation.
With n of N snapshots in each trial, the variance of the trials is multiplied by n / (N - n): the delete-d jackknife of
Shao and Wu, Ann. Statist. 17 (1989) 1176-1197.  Without the factor, bagging with 60 % of the snapshots would give
errors that are 18 % too small.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy

from varpro.arrays import Array, ArrayLike
from varpro.errors import ConfigError
from varpro.fitting.axis import Clock, on_axis
from varpro.fitting.complex_parts import both_parts
from varpro.fitting.notebook import html_table, text_table
from varpro.fitting.result import FitResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEAD = ("mode", "growth rate", "std. error", "angular frequency", "std. error", "amplitude")


@dataclass(frozen=True)
class DmdTrials:
    """Fits of parts of the snapshots: those that converged, their modes in the order of the whole fit's."""

    eigenvalues: Array
    """(m, r) complex."""
    factor: float
    """What the standard deviation of the trials is multiplied by to give a standard error."""
    failed: int
    """How many trials did not converge, and are left out."""
    rows: Array = field(repr=False)
    """The snapshots of each trial, (m, n)."""
    snapshots: Array = field(repr=False)
    """All snapshots, (space, time)."""
    since: Array = field(repr=False)
    """Their times after the first, (time,)."""

    def __len__(self) -> int:
        return len(self.eigenvalues)

    def modes(self) -> Iterator[Array]:
        """Modes times amplitudes of one trial after another, (space, r).

        Those of its snapshots without a projection: the vectors that all snapshots were projected on are known with
        noise themselves, which trials in their coordinates would not show.
        """
        for rows, eigenvalues in zip(self.rows, self.eigenvalues, strict=True):
            phi = np.exp(np.outer(self.since[rows], eigenvalues))
            yield self.snapshots[:, rows] @ np.linalg.pinv(phi).T


@dataclass(frozen=True, repr=False)
class DmdResult:
    """An optimised DMD of rank r."""

    eigenvalues: Array
    """The eigenvalues in continuous time, (r,) complex: each mode evolves as exp(eigenvalue * t)."""
    modes: Array
    """The modes as unit columns, (space, r) complex, with the phase they have at `origin`."""
    amplitudes: Array
    """The sizes of the modes at `origin`, (r,) real, not negative, descending."""
    fit: FitResult
    """The FitResult of the exponentials, with status and standard errors in the order of its own parameters."""
    origin: float = 0.0
    """The earliest time, to which modes and amplitudes refer: at a distant t = 0 a mode could be 0 or infinite."""
    clock: Clock | None = None
    """How t was made from times, which makes the eigenvalues per second; None if t was given as numbers."""
    trials: DmdTrials | None = None
    """The fits of parts of the snapshots, with `trials=`."""
    is_real: bool = False
    """Whether the snapshots were real."""
    span: float = 0.0
    """The time from the first snapshot to the last."""
    order: Array = field(default_factory=lambda: np.zeros(0, dtype=int))
    """(r,) the place of each eigenvalue among the parameters of `fit`."""

    def predict(self, t: ArrayLike) -> Array:
        """The decomposition at other times, (space, times) complex."""
        return self.modes * self.amplitudes @ self._courses(self.eigenvalues, t)

    def _courses(self, eigenvalues: Array, t: ArrayLike) -> Array:
        times = np.asarray(on_axis(t, self.clock))
        return np.exp(np.outer(eigenvalues, times - self.origin))

    def confidence_band(self, t: ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper ends (space, times) of the decomposition at any times, from the spread of the trials.

        The ends are the prediction plus and minus normal quantiles of its standard error; for real snapshots they are
        real, for complex ones each part has its own band.  The noise of a new snapshot is not included, nor is an error
        in the rank.  Raises ConfigError without trials.
        """
        if not 0 < level < 1:
            raise ConfigError(f"level is {level}; it needs a number between 0 and 1, such as 0.95")
        trials = self._require_trials("a confidence band")
        centre = self.predict(t)
        pairs = zip(trials.modes(), trials.eigenvalues, strict=True)
        values = (modes @ self._courses(eigenvalues, t) for modes, eigenvalues in pairs)
        if self.is_real:
            centre, values = centre.real, (value.real for value in values)
        width = scipy.stats.norm.ppf(0.5 + level / 2) * trials.factor * _deviation(values)
        return centre - width, centre + width

    @cached_property
    def stderr_eigenvalues(self) -> Array:
        """(r,) standard errors, real part + i imaginary part: of the trials, or without any those of the fit."""
        if self.trials is None:
            return np.asarray(self.fit.stderr_nonlinear)[self.order]
        return self.trials.factor * _deviation(iter(self.trials.eigenvalues))

    @cached_property
    def stderr_modes(self) -> Array:
        """(space, r) standard errors of the unit modes, real part + i imaginary part.  ConfigError without trials."""
        trials = self._require_trials("an error of the modes")
        return trials.factor * _deviation(modes / _sizes(modes) for modes in trials.modes())

    @cached_property
    def stderr_amplitudes(self) -> Array:
        """(r,) standard errors of the amplitudes.  Raises ConfigError without trials."""
        trials = self._require_trials("an error of the amplitudes")
        return trials.factor * _deviation(_sizes(modes) for modes in trials.modes())

    def _require_trials(self, what: str) -> DmdTrials:
        if self.trials is None:
            raise ConfigError(f"{what} needs fits of parts of the snapshots; call dmd with trials=100")
        return self.trials

    def plot(self, path: str | Path | None = None, *, shape: tuple[int, int] | None = None) -> "Figure":
        """A matplotlib figure: the spectrum with its errors, and the largest modes in space and time.

        path : where to save it.  shape : (H, W) of a snapshot that is an image; otherwise modes are drawn as curves.
        Of a conjugate pair one mode is drawn.  Raises ConfigError if shape has another number of pixels.
        """
        from varpro.report.dmd_plot import draw_dmd

        if shape is not None and shape[0] * shape[1] != len(self.modes):
            raise ConfigError(f"shape {shape} has {shape[0] * shape[1]} pixels; the snapshots have {len(self.modes)}")
        return draw_dmd(self, shape, path)

    def _cells(self) -> list[list[str]]:
        errors = self.stderr_eigenvalues
        return [
            [str(j), f"{value.real:.6g}", f"{error.real:.3g}", f"{value.imag:.6g}", f"{error.imag:.3g}", f"{size:.6g}"]
            for j, (value, error, size) in enumerate(zip(self.eigenvalues, errors, self.amplitudes, strict=True))
        ]

    def _notes(self) -> list[str]:
        notes = [self.fit.message]
        if self.trials is not None:
            failed = f", {self.trials.failed} that did not converge left out" if self.trials.failed else ""
            notes.insert(0, f"errors from {len(self.trials)} trials{failed}")
        return notes

    def __str__(self) -> str:
        return "\n".join([text_table(HEAD, self._cells()), *self._notes()])

    def __repr__(self) -> str:
        return f"<DmdResult: {len(self.eigenvalues)} modes of {len(self.modes)} points, {self.fit.status.label}>"

    def _repr_html_(self) -> str:
        return html_table(HEAD, self._cells(), self._notes())


def _sizes(modes: Array) -> Array:
    """(r,) lengths of the columns; 1 for a mode that is 0."""
    size = np.linalg.norm(modes, axis=0)
    return np.where(size > 0, size, 1.0)


def _deviation(values: Iterator[Array]) -> Array:
    """The standard deviation of arrays that come one by one, each part of complex ones by itself (Welford)."""
    mean: Array = next(values)
    squares = both_parts(np.zeros_like, mean)
    for count, value in enumerate(values, start=2):
        step = value - mean
        mean = mean + step / count
        squares = squares + both_parts(np.multiply, step, value - mean)
    return both_parts(np.sqrt, squares / count)
