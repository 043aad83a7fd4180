"""Starts chosen from a grid: the shapes of a dictionary that together leave least of the data."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from varpro.arrays import Array
from varpro.models.guesses import Signal, best_start, selected
from varpro.models.repeated import Repeated

Shape = Callable[..., tuple[Array, ...]]
"""(t, *v) -> the columns of one shape"""


def from_grid(model: Repeated, x: Array, y: Array, axes: Sequence[Array]) -> Array:
    """w of the model's n shapes, one after another, in the order of their first parameter.

    axes : the values of each parameter of one shape; all combinations are tried.  A grid that the data cannot use, and
        data without a finite value, give its middle.
    """
    n, table = model.n, np.array(list(itertools.product(*axes)))
    middle = np.linspace(0, len(table) - 1, n + 2).astype(int)[1:-1]
    starts = [table[middle].ravel()]
    signal = Signal.of(x, y)
    if signal.size:
        with np.errstate(all="ignore"):
            columns = np.asarray(model.shape(signal.t[:, None], *table.T[:, None, :])[0])
        size = np.linalg.norm(columns, axis=0)
        usable = np.flatnonzero(np.isfinite(size) & (size > 0))
        if len(usable) >= n:
            fixed = np.ones((signal.size, int(model.offset)))
            unit = columns[:, usable] / size[usable]
            chosen = table[usable][selected(unit, fixed, signal.compressed(n + 1).y, n)]
            starts.append(chosen[np.argsort(chosen[:, 0], kind="stable")].ravel())
    return best_start(model, x, y, starts)


def decades(low: float, high: float, count: int) -> Array:
    """Values that are evenly spaced in the logarithm."""
    return np.geomspace(low, high, count)
