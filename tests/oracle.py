"""The explicit Jacobian of the variable projection residual, which exists only here, as the oracle."""

from collections.abc import Callable

import numpy as np

from varpro.arrays import Array


def augmented_residual(phi: Array, y: Array, ridge: float = 0.0) -> Array:
    """vec of [Y - Phi A; -sqrt(mu) A] with A from LAPACK's least squares; phi (N, I), y (N, K)."""
    if ridge:
        phi = np.vstack([phi, np.sqrt(ridge) * np.eye(phi.shape[1])])
        y = np.vstack([y, np.zeros((phi.shape[1], y.shape[1]))])
    a = np.linalg.lstsq(phi, y, rcond=None)[0]
    return (y - phi @ a).ravel()


def central_differences(function: Callable[[Array], Array], w: Array, step: float = 1e-5) -> Array:
    """d function / d w, (values, P)."""
    columns = []
    for p in range(len(w)):
        e = np.zeros_like(w)
        e[p] = step * max(1.0, abs(w[p]))
        columns.append((function(w + e) - function(w - e)) / (2 * e[p]))
    return np.stack(columns, axis=-1)


def relative_error(a: Array, b: Array) -> float:
    """||a - b|| / ||b||"""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def symmetric(lower: Array) -> Array:
    """The symmetric matrix of a lower triangle."""
    return np.tril(lower) + np.tril(lower, -1).T
