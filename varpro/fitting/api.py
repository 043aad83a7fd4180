"""`varpro.fit` and `varpro.fit_batch`, with every option of fitting.options as a named argument."""

from collections.abc import Sequence

from varpro.arrays import ArrayLike
from varpro.fitting.batch import BatchResult
from varpro.fitting.make_model import Derivative
from varpro.fitting.model import Function
from varpro.fitting.options import (
    INITIAL_DAMPING,
    STEP_BOUND,
    Backend,
    BatchOptions,
    FitOptions,
    Jacobian,
    Limits,
    Loss,
    Ridge,
)
from varpro.fitting.parameters import Bounds, Fixed, Scale, Tied
from varpro.fitting.result import FitResult
from varpro.fitting.solve import fit_many, fit_one
from varpro.report.bar import Progress
from varpro.search.loop import Observer


def fit(
    model: Function,
    t: ArrayLike,
    y: ArrayLike,
    w0: ArrayLike | None = None,
    *,
    derivative: Derivative = None,
    scale: Scale = None,
    names: Sequence[str] | None = None,
    linear_names: Sequence[str] | None = None,
    weights: ArrayLike | None = None,
    absolute_sigma: bool = False,
    mask: ArrayLike | None = None,
    bounds: Bounds = None,
    fixed: Fixed = None,
    tied: Tied = None,
    linear: Limits = "free",
    linear_equality: tuple[ArrayLike, ArrayLike] | None = None,
    ridge: Ridge = 0.0,
    fixed_term: Function | None = None,
    fixed_term_derivative: Function | None = None,
    loss: Loss = "linear",
    loss_scale: float | None = None,
    jacobian: Jacobian = "golub-pereyra",
    multistart: int = 0,
    seed: int = 0,
    callback: Observer | None = None,
    progress: Progress = None,
    max_iterations: int = 200,
    cost_tolerance: float = 1e-14,
    step_tolerance: float = 1e-12,
    gradient_tolerance: float = 1e-14,
    initial_damping: float = INITIAL_DAMPING,
    step_bound: float = STEP_BOUND,
    rank_tolerance: float | None = None,
    dtype: type | str | None = None,
    backend: Backend = "auto",
) -> FitResult:
    """Fit y ~ Phi(t, w) A: the amplitudes A are eliminated exactly, so only w is searched, starting from w0.

    model : (t, w) -> (N, I), one column for each basis function; or a ready model of `varpro.models`.
    t : (N,), or (N, ...) for several predictors.  y : (N,), or (N, K) for K right-hand sides that share w, real or
        complex.  NaN in y marks a missing value.
    w0 : (P,) start, real or complex; None for a ready model, which guesses its own.
    derivative : (pairs, columns): pairs (M, 2) of column j and parameter p, columns(t, w) -> (N, M) the derivatives of
        column j by parameter p; 'complex-step' or 'differences'; None takes the model's own, else the better of both.
    scale : (P,) or {name: value}, the typical size of a change of each parameter, from which numeric derivatives look
        for steps that suit the columns; by default the size of w0 or of the bounds.
    weights : (N,) or (N, K), factors on the residual (1 / error).  absolute_sigma : the errors are known, so the
        covariance is not scaled with the residual.  mask : bool, True = use.
    bounds : (lower, upper) or {name: (lower, upper)} on w, kept at every step.  fixed : names, or {name: value}.
    tied : {name: other}, {name: (other, factor)}, {name: (other, factor, offset)}, or {name: "2 * tau_1 + shift"}, an
        expression of parameters with + - * / **.
    linear : 'free', 'nonnegative' or (lower, upper) for the amplitudes.  linear_equality : (C (Q, I), d (Q,)): C a = d.
    ridge : mu of mu ||A||^2, a matrix L of ||L A||^2, or 'gcv'; ('second-difference', 'gcv', 'aic', 'lcurve' or mu)
        for smooth amplitudes.
    fixed_term : (t, w) -> (N,), added without an amplitude; fixed_term_derivative : (t, w) -> (N, P).
    loss : 'linear', 'huber', 'soft_l1', 'cauchy', by reweighting beyond loss_scale (default: from the median).
    jacobian : 'golub-pereyra' or 'kaufman'.  multistart : further starts to try.  callback : gets each trial's record.
    progress : True shows a bar for the starts of multistart, on a terminal or in a notebook.
    max_iterations, cost_tolerance, step_tolerance, gradient_tolerance : see search.Termination.
    initial_damping, step_bound : see search.DampingRule.
    dtype : float32 rounds the data to it; sums are in float64.  backend : 'auto' or 'cpu'.

    Raises ShapeError, ConfigError or DataError for input that cannot be fitted; a search that does not converge says so
    in `status` and `message`.  Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973) 413-432.
    """
    return fit_one(model, t, y, w0, FitOptions.of(locals()))


def fit_batch(
    model: Function,
    t: ArrayLike,
    y: ArrayLike,
    w0: ArrayLike | None = None,
    *,
    derivative: Derivative = None,
    scale: Scale = None,
    names: Sequence[str] | None = None,
    linear_names: Sequence[str] | None = None,
    weights: ArrayLike | None = None,
    absolute_sigma: bool = False,
    mask: ArrayLike | None = None,
    bounds: Bounds = None,
    fixed: Fixed = None,
    tied: Tied = None,
    linear: Limits = "free",
    linear_equality: tuple[ArrayLike, ArrayLike] | None = None,
    ridge: Ridge = 0.0,
    fixed_term: Function | None = None,
    fixed_term_derivative: Function | None = None,
    loss: Loss = "linear",
    loss_scale: float | None = None,
    jacobian: Jacobian = "golub-pereyra",
    callback: Observer | None = None,
    progress: Progress = None,
    max_iterations: int = 100,
    cost_tolerance: float = 1e-8,
    step_tolerance: float = 1e-9,
    gradient_tolerance: float = 1e-14,
    initial_damping: float = INITIAL_DAMPING,
    step_bound: float = STEP_BOUND,
    rank_tolerance: float | None = None,
    threads: int | None = None,
    dtype: type | str | None = None,
    backend: Backend = "auto",
    polish: bool = False,
) -> BatchResult:
    """Fit B independent problems of one shape: each has its own w, amplitudes, damping and status.

    y : (B, N) or (B, N, K).  t : (N,) shared or (B, N).  w0 : (P,) for all, or (B, P).  weights, mask : (N,), (B, N) or
        y's shape.  A model that also takes t (b, N) and w with entries (b, 1) is called for many problems at once;
        trial calls find out.  threads : by default all cores for ready models, one for a Python function.
    progress : True shows a bar on a terminal or in a notebook; a function is called with the number of problems in each
        part that has been finished.  All else as in `fit`.
    backend : 'cuda' searches on a GPU: for ready models, or a function of CuPy arrays with its derivative that takes
        many problems at once; bounds and other limits on amplitudes stay on the CPU.  There dtype=float32 computes
        compiled models in float32, too, and polish continues from that solution in float64.  'auto' is the CPU.

    A problem with an infinite value, or with fewer valid points than parameters, is not fitted: its status says so and
    its results are NaN.  No problem affects another.  Raises only for mistakes that concern all of them.
    """
    return fit_many(model, t, y, w0, BatchOptions.of(locals()))
