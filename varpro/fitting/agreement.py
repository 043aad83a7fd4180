"""Whether the complex step and differences whose error is known say the same of a derivative."""

import numpy as np

from varpro.arrays import Array
from varpro.fitting.stencil import largest

AGREES = 1e-7
"""Difference between complex step and differences, relative to the derivative, beyond their known error."""
CLEARLY = 1e-3
"""So much of it proves that the function is not analytic as written."""


def disagreement(exact: Array, d: Array, error: Array) -> tuple[Array, Array]:
    """Complex step less differences d (b, N, M) beyond ten times their error (b, M), and the size of d: (b, M) each.

    Infinite where the complex step is not finite but the differences are.
    """
    finite = np.isfinite(d)
    off = np.where(finite & np.isfinite(exact), exact - d, np.where(finite, np.inf, 0.0))
    beyond = np.abs(off).max(axis=1, initial=0.0) - 10.0 * np.where(np.isfinite(error), error, 0.0)
    return np.maximum(beyond, 0.0), largest(d)
