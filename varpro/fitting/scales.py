"""The scales of a user's columns, which set the steps of differences and are measured by the differences themselves.

A pair (column j, parameter p) has two lengths: L = sqrt(|f'| / |f'''|), over which the derivative changes, and
F = |f| / |f'|, over which the column changes.  With rounding eta |f| the best steps are

    4th order  h = L (11 eta F / L)^(1/5)        2nd order  h = L (3 eta F / L)^(1/3)        1st  h = 2 sqrt(eta F L)

so no units enter.  Gill, Murray, Saunders and Wright, SIAM J. Sci. Stat. Comput. 4 (1983) 310-321, choose steps in a
similar way from second differences.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.fitting.stencil import Plan, Slopes, largest

EPS = float(np.finfo(float).eps)
SATURATED, BURIED, UNTOLD = 0.05, 1e2, 1e11
"""h^2 f''' / f' above which a step is too long; change over rounding below which it is too short, where f''' is seen
and where it is not."""
WITHIN, NOTICED = 1e3, 1e6
"""Steps beyond which a length is not extrapolated; ratio of F to the least F up to which a column's L counts."""
CLOSE, LARGEST = 5.0, 1e-3
"""Factor from the best step that is close enough; limit of 11 eta F / L, which keeps steps below L / 4."""
WIDEST = 1e18
"""How far from the first step the search for another one goes."""


@dataclass
class Scales:
    """What is known of B problems (rows) and P parameters."""

    table: Array
    """The four arrays below, (B, 4, P)."""

    @classmethod
    def unknown(cls, count: int, guess: Array) -> "Scales":
        """Nothing has been measured yet; guess (P,) > 0 is the scale to begin with."""
        one = np.stack([np.full(guess.shape, np.nan), np.zeros(guess.shape), guess, guess])
        return cls(np.broadcast_to(one, (count, *one.shape)).copy())

    @property
    def centre(self) -> Array:
        """Where the scales were measured, (B, P); NaN where that is still to be done."""
        return self.table[:, 0]

    @property
    def radius(self) -> Array:
        """How far from there they hold, (B, P)."""
        return self.table[:, 1]

    @property
    def length(self) -> Array:
        """The L of the column with the shortest, (B, P)."""
        return self.table[:, 2]

    @property
    def reach(self) -> Array:
        """The F of the column that moves most, (B, P)."""
        return self.table[:, 3]

    def of(self, problems: Array | slice) -> "Scales":
        """Rows of problems, copied."""
        return Scales(self.table[problems].copy() if isinstance(problems, slice) else self.table[problems])

    def store(self, problems: Array, w: Array, length: Array, reach: Array) -> None:
        """Store what was measured at w (b, P)."""
        self.table[problems] = np.stack([w.real, 0.5 * length, length, reach], axis=1)

    def step(self, order: int, noise: float) -> Array:
        """The best step of the formula of that order, (b, P)."""
        ratio = noise * self.reach / self.length
        if order == 1:
            return 2.0 * self.length * np.sqrt(ratio)
        power, factor = (0.2, 11.0) if order == 4 else (1.0 / 3.0, 3.0)
        return self.length * np.minimum(factor * ratio, LARGEST) ** power


@dataclass(frozen=True)
class Verdict:
    """What the points of a formula say about its steps."""

    moves: Array
    """Whether a column responds to the parameter, (b, P) bool."""
    length: Array
    """The L of the column with the shortest among those that move noticeably, (b, P)."""
    reach: Array
    """The F of the column that moves most, (b, P)."""
    too_long: Array
    """Whether columns bend too much over the step, or are not finite, (b, P) bool."""
    too_short: Array
    """Whether rounding hides the effect of the step, (b, P) bool."""
    ideal: Array
    """The best step, as far as this one can tell, (b, P)."""
    relative: Array
    """The error of the column that moves most, relative to its derivative, (b, P); infinite where none moves."""
    error: Array
    """A bound on the error of D anywhere in the column, (b, M)."""

    @classmethod
    def empty(cls, h: Array, error: Array) -> "Verdict":
        """A verdict to be filled in."""
        no, nan = (np.zeros(h.shape, dtype=bool) for _ in range(3)), (np.full(h.shape, np.nan) for _ in range(3))
        return cls(next(no), next(nan), next(nan), next(no), next(no), next(nan), np.full(h.shape, np.inf), error)

    def settled(self, h: Array) -> Array:
        """Whether the step will do, (b, P)."""
        with np.errstate(all="ignore"):
            close = np.abs(np.log(h / self.ideal)) < np.log(CLOSE)
        return ~self.too_long & ~self.too_short & close


@dataclass(frozen=True)
class Bracket:
    """Where the best steps (b, P) lie, as far as is known, and which ones to try next."""

    h: Array
    low: Array
    high: Array
    first: Array
    leap: float

    @classmethod
    def around(cls, h: Array) -> "Bracket":
        """A bracket that knows nothing yet."""
        return cls(h, np.zeros(h.shape), np.full(h.shape, np.inf), h, 1e2)

    def of(self, rows: Array) -> "Bracket":
        """The bracket of some problems."""
        return Bracket(self.h[rows], self.low[rows], self.high[rows], self.first[rows], self.leap)

    def after(self, used: Array, verdict: Verdict) -> tuple["Bracket", Array]:
        """The bracket after a trial, and (b, P) where no step can be found because nothing moves or nothing is smooth.

        The next step is the ideal one if it is known, else the middle of the bracket, else a leap that keeps growing.
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

    guessed (P,) bool : parameters whose first step is a mere guess; it has to grow until a column bends, or until all
    columns show its effect.
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
    blind = (found.gap > SATURATED * found.size) & (found.gap > 10.0 * change)  # a narrow line falls between the points
    wild = ~finite | blind | ((bend > SATURATED) & told)
    verdict = Verdict.empty(h, np.where(finite & ~blind, error, np.inf))
    for p in plan.parameters:
        mine = of == p
        moved = (change[:, mine] > 0) & np.isfinite(reach[:, mine])
        nearest = np.where(moved, reach[:, mine], np.inf).min(axis=1)
        counts = moved & (reach[:, mine] <= NOTICED * nearest[:, None])
        some = counts.any(axis=1)
        seen = counts & told[:, mine]
        known = seen.any(axis=1)  # otherwise it is only known that the length is no shorter
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
