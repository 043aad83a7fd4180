"""Numeric derivatives of a user's columns, with steps taken from the scales of the columns themselves.

The scales are measured per problem, at the point of use and with the fourth-order formula itself, and again once a
parameter has left the radius in which they hold.  The complex step, Im f(w + i h) / h, has no error of its own but is
right only for functions that are analytic as written, so every measurement also tests it.  Squire and Trapp, SIAM Rev.
40 (1998) 110-112.
"""

from dataclasses import dataclass, replace

import numpy as np

from varpro.arrays import Array
from varpro.fitting.agreement import AGREES, CLEARLY, disagreement
from varpro.fitting.complex_parts import without_discarding
from varpro.fitting.scales import EPS, Bracket, Scales, judge
from varpro.fitting.stencil import (
    FOURTH,
    SECOND,
    Plan,
    Quotients,
    Slopes,
    Values,
    largest,
    place,
    points,
    representable,
    slopes,
)

IMAGINARY = 1e-20
"""Complex step over L: its square is far below eps, yet it still shows a column of 1e-280."""
FAR = 4.0
"""The cheap formulas serve up to this many radii from the measurement: their error grows by 16 at most."""
ATTEMPTS = 8
"""Most tries for a step that fits."""


@dataclass
class Numeric:
    """How the columns of a function are differentiated, for any number of problems."""

    plan: Plan
    scales: Scales
    lower: Array
    """The least parameters (P,); no point is taken below them, nor above `upper`."""
    upper: Array
    noise: float = EPS
    """The rounding error of the function, relative to a column's largest value."""
    exact: bool = False
    """Whether the complex step is right, as far as the tests have shown."""
    given: bool = False
    """Whether the user has asked for the complex step or for differences, which no test overrules."""
    stacked: int = 0
    """The most problems whose points all go into one call; 0 if the function takes one point at a time."""

    def derivatives(self, values: Values, w: Array, problems: Array, *, fine: bool, cheap: bool) -> Array:
        """D (b, N, M) at w (b, P).

        fine : as accurate as possible, tested on the spot.  cheap : real arithmetic of second order while the scales
        hold; without it, the complex step where it is exact.
        """
        if self.exact and self.given:
            return self.complex_step(values, w, problems)
        if fine:
            return self.measured(values, w, problems)
        now = self._scales(problems)
        stale = ~self._near(now, w, FAR if cheap or not self.exact else 1.0)
        if stale.all():
            return self.measured(values, w, problems)
        use = self._second if cheap or not self.exact else self._trusted
        if not stale.any():
            return use(values, w, problems, now)
        rest = ~stale
        part = use(values, w[rest], problems[rest], now.of(rest))
        return _merged(stale, self.measured(values, w[stale], problems[stale]), part)

    def forward(self, values: Values, w: Array, problems: Array, base: Array, rows: Array) -> Array:
        """D (b, N, M) of first order from the columns at w, base[rows] (b, N, I): one evaluation for each group."""
        now = self._scales(problems)
        stale = ~self._near(now, w, FAR)
        if stale.all():
            return self.measured(values, w, problems)
        if not stale.any():
            return self._first(values, w, problems, base, rows, now)
        rest = ~stale
        part = self._first(values, w[rest], problems[rest], base, rows[rest], now.of(rest))
        return _merged(stale, self.measured(values, w[stale], problems[stale]), part)

    def complex_step(self, values: Values, w: Array, problems: Array) -> Array:
        """D (b, N, M); here a warning that an imaginary part is discarded counts as an error.

        The step is a power of two, so that dividing by it rounds nothing.
        """
        h = self.imaginary_steps(self._place(problems))
        moved = []
        for group in self.plan.groups:
            v = w.astype(complex)
            v[:, group.parameters] += 1j * h[:, group.parameters]
            moved.append(v)
        out = np.empty(0)
        with without_discarding():
            found = points(values, moved, problems, stacked=len(w) <= self.stacked)
            for group, f in zip(self.plan.groups, found, strict=True):
                if not out.size:
                    out = np.empty((len(w), f.shape[1], len(self.plan.pairs)))
                out[:, :, group.pairs] = np.imag(f[:, :, group.columns]) / h[:, None, group.of_pair]
        return out

    def imaginary_steps(self, places: Array | slice) -> Array:
        """The complex steps (b, P) at places of the scales."""
        return np.exp2(np.round(np.log2(IMAGINARY * self.scales.of(places).length)))

    def trusted_at(self, w: Array) -> bool:
        """Whether a search of one problem takes the complex step at w (1, P) without another test."""
        return self.exact and (self.given or bool(self._near(self.scales, w, 1.0)[0]))

    def measured(self, values: Values, w: Array, problems: Array) -> Array:
        """D (b, N, M) of fourth order, or by the complex step where the two agree; this also measures the scales."""
        d, error = self.fourth_order(values, w, problems)
        if not self.exact:
            return d
        exact = self.complex_step_or_none(values, w, problems)
        if exact is None:
            self.exact = False
            return d
        off, size = disagreement(exact, d, error)
        self.exact = bool((off <= CLEARLY * size).all())
        return np.where((off <= AGREES * size)[:, None], exact, d)

    def fourth_order(
        self, values: Values, w: Array, problems: Array, *, base: Array | None = None, attempts: int = ATTEMPTS,
        guessed: Array | None = None,
    ) -> tuple[Array, Array]:  # fmt: skip
        """D (b, N, M) and a bound (b, M) on its error anywhere in the column; stores the scales.

        base : the columns (b, N, I) at w, if they are known.  guessed (P,) bool : see `judge`.
        """
        now = self._scales(problems)
        base = values(w, problems) if base is None else base
        hopeless: Array = np.asarray(~np.isfinite(base).any(axis=(1, 2)))
        search, least = Bracket.around(now.step(4, self.noise)), np.full(w.shape, np.inf)
        length, reach = now.length.copy(), now.reach.copy()
        out = error = np.empty(0)
        todo = np.arange(len(w))
        for attempt in range(attempts):
            found, used = self._at(values, w[todo], problems[todo], search.h, base[todo])
            verdict = judge(found, used, self.plan, self.noise, guessed)
            if not out.size:
                out, error = found.d, verdict.error
            else:
                worse = ~(error[todo] <= verdict.error)
                error[todo] = np.where(worse, verdict.error, error[todo])
                out[todo] = np.where(worse[:, None], found.d, out[todo])
            search, lost = search.after(used, verdict)
            done = (verdict.settled(used) | lost).all(axis=1) | hopeless[todo] | (attempt == attempts - 1)
            better = (verdict.relative < least[todo]) | verdict.settled(used)
            least[todo] = np.where(better, verdict.relative, least[todo])
            length[todo] = np.where(better, verdict.length, length[todo])
            reach[todo] = np.where(better, verdict.reach, reach[todo])
            todo, search = todo[~done], search.of(~done)
            if not len(todo):
                break
        self.scales.store(self._place(problems), w, length, reach)
        return out, error

    def _at(self, values: Values, w: Array, problems: Array, h: Array, base: Array) -> tuple[Slopes, Array]:
        """Slopes with steps of about h on the side where the model is finite, and the steps."""
        stacked = len(w) <= self.stacked
        used, side = place(w, h, self.lower, self.upper, FOURTH)
        found = slopes(values, w, problems, used, side, FOURTH, self.plan, stacked=stacked, base=base)
        if not np.isfinite(found.d.sum()):
            self._repair(values, w, problems, found, used, side, base)
        return found, used

    def _repair(
        self, values: Values, w: Array, problems: Array, found: Slopes, h: Array, side: Array, base: Array
    ) -> None:
        """Use the other side for problems whose model is finite at w (base) but not at every point around it."""
        columns = self.plan.pairs[:, 0]
        lost: Array = np.asarray((~np.isfinite(found.d) & np.isfinite(base)[:, :, columns]).any(axis=1))
        for turned in (1, -1):
            rows = np.flatnonzero(lost.any(axis=1))
            if not len(rows):
                break
            room = (self.upper - w.real if turned > 0 else w.real - self.lower)[rows]
            wide = np.zeros(w.shape, dtype=bool)
            for m, p in enumerate(self.plan.pairs[:, 1]):
                wide[:, p] |= lost[:, m]
            turn = wide[rows] & (room > 5.0 * h[rows])
            new = np.where(turn, turned, side[rows])
            steps = representable(w[rows], h[rows], new)
            again = slopes(
                values, w[rows], problems[rows], steps, new, FOURTH, self.plan, stacked=len(rows) <= self.stacked,
                base=base[rows],
            )  # fmt: skip
            fine: Array = np.asarray(~(~np.isfinite(again.d) & np.isfinite(base[rows])[:, :, columns]).any(axis=1))
            take = lost[rows] & fine
            found.d[rows] = np.where(take[:, None], again.d, found.d[rows])
            found.third[rows] = np.where(take[:, None], again.third, found.third[rows])
            lost[rows] &= ~take

    def _second(self, values: Values, w: Array, problems: Array, now: Scales) -> Array:
        """Central differences; at a bound, one-sided ones of the same order."""
        h, side = place(w, now.step(2, self.noise), self.lower, self.upper, SECOND)
        stacked = len(w) <= self.stacked
        if not side.any():
            return self._central(values, w, problems, h, stacked)
        d = slopes(values, w, problems, h, side, SECOND, self.plan, stacked=stacked).d
        return d if np.isfinite(d.sum()) else self.measured(values, w, problems)

    def _central(self, values: Values, w: Array, problems: Array, h: Array, stacked: bool) -> Array:
        moved = []
        for group in self.plan.groups:
            for sign in (1.0, -1.0):
                v = w.copy()
                v[:, group.parameters] += sign * h[:, group.parameters]
                moved.append(v)
        found = points(values, moved, problems, stacked=stacked)
        quotients, rows = Quotients(self.plan), np.arange(len(w))
        for g, group in enumerate(self.plan.groups):
            up, down = next(found), next(found)
            quotients.add(group, up, down, rows, moved[2 * g] - moved[2 * g + 1])
        return quotients.d if quotients.finite else self.measured(values, w, problems)

    def _first(self, values: Values, w: Array, problems: Array, base: Array, rows: Array, now: Scales) -> Array:
        h = np.maximum(now.step(1, self.noise), np.spacing(np.abs(w)))
        h = np.where(w.real + h > self.upper, -h, h)
        moved, quotients = [], Quotients(self.plan)
        for group in self.plan.groups:
            v = w.copy()
            v[:, group.parameters] += h[:, group.parameters]
            moved.append(v)
        found = points(values, moved, problems, stacked=len(w) <= self.stacked)
        for group, v, f in zip(self.plan.groups, moved, found, strict=True):
            quotients.add(group, f, base, rows, v - w)
        return quotients.d if quotients.finite else self.measured(values, w, problems)

    def _trusted(self, values: Values, w: Array, problems: Array, now: Scales) -> Array:
        exact = self.complex_step_or_none(values, w, problems)
        if exact is None:
            self.exact = False
            return self._second(values, w, problems, now)
        # past a kink, abs or a real part makes it zero
        return exact if largest(exact).all() else self.measured(values, w, problems)

    def complex_step_or_none(self, values: Values, w: Array, problems: Array) -> Array | None:
        """The complex step; None if the function refuses complex numbers, which each does in its own way."""
        try:
            return self.complex_step(values, w, problems)
        except Exception:
            return None

    def _near(self, now: Scales, w: Array, radii: float) -> Array:
        """(b,) whether the scales hold at w; those with a NaN centre hold nowhere."""
        used = self.plan.parameters
        near: Array = (np.abs(w.real - now.centre)[:, used] <= radii * now.radius[:, used]).all(axis=1)
        return near

    def _scales(self, problems: Array) -> Scales:
        return self.scales.of(self._place(problems))

    def of(self, problem: int) -> "Numeric":
        """The same for one problem, starting from what is known of it."""
        row = min(problem, len(self.scales.table) - 1)
        return replace(self, scales=self.scales.of(slice(row, row + 1)), stacked=0)

    def elsewhere(self) -> "Numeric":
        """The same for one problem at other t, where the lengths are only guesses."""
        scales = self.scales.of(slice(0, 1))
        scales.centre[:] = np.nan
        return replace(self, scales=scales, stacked=0)

    def _place(self, problems: Array) -> Array:
        """Table rows of the problems; a problem searched from several starts at once has a single row."""
        return problems if len(self.scales.table) > 1 else np.zeros_like(problems)


def _merged(yes: Array, first: Array, second: Array) -> Array:
    """Rows of `first` where yes (b,) holds, of `second` elsewhere."""
    out = np.empty((len(yes), *first.shape[1:]), dtype=np.result_type(first, second))
    out[yes], out[~yes] = first, second
    return out
