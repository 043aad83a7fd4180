"""Fits in the form of scipy.optimize: curve_fit and least_squares, but starting values for nonlinear parameters
only."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, OptimizeWarning

import varpro
from varpro.arrays import Array, ArrayLike, on_host, to_host
from varpro.errors import DataError, ShapeError
from varpro.fitting.model import Function
from varpro.fitting.parameters import Bounds
from varpro.fitting.result import FitResult

STATUS = {
    varpro.Status.GRADIENT_TOLERANCE: 1,
    varpro.Status.COST_TOLERANCE: 2,
    varpro.Status.STEP_TOLERANCE: 3,
    varpro.Status.ITERATIONS: 0,
}
"""SciPy's status numbers; any other status is -1."""
DIGITS = 4.0
"""Last digits of a bound within which a parameter is on it: the search puts it there, but for rounding."""
HERE = {"p0": "w0, the start of the nonlinear parameters only", "maxfev": "max_iterations", "jac": "derivative"}
"""What SciPy's options are called here."""
NONE_HERE = ("full_output", "check_finite", "method", "nan_policy")


def curve_fit(
    model: Function,
    xdata: ArrayLike,
    ydata: ArrayLike,
    w0: ArrayLike | None = None,
    sigma: ArrayLike | None = None,
    absolute_sigma: bool = False,
    **options: Any,
) -> tuple[Array, Array]:
    """(popt, pcov) as in scipy.optimize.curve_fit, nonlinear parameters first, then amplitudes.

    model : (t, w) -> (N, I), or a ready model of `varpro.models`.  xdata (N,) or (N, p), ydata (N,) or (N, K).
    w0 : (P,) start of the nonlinear parameters.  sigma : errors of ydata, a number, (N,) or ydata's shape.
    options : those of `varpro.fit`.
    Complex parameters appear in pcov as real, then imaginary parts.
    Raises RuntimeError if the search did not converge, VarproError (a ValueError) for input that cannot be fitted.
    """
    for name in options:
        if name in HERE:
            raise TypeError(f"{name} of SciPy's curve_fit is {HERE[name]}, here; the model returns columns (N, I)")
        if name in NONE_HERE:
            raise TypeError(f"curve_fit takes no {name} here; least_squares returns the whole fit")
    fit = varpro.fit(
        model, xdata, ydata, w0, weights=_weights(sigma, ydata, options), absolute_sigma=absolute_sigma, **options
    )
    if not fit.success:
        raise RuntimeError(f"Optimal parameters not found: {fit.message}")
    popt = np.concatenate([fit.nonlinear.ravel(), fit.linear.ravel()])
    pcov = fit.covariance
    if fit.dof == 0 and not absolute_sigma:
        warnings.warn("Covariance of the parameters could not be estimated", OptimizeWarning, stacklevel=2)
        pcov = np.full(pcov.shape, np.inf)
    return popt, pcov


def least_squares(
    model: Function, t: ArrayLike, y: ArrayLike, w0: ArrayLike | None = None, **options: Any
) -> OptimizeResult:
    """An OptimizeResult as in scipy.optimize.least_squares, for the projected problem: x (P,) is nonlinear only.

    fun : (N,) or (N, K) y - model, weighted.  cost : 1/2 ||fun||^2, as modified by a ridge or a loss.
    active_mask : (P,) -1 on a lower bound, 1 on an upper one, 0 elsewhere.  status : SciPy's 0 to 3, else -1.
    Also: linear, the amplitudes; fit, the whole FitResult.  options : those of `varpro.fit`.
    """
    options = on_host(options)
    fit = varpro.fit(model, t, y, w0, **options)
    weights = options.get("weights")
    result = OptimizeResult()
    result.update(
        x=fit.nonlinear,
        linear=fit.linear,
        fun=_weighted(fit, weights),
        cost=fit.cost,
        nfev=fit.nfev,
        njev=fit.njev,
        status=STATUS.get(fit.status, -1),
        message=fit.message,
        success=fit.success,
        active_mask=_active(fit, options.get("bounds")),
        fit=fit,
    )
    return result


def _weights(sigma: ArrayLike | None, ydata: ArrayLike, options: Mapping[str, object]) -> Array | None:
    if sigma is None:
        return None
    if "weights" in options:
        raise TypeError("give sigma or weights, not both: weights = 1 / sigma")
    errors, shape = to_host(sigma).astype(float), np.shape(on_host(ydata))
    if errors.ndim == 2 and errors.shape != shape:
        raise ShapeError(
            f"sigma has shape {errors.shape}, ydata {shape}; a covariance matrix is not taken here: multiply model and "
            "ydata by the inverse of its Cholesky factor"
        )
    if not (errors > 0).all():
        raise DataError(f"sigma holds {np.min(errors):g}; errors must be positive")
    return 1.0 / (np.full(shape[:1], errors) if errors.ndim == 0 else errors)


def _weighted(fit: FitResult, weights: ArrayLike | None) -> Array:
    residual = np.nan_to_num(fit.residual)
    if weights is None:
        return residual
    w = to_host(weights).astype(float)
    return residual * (w[:, None] if w.ndim < residual.ndim else w)


def _active(fit: FitResult, bounds: Bounds) -> Array:
    mask: Array = np.zeros(len(fit.names), dtype=int)
    ends: list[tuple[float | None, float | None]]
    if bounds is None:
        return mask
    if isinstance(bounds, Mapping):
        free = (None, None)
        ends = [bounds.get(name) or bounds.get(p) or free for p, name in enumerate(fit.names)]
    else:
        wide = [np.broadcast_to(np.asarray(end, dtype=object), mask.shape) for end in bounds]
        ends = np.stack(wide, axis=1).tolist()
    for p, value in enumerate(np.concatenate([fit.nonlinear.real, fit.nonlinear.imag])[: len(mask)]):
        for sign, end in ((-1, ends[p][0]), (1, ends[p][1])):
            if end is not None and np.isfinite(end) and abs(value - end) <= DIGITS * np.spacing(abs(end)):
                mask[p] = sign
    return mask
