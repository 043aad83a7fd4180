"""The plot of a profile: how the sum of squares rises on both sides of an estimate."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from varpro.report.drawing import BLUE, GREY, ORANGE, STYLE
from varpro.report.fit_plot import save

if TYPE_CHECKING:
    from varpro.fitting.profile import Profile

BEYOND = 1.3
"""How far beyond the quantile the curve is drawn."""


def draw_profile(profile: "Profile", path: str | Path | None = None) -> Figure:
    """z against the parameter, its ends, and the straight line that the curvature at the estimate gives."""
    v, z, limit = profile.values, profile.z, BEYOND * profile.quantile
    near = np.abs(z) <= limit
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.2, 4.2))
        axes = figure.subplots()
        axes.axhspan(-profile.quantile, profile.quantile, color=BLUE, alpha=0.08, linewidth=0)
        axes.axhline(0.0, color=GREY, linewidth=0.8)
        axes.plot(v[near], z[near], color=BLUE, linewidth=1.8, label="profile")
        slope = _slope(profile)
        if slope > 0:
            ends = profile.estimate + np.array([-1.0, 1.0]) * profile.quantile / slope
            axes.plot(ends, [-profile.quantile, profile.quantile], "--", color=GREY, linewidth=1.2, label="linear")
        axes.plot([profile.estimate], [0.0], "o", color=BLUE, markersize=6)
        for end, closed, way in zip((profile.lower, profile.upper), profile.closed, (-1.0, 1.0), strict=True):
            if closed:
                axes.plot([end, end], [-limit, way * profile.quantile], color=ORANGE, linewidth=1.2)
                axes.annotate(
                    f"{end:.5g}", (end, -limit), xytext=(-4 * way, 4), textcoords="offset points",
                    color=ORANGE, fontsize=9, ha="left" if way < 0 else "right",
                )  # fmt: skip
        axes.set_ylim(-limit, limit)
        axes.set_xlabel(profile.name, parse_math=False)
        axes.set_ylabel("signed root of the rise, in sigma")
        axes.set_title(f"{profile.name}: {100 * profile.level:g} % profile interval", parse_math=False)
        axes.legend(loc="upper left", fontsize=9)
        if profile.message:
            figure.supxlabel(profile.message, fontsize=8, color=GREY)
        save(figure, path)
    return figure


def _slope(profile: "Profile") -> float:
    """dz / dv at the estimate, from its neighbours; 0 if there are none on one side."""
    v, z = profile.values, profile.z
    far = np.abs(v - profile.estimate)
    apart = far > 1e-3 * far.max()
    left, right = np.flatnonzero(apart & (v < profile.estimate)), np.flatnonzero(apart & (v > profile.estimate))
    if not (len(left) and len(right)):
        return 0.0
    i, j = left[-1], right[0]
    return float((z[j] - z[i]) / (v[j] - v[i]))
