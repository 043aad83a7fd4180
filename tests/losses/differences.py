"""Central differences of fourth order in float64, and batches to try them on."""

from collections.abc import Callable

import numpy as np

from varpro.arrays import Array

TOLERANCE = 1e-8
"""Relative, the issue's figure.  Fourth order at h = 2e-4 leaves about h^4 + eps / h = 1e-12 of a well scaled L."""


def gradient(value: Callable[[Array], float], at: Array, h: float = 2e-4) -> Array:
    """d value / d at, entry by entry."""
    at = np.array(at, dtype=np.float64)
    result = np.empty_like(at)
    for i in np.ndindex(at.shape):

        def moved(step: float, i: tuple[int, ...] = i) -> float:
            there = at.copy()
            there[i] += step
            return value(there)

        result[i] = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    return result


def distance(ours: Array, theirs: Array) -> float:
    """Relative to the largest entry."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def batch(n: int, d: int, c: int, seed: int = 0) -> tuple[Array, Array]:
    """Noise around class means; labels in random order, each class present."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % c)
    return rng.standard_normal((n, d)) + rng.standard_normal((c, d))[y], y


def simplex(s: float = 2.0, c: int = 4) -> tuple[Array, Array]:
    """Means s (e_c - 1/C), three samples each, deviations in directions of their own: all eigenvalues are s^2 / C."""
    y = np.repeat(np.arange(c), 3)
    means = s * (np.eye(c) - 1 / c)
    within = np.kron(np.eye(c), np.array([[1.0, 0.5], [-1.0, 0.5], [0.0, -1.0]]))
    return np.hstack([means[y], within]), y
