"""`varpro.fit` and `varpro.fit_batch`: check what the user gave, solve, and wrap what was found."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from varpro.errors import ConfigError
from varpro.fitting.arguments import (
    amplitude_names,
    check_backend,
    choose_search,
    flag_short,
    require_fittable,
    starting_values,
    with_threads,
)
from varpro.fitting.batch import BatchResult
from varpro.fitting.cross_validation import cross_validated
from varpro.fitting.data import make_data
from varpro.fitting.make_model import Derivative
from varpro.fitting.model import Function
from varpro.fitting.multistart import best_start, several_starts
from varpro.fitting.outer import solve
from varpro.fitting.parameters import Fixed, Tied
from varpro.fitting.request import Request, specify
from varpro.fitting.result import FitResult
from varpro.result import IterationRecord
from varpro.search.damping import DampingRule
from varpro.search.termination import Termination

COST_TOLERANCE, STEP_TOLERANCE, GRADIENT_TOLERANCE = 1e-14, 1e-12, 1e-14
INITIAL_DAMPING, STEP_BOUND, SURE, SURE_SHRINK = 1.0, 0.5, 0.1, 0.1
"""Found on the NIST problems and on batches of exponentials: none is lost from its far start."""


def fit_damping(initial: float, step_bound: float) -> DampingRule:
    """How fits are damped."""
    return DampingRule(
        initial=initial, step_bound=step_bound, sure=SURE, sure_shrink=SURE_SHRINK, diagonal_memory=1.0
    )


def fit(
    model: Function,
    t: Any,
    y: Any,
    w0: Any = None,
    *,
    derivative: Derivative = None,
    scale: Any = None,
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
    scale : (P,) or {name: value}, the typical size of a change of each parameter, where numeric derivatives begin to
        look for steps that suit the columns; by default the size of w0 or of the bounds.
    weights : (N,) or (N, K), multiply the residual (1 / error).  absolute_sigma : they are known errors, so the
        covariance is not scaled with the residual.  mask : bool, True = use.
    bounds : (lower, upper) or {name: (lower, upper)} on w, kept at every step.  fixed : names, or {name: value}.
    tied : {name: other}, {name: (other, factor)} or {name: (other, factor, offset)}.
    linear : 'free', 'nonnegative' or (lower, upper) for the amplitudes.  linear_equality : (C (Q, I), d (Q,)): C a = d.
    ridge : mu of mu ||A||^2, a matrix L of ||L A||^2, or 'gcv'.
    fixed_term : (t, w) -> (N,), added without an amplitude; its derivative (t, w) -> (N, P).
    loss : 'linear', 'huber', 'soft_l1', 'cauchy' by reweighting, beyond loss_scale (default: from the median).
    jacobian : 'golub-pereyra' or 'kaufman'.  multistart : further starts to try.  callback : takes each trial's record.
    max_iterations, cost_tolerance, step_tolerance, gradient_tolerance : see search.Termination.
    initial_damping, step_bound : see search.DampingRule.
    dtype : float32 rounds the data to it; sums are in float64.  backend : 'auto' or 'cpu'.

    Raises ShapeError, ConfigError or DataError for what cannot be fitted; a search that does not converge says so in
    `status` and `message`.  Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973) 413-432.
    """
    clock = time.perf_counter()
    check_backend(backend)
    if multistart < 0:
        raise ConfigError(f"multistart is {multistart}; it is the number of further starts, 0 or more")
    data = make_data(t, y, batch=False, weights=weights, mask=mask, dtype=dtype)
    start = starting_values(model, data, w0)
    request = Request(
        derivative=derivative,
        scale=scale,
        names=names,
        bounds=bounds,
        fixed=fixed,
        tied=tied,
        linear=linear,
        linear_equality=linear_equality,
        ridge=ridge,
        fixed_term=fixed_term,
        fixed_term_derivative=fixed_term_derivative,
        jacobian=jacobian,
        rank_tolerance=rank_tolerance,
        termination=Termination(
            max_iterations=max_iterations,
            cost_tolerance=cost_tolerance,
            step_tolerance=step_tolerance,
            gradient_tolerance=gradient_tolerance,
        ),
        damping=fit_damping(initial_damping, step_bound),
    )
    spec, u0 = specify(request, model, data, start, batch=False, guessed=w0 is None)
    require_fittable(spec)
    if multistart:
        u0 = best_start(spec, several_starts(spec, u0[0], multistart, np.random.default_rng(seed)))[None]
    options = {"observe": callback, "keep_history": True}
    if isinstance(ridge, str):
        spec, u0 = cross_validated(spec, u0, {"observe": callback})
    found = solve(spec, u0, loss=loss, loss_scale=loss_scale, **options)
    labels = amplitude_names(model, linear_names, found)
    seconds = time.perf_counter() - clock
    return FitResult(
        found, labels, absolute_sigma=absolute_sigma, flat=data.flat, seconds=seconds, n_starts=1 + multistart
    )


def fit_batch(
    model: Function,
    t: Any,
    y: Any,
    w0: Any = None,
    *,
    derivative: Derivative = None,
    scale: Any = None,
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
    step_tolerance: float = 1e-9,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    initial_damping: float = INITIAL_DAMPING,
    step_bound: float = STEP_BOUND,
    rank_tolerance: float | None = None,
    threads: int | None = None,
    dtype: Any = None,
    backend: str = "auto",
    polish: bool = False,
) -> BatchResult:
    """Fit B independent problems of one shape: each has its own w, amplitudes, damping and status.

    y : (B, N) or (B, N, K).  t : (N,) shared or (B, N).  w0 : (P,) for all, or (B, P).  weights, mask : (N,), (B, N) or
    y's shape.  A model that also takes t (b, N) and w with entries (b, 1) is called for many problems at once; that is
    found out by trying.  threads : default all cores for ready models, one for a Python function.
    progress : called with the number of problems of each part that is done.  All else as in `fit`.
    backend : 'cuda' searches on a GPU: ready models, or a function of CuPy arrays with its derivative that takes many
        problems at once; no bounds, free real parameters and amplitudes.  There dtype=float32 computes in float32 too,
        and polish goes on from its end in float64.  'auto' is the CPU.

    A problem with an infinite value, or fewer valid points than parameters, is not fitted: its status says so and its
    results are NaN.  Nothing in one problem touches another.  Raises only for mistakes that concern all.
    """
    clock = time.perf_counter()
    device = choose_search(backend, dtype, polish)
    if isinstance(ridge, str):
        raise ConfigError("ridge='gcv' chooses one ridge for one problem; fit the problems one by one with varpro.fit")
    data = make_data(t, y, batch=True, weights=weights, mask=mask, dtype=dtype)
    start = starting_values(model, data, w0)
    request = Request(
        derivative=derivative,
        scale=scale,
        names=names,
        bounds=bounds,
        fixed=fixed,
        tied=tied,
        linear=linear,
        linear_equality=linear_equality,
        ridge=ridge,
        fixed_term=fixed_term,
        fixed_term_derivative=fixed_term_derivative,
        jacobian=jacobian,
        rank_tolerance=rank_tolerance,
        termination=Termination(
            max_iterations=max_iterations,
            cost_tolerance=cost_tolerance,
            step_tolerance=step_tolerance,
            gradient_tolerance=gradient_tolerance,
        ),
        damping=fit_damping(initial_damping, step_bound),
    )
    spec, u0 = specify(request, model, data, start, batch=True, guessed=w0 is None)
    spec = replace(with_threads(flag_short(spec), threads), device=device)
    found = solve(spec, u0, loss=loss, loss_scale=loss_scale, observe=callback, advance=progress)
    labels = amplitude_names(model, linear_names, found)
    return BatchResult(found, labels, absolute_sigma=absolute_sigma, seconds=time.perf_counter() - clock)
