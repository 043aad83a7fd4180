"""Verdicts on what was found: right, honestly failed, a local minimum, or silently wrong and how.

Objective: rss, plus the ridge's term.  A point is right whose objective is at most

    best + 1e-6 best + rounding,    rounding = 2 ||r|| 16 e + (1000 e)^2 + (2 s)^2

e : what the rounding of terms, data, t and parameters does to the residual (in the norm); s : what the last digit of
the returned parameters does, along the model, where only the square counts.  The best is the least of SciPy's solutions
from the true values, from the fit's own point, and where there is doubt from the fit's start and others around it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from campaign_fits.calls import Found, run
from campaign_fits.errors import deviations
from campaign_fits.problem import Problem, make, start_of
from campaign_fits.truth import Point, Reduced
from campaign_fits.units import Units, natural_units

Array = np.ndarray
RELATIVE = 1e-6
ROUNDINGS = 16.0
"""Roundings of a residual's terms that are allowed: sums and powers round more than once."""
EXACT = 1000.0
"""The same for data without noise, whose residual is rounding: its size says nothing below this many."""
ERROR_BAR = 0.05
TOLD = "other starts were not tried", "the best of "
"""Words of a message that admit that a minimum need not be the lowest."""
KINDS = ("right", "failed", "raised", "local", "no minimum", "wrong")
DOUBTS = 16
"""Every sixteenth problem is searched from more starts, doubt or not."""


@dataclass
class Verdict:
    """On one data set in one system of units."""

    kind: str
    """one of KINDS"""
    cause: str = ""
    """of a failure: early, reported rss, limits, error bar, empty, not finite, another unit; or the status"""
    detail: str = ""
    told: bool = False
    """the message says that other starts were not tried"""


@dataclass
class Case:
    """A judged problem."""

    problem: Problem
    verdicts: dict[str, list[Verdict]]
    """by system of units, for each data set"""

    @property
    def worst(self) -> tuple[str, int, Verdict]:
        """Units, data set and verdict that count."""
        every = [(name, b, v) for name, row in self.verdicts.items() for b, v in enumerate(row)]
        return max(every, key=lambda item: KINDS.index(item[2].kind))


class Best:
    """SciPy's best of the starts tried so far for one data set."""

    def __init__(self, problem: Problem, b: int) -> None:
        self.problem, self.reduced, self.b = problem, problem.references[b], b
        self.reduced.y = problem.y[b][self.reduced.rows]
        self.reduced._seen.clear()
        self.point: Point | None = None
        self._tried_more = False
        self.same_start: Point | None = None
        self.empty = problem.hopeless(b)
        """there is nothing to search"""
        if not self.empty:
            self.add(start_of(problem, self.reduced, problem.w[b]))

    def add(self, u: Array) -> Point | None:
        """Search from u."""
        found = self.reduced.search(u)
        if found is not None and (self.point is None or found.objective < self.point.objective):
            self.point = found
        return found

    def more(self, count: int = 4) -> None:
        """Search from the fit's own start and others around it."""
        if self._tried_more:
            return
        self._tried_more = True
        start = start_of(self.problem, self.reduced, self.problem.start)
        self.same_start = self.add(start)
        rng = np.random.default_rng([self.problem.seed, self.problem.index, self.b, 1])
        for _ in range(count):
            factor = np.exp(0.7 * rng.standard_normal(len(start)))
            self.add(start * factor + (start == 0) * self.reduced.size * rng.standard_normal(len(start)))

    @property
    def objective(self) -> float:
        return np.inf if self.point is None else self.point.objective


Solver = Callable[[Problem, Units], list[Found] | str]


def judged(seed: int, index: int, solver: Solver = run) -> Case:
    """Make the problem, fit it in both systems of units, judge both."""
    problem = make(seed, index)
    with np.errstate(all="ignore"):
        bests = [Best(problem, b) for b in range(len(problem.y))]
        if index % DOUBTS == 0:
            for best in (best for best in bests if not best.empty):
                best.more()
        systems = (natural_units(problem.family, problem.draw), problem.units)
        results = {units.name: solver(problem, units) for units in systems}
        _share_points(bests, results)
        case = Case(problem, {units.name: _row(problem, units, results[units.name], bests) for units in systems})
        _compare_units(case)
        return case


def _compare_units(case: Case) -> None:
    """A local minimum in one system of units only is another answer in another unit, whatever the message admits.

    Not so with further starts: those of a plain function are drawn by factors of w0, which depend on where its zero is.
    """
    if case.problem.options.multistart:
        return
    for row in zip(*case.verdicts.values(), strict=True):
        if {verdict.kind for verdict in row} == {"local", "right"}:
            for verdict in row:
                if verdict.kind == "local":
                    verdict.kind, verdict.cause = "wrong", "another unit, another answer"


def _share_points(bests: list[Best], results: dict[str, list[Found] | str]) -> None:
    """What the fits found counts as a start, where it is better than what SciPy had."""
    for row in results.values():
        for b, found in enumerate(row if isinstance(row, list) else []):
            if bests[b].empty or not np.isfinite(found.w).all() or not np.isfinite(found.a).all():
                continue
            u = start_of(bests[b].problem, bests[b].reduced, found.w)
            if bests[b].reduced.objective_at(u, found.a)[1] < bests[b].objective:
                bests[b].add(u)


def _row(problem: Problem, units: Units, result: list[Found] | str, bests: list[Best]) -> list[Verdict]:
    if isinstance(result, str):
        raised = Verdict("raised", result.split(":")[0], result)
        return [Verdict("right", "raised") if best.empty else raised for best in bests]
    return [verdict(problem, units, found, best) for found, best in zip(result, bests, strict=True)]


def verdict(problem: Problem, units: Units, found: Found, best: Best) -> Verdict:
    """On one data set."""
    if best.empty:
        return Verdict("wrong", "empty", _empty(found)) if found.success else Verdict("right", found.status)
    if not found.success:
        return Verdict("failed", found.status, found.message)
    if not (np.isfinite(found.w).all() and np.isfinite(found.a).all() and np.isfinite(found.rss)):
        return Verdict("wrong", "not finite", f"w {found.w}, rss {found.rss}")
    outside = _outside(problem, units, found)
    if outside:
        return Verdict("wrong", "limits", outside)
    if best.point is None:
        return Verdict("no minimum", "reference", "SciPy finds none")
    reduced = best.reduced
    u = start_of(problem, reduced, found.w)
    rss, objective = reduced.objective_at(u, found.a)
    allowed = _allowance(units, reduced, best.point.u, best.point.b, best.objective)
    if not objective <= best.objective + allowed:
        return _above(units, found, best, u, objective, allowed)
    if not abs(found.rss - rss) <= allowed + RELATIVE * rss:
        return Verdict("wrong", "reported rss", f"reported {found.rss:.6g}, of the parameters {rss:.6g}")
    return _error_bars(problem, units, found, best, u)


def _empty(found: Found) -> str:
    return f"{found.status}: w {found.w} +- {found.errors[: len(found.w)]} from zeros"


def _outside(problem: Problem, units: Units, found: Found) -> str:
    slack = 4 * units.resolution(found.w)
    bad = (found.w < problem.lower - slack) | (found.w > problem.upper + slack)
    if bad.any():
        return f"w {found.w} outside {problem.lower} to {problem.upper}"
    near = 1e-9 * np.abs(found.a).max(initial=0.0)
    if problem.low is not None:
        bad_a = (found.a < problem.low[:, None] - near) | (found.a > problem.high[:, None] + near)
        if bad_a.any():
            return f"amplitudes {found.a.ravel()} outside {problem.low} to {problem.high}"
    if problem.equality is not None:
        c, d = problem.equality
        if not np.abs(c @ found.a - d[:, None]).max() <= 1e-9 * (np.abs(c) @ np.abs(found.a)).max():
            return f"C a is {c @ found.a}, not {d}"
    return ""


def _allowance(units: Units, reduced: Reduced, u: Array, b: Array, objective: float) -> float:
    """What an objective may be above that of a minimum at u with the free amplitudes b."""
    resolution = _resolution(units, reduced, u)
    error, parameters = reduced.rounding(u, reduced.amplitudes(b), resolution)
    linear, square = 2.0 * np.sqrt(objective) * ROUNDINGS * error, (EXACT * error) ** 2
    return RELATIVE * objective + linear + square + (2.0 * parameters) ** 2


def _resolution(units: Units, reduced: Reduced, u: Array) -> Array:
    """(P,) what the last digits of the parameters in these units are."""
    return units.resolution(reduced.matrix @ u + reduced.constant)


def _above(units: Units, found: Found, best: Best, u: Array, objective: float, allowed: float) -> Verdict:
    """The point is not the best: has the search stopped early, or is it another minimum?

    SciPy going on from there says so: a minimum high above the best is one to its own digits, not to those of the best.
    """
    best.more()
    polished = best.add(u)
    reached, here = objective, allowed
    if polished is not None:
        reached = polished.objective
        here = _allowance(units, best.reduced, polished.u, polished.b, reached)
    sigma2 = max(best.objective / max(len(best.reduced.rows) - len(u), 1), np.finfo(float).tiny)
    text = (
        f"objective {objective:.8g}, best {best.objective:.8g} (+{(objective - best.objective) / sigma2:.2g} sigma^2, "
        f"allowed {allowed:.2g}); w {found.w}, best {best.reduced.matrix @ best.point.u + best.reduced.constant}; "
        f"{found.status}, {found.evaluations} evaluations"
    )
    if _no_minimum(best):
        return Verdict("no minimum", "runs away", text)
    if reached < objective - here:
        return Verdict("wrong", "early", text + f"; SciPy goes on from there to {reached:.8g}")
    same = best.same_start.objective if best.same_start is not None else np.inf
    text += f"; SciPy from the same start {same:.8g}"
    cause = "SciPy finds a better one" if same < objective - allowed else "SciPy ends in one, too"
    return Verdict("local", cause, text, any(words in found.message for words in TOLD))


def _no_minimum(best: Best) -> bool:
    """The best point is on its way to infinity, or a column has lost its amplitude."""
    size = np.abs(best.reduced.size)
    if (np.abs(best.point.u) > 1e3 * size).any():
        return True
    return not deviations(best.reduced, best.point.u, best.point.b).condition < 1e9


def _beside_a_bound(reduced: Reduced, found: Found) -> Array | None:
    """(I, K) amplitudes that the fit left free within rounding of a bound, but not on it; None without bounds."""
    a = found.a
    if not reduced.constrained:
        return None
    near, free = 1e-9 * np.abs(a).max(), ~np.isnan(found.errors[len(found.w) :].reshape(a.shape))
    gap = np.minimum(np.abs(a - reduced.low[:, None]), np.abs(a - reduced.high[:, None]))
    return free & (gap <= near) & (gap > 0)


def _error_bars(problem: Problem, units: Units, found: Found, best: Best, u: Array) -> Verdict:
    """Those of the fit beside the ones of the full Jacobian at its own parameters."""
    reduced = best.reduced
    point = reduced.point(u)
    a = reduced.amplitudes(point.b)
    floor, last_digit = reduced.rounding(u, a, _resolution(units, reduced, u))
    size = np.sqrt(best.objective)
    if (size <= 30.0 * EXACT * floor or size <= 100.0 * last_digit) and problem.options.weights != "absolute":
        return Verdict("right")  # the residual is rounding, and so is sigma
    digits = 4.0 * units.resolution(found.w)  # within these of a bound is on it, or not
    on_bound = (np.abs(found.w - problem.lower) <= digits) | (np.abs(found.w - problem.upper) <= digits)
    held = (reduced.matrix[on_bound & np.isnan(found.errors[: len(found.w)])] != 0).any(axis=0)
    d = deviations(reduced, u, point.b, held=held, free_a=_beside_a_bound(reduced, found))
    wanted = np.sqrt(np.diagonal(units.covariance(d.covariance, found.w, a)))
    value = np.abs(np.concatenate([found.w, found.a.ravel()]))
    scale = np.maximum(value, np.concatenate([problem.scale(), np.abs(found.a).ravel()]))
    natural = np.concatenate([d.w, d.a.ravel()])
    lost = ~np.isnan(natural) & ~(natural <= scale)  # an error above its value: only that there is one
    with np.errstate(all="ignore"):
        off = np.abs(found.errors - wanted) > (ERROR_BAR + 1e-9 * d.condition) * wanted
    off = np.where(lost, np.isnan(found.errors), off | (np.isnan(found.errors) != np.isnan(wanted)))
    off[: len(found.w)] &= ~(on_bound & (np.isnan(found.errors) != np.isnan(wanted))[: len(found.w)])
    if not off.any():
        return Verdict("right")
    text = f"given {found.errors[off]}, expected {wanted[off]}, at {np.flatnonzero(off)} of w, then a"
    return Verdict("wrong", "error bar", f"{text}; w {found.w}, {found.status}")
