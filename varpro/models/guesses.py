"""What all guesses of starting values share.  Nothing here raises on bad data; even the worst start is finite.

Each model proposes a few starts, and the one whose columns leave the least of y is used:

    w_0 = argmin over starts of min_A ||Y - Phi(w) A||
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from varpro.arrays import Array
from varpro.errors import ShapeError

MOST_ROWS = 2000
"""Most rows used in a search over many candidates: a start needs no more, and a long record stays cheap."""
EVEN = 1e-6
"""Relative spread of the steps up to which t counts as equidistant."""
ROUNDING = float(np.finfo(float).eps)
SWEEPS = 5
"""Most rounds of the exchange in `selected`, which ends as soon as nothing changes."""


@dataclass(frozen=True)
class Signal:
    """Data prepared for inspection: real, finite, in the order of t."""

    t: Array
    """The points, (N,) float, strictly ascending."""
    y: Array
    """The values, (N, K) float; real and imaginary parts are separate columns."""

    @classmethod
    def of(cls, t: Array, y: Array) -> Self:
        """t (N,), y (N,) or (N, K); rows that are not finite are dropped, and all but one of the rows with equal t.

        Raises ShapeError if they do not fit together.
        """
        t, y = checked_points(t, y)
        table = y.reshape(len(t), -1)
        table = np.concatenate([table.real, table.imag], axis=1) if np.iscomplexobj(table) else table.astype(float)
        rows = np.flatnonzero(finite_rows(table, t))
        if len(rows) == len(t) and (t[1:] > t[:-1]).all():
            return cls(t, table)
        _, first = np.unique(t[rows], return_index=True)
        return cls(t[rows[first]], table[rows[first]])

    @property
    def size(self) -> int:
        return len(self.t)

    @property
    def span(self) -> float:
        """The length of the range of t; 1 if there is none."""
        return float(self.t[-1] - self.t[0]) if self.size > 1 else 1.0

    @property
    def first(self) -> float:
        return float(self.t[0]) if self.size else 0.0

    @cached_property
    def step(self) -> float:
        """The median distance of neighbouring points."""
        if self.size < 2:
            return 1.0
        steps, middle = np.sort(np.diff(self.t)), (self.size - 2) // 2
        return float(steps[middle] + steps[-1 - middle]) / 2.0

    def rows(self, first: int, last: int | None = None) -> "Signal":
        return Signal(self.t[first:last], self.y[first:last])

    def uniform(self) -> "Signal":
        """The signal on an equidistant grid, interpolated if it is not on one already."""
        steps = np.diff(self.t)
        if self.size < 3 or np.ptp(steps) <= EVEN * steps.max() + 4 * ROUNDING * np.abs(self.t).max():
            return self
        grid = np.linspace(self.t[0], self.t[-1], self.size)
        return Signal(grid, np.stack([np.interp(grid, self.t, column) for column in self.y.T], axis=1))

    def averaged(self, block: int) -> "Signal":
        """Means of `block` rows: with equidistant t, exponentials stay exponentials while noise averages out."""
        if block <= 1:
            return self
        count = self.size // block
        shape = (count, block)
        t = self.t[: count * block].reshape(shape).mean(axis=1)
        return Signal(t, self.y[: count * block].reshape(*shape, -1).mean(axis=1))

    def compressed(self, rank: int) -> "Signal":
        """At most `rank` channels: the leading left singular vectors times their singular values."""
        if self.y.shape[1] <= rank:
            return self
        u, s, _ = np.linalg.svd(self.y, full_matrices=False)
        return Signal(self.t, u[:, :rank] * s[:rank])


def checked_points(t: Array, y: Array) -> tuple[Array, Array]:
    """t (N,) as float64 and y (N,) or (N, K) as an array.  Raises ShapeError if they do not fit together."""
    t, y = np.asarray(t, dtype=float), np.asarray(y)
    if t.ndim != 1 or y.ndim not in (1, 2) or len(y) != len(t):
        raise ShapeError(f"t has shape {t.shape}, y has {y.shape}; a guess needs t (N,) and y (N,) or (N, K)")
    if not y.size:
        raise ShapeError(f"y has shape {y.shape}; a guess needs at least one value")
    return t, y


def finite_rows(*tables: Array) -> Array:
    """(N,) bool: the rows in which every table, (N,) or (N, K), is finite."""
    return np.logical_and.reduce([np.isfinite(table.reshape(len(table), -1)).all(axis=1) for table in tables])


def _lengths(columns: Array) -> Array:
    """The lengths of the columns; 1 for those without a usable one, which a division then leaves as they are."""
    length = np.linalg.norm(columns, axis=0)
    return np.where((length > 0.0) & np.isfinite(length), length, 1.0)


def amplitudes(phi: Array, y: Array) -> Array:
    """The best A for finite phi (N, I) and y (N,) or (N, K), of minimum norm; columns are first scaled to length 1."""
    scale = _lengths(phi)
    try:
        a = np.linalg.lstsq(phi / scale, y, rcond=None)[0]
    except np.linalg.LinAlgError:
        a = np.zeros((phi.shape[1], *y.shape[1:]))
    return (a.T / scale).T


def remainder(phi: Array, y: Array) -> float:
    """min_A ||y - phi A||^2 for y (N,) or (N, K), by modified Gram-Schmidt; infinite unless phi is finite."""
    if not np.isfinite(phi).all():
        return np.inf
    columns, rest = list((phi / _lengths(phi)).T), y
    while columns:
        x = columns.pop(0)
        length = math.sqrt(np.vdot(x, x).real)
        if length > ROUNDING * len(y):  # otherwise the columns before it span this one
            unit = x / length
            columns = [other - np.vdot(unit, other) * unit for other in columns]
            rest = rest - np.multiply.outer(unit, unit.conj() @ rest)
    return float(np.vdot(rest, rest).real)


def remainder_at(model: Callable[[Array, Array], Array], t: Array, y: Array, w: Array) -> float:
    """What the model's columns at w leave of y, over the rows where t and y are finite."""
    rows = finite_rows(t, y)
    return _remainder_of_rows(model(t, w), y, rows)


def _remainder_of_rows(phi: Array, y: Array, rows: Array) -> float:
    return remainder(phi, y) if rows.all() else remainder(phi[rows], y[rows])


def best_start(model: Callable[[Array, Array], Array], t: Array, y: Array, starts: Sequence[Array]) -> Array:
    """The finite start with the least remainder; the first among equals, and ones if none is finite."""
    t, y = np.asarray(t), np.asarray(y)
    usable = [w for w in starts if np.all(np.isfinite(w))] or [np.ones(len(starts[0]))]
    rows = finite_rows(t, y)
    costs = [_remainder_of_rows(model(t, w), y, rows) for w in usable]
    return usable[int(np.argmin(costs))]


def selected(dictionary: Array, fixed: Array, y: Array, n: int) -> list[int]:
    """Which n columns of a dictionary (N, G), with fixed (N, F), leave the least of y (N, K): greedy, then by exchange.

    All are finite, G >= n.  One QR compresses the rows.
    """
    if len(y) > MOST_ROWS:
        rows = np.unique(np.linspace(0, len(y) - 1, MOST_ROWS).astype(int))
        fixed, dictionary, y = fixed[rows], dictionary[rows], y[rows]
    q, r = np.linalg.qr(np.concatenate([fixed, dictionary], axis=1))
    r, b = r / _lengths(r), q.T @ y
    table = np.concatenate([r, b / (np.abs(b).max(initial=0.0) or 1.0)], axis=1)
    for j in range(fixed.shape[1]):
        table = _apart_from(table, j)
    table, size = table[:, fixed.shape[1] :], dictionary.shape[1]
    known: dict[frozenset[int], int] = {}

    def best_beside(others: list[int]) -> int:
        if frozenset(others) not in known:  # the last round of the exchange asks again what the one before it did
            known[frozenset(others)] = _best_addition(table, size, others)
        return known[frozenset(others)]

    chosen: list[int] = []
    for _ in range(n):
        chosen.append(best_beside(chosen))
    for _ in range(SWEEPS if n > 1 else 0):
        before = list(chosen)
        for i in range(n):
            chosen[i] = best_beside(chosen[:i] + chosen[i + 1 :])
        if chosen == before:
            break
    return chosen


def _best_addition(table: Array, size: int, others: list[int]) -> int:
    """Which of the first `size` columns of a table leaves least of the columns behind them, beside some others of them.

    With x and r what the others leave of a column and of those behind, it takes away ||r^T x||^2 / ||x||^2; a column
    that the others span takes nothing.  The first columns had length 1.
    """
    for g in others:
        table = _apart_from(table, g)
    x, r = table[:, :size], table[:, size:]
    squares = np.einsum("ng,ng->g", x, x)
    independent = squares > (ROUNDING * len(table)) ** 2
    gain = np.where(independent, np.sum((r.T @ x) ** 2, axis=0) / np.where(independent, squares, 1.0), 0.0)
    gain[others] = -1.0
    return int(np.argmax(gain))


def _apart_from(table: Array, column: int) -> Array:
    """What is left of a table's columns without their parts along one of them; all, if nothing is left of that one.

    One after another this is the modified Gram-Schmidt process.  Lengths were 1, so what is below rounding is nothing.
    """
    x = table[:, column]
    length = math.sqrt(x @ x)
    if length <= ROUNDING * len(table):
        return table
    unit = x / length
    return table - np.outer(unit, unit @ table)
