"""The slopes of the sigmoids as functions of their values: tanh' = 1 - phi^2, logistic' = phi (1 - phi)."""

from varpro.arrays import Array

SIGMAS = ("tanh", "logistic")


def slope(phi: Array, sigma: str) -> Array:
    """sigma'(q) from phi = sigma(q)."""
    return 1.0 - phi * phi if sigma == "tanh" else phi * (1.0 - phi)
