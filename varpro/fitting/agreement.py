"""Whether the complex step agrees with differences whose error is known."""

import numpy as np

from varpro.arrays import Array
from varpro.fitting.stencil import largest

AGREES = 1e-7
"""Largest difference between complex step and differences, relative to the derivative, beyond their known error."""
CLEARLY = 1e-3
"""A difference this large proves that the function is not analytic as written."""


def disagreement(exact: Array, d: Array, error: Array) -> tuple[Array, Array]:
    """Gap between the complex step and differences d (b, N, M) beyond ten times their error (b, M), and the size of d.

    Both are (b, M); the first is infinite where the differences are finite and the complex step is not.
    """
    finite = np.isfinite(d)
    off = np.where(finite & np.isfinite(exact), exact - d, np.where(finite, np.inf, 0.0))
    beyond = np.abs(off).max(axis=1, initial=0.0) - 10.0 * np.where(np.isfinite(error), error, 0.0)
    return np.maximum(beyond, 0.0), largest(d)
