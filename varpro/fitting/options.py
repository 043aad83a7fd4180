"""The options of a fit, all in one place: their names, types, meanings and defaults.

`varpro.fit` and `varpro.fit_batch` repeat the names in their signatures, because that is what an editor shows; a test
compares them with the fields here.  The scikit-learn regressor and the config of varpro-fit are made from these fields.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal, Self

from varpro.arrays import Array, ArrayLike, on_host
from varpro.fitting.make_model import Derivative
from varpro.fitting.model import Function
from varpro.fitting.parameters import Bounds, Fixed, Scale, Tied
from varpro.report.bar import Progress
from varpro.search.damping import DampingRule
from varpro.search.loop import Observer
from varpro.search.termination import Termination

INITIAL_DAMPING, STEP_BOUND, SURE, SURE_SHRINK = 1.0, 0.5, 0.1, 0.1
"""Found on the NIST problems and on batches of exponentials: with these, none is lost from its far start."""
DATA = ("model", "t", "y", "w0")
"""The arguments of `varpro.fit` that are not options."""
SMALL_ARRAYS = ("derivative", "scale", "bounds", "fixed", "tied", "linear", "linear_equality", "ridge")
"""The options that may hold arrays of a device, a few numbers each; the data come by containers.plain_array."""
_small_arrays = attrgetter(*SMALL_ARRAYS)

Limits = Literal["free", "nonnegative"] | tuple[ArrayLike, ArrayLike]
Smooth = tuple[Literal["second-difference"], Literal["gcv", "aic", "lcurve"] | float]
Ridge = float | Array | Sequence[Sequence[float]] | Literal["gcv"] | Smooth
Loss = Literal["linear", "huber", "soft_l1", "cauchy"]
Jacobian = Literal["golub-pereyra", "kaufman"]
Backend = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """The options that one fit and a batch have in common."""

    derivative: Derivative = None
    """The derivative of the model: (pairs, columns), or 'complex-step' or 'differences'.  pairs (M, 2) holds a column j
    and a parameter p, and columns(t, w) -> (N, M) the derivatives of column j by parameter p.  None takes the model's
    own derivative, else the better one of both methods."""
    scale: Scale = None
    """The typical size of a change of each parameter, (P,) or {name: value}.  Numeric derivatives start from it when
    they look for steps that suit the columns; None takes the size of w0 or of the bounds."""
    names: Sequence[str] | None = None
    """The names of the nonlinear parameters; None takes the model's, else w_0, w_1, ..."""
    linear_names: Sequence[str] | None = None
    """The names of the amplitudes; None takes the model's, else a_0, a_1, ..."""
    weights: ArrayLike | None = None
    """Factors on the residual, (N,) or (N, K), such as 1 / error; in a batch also (B, N) or y's shape."""
    absolute_sigma: bool = False
    """Whether the weights are the reciprocals of known errors, so that the covariance is not scaled with the
    residual."""
    mask: ArrayLike | None = None
    """Which values are used (True) and which are left out (False); shapes as those of the weights."""
    bounds: Bounds = None
    """Limits on the nonlinear parameters, kept at every step: (lower, upper) or {name: (lower, upper)}."""
    fixed: Fixed = None
    """Nonlinear parameters that stay at their start, by name, or at a value, by {name: value}."""
    tied: Tied = None
    """Nonlinear parameters that follow others: {name: other}, {name: (other, factor)}, {name: (other, factor, offset)},
    or {name: expression}, such as "2 * tau_1 + shift"."""
    linear: Limits = "free"
    """Limits on the amplitudes: 'free', 'nonnegative' or (lower, upper)."""
    linear_equality: tuple[ArrayLike, ArrayLike] | None = None
    """Equations C a = d that the amplitudes fulfil, as C (Q, I) and d (Q,)."""
    ridge: Ridge = 0.0
    """The Tikhonov term: mu of mu ||A||^2, a matrix L of ||L A||^2, or, for a single fit, 'gcv' to choose mu by
    generalised cross-validation, and ('second-difference', how) for smooth amplitudes, mu ||L A||^2 with their second
    differences L, how being 'gcv', 'aic', 'lcurve' or mu."""
    fixed_term: Function | None = None
    """A term without an amplitude, (t, w) -> (N,), that is added to the model."""
    fixed_term_derivative: Function | None = None
    """The derivative of the fixed term, (t, w) -> (N, P)."""
    loss: Loss = "linear"
    """How large residuals count; all but 'linear' are fitted by reweighting."""
    loss_scale: float | None = None
    """The weighted residual beyond which the loss differs from squares; None derives it from the median residual."""
    jacobian: Jacobian = "golub-pereyra"
    """The Gauss-Newton matrix: with the full derivative of the projected residual, or with Kaufman's part of it."""
    callback: Observer | None = None
    """A function that is called with the IterationRecord of each trial step."""
    progress: Progress = None
    """True shows a bar on a terminal or in a notebook; a function is called with the number of problems, or of starts,
    of each part that is done."""
    max_iterations: int = 200
    """The most linearisations of a problem."""
    cost_tolerance: float = 1e-14
    """The decrease of the cost, relative to the cost, below which a fit has converged; see search.Termination."""
    step_tolerance: float = 1e-12
    """The change of the model by a step, relative to the data, below which a fit has converged."""
    gradient_tolerance: float = 1e-14
    """The scaled gradient, relative to the residual, below which a fit has converged."""
    initial_damping: float = INITIAL_DAMPING
    """The damping of the first step, in units of the scaled diagonal of the Gauss-Newton matrix."""
    step_bound: float = STEP_BOUND
    """The longest first step, relative to the size of the parameters; see search.DampingRule."""
    rank_tolerance: float | None = None
    """The singular value of the basis, relative to the largest, below which it is truncated; None truncates what is
    rounding of columns of unit norm."""
    dtype: type | str | None = None
    """The precision that the data are rounded to, such as float32; sums are in float64 on the CPU."""
    backend: Backend = "auto"
    """Where the search runs: 'auto' and 'cpu' take the CPU, 'cuda', for a batch, a GPU."""

    def __post_init__(self) -> None:
        for name, given in zip(SMALL_ARRAYS, _small_arrays(self), strict=True):  # the host decides on them
            moved = on_host(given)
            if moved is not given:
                object.__setattr__(self, name, moved)

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Self:
        """The options among the arguments of a function, given by name; other arguments are left out."""
        options: dict[str, Any] = dict(given)
        for name in DATA:
            options.pop(name, None)
        return cls(**options)

    @property
    def termination(self) -> Termination:
        """When the search stops."""
        return Termination(
            max_iterations=self.max_iterations,
            cost_tolerance=self.cost_tolerance,
            step_tolerance=self.step_tolerance,
            gradient_tolerance=self.gradient_tolerance,
        )

    @property
    def damping(self) -> DampingRule:
        """How its steps are damped."""
        return fit_damping(self.initial_damping, self.step_bound)


@dataclass(frozen=True, kw_only=True)
class FitOptions(CommonOptions):
    """The options of `varpro.fit`."""

    multistart: int = 0
    """The number of further starts to try."""
    seed: int = 0
    """The seed of the random numbers that further starts are drawn with."""


@dataclass(frozen=True, kw_only=True)
class BatchOptions(CommonOptions):
    """The options of `varpro.fit_batch`, whose tolerances suit noisy data."""

    max_iterations: int = 100
    cost_tolerance: float = 1e-8
    step_tolerance: float = 1e-9
    threads: int | None = None
    """The number of threads; None takes all cores for ready models and one for a Python function."""
    polish: bool = False
    """Whether a search on a GPU in float32 goes on from its end in float64."""


@lru_cache(maxsize=16)
def fit_damping(initial: float, step_bound: float) -> DampingRule:
    """The damping rule of fits."""
    return DampingRule(initial=initial, step_bound=step_bound, sure=SURE, sure_shrink=SURE_SHRINK, diagonal_memory=1.0)
