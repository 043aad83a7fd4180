"""Fits in the form of scipy.optimize: curve_fit and least_squares, but starting values for nonlinear parameters
only."""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import Bounds, OptimizeResult, OptimizeWarning

import varpro
from varpro.adapters._bounds import sides
from varpro.arrays import Array, ArrayLike, on_host, to_host
from varpro.errors import DataError, ShapeError
from varpro.fitting.model import Function
from varpro.fitting.result import FitResult

STATUS = {
    varpro.Status.GRADIENT_TOLERANCE: 1,
    varpro.Status.COST_TOLERANCE: 2,
    varpro.Status.STEP_TOLERANCE: 3,
    varpro.Status.ITERATIONS: 0,
}
"""SciPy's status numbers; any other status is -1."""
HERE = {
    "p0": "w0, the start of the nonlinear parameters only",
    "x0": "w0, the start of the nonlinear parameters only",
    "jac": "derivative, by columns, or 'complex-step' or 'differences'",
    "maxfev": "max_iterations",
    "max_nfev": "max_iterations",
    "ftol": "cost_tolerance",
    "xtol": "step_tolerance",
    "gtol": "gradient_tolerance",
    "f_scale": "loss_scale",
    "verbose": "progress or callback",
    "full_output": "always given, by the result",
    "check_finite": "yours to do: NaN in y is a missing value",
}
"""What SciPy's options are called here."""
NONE_HERE = {
    "method": "the search is Levenberg-Marquardt on the projected problem, with and without bounds",
    "nan_policy": "NaN in y is a missing value, as with nan_policy='omit'",
    "x_scale": "the search scales the parameters by itself",
    "diff_step": "the steps of differences are chosen for each parameter; scale= guides them",
    "epsfcn": "the steps of differences are chosen for each parameter; scale= guides them",
    "args": "write the further arguments into the model",
    "kwargs": "write the further arguments into the model",
}
"""Why some of SciPy's options do not exist here."""


def curve_fit(
    model: Function,
    xdata: ArrayLike,
    ydata: ArrayLike,
    w0: ArrayLike | None = None,
    sigma: ArrayLike | None = None,
    absolute_sigma: bool = False,
    check_finite: bool = False,
    *,
    p0: ArrayLike | None = None,
    full_output: bool = False,
    **options: Any,
) -> tuple[Any, ...]:
    """(popt, pcov) as in scipy.optimize.curve_fit, nonlinear parameters first, then amplitudes.

    model : (t, w) -> (N, I), or a ready model of `varpro.models`.  xdata (N,) or (N, p), ydata (N,) or (N, K).
    w0 : (P,) start of the nonlinear parameters; p0 is another name of it.  sigma : errors of ydata, a number, (N,) or
        ydata's shape.  check_finite : refuse NaN in ydata, which otherwise marks a missing value.
    full_output : return (popt, pcov, infodict, mesg, ier) with nfev and fvec, (model - ydata) / sigma, in infodict.
    options : those of `varpro.fit`; bounds may be a scipy.optimize.Bounds.
    Complex parameters appear in pcov as real, then imaginary parts.
    Raises RuntimeError if the search did not converge, TypeError for a model f(x, a, b, ..) or an option that does not
    exist here, VarproError (a ValueError) for input that cannot be fitted.
    """
    options = _options("curve_fit", model, options)
    if p0 is not None and w0 is not None:
        raise TypeError("give w0 or p0, not both: p0 is w0 here")
    start = w0 if p0 is None else p0
    _require_rows(xdata, ydata)
    if check_finite and not np.isfinite(to_host(ydata)).all():
        raise DataError("ydata holds NaN or infinite values; check_finite=False takes NaN as missing")
    weights = options.pop("weights", None)
    if sigma is not None:
        if weights is not None:
            raise TypeError("give sigma or weights, not both: weights = 1 / sigma")
        weights = _weights(sigma, np.shape(on_host(ydata)))
    fit = varpro.fit(model, xdata, ydata, start, weights=weights, absolute_sigma=absolute_sigma, **options)
    if not fit.success:
        raise RuntimeError(f"Optimal parameters not found: {fit.message}")
    popt = np.concatenate([fit.nonlinear.ravel(), fit.linear.ravel()])
    pcov = fit.covariance
    if fit.dof == 0 and not absolute_sigma:
        warnings.warn("Covariance of the parameters could not be estimated", OptimizeWarning, stacklevel=2)
        pcov = np.full(pcov.shape, np.inf)
    if not full_output:
        return popt, pcov
    about = {"nfev": fit.nfev, "fvec": -_weighted(fit, weights)}
    return popt, pcov, about, fit.message, STATUS.get(fit.status, -1)


def least_squares(
    model: Function, t: ArrayLike, y: ArrayLike, w0: ArrayLike | None = None, **options: Any
) -> OptimizeResult:
    """An OptimizeResult as in scipy.optimize.least_squares, for the projected problem: x (P,) is nonlinear only.

    fun : (N,) or (N, K) y - model, weighted.  cost : 1/2 ||fun||^2, as modified by a ridge or a loss.
    active_mask : (P,) -1 where a lower bound holds a parameter, or one that it is tied to, 1 where an upper one does, 0
        elsewhere.  status : SciPy's 0 to 3, else -1.  Also: linear, the amplitudes; fit, the whole FitResult.
    options : those of `varpro.fit`; bounds may be a scipy.optimize.Bounds.
    """
    options = on_host(_options("least_squares", model, options))
    fit = varpro.fit(model, t, y, w0, **options)
    result = OptimizeResult()
    result.update(
        x=fit.nonlinear,
        linear=fit.linear,
        fun=_weighted(fit, options.get("weights")),
        cost=fit.cost,
        nfev=fit.nfev,
        njev=fit.njev,
        status=STATUS.get(fit.status, -1),
        message=fit.message,
        success=fit.success,
        active_mask=sides(fit),
        fit=fit,
    )
    return result


def _options(function: str, model: Function, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as `varpro.fit` takes them.  Raises TypeError for those that only SciPy has, and for its models."""
    _require_columns(model)
    for name in options:
        if name in HERE:
            raise TypeError(f"{function} takes no {name}; here it is {HERE[name]}")
        if name in NONE_HERE:
            raise TypeError(f"{function} takes no {name}; {NONE_HERE[name]}")
        if name not in inspect.signature(varpro.fit).parameters:
            raise TypeError(f"{function} takes no {name}; its options are those of varpro.fit")
    bounds = options.get("bounds")
    return {**options, "bounds": (bounds.lb, bounds.ub)} if isinstance(bounds, Bounds) else dict(options)


def _require_columns(model: Function) -> None:
    """Raise TypeError for a model in SciPy's form, f(x, a, b, ..) or f(x, *p)."""
    try:
        parameters = list(inspect.signature(model).parameters.values())
    except (TypeError, ValueError):  # some compiled functions have none
        return
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p.name for p in parameters if p.kind in named and p.default is inspect.Parameter.empty]
    rest = [f"*{p.name}" for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL]
    if len(needed) > 2 or (len(needed) == 1 and rest):
        raise TypeError(
            f"the model takes ({', '.join(needed + rest)}); here it takes (t, w) and returns columns (N, I) without "
            "amplitudes: a * exp(-x / b) is lambda t, w: np.exp(-t / w[0])[:, None]"
        )


def _require_rows(xdata: ArrayLike, ydata: ArrayLike) -> None:
    """Raise ShapeError for several predictors in SciPy's order, (p, N)."""
    x, y = np.shape(on_host(xdata)), np.shape(on_host(ydata))
    if len(x) == 2 and y and x[0] != y[0] and x[1] == y[0]:
        raise ShapeError(f"xdata has shape {x}, ydata {y}; a point is a row here: give the transpose of xdata")


def _weights(sigma: ArrayLike, shape: tuple[int, ...]) -> Array:
    """1 / sigma for data of a shape.  Raises ShapeError, DataError."""
    errors = to_host(sigma)
    if errors.dtype.kind not in "fiub":
        raise ShapeError(f"sigma has dtype {errors.dtype}; errors are real numbers")
    if errors.shape == 2 * shape[:1] and errors.shape != shape:
        raise ShapeError(
            f"sigma has shape {errors.shape}, ydata {shape}; a covariance matrix is not taken here: multiply model and "
            "ydata by the inverse of its Cholesky factor"
        )
    if errors.size != 1 and errors.shape not in (shape[:1], shape):
        whole = f" or {shape}" if len(shape) > 1 else ""
        raise ShapeError(f"sigma has shape {errors.shape}, ydata {shape}; it needs one number or {shape[:1]}{whole}")
    if not (errors > 0).all():
        raise DataError(f"sigma holds {np.min(errors):g}; errors must be positive")
    return 1.0 / (np.full(shape[:1], errors.item()) if errors.size == 1 else errors.astype(float))


def _weighted(fit: FitResult, weights: ArrayLike | None) -> Array:
    residual = np.nan_to_num(fit.residual)
    if weights is None:
        return residual
    w = to_host(weights).astype(float)
    return residual * (w[:, None] if w.ndim < residual.ndim else w)
