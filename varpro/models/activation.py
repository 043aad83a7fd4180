"""The sigmoids, and their slopes as functions of their values: tanh' = 1 - phi^2, logistic' = phi (1 - phi)."""

import numpy as np
import scipy.special

from varpro.arrays import Array

SIGMAS = ("tanh", "logistic")


def activate(q: Array, sigma: str) -> Array:
    """sigma(q) in place."""
    return np.tanh(q, out=q) if sigma == "tanh" else scipy.special.expit(q, out=q)  # type: ignore[no-any-return]


def slope(phi: Array, sigma: str) -> Array:
    """sigma'(q) from phi = sigma(q)."""
    return 1.0 - phi * phi if sigma == "tanh" else phi * (1.0 - phi)  # type: ignore[no-any-return]
