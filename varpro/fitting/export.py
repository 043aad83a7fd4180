"""Results as text, and as tables of pandas and xarray where these are installed."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.errors import BackendError, ShapeError
from varpro.fitting.complex_parts import one_after_another
from varpro.fitting.notebook import html_table
from varpro.result import Status

if TYPE_CHECKING:
    import pandas
    import xarray

    from varpro.fitting.batch import BatchResult
    from varpro.fitting.result import FitResult


def need(name: str) -> ModuleType:
    """A module that is not a dependency.  Raises BackendError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BackendError(f"{name} is not installed; pip install {name}") from error


def _rows(fit: "FitResult") -> list[tuple[str, str, complex, complex]]:
    """(kind, name, value, standard error) of every parameter."""
    rows = []
    values, errors = one_after_another(fit.nonlinear), one_after_another(fit.stderr_nonlinear)
    rows += [("nonlinear", name, v, e) for name, v, e in zip(fit.names, values, errors, strict=True)]
    linear, deviation = np.atleast_2d(fit.linear.T).T, np.atleast_2d(fit.stderr_linear.T).T
    for i, name in enumerate(fit.linear_names):
        for k in range(linear.shape[1]):
            label = name if linear.shape[1] == 1 else f"{name}[{k}]"
            rows.append(("linear", label, linear[i, k], deviation[i, k]))
    return rows


def fit_dict(fit: "FitResult") -> dict[str, object]:
    """A fit in the types of a JSON file: numbers, strings, and lists and dictionaries of them."""
    values = zip(fit.names, one_after_another(fit.nonlinear), strict=True)
    return {
        "status": fit.status.label,
        "message": fit.message,
        "success": fit.success,
        "nonlinear": {name: _plain(value) for name, value in values},
        "stderr_nonlinear": _plain(fit.stderr_nonlinear),
        "linear_names": list(fit.linear_names),
        "linear": _plain(fit.linear),
        "stderr_linear": _plain(fit.stderr_linear),
        "rss": fit.rss,
        "dof": fit.dof,
        "rank": fit.rank,
        "nfev": fit.nfev,
        "njev": fit.njev,
        "derivative": fit.derivative,
        "elapsed_seconds": fit.elapsed_seconds,
    }


def _plain(values: Array) -> object:
    """Numbers and lists; complex values as their real and imaginary parts."""
    if np.iscomplexobj(values):
        return {"real": values.real.tolist(), "imag": values.imag.tolist()}
    numbers: float | list[object] = values.tolist()
    return numbers


def fit_text(fit: "FitResult", most: int = 40) -> str:
    """A fit as a table: parameters with standard errors, then the quality of the fit and how it was found."""
    lines = [f"{'parameter':<20} {'value':>16} {'std. error':>14} {'relative':>9}"]
    rows = _rows(fit)
    for kind, name, value, error in rows[:most]:
        lines.append(f"{name:<20} {_number(value):>16} {_number(error, 4):>14} {_relative(value, error, fit, name):>9}")
        if kind == "nonlinear" and name == fit.names[-1]:
            lines.append("-" * 62)
    if len(rows) > most:
        lines.append(f"... and {len(rows) - most} more amplitudes")
    return "\n".join([*lines, "", *_quality(fit)])


def _quality(fit: "FitResult") -> list[str]:
    """How good the fit is, how it was found, and what to beware of."""
    return [
        f"residual sum of squares {fit.rss:.8g}, {fit.dof:.6g} degrees of freedom, R^2 {fit.r_squared:.8f}",
        f"{fit.nfev} evaluations, {fit.njev} derivatives ({fit.derivative}), rank {fit.rank}, "
        f"{1e3 * fit.elapsed_seconds:.3g} ms",
        fit.message,
        *(f"Beware: {warning}." for warning in fit.warnings),
    ]


def fit_html(fit: "FitResult", most: int = 40) -> str:
    """A fit as a table for a notebook."""
    rows = [
        [name, _number(value), _number(error, 4), _relative(value, error, fit, name)]
        for _, name, value, error in _rows(fit)
    ]
    more = [f"... and {len(rows) - most} more amplitudes"] if len(rows) > most else []
    return html_table(["parameter", "value", "std. error", "relative"], rows[:most], [*more, *_quality(fit)])


def _number(value: complex, digits: int = 8) -> str:
    if np.iscomplexobj(value):
        return f"{value.real:.{digits - 2}g}{value.imag:+.{digits - 2}g}j"
    return f"{value:.{digits}g}"


def _relative(value: complex, error: complex, fit: "FitResult", name: str) -> str:
    if np.isinf(error) or (np.isnan(error) and np.isnan(fit._statistics.variance[0])):
        return "unknown"
    if np.isnan(error):
        return "at bound"
    if error == 0:
        return "fixed" if name in fit.names else ""
    return f"{100 * abs(error) / abs(value):.2g} %" if value else ""


def fit_table(fit: "FitResult") -> "pandas.DataFrame":
    """pandas.DataFrame with columns kind, name, value, stderr, lower, upper (95 %)."""
    pandas = need("pandas")
    quantile = scipy.stats.norm.ppf(0.975) if fit.absolute_sigma else scipy.stats.t.ppf(0.975, max(fit.dof, 1))
    rows = [
        {"kind": kind, "name": name, "value": v, "stderr": e, "lower": v - quantile * e, "upper": v + quantile * e}
        for kind, name, v, e in _rows(fit)
    ]
    return pandas.DataFrame(rows)


def batch_table(many: "BatchResult") -> "pandas.DataFrame":
    """A pandas.DataFrame with one row per problem."""
    pandas = need("pandas")
    columns: dict[str, Array] = {}
    for p, name in enumerate(_own_names(many)):
        columns[name] = many.nonlinear[:, p]
    for i, name in enumerate(many.linear_names):
        for k in range(many.linear.shape[2]):
            columns[name if many.linear.shape[2] == 1 else f"{name}[{k}]"] = many.linear[:, i, k]
    for p, name in enumerate(_own_names(many)):
        columns[f"stderr({name})"] = many.stderr_nonlinear[:, p]
    columns["rss"] = many.rss
    columns["status"] = np.array([Status(int(s)).label for s in many.status])
    return pandas.DataFrame(columns)


def batch_html(many: "BatchResult") -> str:
    """A batch as a table for a notebook: the quartiles of each parameter and amplitude over the fits that converged."""
    good = np.isin(many.status, [status for status in Status if status.converged])
    linear = many.linear.reshape(len(many), -1)
    labels = [name if many.linear.shape[2] == 1 else f"{name}[{k}]"
              for name in many.linear_names for k in range(many.linear.shape[2])]  # fmt: skip
    columns = [*zip(many.names, _wide(many.nonlinear).T, strict=True)]
    columns += zip(labels, np.abs(linear).T if np.iscomplexobj(linear) else linear.T, strict=True)
    rows = []
    for name, values in columns[:40]:
        quartiles = np.quantile(values[good], [0.25, 0.5, 0.75]) if good.any() else np.full(3, np.nan)
        rows.append([name, *(f"{v:.6g}" for v in quartiles)])
    return html_table(["parameter", "25 %", "median", "75 %"], rows, [repr(many).strip("<>")])


def _wide(values: Array) -> Array:
    """Complex values as their real parts, then their imaginary parts along the last axis."""
    return np.concatenate([values.real, values.imag], axis=1) if np.iscomplexobj(values) else values


def _own_names(many: "BatchResult | FitResult") -> list[str]:
    """Names of the columns of `nonlinear`, which is complex if its names come as real and imaginary parts."""
    names = list(many.names)
    if np.iscomplexobj(many.nonlinear):
        names = [name.removesuffix(".real") for name in names[: len(names) // 2]]
    return names


def fit_dataset(fit: "FitResult", like: "xarray.DataArray | None") -> "xarray.Dataset":
    """An xarray.Dataset of one fit, in the dimensions of the y that was fitted.  Raises ShapeError."""
    xarray = need("xarray")
    dims, coords = ("row", "right_hand_side")[: np.ndim(fit.residual)], {}
    if like is not None:
        if np.shape(like) != np.shape(fit.residual):
            raise ShapeError(f"like has shape {np.shape(like)}; the y that was fitted has {np.shape(fit.residual)}")
        dims, coords = like.dims, dict(like.coords)
    own = ("amplitude", *dims[1:])
    return xarray.Dataset(
        {
            "nonlinear": (("parameter",), fit.nonlinear),
            "stderr_nonlinear": (("parameter",), fit.stderr_nonlinear),
            "linear": (own, fit.linear),
            "stderr_linear": (own, fit.stderr_linear),
            "fitted": (dims, fit.fitted),
            "residual": (dims, fit.residual),
        },
        coords={**coords, "parameter": _own_names(fit), "amplitude": list(fit.linear_names)},
        attrs={"rss": fit.rss, "dof": fit.dof, "status": fit.status.label, "message": fit.message},
    )


def batch_dataset(many: "BatchResult") -> "xarray.Dataset":
    """An xarray.Dataset of all problems."""
    xarray = need("xarray")
    return xarray.Dataset(
        {
            "nonlinear": (("problem", "parameter"), many.nonlinear),
            "linear": (("problem", "amplitude", "right_hand_side"), many.linear),
            "rss": (("problem",), many.rss),
            "status": (("problem",), [Status(int(s)).label for s in many.status]),
            "nfev": (("problem",), many.nfev),
        },
        coords={"parameter": _own_names(many), "amplitude": list(many.linear_names)},
    )
