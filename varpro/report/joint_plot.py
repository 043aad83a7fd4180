"""The plot of a joint fit: data, fit and band of every set, the residuals below."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from varpro.report.drawing import BLUE, GREY, STYLE
from varpro.report.fit_plot import COLOURS, CURVES, FINE_POINTS, headline, save

if TYPE_CHECKING:
    from varpro.fitting.joint_result import GlobalFitResult, SetResult

PANELS = 12
"""Most sets that are drawn."""
ACROSS = 4
"""Most panels side by side."""


def draw_joint(fit: "GlobalFitResult", path: str | Path | None = None) -> Figure:
    """A panel for each of the first sets, of at most 6 right-hand sides; saved to `path` if given."""
    shown = fit.sets[:PANELS]
    columns = min(len(shown), ACROSS)
    rows = -(-len(shown) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(5.0, 3.6 * columns), 3.8 * rows + 0.5))
        ratios = {"height_ratios": [3, 1] * rows}
        axes = figure.subplots(2 * rows, columns, squeeze=False, gridspec_kw=ratios)
        for place in range(rows * columns):
            row, column = divmod(place, columns)
            upper, lower = axes[2 * row, column], axes[2 * row + 1, column]
            if place >= len(shown):
                upper.axis("off")
                lower.axis("off")
                continue
            _draw_set(fit, shown[place], place, upper, lower)
            upper.sharex(lower)
            upper.tick_params(labelbottom=False)
            upper.set_title(f"set {shown[place].label}", parse_math=False)
        axes[0, 0].set_ylabel("y")
        axes[1, 0].set_ylabel("residual")
        left_out = len(fit.labels) - len(shown)
        figure.suptitle(headline(fit), fontsize=10, x=0.01, ha="left", parse_math=False)
        if left_out:
            figure.supxlabel(f"{left_out} more sets are not drawn", fontsize=8, color=GREY)
        save(figure, path)
    return figure


def _draw_set(fit: "GlobalFitResult", own: "SetResult", s: int, upper: Axes, lower: Axes) -> None:
    straight = own.t.ndim == 1
    x = own.t if straight else np.arange(len(own.t), dtype=float)
    order = np.argsort(x, kind="stable")
    at = np.linspace(x.min(), x.max(), FINE_POINTS) if straight and len(x) < FINE_POINTS else own.t[order]
    try:
        curve, band = fit.predict(at, of=s), fit.confidence_band(at, of=s)
    except (ValueError, IndexError):  # a model that is tied to the data's t
        at = own.t[order]
        curve, band = own.fitted[order], (own.fitted[order], own.fitted[order])
    line = at if straight else x[order]
    wide = [np.real(v).reshape(len(v), -1) for v in (own.y, own.residual, curve, *band)]
    y, residual, values, low, high = wide
    count = y.shape[1]
    for k, colour in zip(
        np.unique(np.linspace(0, count - 1, min(count, CURVES)).round().astype(int)), COLOURS, strict=False
    ):
        dots = GREY if count == 1 else colour
        upper.plot(x, y[:, k], "o", color=dots, markersize=3, alpha=0.6, markeredgewidth=0)
        upper.fill_between(line, low[:, k], high[:, k], color=colour, alpha=0.25, linewidth=0)
        upper.plot(line, values[:, k], color=colour, linewidth=1.6)
        lower.plot(x, residual[:, k], "o", color=dots, markersize=2.5, alpha=0.6, markeredgewidth=0)
    lower.axhline(0.0, color=BLUE if count == 1 else "black", linewidth=1.0)
    lower.set_xlabel("t" if straight else "row")
