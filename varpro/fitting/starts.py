"""Starting values that a model guesses from the data, using only the values that count."""

import numpy as np

from varpro.arrays import Array
from varpro.fitting.data import Data
from varpro.fitting.model import Guesses
from varpro.result import Status

MOST_COMPARED = 64
"""Most right-hand sides, or problems, that are searched for those with the most rows in common."""
SHARED_ROWS = 0.5
"""Share of the largest number of rows of one right-hand side that others must have in common to be used with it."""


def guessed_start(model: Guesses, data: Data) -> Array:
    """(P,) for all problems, or (B, P) if problems have points of their own.

    A batch is guessed from the mean over its problems, which averages the noise; problems measured at points that
    differ by more than half a step are guessed one by one.
    """
    fittable = np.flatnonzero((data.status == Status.RUNNING.value) & (data.valid > 0))
    if not len(fittable):  # nothing will be searched; the start only gives the number of parameters
        return np.ones(len(model.parameter_names)) if hasattr(model, "parameter_names") else _guess(model, data, 0)
    if len(fittable) == 1:
        return _guess(model, data, int(fittable[0]))
    grid = _common_grid(data, fittable)
    if grid is not None:
        return _guess_of_mean(model, data, fittable, grid)
    first = _guess(model, data, int(fittable[0]))
    out = np.repeat(first[None], len(data.y), axis=0)
    for b in fittable[1:]:
        out[b] = _guess(model, data, int(b))
    return out


def _common_grid(data: Data, problems: Array) -> Array | None:
    """The points of all problems, (N, ...): shared, or the mean of points that differ by at most half a step."""
    if not data.own_t:
        return data.t
    own = data.t[problems]
    if (own == own[:1]).all():
        return own[0]
    mean: Array = own[0] + (own - own[:1]).mean(axis=0)
    steps = np.abs(np.diff(np.sort(mean)))
    steps = steps[steps > 0]
    near = len(steps) and np.abs(own - mean).max() <= 0.5 * np.median(steps)
    return mean if near else None


def _guess(model: Guesses, data: Data, problem: int) -> Array:
    """The guess for one problem, from all its right-hand sides that have enough rows in common."""
    t = data.t[problem] if data.own_t else data.t
    y, used = data.y[problem], data.used(problem)
    if not used.all():
        rows: Array = np.asarray(used.any(axis=1))
        if not used[rows].all():
            rows, chosen = _together(used, np.sum(np.abs(y) ** 2, axis=0))
            y = y[:, chosen]
        return _asked(model, t, y, rows)
    return _asked(model, t, y, used[:, 0])


def _guess_of_mean(model: Guesses, data: Data, problems: Array, t: Array) -> Array:
    """The guess from the mean over the problems, at the rows that most of them have in common."""
    y = data.y[problems]
    if data.weights is None:
        return _asked(model, t, y.mean(axis=0), np.ones(len(t), dtype=bool))
    weights = data.weights if len(data.weights) == 1 else data.weights[problems]
    used = weights > 0 if data.separate else (weights > 0)[:, :, None]
    used = np.asarray(used.all(axis=2))
    rows: Array = np.asarray(used.all(axis=0))
    if len(used) > 1 and 2 * rows.sum() < used.sum(axis=1).max():
        rows, chosen = _together(used.T, np.sum(np.abs(y) ** 2, axis=(1, 2)))
        y = y[chosen]
    if not rows.any():
        counts = [data.used(int(b)).any(axis=1).sum() for b in problems]
        return _guess(model, data, int(problems[int(np.argmax(counts))]))
    return _asked(model, t, y.mean(axis=0), rows)


def _together(used: Array, energy: Array) -> tuple[Array, Array]:
    """Rows (N,) bool, and which of M curves have all of them; used (N, M), energy (M,).

    Curves are added in the order of their number of rows, then of their energy, while half the rows of the first
    remain.
    """
    counts = used.sum(axis=0)
    order = np.lexsort([-energy, -counts])[:MOST_COMPARED]
    rows, chosen = used[:, order[0]].copy(), [int(order[0])]
    for k in order[1:]:
        both = rows & used[:, k]
        if both.sum() >= SHARED_ROWS * counts[order[0]]:
            rows = both
            chosen.append(int(k))
    return rows, np.array(chosen)


def _asked(model: Guesses, t: Array, y: Array, rows: Array) -> Array:
    """The model's guess from some rows of t and y (N, K); a model that needs the whole grid gets NaN in the others."""
    flat = y[:, 0] if y.shape[1] == 1 else y
    if rows.all():
        return np.asarray(model.guess(t.copy(), flat))
    if getattr(model, "needs_grid", False):
        values = np.array(flat)
        values[~rows] = np.nan
        return np.asarray(model.guess(t.copy(), values))
    return np.asarray(model.guess(t[rows], flat[rows]))
