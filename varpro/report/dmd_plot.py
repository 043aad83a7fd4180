"""The plot of a dynamic mode decomposition: its spectrum, and its largest modes in space and time."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from varpro.arrays import Array
from varpro.report.drawing import BLUE, GREEN, GREY, ORANGE, RED, STYLE
from varpro.report.fit_plot import save

if TYPE_CHECKING:
    from varpro.fitting.dmd_result import DmdResult

COLOURS = (BLUE, RED, GREEN, ORANGE)
"""One for each mode that is drawn."""
CLOSE = 0.1
"""Distance at which an eigenvalue counts as the conjugate of another, as a share of its size."""
INSTANTS = 400


def draw_dmd(result: "DmdResult", shape: tuple[int, int] | None = None, path: str | Path | None = None) -> Figure:
    """Eigenvalues in the complex plane on the left; on the right each mode drawn, in space and in time."""
    modes, partner = _drawn(result), _partners(result)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.0, max(4.2, 1.7 * len(modes))))
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.0, 1.5))[0]
        colours = dict(zip(modes, COLOURS, strict=False))
        _spectrum(left.subplots(), result, [colours.get(j, colours.get(k, GREY)) for j, k in enumerate(partner)])
        grid = right.subplots(len(modes), 2, squeeze=False)
        for (space, time), (j, colour) in zip(grid, colours.items(), strict=True):
            _mode(space, result, j, shape, colour)
            _course(time, result, j, colour)
        grid[-1, 1].set_xlabel("time since the first snapshot")
        if shape is None:
            grid[-1, 0].set_xlabel("point")
        save(figure, path)
    return figure


def _partners(result: "DmdResult") -> list[int]:
    """(r) the other of a conjugate pair; the eigenvalue itself where there is none."""
    out, values = [], result.eigenvalues
    for j, value in enumerate(values):
        nearest = int(np.argmin(np.abs(values - value.conj())))
        out.append(nearest if abs(values[nearest] - value.conj()) <= CLOSE * abs(value) else j)
    return out


def _drawn(result: "DmdResult") -> list[int]:
    """The largest modes, of a conjugate pair the one that turns counter-clockwise."""
    values = result.eigenvalues
    kept = [j for j, other in enumerate(_partners(result)) if other == j or values[j].imag >= 0]
    return kept[: len(COLOURS)]


def _spectrum(axes: Axes, result: "DmdResult", colours: list[str]) -> None:
    """Eigenvalues with bars of 1.96 standard errors, their areas by amplitude, and those of the trials as a cloud."""
    axes.axvline(0.0, color=GREY, linewidth=1.0)
    if result.trials is not None:
        for values, colour in zip(result.trials.eigenvalues.T, colours, strict=True):
            axes.plot(values.real, values.imag, ".", color=colour, markersize=3, alpha=0.3, markeredgewidth=0)
    share = result.amplitudes / max(float(result.amplitudes.max(initial=0.0)), np.finfo(float).tiny)
    for value, error, size, colour in zip(result.eigenvalues, result.stderr_eigenvalues, share, colours, strict=True):
        bars = (1.96 * np.nan_to_num([error.real, error.imag], posinf=0.0)).tolist()
        axes.errorbar(value.real, value.imag, xerr=bars[0], yerr=bars[1], color=colour, linewidth=1.2, capsize=2)
        axes.plot(value.real, value.imag, "o", color=colour, markersize=3.0 + 7.0 * float(np.sqrt(size)), alpha=0.8)
    axes.margins(0.15)
    axes.set(xlabel="growth rate (real part)", ylabel="angular frequency (imaginary part)", title="eigenvalues")


def _mode(axes: Axes, result: "DmdResult", j: int, shape: tuple[int, int] | None, colour: str) -> None:
    """The real part as an image, or as a curve with its modulus (dashed) and a band of 1.96 standard errors."""
    mode = result.modes[:, j]
    axes.grid(visible=False)
    axes.set_title(f"mode {j}, real part", color=colour, fontsize=9)
    if shape is not None:
        largest = float(np.abs(mode).max(initial=0.0)) or 1.0
        axes.imshow(mode.real.reshape(shape), cmap="RdBu_r", vmin=-largest, vmax=largest)
        axes.set_axis_off()
        return
    point = np.arange(len(mode))
    if result.trials is not None:
        width = 1.96 * result.stderr_modes[:, j].real
        axes.fill_between(point, mode.real - width, mode.real + width, color=colour, alpha=0.25, linewidth=0)
    axes.plot(point, mode.real, color=colour, linewidth=1.4)
    if np.abs(mode.imag).max(initial=0.0) > CLOSE * np.abs(mode).max(initial=0.0):
        axes.plot(point, np.abs(mode), "--", color=GREY, linewidth=0.9)


def _course(axes: Axes, result: "DmdResult", j: int, colour: str) -> None:
    """The real part of amplitude exp(eigenvalue t), with its envelope."""
    since: Array = np.linspace(0.0, result.span, INSTANTS)
    course = result.amplitudes[j] * np.exp(result.eigenvalues[j] * since)
    axes.plot(since, course.real, color=colour, linewidth=1.2)
    axes.plot(since, np.abs(course), "--", color=GREY, linewidth=0.9)
    value = f"{result.eigenvalues[j].real:.3g} {result.eigenvalues[j].imag:+.3g}i"
    axes.set_title(f"its course, {value}", color=colour, fontsize=9)
