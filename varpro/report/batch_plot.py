"""The plot of many fits: histograms of the results, and maps if the problems are pixels."""

from pathlib import Path
from typing import Any, Protocol

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from varpro.arrays import Array
from varpro.report.drawing import BLUE, RED, STYLE
from varpro.report.fit_plot import save
from varpro.result import Status

PANELS = 12
"""Most parameters and amplitudes of a batch that are plotted."""
TAILS = (1.0, 99.0)
"""Percentiles that set the ranges of histograms and maps."""


class Fits(Protocol):
    """The parts of a batch that are plotted."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def linear_names(self) -> tuple[str, ...]: ...

    @property
    def nonlinear(self) -> Array: ...

    @property
    def linear(self) -> Array: ...

    @property
    def status(self) -> Array: ...


def draw_batch(many: "Fits", shape: tuple[int, int] | None = None, path: str | Path | None = None) -> Figure:
    """Histograms of the parameters and amplitudes of the problems that converged; saved to `path` if given.

    many : a BatchResult, or anything with its names, linear_names, nonlinear, linear and status.
    shape : (H, W) with H W problems; then each has a map as well, blank where a problem did not converge.
    """
    good = np.isin(many.status, [status for status in Status if status.converged])
    panels = _panels(many)[:PANELS]
    maps = shape is not None and min(shape) > 1
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(STYLE):
        width, height = (3.0, 4.6) if maps else (3.0, 2.3)
        figure = Figure(figsize=(max(4.5, width * columns), height * rows + 0.5))
        layout: Any = figure.get_layout_engine()
        layout.set(w_pad=0.12)  # otherwise labels beside an image of fixed aspect would be cut off
        axes = figure.subplots(rows * (2 if maps else 1), columns, squeeze=False)
        for place in range(rows * columns):
            row, column = divmod(place, columns)
            own = axes[2 * row : 2 * row + 2, column] if maps else axes[row : row + 1, column]
            if place >= len(panels):
                for blank in own:
                    blank.axis("off")
                continue
            name, values = panels[place]
            span = _span(values[good])
            if maps and shape is not None:
                _draw_map(figure, own[0], np.where(good, values, np.nan).reshape(shape), span)
            _draw_histogram(own[-1], values[good], span)
            own[0].set_title(name, parse_math=False)
        left_out = len(_panels(many)) - len(panels)
        figure.suptitle(_batch_headline(many, left_out), fontsize=10, x=0.01, ha="left")
        save(figure, path)
    return figure


def _panels(many: "Fits") -> list[tuple[str, Array]]:
    """Name and (B,) values of each parameter, then of each amplitude; complex amplitudes by modulus."""
    w = many.nonlinear
    w = np.concatenate([w.real, w.imag], axis=1) if np.iscomplexobj(w) else w
    out = [(name, w[:, p]) for p, name in enumerate(many.names)]
    linear, count = many.linear, many.linear.shape[2]
    for i, name in enumerate(many.linear_names):
        for k in range(count):
            label = f"amplitude {name}" if count == 1 else f"amplitude {name}, column {k}"
            values = linear[:, i, k]
            out.append((f"|{label}|", np.abs(values)) if np.iscomplexobj(values) else (label, values))
    return out


def _span(values: Array) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, TAILS)
    if finite.size < 200:
        low, high = finite.min(), finite.max()
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    return float(low), float(high)


def _draw_histogram(axes: Axes, values: Array, span: tuple[float, float]) -> None:
    finite = values[np.isfinite(values)]
    bins = int(np.clip(np.sqrt(finite.size), 8, 60))
    axes.hist(finite, bins=bins, range=span, color=BLUE, alpha=0.8)
    axes.grid(False, axis="x")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    if finite.size:
        median = float(np.median(finite))
        axes.axvline(median, color=RED, linewidth=1.5)
        axes.text(
            0.98, 0.95, f"median {median:.4g}", color=RED, fontsize=8, ha="right", va="top", transform=axes.transAxes
        )
        axes.set_ylim(top=axes.get_ylim()[1] * 1.18)


def _draw_map(figure: Figure, axes: Axes, image: Array, span: tuple[float, float]) -> None:
    axes.set_facecolor("#eeeeee")
    drawn = axes.imshow(image, cmap="viridis", vmin=span[0], vmax=span[1], interpolation="nearest")
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    bar = figure.colorbar(drawn, cax=axes.inset_axes((1.03, 0.0, 0.05, 1.0)))
    bar.ax.tick_params(labelsize=8)


def _batch_headline(many: "Fits", left_out: int) -> str:
    values, numbers = np.unique(many.status, return_counts=True)
    counts = sorted(zip(numbers.tolist(), values.tolist(), strict=True), reverse=True)
    good = sum(n for n, value in counts if Status(value).converged)
    bad = [f"{n:,} {Status(value).label.replace('_', ' ')}" for n, value in counts if not Status(value).converged]
    more = f"; {left_out} more parameters are not drawn" if left_out else ""
    return f"{len(many.status):,} fits: " + ", ".join([f"{good:,} converged", *bad]) + more
