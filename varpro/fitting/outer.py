"""What goes around a search: a robust loss by reweighting, a ridge by cross-validation."""

from dataclasses import replace
from typing import Any

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.engine import Built, Spec, build, run
from varpro.fitting.solution import Solution
from varpro.result import Status

LOSSES = ("linear", "huber", "soft_l1", "cauchy")
REWEIGHTINGS = 50
SETTLED = 1e-7
"""Relative change of the parameters at which reweighting, or the choice of the ridge, has settled."""


def solve(spec: Spec, u0: Array, *, loss: str, loss_scale: float | None, **options: Any) -> Solution:
    """Search, reweighted where the loss is robust.  u0 (B, F)."""
    if loss not in LOSSES:
        raise ConfigError(f"loss is {loss!r}; choose one of {', '.join(LOSSES)}")
    if loss_scale is not None and not loss_scale > 0:
        raise ConfigError(f"loss_scale is {loss_scale}; it needs a number above 0, in units of the weighted residual")
    outcome, built = run(spec, u0, **options)
    found = Solution(spec, outcome, built)
    return found if loss == "linear" else _robust(spec, u0, found, loss, loss_scale, options)


def _robust(
    spec: Spec, u0: Array, squares: Solution, loss: str, scale: float | None, options: dict[str, Any]
) -> Solution:
    """Reweighted from the least-squares solution and from u0: outliers may have drawn the first into another valley.

    Each problem keeps the solution with the lower loss.
    """
    at_start = replace(spec, termination=replace(spec.termination, max_iterations=0))
    outcome, built = run(at_start, u0)
    found, sigma = _reweighted(spec, squares, loss, scale, options)
    other, second = _reweighted(spec, Solution(spec, outcome, built), loss, scale, options)
    common = np.fmin(sigma, second)
    better = _loss_of(spec, other, common, loss) < _loss_of(spec, found, common, loss)
    return _with_plain_rss(_chosen(better, other, found) if better.any() else found, spec)


def _loss_of(spec: Spec, found: Solution, sigma: Array, loss: str) -> Array:
    """(B,) sum of rho((r / sigma)^2) over the values of each problem; infinite where it is not finite."""
    size = spec.data.total_weight() * np.abs(spec.data.y - found.fitted(np.arange(len(sigma))))
    square = (size / sigma[:, None, None]) ** 2
    if loss == "huber":
        rho = np.where(square <= 1, square, 2 * np.sqrt(square) - 1)
    else:
        rho = 2 * (np.sqrt(1 + square) - 1) if loss == "soft_l1" else np.log1p(square)
    total = rho.sum(axis=(1, 2))
    return np.where(np.isfinite(total), total, np.inf)


def _chosen(yes: Array, one: Solution, other: Solution) -> Solution:
    """`one` for the problems where yes (B,), else `other`."""

    def pick(a: Array, b: Array) -> Array:
        return np.where(yes.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    names = ("u", "a", "cost", "status", "iterations", "evaluations", "rank", "effects")
    arrays: dict[str, Any] = {name: pick(getattr(one.outcome, name), getattr(other.outcome, name)) for name in names}
    assert one.robust_weights is not None
    assert other.robust_weights is not None
    robust = pick(one.robust_weights, other.robust_weights)
    weights = one.spec.data.total_weight(), other.spec.data.total_weight()
    both = pick(*weights)
    data = replace(one.spec.data, weights=both[:, :, 0] if both.shape[2] == 1 else both)
    spec = replace(one.spec, data=data)
    return Solution(spec, replace(one.outcome, **arrays), build(spec), robust, one.loss)


def _reweighted(
    spec: Spec, found: Solution, loss: str, scale: float | None, options: dict[str, Any]
) -> tuple[Solution, Array]:
    """The solution and its scale (B,) by iteratively reweighted least squares.

    Holland and Welsch, Commun. Stat. A6 (1977) 813-827.
    scale : residual beyond which a value counts as an outlier, per problem from the median residual when None, fixed
    after ten rounds so that the loss is one function.
    """
    data, every = spec.data, np.arange(len(found.outcome.cost))
    own = data.total_weight()
    sigma = np.full(len(every), np.nan if scale is None else float(scale))
    for round_ in range(REWEIGHTINGS):
        size = own * np.abs(data.y - found.fitted(every))
        if scale is None and round_ < 10:
            sigma = _spread(size, own > 0)
        robust = _loss_weights(size / sigma[:, None, None], loss)
        weights = own * robust
        again = replace(spec, data=replace(data, weights=weights[:, :, 0] if weights.shape[2] == 1 else weights))
        start = np.where(np.isfinite(found.outcome.u), found.outcome.u, 0.0)
        outcome, built = run(again, start, **options)
        moved = np.abs(outcome.u - found.outcome.u) <= SETTLED * (np.abs(outcome.u) + SETTLED)
        done = (moved | ~np.isfinite(outcome.u)).all()
        evaluations = found.outcome.evaluations + outcome.evaluations
        iterations = found.outcome.iterations + outcome.iterations
        outcome = replace(outcome, evaluations=evaluations, iterations=iterations)
        found = Solution(again, outcome, built, robust, loss)
        if done:
            break
    return found, sigma


def _with_plain_rss(found: Solution, spec: Spec) -> Solution:
    """The residual sum of squares in the user's own weights."""
    every = np.arange(len(found.outcome.cost))
    plain = spec.data.total_weight() * (spec.data.y - found.fitted(every))
    found.__dict__["rss"] = np.sum(np.abs(plain) ** 2, axis=(1, 2))
    return found


def _spread(size: Array, used: Array) -> Array:
    """(B,) 1.4826 times the median of the residuals that count: their standard deviation, were they normal."""
    values = np.where(used, size, np.nan).reshape(len(size), -1)
    with np.errstate(all="ignore"):
        median = np.nanmedian(np.where(np.isfinite(values), values, np.nan), axis=1)
    largest = np.nanmax(np.where(np.isfinite(values), values, 0.0), axis=1)
    return np.maximum(1.4826 * np.nan_to_num(median), np.maximum(1e-12 * largest, np.finfo(float).tiny))


def _loss_weights(z: Array, loss: str) -> Array:
    """sqrt(rho'(z^2)) of scipy's losses, for |residual| / scale z."""
    z = np.where(np.isfinite(z), z, 0.0)
    if loss == "huber":
        return np.where(z > 1, 1 / np.sqrt(np.maximum(z, 1.0)), 1.0)
    square = 1.0 + z * z
    return square**-0.25 if loss == "soft_l1" else square**-0.5


def cross_validated(spec: Spec, u0: Array, options: dict[str, Any]) -> tuple[Spec, Array]:
    """The ridge by generalised cross-validation and the parameters found with it, in turns until both have settled.

    The ridge is frozen while w is searched, so that the search minimises one function.  Golub, Heath and Wahba,
    Technometrics 21 (1979) 215-223.
    """
    u, ridge = u0, -1.0
    for _ in range(20):
        plain = replace(spec, linear=replace(spec.linear, ridge=0.0))
        before, ridge = ridge, gcv_ridge(build(plain), u)
        spec = replace(spec, linear=replace(spec.linear, ridge=ridge))
        if abs(ridge - before) <= 1e-3 * ridge:
            break
        outcome, _ = run(spec, u, **options)
        if Status(int(outcome.status[0])) in (Status.NONFINITE, Status.INVALID_DATA, Status.TOO_FEW_POINTS):
            break
        u = outcome.u
    return spec, u


def gcv_ridge(built: Built, u: Array) -> float:
    """mu that minimises ||r||^2 / (N - trace)^2 for the linear problem at u (1, F)."""
    phi = built.basis.basis(u, np.zeros(1, dtype=int))[0]
    if not np.isfinite(phi).all():
        return 0.0
    left, s, _ = np.linalg.svd(phi, full_matrices=False)
    inside = left.T @ built.y[0]
    outside = max(float(np.sum(built.y[0] ** 2) - np.sum(inside**2)), 0.0)
    square, k = s * s, built.y.shape[2]

    def score(log_mu: float) -> float:
        keep = np.exp(log_mu) / (square + np.exp(log_mu))
        residual = outside + float(np.sum((keep[:, None] * inside) ** 2))
        return float(np.log(residual) - 2 * np.log(k * (len(phi) - np.sum(1 - keep))))

    top = float(np.log(square[0]))
    grid = np.linspace(top - 34, top + 5, 60)
    best = grid[int(np.argmin([score(g) for g in grid]))]
    return float(np.exp(scipy.optimize.minimize_scalar(score, bounds=(best - 1, best + 1), method="bounded").x))
