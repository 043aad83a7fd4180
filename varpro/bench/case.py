"""A benchmark case: what is timed, what it is checked against, and the arithmetic and traffic it cannot do without."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array

Result = Sequence[Array]


@dataclass(frozen=True, slots=True)
class Case:
    """One kernel on one shape.  `run` and `reference` return the same arrays, in the same order."""

    kernel: str
    """The stem: scalarize, gauss_newton, ..."""
    name: str
    shape: dict[str, int]
    dtype: str
    """Of the largest array: float32 or float64"""
    run: Callable[[], Result]
    reference: Callable[[], Result]
    tolerance: float
    """Largest |run - reference| over the largest |reference|, for each array"""
    gflop: float
    gigabytes: float
    """Every array read or written once"""
    arithmetic_dtype: str = ""
    """Precision of the arithmetic, which peak it is held against; `dtype` by default"""
    valid: Callable[[Array], Array] = np.asarray
    """What of an array is compared: np.tril where only a triangle is set"""

    def error(self) -> float:
        """The largest relative difference from the reference; infinite where a shape differs or a value is NaN."""
        worst = 0.0
        for ours, theirs in zip(self.run(), self.reference(), strict=True):
            ours, theirs = self.valid(ours), self.valid(theirs)
            if ours.shape != theirs.shape or not np.isfinite(ours).all():
                return np.inf
            scale = float(np.abs(theirs).max(initial=0.0)) or 1.0
            worst = max(worst, float(np.abs(ours - theirs).max(initial=0.0)) / scale)
        return worst


def rounding(dtype: str, terms: int) -> float:
    """Tolerance for sums of so many terms: eps times the number of terms, the worst that rounding can do, times 8."""
    return 8 * float(np.finfo(dtype).eps) * max(terms, 8)
