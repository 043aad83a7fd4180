"""Rounds of reweighting: each searches with the weights sqrt(rho') of the last residuals, until the fit has settled.

The cost of a round lies above the loss and touches it at the last residuals, so the loss never rises.  Rounds converge
linearly, and very slowly if there are many outliers.  Anderson's mixing of (w, A) speeds this up; a mixed point is
accepted only if the loss there is no higher than at the end of the round.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from varpro.arrays import Array
from varpro.arrays.batch import choose, take
from varpro.fitting.anderson import Mixing
from varpro.fitting.losses_of_residuals import ResidualLoss, squared
from varpro.fitting.run import run
from varpro.fitting.solution import Solution
from varpro.fitting.spec import Spec
from varpro.result import Status
from varpro.search.loop import Observer

REWEIGHTINGS = 200
"""Rounds after which a fit is reported as not settled."""
SETTLED = (1e-6, 1e-4)
"""Root mean square change of the fitted values in a round, relative to sigma, at which a fit has settled: a tenth of
the root of cost_tolerance, within these limits.  F then differs from its minimum by the square of what is left."""
ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""Change of the fitted values, relative to the data, that counts as rounding."""
SAME_VALLEY, SAME_PARAMETERS = 0.05, 0.1
"""Two fits are heading for the same minimum if they are this close: root mean square of the difference of the fitted
values relative to sigma, and each parameter relative to itself.  The second need not go there."""
SCALE_ROUNDS, SCALE_CHECKS, SCALE_MOVED = 10, 5, 0.01
"""The scale follows the residuals in the first rounds and then stays fixed, so that the loss is a single function.
Once the fit has settled, the scale is updated a few times if it has moved by more than the last, relative to itself."""
LEAST_SCALE = 1e4 * float(np.finfo(np.float64).eps)
"""Least scale, relative to the largest datum: if half of the residuals vanish, anything smaller is rounding."""
DEPTH = 5
UNDAMPED = 1e-4
"""Initial damping of a round that continues from the end of the last."""

_CONVERGED = [status.value for status in Status if status.converged]


@dataclass(frozen=True)
class _Point:
    """The current state of b problems."""

    u: Array
    a: Array
    """The amplitudes of the real, mixed columns, (b, I', K)."""
    fitted: Array
    """The fitted values, (b, N, K)."""

    @classmethod
    def at(cls, spec: Spec, u: Array, a: Array) -> Self:
        """The point of these parameters and real, mixed amplitudes, with the values they give."""
        return cls.of(spec, u, a, spec.values(spec.basis.w(u), spec.coefficients(a), np.arange(len(u))))

    @classmethod
    def of(cls, spec: Spec, u: Array, a: Array, fitted: Array) -> Self:
        """The point with these values (b, N, K), of which those that do not count may be anything."""
        return cls(u, a, np.where(spec.data.total_weight() > 0, fitted, 0.0))

    @property
    def flat(self) -> Array:
        """Parameters and amplitudes in a row, (b, F + I' K)."""
        return np.concatenate([self.u, self.a.reshape(len(self.u), -1)], axis=1)


class Rounds:
    """The rounds of B problems; those that have settled drop out."""

    def __init__(
        self,
        start: Solution,
        loss: ResidualLoss,
        scale: float | None,
        observe: Observer | None = None,
        keep_history: bool = False,
    ) -> None:
        """scale : sigma of the loss, in units of the spec's weights; None takes it from the median residual."""
        spec, count = start.spec, len(start.u)
        self.spec, self.loss, self.given, self.observe, self.keep_history = spec, loss, scale, observe, keep_history
        self.whole = {name: array.copy() for name, array in start.searched.items()}
        self.history = list(start.history)
        self.robust = np.ones(spec.data.y.shape)
        self.sigma = np.full(count, np.nan if scale is None else float(scale))
        self.checks, self.elsewhere = np.zeros(count, dtype=int), np.ones(count, dtype=bool)
        self.at, self.part = np.arange(count), spec
        self.point = _Point.at(spec, self.whole["u"], self.whole["amplitudes"])
        self.fitted, self.size = self.point.fitted.copy(), _size(spec, self.point.fitted)
        self.mixing, self.reach = Mixing(DEPTH), np.zeros(count)
        running = spec.data.status == Status.RUNNING.value
        self._leave(running & np.isfinite(start.objective) & np.isfinite(start.u).all(axis=1))

    def run(self, first: tuple[int, ...] = (), known: "Rounds | None" = None) -> "Rounds":
        """Repeat rounds until every problem has settled.

        first : limits on the iterations of the first rounds.  known : finished rounds of the same problems; those that
        come near it after the first rounds drop out.
        """
        for round_ in range(REWEIGHTINGS):
            if not len(self.at):
                break
            if round_ >= len(first) and known is not None:
                same = self._on_the_way_to(known)
                self.elsewhere[self.at[same]] = False
                self._leave(~same)
            if len(self.at):
                self._round(round_, first[round_] if round_ < len(first) else None)
        status = self.whole["status"]
        left = self.at[np.isin(status[self.at], _CONVERGED)]
        status[left] = Status.REWEIGHTING.value
        return self

    def objective(self, sigma: Array) -> Array:
        """F (B,) where the problems have ended; infinite where that is not finite."""
        end = _Point(self.whole["u"], self.whole["amplitudes"], self.fitted)
        return _objective(self.spec, self.loss, end, sigma)

    def _on_the_way_to(self, other: "Rounds") -> Array:
        """(b,) problems that the other rounds have already brought here, or nearly so."""
        own, sigma = self.part.data.total_weight(), np.fmin(self.sigma[self.at], other.sigma[self.at])
        apart = np.linalg.norm(_real(own * (other.fitted[self.at] - self.point.fitted)), axis=1)
        settled = np.isin(other.whole["status"][self.at], _CONVERGED)
        here, there = self.point.u, other.whole["u"][self.at]
        alike = np.abs(here - there) <= SAME_PARAMETERS * np.maximum(np.abs(here), np.abs(there))
        return settled & alike.all(axis=1) & (apart <= SAME_VALLEY * sigma * np.sqrt((own > 0).sum(axis=(1, 2))))

    def _round(self, round_: int, limit: int | None) -> None:
        """Weigh, search, and mix."""
        if self.given is None and round_ == 0:
            self.sigma[self.at] = _spread(self.part, self.size)
        sigma = self.sigma[self.at]
        robust = np.sqrt(self.loss.weight(squared(self.size, sigma)))
        spec = self.part.weighted(robust)
        if round_ > 0:
            spec = replace(spec, damping=replace(spec.damping, initial=min(UNDAMPED, spec.damping.initial)))
        if limit is not None:
            most = min(limit, spec.termination.max_iterations)
            spec = replace(spec, termination=replace(spec.termination, max_iterations=most))
        found = run(spec, self.point.u, observe=self._told(), keep_history=self.keep_history)
        end = _Point.of(self.part, found.u, found.amplitudes, found.fitted(np.arange(len(found.u))))
        self._store(found, end, robust)
        own = self.part.data.total_weight()
        step = _real(own * (end.fitted - self.point.fitted))
        alive = np.isfinite(end.fitted).all(axis=(1, 2))
        count = (own > 0).sum(axis=(1, 2))
        rounding = ROUNDING * np.linalg.norm(_real(own * self.part.data.y), axis=1)
        settled = float(np.clip(0.1 * np.sqrt(spec.termination.cost_tolerance), *SETTLED))
        small = np.linalg.norm(step, axis=1) <= settled * sigma * np.sqrt(count) + rounding
        small &= limit is None
        moved = self._rescale(end, round_, small)
        self._mix(end, step, moved)
        self._leave(alive & (~small | moved))

    def _rescale(self, end: _Point, round_: int, small: Array) -> Array:
        """(b,) problems whose scale has moved: it follows the residuals at first, then stays fixed."""
        following = round_ < SCALE_ROUNDS - 1
        if self.given is not None or not (following or small.any()):
            return np.zeros(len(self.at), dtype=bool)
        now, before = _spread(self.part, _size(self.part, end.fitted)), self.sigma[self.at]
        moved = np.abs(now - before) > SCALE_MOVED * before
        if not following:
            moved &= small & (self.checks[self.at] < SCALE_CHECKS)
            self.checks[self.at] += moved
        self.sigma[self.at] = np.where(moved, now, before)
        return moved

    def _mix(self, end: _Point, step: Array, moved: Array) -> None:
        """The next point: mixed with the last ones if F is no higher there, else the end of the round.

        Where mixing fails, as it does beside a saddle, the next rounds are extrapolated instead, each twice as far as
        the one before, as long as that lowers F.
        """
        flat, sigma, place = end.flat, self.sigma[self.at], end
        with np.errstate(all="ignore"):
            mixed = self.mixing.next(flat, np.where(np.isfinite(step), step, 0.0))
        self.mixing.forget(moved, last=True)
        reach = self.reach[self.at]
        mixed = np.where(reach[:, None] > 0, flat + reach[:, None] * (flat - self.point.flat), mixed)
        tried = (mixed != flat).any(axis=1) & np.isfinite(mixed).all(axis=1) & ~moved
        if tried.any():
            u, a = self._inside(np.where(tried[:, None], mixed, flat), end)
            new = _Point.at(self.part, u, a)
            old, cost = (_objective(self.part, self.loss, p, sigma) for p in (end, new))
            good = tried & (cost <= old)
            failed = tried & ~good
            self.mixing.forget(failed)
            self.reach[self.at] = np.where(good, 2.0 * reach, np.where(failed & (reach == 0), 1.0, 0.0))
            place = choose(good, new, end)
        self.point, self.size = place, _size(self.part, place.fitted)

    def _inside(self, flat: Array, like: _Point) -> tuple[Array, Array]:
        """Parameters and amplitudes from (b, F + I' K), clipped to their bounds."""
        names, linear, n_free = self.part.names, self.part.linear, like.u.shape[1]
        u, a = np.clip(flat[:, :n_free], names.lower, names.upper), flat[:, n_free:].reshape(like.a.shape)
        if linear.lower is not None and linear.upper is not None:
            bounded = len(linear.lower)
            inner = np.clip(a[:, :bounded], linear.lower[:, None], linear.upper[:, None])
            a = np.concatenate([inner, a[:, bounded:]], axis=1)
        return u, a

    def _store(self, found: Solution, end: _Point, robust: Array) -> None:
        """Put what a round has found into the arrays of all problems."""
        for name, new in found.searched.items():
            whole, counted = self.whole[name], name in ("iterations", "evaluations")
            whole[self.at] = whole[self.at] + new if counted else new
        self.fitted[self.at], self.robust[self.at] = end.fitted, robust
        self.history.extend(r._replace(problem=int(self.at[r.problem])) for r in found.history)

    def _leave(self, stay: Array) -> None:
        """Continue with the problems (b,) bool that stay."""
        if stay.all():
            return
        here = np.flatnonzero(stay)
        self.at, self.part, self.size = self.at[here], self.part.of(here), self.size[here]
        self.point = take(stay, self.point)
        self.mixing.take(stay)

    def _told(self) -> Observer | None:
        """An observer of the search that reports the problems' numbers in the whole batch."""
        if self.observe is None:
            return None
        at, tell = self.at, self.observe
        return lambda record: tell(record._replace(problem=int(at[record.problem])))


def _size(spec: Spec, fitted: Array) -> Array:
    """(b, N, K) sizes of the weighted residuals; 0 where a value does not count."""
    own = spec.data.total_weight()
    return np.where(own > 0, own * np.abs(spec.data.y - fitted), 0.0)


def _objective(spec: Spec, loss: ResidualLoss, point: _Point, sigma: Array) -> Array:
    """The objective F, (b,)."""
    rows = spec.basis.extra_rows
    with np.errstate(all="ignore"):
        total = loss.total(_size(spec, point.fitted), sigma)
        if rows is None and not spec.linear.ridge:
            return total
        ridged = np.sqrt(spec.linear.ridge) * point.a if rows is None else rows @ point.a
        return total + 0.5 * np.sum(ridged**2, axis=(1, 2))


def _real(values: Array) -> Array:
    """The values as real numbers, (b, n)."""
    flat = values.reshape(len(values), -1)
    return np.concatenate([flat.real, flat.imag], axis=1) if np.iscomplexobj(flat) else flat


def _spread(spec: Spec, size: Array) -> Array:
    """(b,) 1.4826 times the median size of the residuals that count: their standard deviation if they were normal."""
    own = spec.data.total_weight()
    used = (own > 0).reshape(len(size), -1)
    values = np.sort(np.where(used, size.reshape(len(size), -1), np.inf), axis=1)
    count, every = np.maximum(used.sum(axis=1), 1), np.arange(len(size))
    median = 0.5 * (values[every, (count - 1) // 2] + values[every, count // 2])
    largest = (own * np.abs(spec.data.y)).max(axis=(1, 2), initial=0.0)
    return np.maximum(1.4826 * median, LEAST_SCALE * largest)
