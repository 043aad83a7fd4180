"""Matrix pencil: the poles z_i = exp(s_i dt) of an equidistant y_n = sum_i a_i z_i^n.

    H = [y_{i+j}] (N - L, L + 1) = U S V^T,    poles = eigenvalues of V[:-1]^+ V[1:], V cut to its leading columns

Channels share their poles, so their Hankel matrices are stacked.  Hua and Sarkar, IEEE Trans. ASSP 38
(1990) 814-824.
"""

from collections.abc import Callable

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.models.guesses import Signal, finite_rows, selected

MOST_POINTS = 400
"""Most points of a pencil, whose cost grows with their cube."""
SMALL = 30
"""Columns up to which the singular values cost no more than the eigenvalues of the products."""
LEAST_SHARE = 1e-8
"""Least eigenvalue of H^T H, as a share of the largest, whose eigenvector is used, and least 1 - l^T l: eight digits
are left."""
LEAST_RATIO = 1.2
"""Least ratio of neighbouring rates of a start: equal ones would make Phi rank deficient."""
RATES_PER_DECADE = 8
"""Density of the grid on which rates are searched: a ratio of 1.33, well inside the reach of the solver."""
TINY_DAMPING = 1e-2
"""Least damping of a start, in reciprocal ranges of t."""


def poles(y: Array, order: int) -> Array:
    """At most `order` nonzero poles (complex) of y (N, K)."""
    length = len(y) // 3
    if length < 1:
        return np.zeros(0, dtype=complex)
    windows = np.lib.stride_tricks.sliding_window_view(y, length + 1, axis=0).reshape(-1, length + 1)
    try:
        z = np.linalg.eigvals(_shift(_leading(windows, order)))
    except np.linalg.LinAlgError:
        return np.zeros(0, dtype=complex)
    return z[np.isfinite(z) & (z != 0)].astype(complex)


def _leading(h: Array, order: int) -> Array:
    """The leading right singular vectors (M, order) of H (N, M), or as many as there are.

    The eigenvectors of H^T H serve where the last of them stands above the rounding of the products, and cost a fifth.
    """
    size = h.shape[1]
    if max(order, SMALL) < size <= len(h):
        values, v = scipy.linalg.eigh(h.T @ h, subset_by_index=[size - order, size - 1])
        if values[0] > LEAST_SHARE * values[-1]:
            return np.asarray(v[:, ::-1])
    return np.asarray(np.linalg.svd(h, full_matrices=False)[2][:order].T)


def _shift(v: Array) -> Array:
    """V[:-1]^+ V[1:] for orthonormal columns V (M, r), with l their last row:

    V[:-1]^T V[:-1] = I - l l^T,    so the pseudoinverse is (I + l l^T / (1 - l^T l)) V[:-1]^T
    """
    last, inner = v[-1], v[:-1].T @ v[1:]
    left = 1.0 - float(last @ last)
    if left > LEAST_SHARE:
        return np.asarray(inner + np.outer(last, last @ inner) / left)
    return np.asarray(np.linalg.pinv(v[:-1]) @ v[1:])


def exponents(signal: Signal, order: int) -> Array:
    """s = log(z) / dt of an equidistant signal."""
    scale = np.abs(signal.y).max(initial=0.0)
    return np.log(poles(signal.y / scale, order)) / signal.step if scale > 0 else np.zeros(0, dtype=complex)


def pencil_rates(signal: Signal, n: int, offset: bool) -> Array:
    """Decay rates; with an offset, the one nearest to zero is left to it."""
    grid = signal.uniform()
    grid = grid.averaged(-(-grid.size // MOST_POINTS)).compressed(2 * n + 2)
    k = -exponents(grid, n + int(offset)).real
    return k[np.argsort(np.abs(k))[int(offset) :]]


def selected_rates(
    dictionary: Callable[[Array, Array], tuple[Array, Array]], t: Array, y: Array, n: int, offset: bool, signal: Signal
) -> Array:
    """Rates from a grid, up to 1 / step; dictionary(t, k) gives their columns (N, G) and fixed ones (N, F).

    The slowest decay takes five ranges of t, beside a constant two: beyond, the difference of both is a line, which
    leaves less of two decays than a start near them, and from which a search goes on to infinity.
    """
    lowest, highest = (0.5 if offset else 0.2) / signal.span, 1.0 / signal.step
    count = max(n, 2 + int(RATES_PER_DECADE * np.log10(max(highest / lowest, 1.0))))
    grid = lowest * (max(highest, 2 * lowest) / lowest) ** np.linspace(0.0, 1.0, count)
    phi, fixed = dictionary(np.asarray(t), grid)
    table = np.asarray(y).reshape(len(phi), -1)
    table = np.concatenate([table.real, table.imag], axis=1) if np.iscomplexobj(table) else table.astype(float)
    rows = finite_rows(phi, fixed, table)
    if not rows.any():
        return np.zeros(0)
    return grid[selected(phi[rows], fixed[rows], table[rows], n)]


def distinct(k: Array, n: int, signal: Signal) -> Array:
    """n positive rates, ascending and distinct; missing ones are spread over the range of t."""
    lowest, highest = 0.1 / signal.span, 3.0 / signal.step
    k = k[np.isfinite(k) & (k > 0)][:n]
    missing = n - len(k)
    spread = np.geomspace(0.5, 20.0, missing) / signal.span if missing > 1 else np.full(missing, 3.0 / signal.span)
    k = np.sort(np.clip(np.concatenate([k, spread]), lowest, max(highest, lowest)))
    for i in range(1, n):
        k[i] = max(k[i], LEAST_RATIO * k[i - 1])
    return k


def ringing(signal: Signal, n: int, order: int) -> Array:
    """(n, 2): damping and angular frequency of the n strongest pairs of poles, ascending in frequency."""
    grid = signal.uniform().compressed(2 * n + 2)
    grid = grid.averaged(_block(grid)).rows(0, 2 * MOST_POINTS)
    s = exponents(grid, order) if grid.size >= 2 else np.zeros(0, dtype=complex)
    pairs = s[s.imag > 1e-6 / grid.step]
    found = np.stack([np.maximum(-pairs.real, TINY_DAMPING / signal.span), pairs.imag], axis=1)
    found = _strongest(grid, found, n)
    missing = np.arange(1, n - len(found) + 1)
    more = np.stack([np.full(len(missing), 1.0 / signal.span), 2 * np.pi * missing / signal.span], axis=1)
    table = np.concatenate([found, more])
    return table[np.argsort(table[:, 1])]


def _block(signal: Signal) -> int:
    """Rows that may be averaged: the highest frequency of any weight stays below half the new Nyquist frequency."""
    if signal.size <= MOST_POINTS:
        return 1
    power = np.abs(np.fft.rfft(signal.y - signal.y.mean(axis=0), axis=0)).max(axis=1)
    high = int(np.flatnonzero(power >= 0.1 * power.max())[-1])
    return max(1, min(signal.size // MOST_POINTS, (len(power) - 1) // (2 * max(high, 1))))


def _strongest(signal: Signal, found: Array, n: int) -> Array:
    """The n of found (m, 2) whose columns explain the signal best."""
    if len(found) <= n:
        return found
    t = signal.t - signal.first
    wave = np.exp(np.outer(t, -found[:, 0] + 1j * found[:, 1]))
    a = np.linalg.lstsq(np.concatenate([wave.real, wave.imag], axis=1), signal.y, rcond=None)[0]
    energy = np.sum(np.abs(wave) ** 2, axis=0) * np.sum(a[: len(found)] ** 2 + a[len(found) :] ** 2, axis=1)
    return found[np.argsort(energy)[::-1][:n]]
