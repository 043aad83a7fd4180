"""Kinds of curve parameters: how each changes with the unit and the zero of t, and where its starts may lie.

t = origin + unit x:   a parameter v of dimension d at x is  v unit^d  at t, and a place  origin + v unit
"""

import math
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array

MOST_SPANS = 10.0
"""Times and reciprocal rates are drawn up to this many ranges of t: slower curves are straight lines."""


@dataclass(frozen=True)
class Frame:
    """t = origin + unit x and y = height z, so that x and z are of order 1."""

    origin: float
    unit: float
    height: float = 1.0

    def points(self, t: Array) -> Array:
        """x from t."""
        return (t - self.origin) / self.unit

    def values(self, y: Array) -> Array:
        """z from y."""
        return y / self.height


@dataclass(frozen=True)
class Quantity:
    """A kind of parameter."""

    dimension: int = 0
    """The power of the unit of t: 1, 0 or -1."""
    place: bool = False
    """Whether this is a point on the axis of t, which moves with its zero."""
    span: tuple[float, float] | None = None
    """The interval of starts for points of t in [0, 1] with the step 1 / N, as factors of the range or of the step."""
    by_step: tuple[bool, bool] = (False, False)
    """Which ends of `span` are in steps instead of ranges."""

    def at(self, value: Array, frame: Frame) -> Array:
        """The parameter of t from that of x."""
        moved = value * frame.unit if self.dimension > 0 else value / frame.unit if self.dimension < 0 else value
        return frame.origin + moved if self.place else moved

    def draws(self, n_points: int) -> tuple[float, float]:
        """The interval from which starts are drawn for n points x in [0, 1]; NaN twice if it is unknown."""
        if self.span is None:
            return math.nan, math.nan
        shrunk = float(max(n_points, 2)) ** (-1 if self.dimension >= 0 else 1)
        low, high = (end * (shrunk if steps else 1.0) for end, steps in zip(self.span, self.by_step, strict=True))
        return low, high


TIME = Quantity(1, span=(1.0, MOST_SPANS), by_step=(True, False))
WIDTH = Quantity(1, span=(1.0, 0.5), by_step=(True, False))
RATE = Quantity(-1, span=(1 / MOST_SPANS, 1.0), by_step=(False, True))
FREQUENCY = Quantity(-1, span=(math.pi, math.pi), by_step=(False, True))
"""In radians: from half a turn over the whole range to half a turn per step."""
PLACE = Quantity(1, place=True, span=(0.0, 1.0))
EXPONENT = Quantity(0, span=(-3.0, 5.0))
STRETCH = Quantity(0, span=(0.3, 2.0))
HILL = Quantity(0, span=(0.5, 8.0))
SHAPE = Quantity(0, span=(0.7, 20.0))
INVERSION = Quantity(0, span=(1.0, 2.1))


def frame_of(t: Array, y: Array, *, movable: bool) -> Frame:
    """The frame of the finite rows of t (N,) and y (N, ...).

    movable : x runs from 0 to 1; otherwise t keeps its zero, and the largest |x| is 1.
    """
    table = y.reshape(len(t), -1)
    rows = np.isfinite(t) & np.isfinite(table).all(axis=1)
    size = np.abs(table[rows]).max(initial=0.0)
    if not rows.any():
        return Frame(0.0, 1.0)
    low, high = float(t[rows].min()), float(t[rows].max())
    largest = max(abs(low), abs(high))
    length = high - low if movable and high > low else largest
    return Frame(low if movable else 0.0, length or 1.0, float(size) or 1.0)
