"""The plot of one fit: data, model with confidence band and its columns, and the residuals below."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from varpro.arrays import Array
from varpro.report.drawing import BLUE, GREEN, GREY, ORANGE, RED, STYLE

if TYPE_CHECKING:
    from varpro.fitting.data import Data
    from varpro.fitting.result import FitResult

COLOURS = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9")
CURVES = len(COLOURS)
"""Most right-hand sides that are plotted, evenly spread over all."""
FINE_POINTS = 400
"""Points at which the curve is drawn if the data have fewer."""
MARKS = 20_000
"""Most points that are drawn; more would only cover one another, so they are thinned out."""
NAMED_PARAMETERS = 5
DRAWN_COLUMNS = 6
"""Most terms, column times amplitude, that are drawn; with more, none is."""


class Curve(NamedTuple):
    """Where the model is drawn: x ascending, the others (N', K)."""

    x: Array
    values: Array
    lower: Array
    upper: Array
    terms: Array
    """The columns times their amplitudes, (N', I); without any for several right-hand sides or a single column."""


def draw_fit(fit: "FitResult", path: str | Path | None = None) -> Figure:
    """Data, fit and 95 % confidence band of a FitResult above its residuals; saved to `path` if given.

    For a single right-hand side each column is drawn as well, times its amplitude.  Of K right-hand sides at most 6 are
    drawn; complex data have real and imaginary part side by side.
    Raises ConfigError if the result has lost its model through pickling.
    """
    fit._model()
    data = fit._solution.spec.data
    x, label = (data.t, "t") if data.t.ndim == 1 else (np.arange(len(data.t), dtype=float), "row")
    count = data.y.shape[2]
    shown = np.unique(np.linspace(0, count - 1, min(count, CURVES)).round().astype(int))
    weight = data.total_weight()[0][:, shown]
    seen = np.where(weight > 0, data.y[0][:, shown], np.nan)
    residual = _wide(fit.residual)[:, shown] * (1.0 if data.weights is None else data.weight_unit * weight)
    curve = _curve(fit, x, data.t, shown)
    parts: list[tuple[str, Callable[[Array], Array]]] = [("", np.real)]
    if fit._solution.spec.complex_data:
        parts = [("real part", np.real), ("imaginary part", np.imag)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7 if len(parts) == 1 else 11, 5.2))
        axes = figure.subplots(2, len(parts), sharex="col", squeeze=False, gridspec_kw={"height_ratios": [3, 1]})
        for column, (name, part) in enumerate(parts):
            upper, lower = axes[:, column]
            _draw_curves(upper, x, part(seen), Curve(curve.x, *map(part, curve[1:])), shown, name=name)
            _draw_terms(upper, curve.x, part(curve.terms), _term_names(fit))
            if name != "imaginary part":
                upper.legend(**_legend(len(shown), count))
            _draw_residuals(lower, x, part(residual))
            lower.set_xlabel(label)
        weighted = _weighted(data)
        axes[0, 0].set_ylabel("y")
        axes[1, 0].set_ylabel("weighted\nresidual" if weighted else "residual")
        figure.suptitle(headline(fit), fontsize=10, x=0.01, ha="left", parse_math=False)
        save(figure, path)
    return figure


def _curve(fit: "FitResult", x: Array, t: Array, shown: Array) -> Curve:
    """The model between the data points where it can be evaluated there, else at the data."""
    order = np.argsort(x, kind="stable")
    if t.ndim == 1 and len(t) < FINE_POINTS and np.isrealobj(t) and t.dtype.kind == "f":
        fine = np.linspace(t.min(), t.max(), FINE_POINTS)
        try:
            return Curve(fine, *_values(fit, fine, shown), _terms(fit, fine))
        except (ValueError, IndexError):  # a model that is tied to the data's t, such as a convolution
            pass
    return Curve(x[order], *(values[order] for values in (*_values(fit, t, shown), _terms(fit, t))))


def _values(fit: "FitResult", t: Array, shown: Array) -> tuple[Array, Array, Array]:
    with np.errstate(all="ignore"):
        values = _wide(fit.predict(t))
        lower, upper = (np.where(np.isfinite(edge), edge, np.nan) for edge in map(_wide, fit.confidence_band(t)))
    return values[:, shown], lower[:, shown], upper[:, shown]


def _terms(fit: "FitResult", t: Array) -> Array:
    """(N', I) the columns times their amplitudes, where they are few and there is one right-hand side."""
    coefficients = fit._solution.coefficients[0]
    if coefficients.shape[1] != 1 or not 2 <= len(coefficients) <= DRAWN_COLUMNS:
        return np.zeros((len(t), 0))
    with np.errstate(all="ignore"):
        return np.asarray(fit._model()(fit._solution.spec.data.on_axis(t), fit.nonlinear)) * coefficients[:, 0]


def _term_names(fit: "FitResult") -> list[str]:
    """The names of the columns; the pinned one has none of its own."""
    return [*fit.linear_names, "fixed term"]


def _draw_terms(axes: Axes, x: Array, terms: Array, names: list[str]) -> None:
    for term, name, colour in zip(terms.T, names, COLOURS[1:] + COLOURS[:1], strict=False):
        axes.plot(x, term, "--", color=colour, linewidth=1.1, alpha=0.9, label=name)
    if terms.shape[1]:
        low, high = axes.get_ylim()
        finite = terms[np.isfinite(terms)]
        edge = 0.03 * (high - low)
        axes.set_ylim(min(low, finite.min(initial=low) - edge), max(high, finite.max(initial=high) + edge))


def _legend(shown: int, total: int) -> dict[str, str | int | None]:
    heading = None if shown == 1 else f"y column{'' if total == shown else f' (of {total})'}"
    return {"title": heading, "ncols": 1 if shown == 1 else 2, "fontsize": 9, "title_fontsize": 9}


def _wide(values: Array) -> Array:
    return values[:, None] if values.ndim == 1 else values


def _weighted(data: "Data") -> bool:
    """Whether there are weights other than 1 for use and 0 for missing."""
    return data.weights is not None and not np.isin(data.weights, (0.0, 1.0)).all()


def _draw_curves(axes: Axes, x: Array, seen: Array, curve: Curve, shown: Array, *, name: str) -> None:
    single = len(shown) == 1
    thin = slice(None, None, -(-len(x) // MARKS))
    size = 4.5 if len(x) <= 120 else 3.0 if len(x) <= 1000 else 1.5
    for k, colour in zip(range(len(shown)), COLOURS, strict=False):
        dots = GREY if single else colour
        label = "data" if single else None
        axes.plot(x[thin], seen[thin, k], "o", color=dots, markersize=size, alpha=0.7, markeredgewidth=0, label=label)
        axes.fill_between(
            curve.x,
            curve.lower[:, k],
            curve.upper[:, k],
            color=colour,
            alpha=0.25,
            linewidth=0,
            label="95 % band" if single else None,
        )
        label = "fit" if single else f"{shown[k]}"
        axes.plot(curve.x, curve.values[:, k], color=colour, linewidth=1.8, label=label)
    if name:
        axes.set_title(name)
    _zoom(axes, seen, curve.values)


def _zoom(axes: Axes, seen: Array, values: Array) -> None:
    """Set the limits from data and fit, so that a band that is wide between the data does not hide them."""
    both = np.concatenate([seen.ravel(), values.ravel()])
    both = both[np.isfinite(both)]
    if both.size:
        low, high = float(both.min()), float(both.max())
        edge = 0.06 * (high - low) or 0.5
        axes.set_ylim(low - edge, high + edge)


def _draw_residuals(axes: Axes, x: Array, residual: Array) -> None:
    thin = slice(None, None, -(-len(x) // MARKS))
    size = 3.0 if len(x) <= 1000 else 1.2
    for k, colour in zip(range(residual.shape[1]), COLOURS, strict=False):
        dots = GREY if residual.shape[1] == 1 else colour
        axes.plot(x[thin], residual[thin, k], "o", color=dots, markersize=size, alpha=0.7, markeredgewidth=0)
    axes.axhline(0.0, color=BLUE if residual.shape[1] == 1 else "black", linewidth=1.0)
    largest = np.nanmax(np.abs(residual), initial=0.0)
    if largest > 0:
        axes.set_ylim(-1.15 * largest, 1.15 * largest)


def headline(fit: "FitResult") -> str:
    """Status, rss and the first parameters with one standard error each."""
    values = fit.nonlinear
    if np.iscomplexobj(values):
        errors = np.concatenate([fit.stderr_nonlinear.real, fit.stderr_nonlinear.imag])
        values = np.concatenate([values.real, values.imag])
    else:
        errors = fit.stderr_nonlinear
    pairs = list(zip(fit.names, values, errors, strict=True))
    words = [_with_error(*pair) for pair in pairs[:NAMED_PARAMETERS]]
    words += [f"and {len(pairs) - NAMED_PARAMETERS} more"] if len(pairs) > NAMED_PARAMETERS else []
    lines = [",   ".join(words[i : i + 3]) for i in range(0, len(words), 3)]
    state = "converged" if fit.success else f"not converged ({fit.status.label.replace('_', ' ')})"
    return f"{state}, rss {fit.rss:.4g}, {fit.dof:.6g} degrees of freedom\n" + ",\n".join(lines)


def _with_error(name: str, value: float, error: float) -> str:
    """Value and error, both to the second digit of the error."""
    if not np.isfinite(error) or error <= 0:
        return f"{name} = {value:.6g}"
    decimals = 1 - int(np.floor(np.log10(error)))
    if 0 <= decimals <= 8 and abs(value) < 1e6:
        return f"{name} = {value:.{decimals}f} ± {error:.{decimals}f}"
    return f"{name} = {value:.6g} ± {error:.2g}"


def save(figure: Figure, path: str | Path | None) -> None:
    """Write the figure to `path`, if given."""
    if path is not None:
        figure.savefig(path, dpi=130, facecolor="white")
