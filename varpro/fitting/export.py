"""Results as text to read and as tables of pandas and xarray, where these are installed."""

import importlib
from typing import Any

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.errors import BackendError
from varpro.result import Status


def _need(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BackendError(f"{name} is not installed; pip install {name}") from error


def _rows(fit: Any) -> list[tuple[str, str, Any, Any]]:
    """(kind, name, value, standard error) of every parameter."""
    rows = []
    complex_w = np.iscomplexobj(fit.nonlinear)
    values = np.concatenate([fit.nonlinear.real, fit.nonlinear.imag]) if complex_w else fit.nonlinear
    errors = (
        np.concatenate([fit.stderr_nonlinear.real, fit.stderr_nonlinear.imag]) if complex_w else fit.stderr_nonlinear
    )
    rows += [("nonlinear", name, v, e) for name, v, e in zip(fit.names, values, errors, strict=True)]
    linear, deviation = np.atleast_2d(fit.linear.T).T, np.atleast_2d(fit.stderr_linear.T).T
    for i, name in enumerate(fit.linear_names):
        for k in range(linear.shape[1]):
            label = name if linear.shape[1] == 1 else f"{name}[{k}]"
            rows.append(("linear", label, linear[i, k], deviation[i, k]))
    return rows


def fit_text(fit: Any, most: int = 40) -> str:
    """A fit as a table: parameters with standard errors, then how good it is and how it was found."""
    lines = [f"{'parameter':<20} {'value':>16} {'std. error':>14} {'relative':>9}"]
    rows = _rows(fit)
    for kind, name, value, error in rows[:most]:
        lines.append(f"{name:<20} {_number(value):>16} {_number(error, 4):>14} {_relative(value, error, fit, name):>9}")
        if kind == "nonlinear" and name == fit.names[-1]:
            lines.append("-" * 62)
    if len(rows) > most:
        lines.append(f"... and {len(rows) - most} more amplitudes")
    lines.append("")
    lines.append(f"residual sum of squares {fit.rss:.8g}, {fit.dof:.6g} degrees of freedom, R^2 {fit.r_squared:.8f}")
    lines.append(
        f"{fit.nfev} evaluations, {fit.njev} derivatives ({fit.derivative}), rank {fit.rank}, "
        f"{1e3 * fit.elapsed_seconds:.3g} ms"
    )
    lines.append(fit.message)
    return "\n".join(lines)


def _number(value: Any, digits: int = 8) -> str:
    if np.iscomplexobj(value):
        return f"{value.real:.{digits - 2}g}{value.imag:+.{digits - 2}g}j"
    return f"{value:.{digits}g}"


def _relative(value: Any, error: Any, fit: Any, name: str) -> str:
    if np.isinf(error) or (np.isnan(error) and np.isnan(fit._statistics.variance[0])):
        return "unknown"
    if np.isnan(error):
        return "at bound"
    if error == 0:
        return "fixed" if name in fit.names else ""
    return f"{100 * abs(error) / abs(value):.2g} %" if value else ""


def fit_table(fit: Any) -> Any:
    """pandas.DataFrame with columns kind, name, value, stderr, lower, upper (95 %)."""
    pandas = _need("pandas")
    quantile = scipy.stats.norm.ppf(0.975) if fit.absolute_sigma else scipy.stats.t.ppf(0.975, max(fit.dof, 1))
    rows = [
        {"kind": kind, "name": name, "value": v, "stderr": e, "lower": v - quantile * e, "upper": v + quantile * e}
        for kind, name, v, e in _rows(fit)
    ]
    return pandas.DataFrame(rows)


def batch_table(many: Any) -> Any:
    """pandas.DataFrame, a row a problem."""
    pandas = _need("pandas")
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


def _own_names(many: Any) -> list[str]:
    """Names of the columns of `nonlinear`, which is complex where its names come in two parts."""
    names = list(many.names)
    if np.iscomplexobj(many.nonlinear):
        names = [name.removesuffix(".real") for name in names[: len(names) // 2]]
    return names


def batch_dataset(many: Any) -> Any:
    """xarray.Dataset."""
    xarray = _need("xarray")
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
