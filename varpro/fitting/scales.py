"""The scales of a user's columns, from which the steps of differences follow; they are measured by the differences.

A pair (column j, parameter p) has two lengths: L = sqrt(|f'| / |f'''|), over which the derivative changes, and
F = |f| / |f'|, over which the column does.  With rounding eta |f| the best steps are

    4th order  h = L (11 eta F / L)^(1/5)        2nd order  h = L (3 eta F / L)^(1/3)        1st  h = 2 sqrt(eta F L)

so no unit enters.  Gill, Murray, Saunders and Wright, SIAM J. Sci. Stat. Comput. 4 (1983) 310-321, choose steps
likewise, from second differences.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.fitting.stencil import Plan, Slopes, largest

EPS = float(np.finfo(float).eps)
SATURATED, BURIED, UNTOLD = 0.05, 1e2, 1e11
"""h^2 f''' / f' above which a step is no longer small; change over rounding below which it shows too little, where f'''
is seen, and where it is not."""
WITHIN, NOTICED = 1e3, 1e6
"""Steps beyond which a length is not extrapolated; F over the least F up to which a column's L counts."""
CLOSE, LARGEST = 5.0, 1e-3
"""Factor of the best step that is good enough; limit of 11 eta F / L, so that steps stay below L / 4."""
WIDEST = 1e18
"""How far from the first step another one is looked for."""


@dataclass
class Scales:
    """What is known of B problems (rows) and P parameters."""

    table: Array
    """(B, 4, P): the four below"""

    @classmethod
    def unknown(cls, count: int, guess: Array) -> "Scales":
        """Nothing measured yet; guess (P,) > 0 is a scale to begin with."""
        one = np.stack([np.full(guess.shape, np.nan), np.zeros(guess.shape), guess, guess])
        return cls(np.broadcast_to(one, (count, *one.shape)).copy())

    @property
    def centre(self) -> Array:
        """(B, P) where it was measured; NaN where that is to be done."""
        return self.table[:, 0]

    @property
    def radius(self) -> Array:
        """(B, P) how far from there it holds."""
        return self.table[:, 1]

    @property
    def length(self) -> Array:
        """(B, P) L of the column with the shortest."""
        return self.table[:, 2]

    @property
    def reach(self) -> Array:
        """(B, P) F of the column that moves most."""
        return self.table[:, 3]

    def of(self, problems: Array | slice) -> "Scales":
        """Rows of problems, copied."""
        return Scales(self.table[problems].copy() if isinstance(problems, slice) else self.table[problems])

    def store(self, problems: Array, w: Array, length: Array, reach: Array) -> None:
        """What was measured at w (b, P)."""
        self.table[problems] = np.stack([w.real, 0.5 * length, length, reach], axis=1)

    def step(self, order: int, noise: float) -> Array:
        """(b, P) of the formula of that order."""
        ratio = noise * self.reach / self.length
        if order == 1:
            return 2.0 * self.length * np.sqrt(ratio)
        power, factor = (0.2, 11.0) if order == 4 else (1.0 / 3.0, 3.0)
        return self.length * np.minimum(factor * ratio, LARGEST) ** power


@dataclass(frozen=True)
class Verdict:
    """What a formula's points say of its steps."""

    moves: Array
    """(b, P) bool: a column answers to the parameter"""
    length: Array
    """(b, P) L of the column with the shortest, among those that move noticeably"""
    reach: Array
    """(b, P) F of the column that moves most"""
    too_long: Array
    """(b, P) bool: columns bend too much over the step, or are not finite"""
    too_short: Array
    """(b, P) bool: rounding hides what the step does"""
    ideal: Array
    """(b, P) the best step, as far as this one can tell"""
    relative: Array
    """(b, P) error of the column that moves most, relative to its derivative; infinite where none moves"""
    error: Array
    """(b, M) of D, as large as it may be anywhere in the column"""

    @classmethod
    def empty(cls, h: Array, error: Array) -> "Verdict":
        """To be filled in."""
        no, nan = (np.zeros(h.shape, dtype=bool) for _ in range(3)), (np.full(h.shape, np.nan) for _ in range(3))
        return cls(next(no), next(nan), next(nan), next(no), next(no), next(nan), np.full(h.shape, np.inf), error)

    def settled(self, h: Array) -> Array:
        """(b, P) whether the step serves."""
        with np.errstate(all="ignore"):
            close = np.abs(np.log(h / self.ideal)) < np.log(CLOSE)
        return ~self.too_long & ~self.too_short & close


@dataclass(frozen=True)
class Bracket:
    """Where the best steps (b, P) lie, as far as is known, and the ones to try next."""

    h: Array
    low: Array
    high: Array
    first: Array
    leap: float

    @classmethod
    def around(cls, h: Array) -> "Bracket":
        """Nothing is known."""
        return cls(h, np.zeros(h.shape), np.full(h.shape, np.inf), h, 1e2)

    def of(self, rows: Array) -> "Bracket":
        """Some problems."""
        return Bracket(self.h[rows], self.low[rows], self.high[rows], self.first[rows], self.leap)

    def after(self, used: Array, verdict: Verdict) -> tuple["Bracket", Array]:
        """The bracket after a trial, and (b, P) where no step can be found: nothing moves, or nothing is smooth.

        The next step is the ideal one where it is told, else the middle of the bracket, else a leap that grows.
        """
        high = np.where(verdict.too_long, np.minimum(self.high, used), self.high)
        low = np.where(verdict.too_short, np.maximum(self.low, used), self.low)
        closed = (low > 0) & np.isfinite(high)
        leaped = np.where(np.isfinite(high), used / self.leap, np.where(low > 0, used * self.leap, used))
        blind = np.where(closed, np.sqrt(low) * np.sqrt(np.where(closed, high, 1.0)), leaped)
        told = np.isfinite(verdict.ideal) & ~verdict.too_long & ~verdict.too_short
        h = np.where(told, np.clip(verdict.ideal, 1e-4 * used, 1e4 * used), blind)
        lost = (high < 2.0 * low) | (h > WIDEST * self.first) | (h < self.first / WIDEST)
        return Bracket(h, low, high, self.first, min(self.leap**2, 1e8)), lost


def judge(found: Slopes, h: Array, plan: Plan, noise: float, guessed: Array | None = None) -> Verdict:
    """Lengths and errors from slopes of fourth order with steps h (b, P).

    guessed (P,) bool : parameters whose first step came from nowhere; it has to be longer until a column bends, or all
    columns show what it does.
    """
    of = plan.pairs[:, 1]
    step, slope, third = h[:, of], largest(found.d), largest(found.third)
    change, rounding = slope * step, noise * found.size
    finite = np.isfinite(found.d).any(axis=1) | (found.size == 0)
    with np.errstate(all="ignore"):
        told = third > 32.0 * rounding
        bend = np.maximum(third, 8.0 * rounding) / change  # cubic over linear change, at least what rounding hides
        length = np.minimum(step / np.sqrt(bend), WITHIN * step)
        reach = found.size * step / change
        error = np.where(change > 0, 0.2 * np.minimum(bend, 1.0) ** 2 * slope, 0.0) + 2.0 * rounding / step
    blind = (found.gap > SATURATED * found.size) & (found.gap > 10.0 * change)  # a narrow line is on no point of theirs
    wild = ~finite | blind | ((bend > SATURATED) & told)
    verdict = Verdict.empty(h, np.where(finite & ~blind, error, np.inf))
    for p in plan.parameters:
        mine = of == p
        moved = (change[:, mine] > 0) & np.isfinite(reach[:, mine])
        nearest = np.where(moved, reach[:, mine], np.inf).min(axis=1)
        counts = moved & (reach[:, mine] <= NOTICED * nearest[:, None])
        some = counts.any(axis=1)
        seen = counts & told[:, mine]
        known = seen.any(axis=1)  # else a length is only known to be no shorter
        shortest = np.where(np.where(known[:, None], seen, counts), length[:, mine], np.inf).min(axis=1)
        with np.errstate(all="ignore"):
            ideal = shortest * np.minimum(11.0 * noise * nearest / shortest, LARGEST) ** 0.2
        verdict.moves[:, p], verdict.ideal[:, p] = some, np.where(some, ideal, np.nan)
        with np.errstate(all="ignore"):
            relative = np.where(counts, verdict.error[:, mine] / slope[:, mine], np.inf).min(axis=1)
        verdict.reach[:, p], verdict.length[:, p] = np.where(some, nearest, np.nan), np.where(some, shortest, np.nan)
        verdict.too_long[:, p] = (wild[:, mine] & (counts | ~moved | blind[:, mine])).any(axis=1)
        enough = change[:, mine] > np.where(known, BURIED, UNTOLD)[:, None] * rounding[:, mine]
        verdict.relative[:, p] = np.where(verdict.too_long[:, p], np.inf, relative)
        shown = enough.any(axis=1)
        if guessed is not None and guessed[p]:
            shown = np.where(known, shown, enough.all(axis=1))
        verdict.too_short[:, p] = ~shown & ~verdict.too_long[:, p]
    return verdict
