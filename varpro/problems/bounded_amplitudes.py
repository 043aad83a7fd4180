"""Linear least squares within bounds on the coefficients, in any units.

    min_a ||y - Phi a||,  lower <= a <= upper

solved in z_i = a_i ||phi_i|| / ||y||, which has no units.  At the solution the gradient g = Phi^T (y - Phi a) is zero
for coefficients inside, not above zero on a lower bound and not below it on an upper one.

Lawson and Hanson, Solving Least Squares Problems (1974), ch. 23; Stark and Parker, Comput. Stat. 10 (1995) 129-141.
"""

import numpy as np
import scipy.optimize

from varpro.arrays import Array

EPS = float(np.finfo(np.float64).eps)
ROUNDING = 16.0
"""Accuracy of a gradient in eps for each column, relative to the largest term of its sum."""
MOST_EXCHANGES = 20
"""Exchanges per column before the current feasible point is kept; Lawson and Hanson's method takes one or two."""


def bounded_solutions(
    phi: Array, y: Array, lower: Array, upper: Array, start: Array | None = None
) -> tuple[Array, Array]:
    """The solutions (b, I) within bounds (I,) and which of their entries are inside, for phi (b, N, I) and y (b, N).

    Any matrices with the same inner products as [phi y] will do.  start (b, I) : where to begin, such as the unbounded
    solutions.  If columns depend on each other, some stay on their bounds; a column of zeros keeps the coefficient
    nearest to zero.  Raises nothing; values must be finite.
    """
    if not len(lower):  # on which SciPy's solver ends the process
        return np.zeros((len(phi), 0)), np.zeros((len(phi), 0), dtype=bool)
    rest = np.clip(np.zeros(len(lower)), lower, upper)
    size = np.sqrt(np.einsum("bni,bni->bi", phi, phi))
    scale = np.maximum(np.sqrt(np.einsum("bn,bn->b", y, y)), (np.abs(rest) * size).max(axis=1))
    dark, some = size == 0, np.where(scale > 0, scale, 1.0)[:, None]
    per = some / np.where(dark, 1.0, size)  # a = per z
    unit, right = phi / np.where(dark, 1.0, size)[:, None, :], y / some
    low, high = (np.where(dark, 0.0, bound / per) for bound in (lower, upper))
    z = np.clip((rest if start is None else start) / per, low, high)
    inside = np.zeros(z.shape, dtype=bool)
    simple = bool((lower == 0).all() and np.isinf(upper).all())
    for b in np.arange(len(z)):
        found = _nonnegative(unit[b], right[b]) if simple else None
        z[b], inside[b] = found or _bounded(unit[b], right[b], low[b], high[b], z[b])
    if simple:
        for b in np.flatnonzero(_worst(unit, right, z, inside) > 0):
            z[b], inside[b] = _bounded(unit[b], right[b], low[b], high[b], z[b])
    a = np.where(inside, np.clip(z * per, lower, upper), np.where(z <= low, lower, upper))
    a = np.where(dark, rest, a)
    return a, inside & ~dark & (a > lower) & (a < upper)


def _nonnegative(phi: Array, y: Array) -> tuple[Array, Array] | None:
    """The solution by SciPy's compiled solver, which may also end too early without saying so; None if it gives up."""
    try:
        z = np.asarray(scipy.optimize.nnls(phi, y)[0])
    except RuntimeError:
        return None
    return z, z > 0


def _worst(phi: Array, y: Array, z: Array, inside: Array) -> Array:
    """(b,) the largest wrong gradient of non-negative solutions, beyond rounding."""
    gradient = np.einsum("bni,bn->bi", phi, y - np.einsum("bni,bi->bn", phi, z))
    wrong = np.where(inside, np.abs(gradient), gradient).max(axis=1)
    return wrong - _noise(phi.shape[2], y, z)


def _noise(n_columns: int, y: Array, z: Array) -> Array:
    """The rounding error of a gradient: columns have unit norm, so the terms of y - Phi z are y and z."""
    return ROUNDING * EPS * n_columns * (np.linalg.norm(y, axis=-1) + np.abs(z).sum(axis=-1))


def _bounded(phi: Array, y: Array, lower: Array, upper: Array, first: Array) -> tuple[Array, Array]:
    """Active sets from `first`, which is within bounds: minimise over the inner coefficients until one meets a bound,
    then release the coefficient whose gradient is most wrong, and so on."""
    z = first
    inside = (z > lower) & (z < upper)
    released = -1
    for _ in range(MOST_EXCHANGES * len(z) + 1):
        z, inside, refused = _settle(phi, y, z, inside, lower, upper, released)
        gradient, noise = phi.T @ (y - phi @ z), _noise(len(z), y, z)
        wrong = np.where(z <= lower, gradient, -gradient)
        wrong[inside] = -np.inf
        if refused:
            wrong[released] = -np.inf  # rounding moved it straight out again
        released = int(np.argmax(wrong))
        if not wrong[released] > noise:
            break
        inside[released] = True
    return z, inside


def _settle(
    phi: Array, y: Array, z: Array, inside: Array, lower: Array, upper: Array, released: int
) -> tuple[Array, Array, bool]:
    """The minimum over the inner coefficients; those that meet a bound on the way are held there.

    Returns z, inside and whether the coefficient just released went the wrong way, which only rounding can cause.
    """
    z, inside = z.copy(), inside.copy()
    refused = False
    for _ in range(len(z) + 1):
        on = np.flatnonzero(inside)
        if not len(on):
            break
        goal = np.linalg.lstsq(phi[:, on], y - phi[:, ~inside] @ z[~inside], rcond=EPS * max(phi.shape))[0]
        step = goal - z[on]
        room = np.where(step < 0, lower[on] - z[on], upper[on] - z[on])
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(step == 0, np.inf, room / step)
        least = int(np.argmin(part))
        if part[least] > 1:
            z[on] = goal
            break
        hit = on[least]
        refused |= bool(hit == released and part[least] <= 0)
        z[on] = np.clip(z[on] + part[least] * step, lower[on], upper[on])
        z[hit] = lower[hit] if step[least] < 0 else upper[hit]
        inside[hit] = False
    return z, inside, refused
