"""A fit as a differentiable function, for any library that differentiates: the implicit function theorem.

    theta(y, v, c) = argmin f,   f = 1/2 ||v o (y - Phi(t, w, c) A)||^2 + 1/2 mu ||A||^2,   theta = (w, A)
    df/dtheta = 0 at the solution, so   dtheta/dx = -(d^2 f / dtheta^2)^-1 d^2 f / dtheta dx   for x = y, v, c

The whole Hessian is used, not its Gauss-Newton part: differences agree with it to rounding whatever the residual is.
Each problem of a batch has its own, of the size P + I K.  Fundamental in implicit layers; Golub and Pereyra, Inverse
Problems 19 (2003) R1-R26, for the functional.  What is written here works in NumPy, in float64; an adapter brings the
derivatives of one problem (`Differentiated`) and turns the inverse Hessian into gradients.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

import varpro
from varpro.adapters._bounds import sides
from varpro.arrays import Array
from varpro.errors import ConfigError, ShapeError

OPTIONS = ("max_iterations", "cost_tolerance", "step_tolerance", "gradient_tolerance", "bounds")
EXACT = float(np.finfo(float).eps)
"""Share of the data below which a residual sum of squares is rounding."""
SMALL = 1e-7
"""Relative length of a step of Newton's method that is the last."""
NEWTON = 4
"""Most steps of Newton's method after a search: the gradient is that of the minimum, so its place must be exact."""
SLACK = 1e-9
"""Relative rise of the cost that a step of Newton's method may show by rounding."""
Shape = tuple[int, ...]


class Differentiated(Protocol):
    """One problem, as functions of NumPy arrays: theta (P + I K,) is w, then A row by row."""

    def columns(self, w: Array) -> Array:
        """Phi (N, I)."""

    def slopes(self, w: Array) -> Array:
        """dPhi / dw, (N, I, P)."""

    def cost(self, theta: Array) -> float:
        """f"""

    def gradient(self, theta: Array) -> Array:
        """df / dtheta"""

    def hessian(self, theta: Array) -> Array:
        """d^2 f / dtheta^2"""


@dataclass(frozen=True)
class Layout:
    """What the shapes of the arguments say."""

    several: bool
    """Whether the results have an axis for the problems."""
    flat: bool
    """Whether y has a single right-hand side, without an axis of its own."""
    shape: tuple[int, int, int]
    """(B, N, K)"""
    weight_of_rows: bool
    """Whether the weights are (N,), for all problems."""

    @classmethod
    def of(cls, t: Shape, y: Shape, w0: Shape, constants: Shape | None, weights: Shape | None) -> "Layout":
        """From the shapes of the arguments, see `fit_layer`.  Raises ShapeError."""
        if not t or len(w0) not in (1, 2) or w0[-1] == 0 or (constants is not None and len(constants) not in (1, 2)):
            known = "" if constants is None else f", constants {constants}, which need (C,) or (B, C)"
            raise ShapeError(f"t has shape {t}, which needs (N, ..), w0 {w0}, which needs (P,) or (B, P){known}")
        several = len(w0) == 2 or (constants is not None and len(constants) == 2)
        if len(y) not in ((2, 3) if several else (1, 2)):
            wanted = "(B, N) or (B, N, K)" if several else "(N,) or (N, K)"
            raise ShapeError(f"y has shape {y}; with w0 of {w0} it needs {wanted}")
        whole = y if several else (1, *y)
        flat = len(whole) == 2
        count, n = whole[:2]
        if t[0] != n:
            raise ShapeError(f"t has {t[0]} points, y has {n}; both need the same")
        starts = w0[0] if len(w0) == 2 else count
        others = constants[0] if constants is not None and len(constants) == 2 else count
        if starts != count or others != count:
            raise ShapeError(f"y has {count} problems, w0 {starts}, constants {others}; all need the same")
        of_rows = weights is not None and weights != y
        if of_rows and weights != (n,):
            raise ShapeError(f"weights have shape {weights}; they need {(n,)} or {y}")
        return cls(several, flat, (count, n, 1 if flat else whole[2]), of_rows)


def check_options(options: dict[str, Any]) -> None:
    """Raise TypeError for an option that a layer does not take."""
    unknown = sorted(options.keys() - set(OPTIONS))
    if unknown:
        raise TypeError(f"fit_layer takes no {unknown[0]}; its options are {', '.join(OPTIONS)}")


@dataclass(frozen=True)
class Minimum:
    """The solution of one problem."""

    w: Array
    """(P,)"""
    a: Array
    """(I, K)"""
    held: Array
    """Which of the parameters are on a bound, (P,) bool: these do not move."""

    @property
    def theta(self) -> Array:
        """(P + I K,)"""
        return np.concatenate([self.w, self.a.ravel()])

    def inverse(self, hessian: Array, *, strict: bool) -> Array:
        """H^-1 among what may move, and 0 elsewhere; NaN without a solution.

        Raises ConfigError for a Hessian that is not finite, or gives NaN if not strict.
        """
        solved = bool(np.isfinite(self.theta).all())
        if solved and strict and not np.isfinite(hessian).all():
            raise ConfigError(
                f"the derivatives of the model are not finite at w = {self.w.tolist()}; gradients need a model that is "
                "twice differentiable at every t"
            )
        if not (solved and np.isfinite(hessian).all()):
            return np.full_like(hessian, np.nan)
        free, out = _free(self.held, len(hessian)), np.zeros_like(hessian)
        out[np.ix_(free, free)] = _inverse(hessian[np.ix_(free, free)])
        return out


def minimum_of(
    problem: Differentiated, t: Array, y: Array, w0: Array, weights: Array, *, ridge: float, strict: bool,
    options: dict[str, Any],
) -> Minimum:  # fmt: skip
    """The minimum of one problem, t (N, ...), y and weights (N, K), from w0 (P,).

    strict : raise ConfigError where the search does not converge, and ShapeError or DataError where there is too little
        to fit; otherwise everything is NaN.
    """
    count = problem.columns(w0).shape[1]
    if not strict and _unfit(y, weights, len(w0), count, ridge):  # which ends no batch
        return Minimum(np.full(len(w0), np.nan), np.full((count, y.shape[1]), np.nan), np.zeros(len(w0), dtype=bool))
    if strict:
        _require_slopes(problem, t, w0, weights)
    pairs = np.array([(j, p) for j in range(count) for p in range(len(w0))])
    fit = varpro.fit(
        lambda t, w: problem.columns(w), t, y, w0,
        derivative=(pairs, lambda t, w: problem.slopes(w).reshape(len(t), -1)), ridge=ridge,
        weights=None if (weights == 1).all() else weights[:, 0] if (weights == weights[:, :1]).all() else weights,
        **options,
    )  # fmt: skip
    exact = fit.rss <= EXACT * float(np.sum((weights * y) ** 2))  # there no step can lower the cost any more
    held = sides(fit) != 0
    if not (fit.success or (fit.status == varpro.Status.STALLED and exact)):
        if strict:
            raise ConfigError(f"a fit of the layer did not converge: {fit.message}")
        return Minimum(np.full_like(fit.nonlinear, np.nan), np.full_like(fit.linear, np.nan), np.zeros_like(held))
    theta = _polished(problem, np.concatenate([fit.nonlinear, fit.linear.ravel()]), held)
    return Minimum(theta[: len(w0)], theta[len(w0) :].reshape(fit.linear.shape), held)


def _unfit(y: Array, weights: Array, parameters: int, columns: int, ridge: float) -> bool:
    """Whether a problem is one that `varpro.fit_batch` flags instead of fitting it, and `varpro.fit` refuses."""
    needed = 1 if ridge else parameters + columns * np.count_nonzero(weights.any(axis=0))
    return bool(np.isinf(y).any() or np.count_nonzero(weights) < max(needed, 1))


def where_finite(problem: Differentiated, t: Array, w0: Array, weights: Array) -> Array:
    """t, with the first row that counts in place of each that has no weight and where the model is not finite at w0.

    The fit leaves such rows out whatever the model is there, but 0 times NaN would be the NaN of every derivative.
    Raises ShapeError if the model does not return (N, I), real.
    """
    phi, counts = problem.columns(w0), weights.any(axis=1)
    if phi.ndim != 2 or len(phi) != len(t) or np.iscomplexobj(phi):
        raise ShapeError(f"the model returned {phi.dtype} {phi.shape} for {len(t)} points; it needs real (N, I)")
    if counts.all() or not counts.any():
        return t
    finite: Array = np.isfinite(np.hstack([phi, problem.slopes(w0).reshape(len(t), -1)])).all(axis=1)
    if finite[~counts].all():
        return t
    mended = t.copy()
    mended[~counts & ~finite] = t[counts.argmax()]
    return mended


def _require_slopes(problem: Differentiated, t: Array, w0: Array, weights: Array) -> None:
    """Raise ConfigError where the model has values, but its derivatives are NaN: the search would blame w."""
    slopes = problem.slopes(w0)[weights.any(axis=1)]
    bad = np.argwhere(~np.isfinite(slopes))
    if bad.size:
        row, _, p = (int(i) for i in bad[0])
        place = t[weights.any(axis=1)][row].tolist()
        raise ConfigError(
            f"the derivative of the model by w[{p}] is {slopes[tuple(bad[0])]} at t = {place}, w0 = {w0.tolist()}; "
            "write the model so that it has one there, or leave this point out by a weight of 0"
        )


def _free(held: Array, count: int) -> Array:
    """Which of the parameters and amplitudes vary, bool."""
    return np.concatenate([~held, np.ones(count - len(held), dtype=bool)])


def _inverse(hessian: Array) -> Array:
    """H^-1, its rows and columns scaled to a unit diagonal; of least norm where H is singular."""
    scale = np.maximum(np.sqrt(np.abs(np.diagonal(hessian))), np.finfo(float).tiny)
    unit = hessian / scale[:, None] / scale
    return np.asarray(np.linalg.pinv(unit, rcond=len(unit) * EXACT, hermitian=True) / scale[:, None] / scale)


def _polished(problem: Differentiated, theta: Array, held: Array) -> Array:
    """The minimum near theta, by steps of Newton's method as long as they lower the gradient."""
    free, now = _free(held, len(theta)), problem.gradient(theta)
    for _ in range(NEWTON):
        hessian, step = problem.hessian(theta)[np.ix_(free, free)], np.zeros_like(theta)
        if not np.isfinite(hessian).all():  # the search did without it; only gradients need it
            break
        step[free] = _inverse(hessian) @ now[free]
        after = problem.gradient(theta - step)
        lower = np.linalg.norm(after[free]) < np.linalg.norm(now[free])
        if not (lower and problem.cost(theta - step) <= problem.cost(theta) * (1 + SLACK)):
            break
        small = np.linalg.norm(step) <= SMALL * np.linalg.norm(theta)
        theta, now = theta - step, after
        if small:  # the next step would be of the order of its square
            break
    return theta
