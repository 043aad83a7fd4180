"""`varpro.fit` and `varpro.fit_batch`: check what the user gave, solve, and wrap what was found."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.errors import BackendError, ConfigError, DataError, ShapeError
from varpro.fitting.batch import BatchResult
from varpro.fitting.data import Data, make_data
from varpro.fitting.engine import Linear, Spec
from varpro.fitting.fixed_term import with_fixed_term
from varpro.fitting.model import Derivative, Function, make_model
from varpro.fitting.outer import best_start, cross_validated, several_starts, solve
from varpro.fitting.parameters import Fixed, Tied, make_parameters
from varpro.fitting.result import FitResult
from varpro.fitting.solution import Solution
from varpro.result import IterationRecord, Status
from varpro.solvers.damping import DampingRule
from varpro.solvers.termination import Termination

COST_TOLERANCE, STEP_TOLERANCE, GRADIENT_TOLERANCE = 1e-14, 1e-9, 1e-14
INITIAL_DAMPING, STEP_BOUND, SURE, SURE_SHRINK = 1.0, 0.5, 0.02, 0.1
"""Found on the NIST problems and on batches of exponentials: none is lost from its far start."""


def fit(
    model: Function,
    t: Any,
    y: Any,
    w0: Any = None,
    *,
    derivative: Derivative = None,
    names: Sequence[str] | None = None,
    linear_names: Sequence[str] | None = None,
    weights: Any = None,
    absolute_sigma: bool = False,
    mask: Any = None,
    bounds: Any = None,
    fixed: Fixed = None,
    tied: Tied = None,
    linear: Any = "free",
    linear_equality: tuple[Any, Any] | None = None,
    ridge: Any = 0.0,
    fixed_term: Function | None = None,
    fixed_term_derivative: Function | None = None,
    loss: str = "linear",
    loss_scale: float | None = None,
    jacobian: str = "golub-pereyra",
    multistart: int = 0,
    seed: int = 0,
    callback: Callable[[IterationRecord], None] | None = None,
    max_iterations: int = 200,
    cost_tolerance: float = COST_TOLERANCE,
    step_tolerance: float = STEP_TOLERANCE,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    initial_damping: float = INITIAL_DAMPING,
    step_bound: float = STEP_BOUND,
    rank_tolerance: float | None = None,
    dtype: Any = None,
    backend: str = "auto",
) -> FitResult:
    """Fit y ~ Phi(t, w) A: the amplitudes A are eliminated exactly, only w is searched, from w0.

    model : (t, w) -> (N, I), one column a basis function; or a ready model of `varpro.models`.
    t : (N,), or (N, ...) for several predictors.  y : (N,), or (N, K) for K right-hand sides that share w.  NaN in y
        is a missing value.  Real or complex.
    w0 : (P,) start, real or complex; None for a ready model, which guesses.
    derivative : (pairs, columns): pairs (M, 2) of column j and parameter p, columns(t, w) -> (N, M) the derivatives of
        column j by parameter p; 'complex-step' or 'differences'; None takes the model's own, else the better of both.
    weights : (N,) or (N, K), multiply the residual (1 / error).  absolute_sigma : they are known errors, so the
        covariance is not scaled with the residual.  mask : bool, True = use.
    bounds : (lower, upper) or {name: (lower, upper)} on w, kept at every step.  fixed : names, or {name: value}.
    tied : {name: other}, {name: (other, factor)} or {name: (other, factor, offset)}.
    linear : 'free', 'nonnegative' or (lower, upper) for the amplitudes.  linear_equality : (C (Q, I), d (Q,)): C a = d.
    ridge : mu of mu ||A||^2, a matrix L of ||L A||^2, or 'gcv'.
    fixed_term : (t, w) -> (N,), added without an amplitude; its derivative (t, w) -> (N, P).
    loss : 'linear', 'huber', 'soft_l1', 'cauchy' by reweighting, beyond loss_scale (default: from the median).
    jacobian : 'golub-pereyra' or 'kaufman'.  multistart : further starts to try.  callback : takes each trial's record.
    max_iterations, cost_tolerance, step_tolerance, gradient_tolerance : see solvers.Termination.
    initial_damping, step_bound : see solvers.DampingRule.
    dtype : float32 rounds the data to it; sums are in float64.  backend : 'auto' or 'cpu'.

    Raises ShapeError, ConfigError or DataError for what cannot be fitted; a search that does not converge says so in
    `status` and `message`.  Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973) 413-432.
    """
    clock = time.perf_counter()
    _check_backend(backend)
    if multistart < 0:
        raise ConfigError(f"multistart is {multistart}; it is the number of further starts, 0 or more")
    data = make_data(t, y, batch=False, weights=weights, mask=mask, dtype=dtype)
    start = _start(model, t, y, w0, 1)
    linear_spec = _linear(linear, linear_equality, ridge, fixed_term is not None)
    termination = Termination(
        max_iterations=max_iterations,
        cost_tolerance=cost_tolerance,
        step_tolerance=step_tolerance,
        gradient_tolerance=gradient_tolerance,
    )
    spec, u0 = _specify(
        model, data, start, derivative, names, bounds, fixed, tied, linear_spec, fixed_term, fixed_term_derivative,
        jacobian, termination, _damping(initial_damping, step_bound), rank_tolerance, batch=False, guessed=w0 is None,
    )  # fmt: skip
    _require_fittable(spec)
    if multistart:
        u0 = best_start(spec, several_starts(spec.names, u0[0], multistart, np.random.default_rng(seed)))[None]
    options = {"observe": callback, "keep_history": True}
    if isinstance(ridge, str):
        spec, u0 = cross_validated(spec, u0, {"observe": callback})
    found = solve(spec, u0, loss=loss, loss_scale=loss_scale, **options)
    labels = _linear_names(model, linear_names, found)
    seconds = time.perf_counter() - clock
    return FitResult(found, labels, absolute_sigma=absolute_sigma, flat=np.ndim(y) == 1, seconds=seconds)


def fit_batch(
    model: Function,
    t: Any,
    y: Any,
    w0: Any = None,
    *,
    derivative: Derivative = None,
    names: Sequence[str] | None = None,
    linear_names: Sequence[str] | None = None,
    weights: Any = None,
    absolute_sigma: bool = False,
    mask: Any = None,
    bounds: Any = None,
    fixed: Fixed = None,
    tied: Tied = None,
    linear: Any = "free",
    linear_equality: tuple[Any, Any] | None = None,
    ridge: Any = 0.0,
    fixed_term: Function | None = None,
    fixed_term_derivative: Function | None = None,
    loss: str = "linear",
    loss_scale: float | None = None,
    jacobian: str = "golub-pereyra",
    callback: Callable[[IterationRecord], None] | None = None,
    progress: Callable[[int], None] | None = None,
    max_iterations: int = 100,
    cost_tolerance: float = 1e-8,
    step_tolerance: float = 1e-7,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    initial_damping: float = INITIAL_DAMPING,
    step_bound: float = STEP_BOUND,
    rank_tolerance: float | None = None,
    threads: int | None = None,
    dtype: Any = None,
    backend: str = "auto",
) -> BatchResult:
    """Fit B independent problems of one shape: each has its own w, amplitudes, damping and status.

    y : (B, N) or (B, N, K).  t : (N,) shared or (B, N).  w0 : (P,) for all, or (B, P).  weights, mask : (N,), (B, N) or
    y's shape.  A model that also takes t (b, N) and w with entries (b, 1) is called for many problems at once; that is
    found out by trying.  threads : default all cores for ready models, one for a Python function.
    progress : called with the number of problems of each part that is done.  All else as in `fit`.

    A problem with an infinite value, or fewer valid points than parameters, is not fitted: its status says so and its
    results are NaN.  Nothing in one problem touches another.  Raises only for mistakes that concern all.
    """
    clock = time.perf_counter()
    _check_backend(backend)
    if isinstance(ridge, str):
        raise ConfigError("ridge='gcv' chooses one ridge for one problem; fit the problems one by one with varpro.fit")
    data = make_data(t, y, batch=True, weights=weights, mask=mask, dtype=dtype)
    start = _start(model, t, y, w0, len(data.y))
    linear_spec = _linear(linear, linear_equality, ridge, fixed_term is not None)
    termination = Termination(
        max_iterations=max_iterations,
        cost_tolerance=cost_tolerance,
        step_tolerance=step_tolerance,
        gradient_tolerance=gradient_tolerance,
    )
    spec, u0 = _specify(
        model, data, start, derivative, names, bounds, fixed, tied, linear_spec, fixed_term, fixed_term_derivative,
        jacobian, termination, _damping(initial_damping, step_bound), rank_tolerance, batch=True, guessed=w0 is None,
    )  # fmt: skip
    spec = _with_threads(_flag_short(spec), threads)
    found = solve(spec, u0, loss=loss, loss_scale=loss_scale, observe=callback, advance=progress)
    labels = _linear_names(model, linear_names, found)
    return BatchResult(found, labels, absolute_sigma=absolute_sigma, seconds=time.perf_counter() - clock)


def _damping(initial: float, step_bound: float) -> DampingRule:
    return DampingRule(initial=initial, step_bound=step_bound, sure=SURE, sure_shrink=SURE_SHRINK)


def _specify(
    model: Function,
    data: Data,
    w0: Array,
    derivative: Derivative,
    names: Sequence[str] | None,
    bounds: Any,
    fixed: Fixed,
    tied: Tied,
    linear: Linear,
    fixed_term: Function | None,
    fixed_term_derivative: Function | None,
    jacobian: str,
    termination: Termination,
    damping: DampingRule,
    rank_tolerance: float | None,
    *,
    batch: bool,
    guessed: bool = False,
) -> tuple[Spec, Array]:
    """The specification and the free starting values (B, F)."""
    if jacobian not in ("golub-pereyra", "kaufman"):
        raise ConfigError(f"jacobian is {jacobian!r}; choose 'golub-pereyra' or 'kaufman'")
    function, derivative = with_fixed_term(model, derivative, fixed_term, fixed_term_derivative)
    user = make_model(function, data.t, w0, data.y.shape[1], own_t=data.own_t, derivative=derivative, batch=batch)
    complex_w = np.iscomplexobj(w0)
    labels = names if names is not None else getattr(model, "parameter_names", None)
    real = np.concatenate([w0.real, w0.imag], axis=1) if complex_w else w0
    if complex_w:
        given = labels if labels is not None else [f"w_{p}" for p in range(w0.shape[1])]
        labels = [f"{name}.real" for name in given] + [f"{name}.imag" for name in given]
    parameters = make_parameters(real[0], names=labels, bounds=bounds, fixed=fixed, tied=tied)
    u0 = real[:, parameters.free]
    if guessed:  # from the data alone, which know of no bounds
        u0 = np.clip(u0, parameters.lower, parameters.upper)
    _require_start_inside(u0, parameters)
    spec = Spec(
        data=data,
        model=user,
        names=parameters,
        linear=_checked_linear(linear, user.n_columns - linear.pinned),
        complex_data=bool(np.iscomplexobj(data.y) or user.is_complex),
        complex_w=complex_w,
        kaufman=jacobian == "kaufman",
        rank_tolerance=rank_tolerance,
        termination=termination,
        damping=damping,
    )
    return spec, u0


def _start(model: Any, t: Any, y: Any, w0: Any, n_problems: int) -> Array:
    """(B, P) starting values."""
    if w0 is None:
        if not hasattr(model, "guess"):
            raise ConfigError(
                "w0 is missing: give starting values, or use a ready model of varpro.models, which guesses"
            )
        w0 = _guess(model, t, y, n_problems)
    start = np.atleast_1d(np.asarray(w0))
    if start.dtype.kind not in "fciub":
        raise ShapeError(f"w0 has dtype {start.dtype}; it needs numbers")
    start = start.astype(complex if np.iscomplexobj(start) else float)
    if start.ndim == 1:
        start = np.repeat(start[None], n_problems, axis=0)
    if start.ndim != 2 or len(start) != n_problems or start.shape[1] < 1:
        wanted = "(P,)" if n_problems == 1 else f"(P,) or ({n_problems}, P)"
        raise ShapeError(f"w0 has shape {np.shape(w0)}; it needs {wanted} with P of 1 or more")
    if not np.isfinite(start).all():
        raise DataError("w0 holds NaN or infinite values; every start must be finite")
    return start


def _guess(model: Any, t: Any, y: Any, n_problems: int) -> Array:
    """A start from the data, or from their mean over the problems of a batch; missing values are left out."""
    grid, values = np.asarray(t), np.asarray(y)
    if n_problems > 1:
        with np.errstate(all="ignore"):
            values = np.nanmean(np.where(np.isfinite(values), values, np.nan), axis=0)
        grid = grid[0] if grid.ndim == 2 else grid
    good = np.isfinite(values) if values.ndim == 1 else np.isfinite(values).all(axis=1)
    return np.asarray(model.guess(grid[good], values[good]))


def _linear(linear: Any, equality: tuple[Any, Any] | None, ridge: Any, pinned: bool) -> Linear:
    lower = upper = None
    if isinstance(linear, str):
        if linear not in ("free", "nonnegative"):
            raise ConfigError(f"linear is {linear!r}; choose 'free', 'nonnegative' or (lower, upper)")
        if linear == "nonnegative":
            lower, upper = np.zeros(1), np.full(1, np.inf)
    else:
        try:
            lower, upper = (np.atleast_1d(np.asarray(bound, dtype=float)) for bound in linear)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"linear is {linear!r}; choose 'free', 'nonnegative' or (lower, upper)") from error
    pair = None
    if equality is not None:
        pair = (
            np.atleast_2d(np.asarray(equality[0], dtype=float)),
            np.atleast_1d(np.asarray(equality[1], dtype=float)),
        )
    mu, rows = 0.0, None
    if isinstance(ridge, str):
        if ridge != "gcv":
            raise ConfigError(f"ridge is {ridge!r}; give a number, a matrix or 'gcv'")
    elif np.ndim(ridge) == 2:
        rows = np.asarray(ridge, dtype=float)
    else:
        mu = float(ridge)
        if not mu >= 0:
            raise ConfigError(f"ridge is {mu}; it needs 0 or more")
    return Linear(lower=lower, upper=upper, equality=pair, ridge=mu, ridge_matrix=rows, pinned=pinned)


def _checked_linear(linear: Linear, n_amplitudes: int) -> Linear:
    if linear.lower is None or linear.upper is None:
        return linear
    if linear.lower.size not in (1, n_amplitudes) or linear.upper.size not in (1, n_amplitudes):
        raise ShapeError(
            f"linear: bounds of {linear.lower.size} and {linear.upper.size} amplitudes; the model has {n_amplitudes}"
        )
    lower, upper = (np.broadcast_to(b, (n_amplitudes,)).copy() for b in (linear.lower, linear.upper))
    empty = np.flatnonzero(~(lower < upper))
    if empty.size:
        i = int(empty[0])
        raise ConfigError(f"linear: amplitude {i} has the empty interval {lower[i]:g} to {upper[i]:g}")
    from dataclasses import replace

    return replace(linear, lower=lower, upper=upper)


def _require_start_inside(u0: Array, parameters: Any) -> None:
    outside = np.argwhere((u0 < parameters.lower) | (u0 > parameters.upper))
    if len(outside):
        b, f = outside[0]
        name = parameters.names[parameters.free[f]]
        raise ConfigError(
            f"w0 of {name} is {u0[b, f]:g}, outside its bounds {parameters.lower[f]:g} to {parameters.upper[f]:g}"
        )


def _needed(spec: Spec) -> int:
    return Solution(spec, None, None).n_parameters  # type: ignore[arg-type]


def _require_fittable(spec: Spec) -> None:
    """One problem that cannot be fitted is the caller's mistake."""
    if spec.complex_data and spec.linear.lower is not None:
        raise ConfigError("bounds on amplitudes need real ones; y or the model is complex")
    if spec.data.status[0] == Status.INVALID_DATA:
        raise DataError("y holds an infinite value; mask it or set it to NaN")
    values = int(spec.data.valid[0]) * (2 if spec.complex_data else 1)
    regularised = spec.linear.ridge > 0 or spec.linear.ridge_matrix is not None
    if values < _needed(spec) and not regularised:
        raise ShapeError(
            f"{values} valid values for {_needed(spec)} parameters ({spec.names.n_free} nonlinear, the others linear); "
            "take more data, fix parameters, or give a ridge"
        )


def _flag_short(spec: Spec) -> Spec:
    """Flag the problems of a batch with fewer valid values than parameters."""
    from dataclasses import replace

    if spec.complex_data and spec.linear.lower is not None:
        raise ConfigError("bounds on amplitudes need real ones; y or the model is complex")
    values = spec.data.valid * (2 if spec.complex_data else 1)
    short = (values < _needed(spec)) & (spec.data.status == Status.RUNNING)
    return replace(spec, data=replace(spec.data, status=np.where(short, Status.TOO_FEW_POINTS, spec.data.status)))


def _with_threads(spec: Spec, threads: int | None) -> Spec:
    from dataclasses import replace

    if threads is not None and threads < 1:
        raise ConfigError(f"threads is {threads}; it needs 1 or more")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return replace(spec, threads=threads or (cores if spec.model.program is not None else 1))


def _linear_names(model: Any, names: Sequence[str] | None, found: Solution) -> tuple[str, ...]:
    given = names if names is not None else getattr(model, "column_names", None)
    count = found.n_amplitudes
    if given is not None and len(given) != count:
        raise ConfigError(f"linear_names has {len(given)} entries; the model has {count} columns")
    return tuple(given) if given is not None else tuple(f"a_{i}" for i in range(count))


def _check_backend(backend: str) -> None:
    if backend not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"backend is {backend!r}; choose 'auto', 'cpu' or 'cuda'")
    if backend == "cuda":
        raise BackendError("backend 'cuda' is not available for fits yet; use 'cpu' or 'auto'")
