"""Finding peaks: take the highest of what is left and its width at half height, then subtract the fit of all found."""

from collections.abc import Callable

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.models.guesses import Signal, amplitudes

Line = Callable[[Array, float, float], Array]
"""A peak (N,) from t (N,), its center and its half width at half height."""
SMOOTHING = 0.005
"""Standard deviation of the filter before a search, in ranges of t; at most two points."""
REACH = 1.5
"""Half widths around its old center within which a peak is searched for again."""
REFINEMENTS = 3
"""Rounds over all peaks; each reduces the effect of neighbours on one another."""


def located(signal: Signal, profile: Array, line: Line, n: int, offset: bool, narrow: bool) -> Array:
    """Centers and half widths (n, 2) of the peaks of a profile (N,), the strongest first.

    Where nothing stands out, they are spread over the range of t.

    narrow : use the width of the steeper side, for peaks that overlap a neighbour; else the mean of both sides.
    """
    table = _spread(signal, n)
    if signal.size < 3:
        return table
    for i in range(n):
        rest = profile - _fitted(signal.t, profile, line, table[:i], offset)
        found = _highest(signal.t, rest, narrow, slice(None))
        if found is not None:
            table[i] = found
    return table


def refined(signal: Signal, profile: Array, line: Line, table: Array, offset: bool, narrow: bool) -> Array:
    """Measure each peak again on the profile less the fit of all others."""
    table = table.copy()
    for _ in range(REFINEMENTS if signal.size >= 3 else 0):
        for i, (center, half) in enumerate(table):
            others = np.arange(len(table)) != i
            rest = profile - _fitted(signal.t, profile, line, table, offset, others)
            first, last = np.searchsorted(signal.t, [center - REACH * half, center + REACH * half])
            found = _highest(signal.t, rest, narrow, slice(first, last))
            if found is not None:
                table[i] = found
    return table


def _spread(signal: Signal, n: int) -> Array:
    centers = signal.first + signal.span * (np.arange(n) + 0.5) / n
    return np.stack([centers, np.full(n, signal.span / (4.0 * n))], axis=1)


def profiles(signal: Signal, offset: bool) -> list[Array]:
    """Curves (N,) in which to look for peaks: y, or for many channels the leading one and the root mean square."""
    y = signal.y - np.median(signal.y, axis=0) if offset and signal.size else signal.y
    if y.shape[1] == 1 or not signal.size:
        return [y[:, 0]]
    scaled = y / (np.abs(y).max() or 1.0)
    leading, mean = Signal(signal.t, scaled).compressed(1).y[:, 0], np.sqrt(np.mean(scaled**2, axis=1))
    return [p - np.median(p) for p in (leading, mean)] if offset else [leading, mean]


def _fitted(t: Array, profile: Array, line: Line, table: Array, offset: bool, keep: Array | None = None) -> Array:
    """The part of the peaks `keep` (None for all) in the fit of all peaks and the offset; (N,), 0 without peaks."""
    if not len(table):
        return np.zeros(len(t))
    columns = [line(t, center, half) for center, half in table]
    phi = np.stack([*columns, np.full(len(t), float(offset))], axis=1)
    if not np.all(np.isfinite(phi)):
        return np.zeros(len(t))
    a = amplitudes(phi, profile)
    if keep is not None:
        a[:-1] *= keep
    return phi @ a


def _highest(t: Array, rest: Array, narrow: bool, within: slice) -> tuple[float, float] | None:
    """Center and half width of the peak that stands out most, upwards or downwards; None if everything is flat."""
    smooth = scipy.ndimage.gaussian_filter1d(rest, min(2.0, SMOOTHING * len(rest)))
    part = smooth[within]
    if not part.size or not np.any(part):
        return None
    smooth = smooth * np.sign(part[np.argmax(np.abs(part))])
    inside = np.zeros(len(smooth), dtype=bool)
    inside[within] = True
    peaks = scipy.signal.find_peaks(smooth, height=0.0)[0]
    peaks = peaks[inside[peaks]]
    candidates = peaks if len(peaks) else np.flatnonzero(inside)
    top = int(candidates[np.argmax(smooth[candidates])])
    sides = [s for s in (_fall(t, smooth, top, -1), _fall(t, smooth, top, 1)) if s > 0]
    if not sides or smooth[top] <= 0:
        return None
    return float(t[top]), float(min(sides) if narrow else np.mean(sides))


def _fall(t: Array, smooth: Array, top: int, way: int) -> float:
    """Distance from the top to half its height, to the left (-1) or right; 0 if the data end before that."""
    run, x = smooth[top::way], t[top::way]
    below = np.flatnonzero(run < 0.5 * run[0])
    if not below.size:
        return 0.0
    i = int(below[0])
    share = (run[i - 1] - 0.5 * run[0]) / (run[i - 1] - run[i])
    return float(abs(x[i - 1] + share * (x[i] - x[i - 1]) - x[0]))
