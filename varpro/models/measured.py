"""Decays seen through a measured instrument response whose shift is fitted, after one pulse or a train of pulses.

    phi(t) = F(t - shift),   F(u) = int_-inf^u h(s) exp(-k (u - s)) ds,   k = 1 / tau

h is the response, straight between its points and 0 outside of them.  On a stretch that begins at a point, with
h = a + b x and F = F_0 there,

    F = F_0 e^(-k x) + a x f_1(k x) + b x^2 f_2(k x),   f_1(z) = (1 - e^-z) / z,   f_2(z) = (1 - f_1(z)) / z

so that every column is exact at any t, and smooth in the shift.  G = dF/dk follows the same recursion;

    dphi/dshift = k F - h,    dphi/dtau = -k^2 G

A train of pulses with the period T adds what is left of the earlier ones,

    F_end e^(-k (u + T - u_end)) / (1 - e^(-k T))
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field

import numpy as np
import scipy

from varpro.arrays import Array, ArrayLike
from varpro.errors import ConfigError, ShapeError, at_least
from varpro.models.grids import decades
from varpro.models.guesses import Signal, best_start, checked_points, selected
from varpro.models.separable import Model, stacked

TAUS = decades(0.003, 5.0, 16)
"""Lifetimes to choose a start from, in ranges of t."""
SHIFTS = np.array([0.0, -1.0, 1.0, -3.0, 3.0, -8.0, 8.0])
"""Shifts to choose a start from, in steps of the response."""
EVEN = 1e-6
"""Largest relative spread of the steps of the response."""
NEAR = 0.5
"""Up to which z the functions f are summed as series, in which nothing cancels."""
TERMS = 18
"""Terms of these: the next one is below the rounding at z = 0.5."""


@dataclass(frozen=True, eq=False)
class MeasuredExponentials(Model):
    """Decays exp(-t / tau_i) convolved with a measured response h, which may be shifted against the data.

    w = (tau_1, ..., tau_n, shift), in the unit of t: lifetimes, and by how much the response comes later than measured.
    irf_t, irf : (M,) evenly spaced times and values of the response.  Its area is not scaled: divide by it to get
        amplitudes of bare decays.  period : the time between pulses, at least as long as the response; None for a
        single pulse.  offset : append a column of ones.
    The points of the data may be any, not those of the response.  Real w only.  A fit keeps tau > 0.  Example:
    time-correlated single-photon counting with a laser of 20 to 80 MHz.  `guess` from a grid of lifetimes and shifts.
    Raises ConfigError, ShapeError.  O'Connor and Phillips, Time-correlated Single Photon Counting (1984), chapter 6.
    """

    irf_t: ArrayLike
    irf: ArrayLike
    n: int = 1
    _: KW_ONLY
    period: float | None = None
    offset: bool = False
    _knots: Array = field(init=False, repr=False)
    _values: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        at_least("n of MeasuredExponentials", self.n, 1)
        knots, values = np.array(self.irf_t, dtype=float), np.array(self.irf, dtype=float)
        if knots.ndim != 1 or knots.shape != values.shape or len(knots) < 2:
            raise ShapeError(f"irf_t has shape {knots.shape}, irf {values.shape}; both need (M,) with M of 2 or more")
        if not (np.isfinite(knots).all() and np.isfinite(values).all() and values.any()):
            raise ConfigError("irf_t and irf need finite numbers, not all of them 0")
        step = np.diff(knots)
        if not (step > 0).all() or np.ptp(step) > EVEN * step.mean():
            raise ConfigError(
                f"irf_t has steps from {step.min():g} to {step.max():g}; they need to be even and above 0"
            )
        if self.period is not None and not np.ptp(knots) <= self.period < np.inf:
            raise ConfigError(
                f"period is {self.period}; the response lasts {np.ptp(knots):g}, so it needs that or more"
            )
        object.__setattr__(self, "_knots", knots)
        object.__setattr__(self, "_values", values)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return (*(f"tau_{i + 1}" for i in range(self.n)), "shift")

    @property
    def column_names(self) -> tuple[str, ...]:
        names = tuple(f"exp_{i + 1}" for i in range(self.n))
        return (*names, "offset") if self.offset else names

    @property
    def pairs(self) -> Array:
        return np.array([(i, p) for i in range(self.n) for p in (i, self.n)], dtype=np.intp)

    def __call__(self, t: Array, w: Array) -> Array:
        t, w = np.asarray(t), np.asarray(w)
        if w.ndim > 1:
            return _each(self, t, w)
        out = [self._seen(t - w[self.n], 1.0 / w[i])[0] for i in range(self.n)]
        return stacked(t, w, [*out, np.ones(1)] if self.offset else out)

    def columns(self, t: Array, w: Array) -> Array:
        t, w = np.asarray(t), np.asarray(w)
        if w.ndim > 1:
            return _each(self.columns, t, w)
        out: list[Array] = []
        for i in range(self.n):
            k = 1.0 / w[i]
            f, by_rate, h = self._seen(t - w[self.n], k)
            out += [-(k**2) * by_rate, k * f - h]
        return stacked(t, w, out)

    def _seen(self, u: Array, k: float) -> tuple[Array, Array, Array]:
        """F, dF/dk and h at u (N,)."""
        knots, step, period = self._knots, self._knots[1] - self._knots[0], self.period
        if period is not None:
            u = knots[0] + np.mod(u - knots[0], period)
        with np.errstate(all="ignore"):
            at_knots, by_rate = self._recursion(k)
            place = np.clip(np.floor((u - knots[0]) / step).astype(int), 0, len(knots) - 1)
            x = np.maximum(u - knots[place], 0.0)
            h, rise = self._values[place], np.append(np.diff(self._values) / step, 0.0)[place]
            h = np.where(place == len(knots) - 1, 0.0, h)
            f, g = _stretch(x, k, at_knots[place], by_rate[place], h, rise)
            inside = (u >= knots[0]) & (u <= knots[-1])
            f, g, h = (np.where(u < knots[0], 0.0, v) for v in (f, g, h + rise * x))
            h = np.where(inside, h, 0.0)
            if period is not None:
                left, since = np.exp(-k * period), u + period - knots[-1]
                share = np.exp(-k * since) / (1.0 - left)
                f = f + at_knots[-1] * share
                g = g + share * (by_rate[-1] - at_knots[-1] * (since + period * left / (1.0 - left)))
        return f, g, h

    def _recursion(self, k: float) -> tuple[Array, Array]:
        """F and dF/dk (M,) at the points of the response."""
        step, h = self._knots[1] - self._knots[0], self._values[:-1]
        own = np.zeros(len(h))
        f, g = _stretch(np.full(len(h), step), k, own, own, h, np.diff(self._values) / step)
        decay = np.exp(-k * step)
        at_knots = scipy.signal.lfilter([1.0], [1.0, -decay], np.append(0.0, f))
        by_rate = scipy.signal.lfilter([1.0], [1.0, -decay], np.append(0.0, g - step * decay * at_knots[:-1]))
        return at_knots, by_rate

    def natural_bounds(self, t: Array) -> tuple[Array, Array] | None:
        return np.array([*[0.0] * self.n, -np.inf]), np.full(self.n + 1, np.inf)

    def guess(self, t: Array, y: Array) -> Array:
        t, y = checked_points(t, y)
        signal = Signal.of(t, y)
        starts = [np.array([*(float(np.ptp(t) or 1.0) * np.arange(1, self.n + 1) / (2 * self.n)), 0.0])]
        if signal.size > self.n + 2 and len(TAUS) >= self.n:
            step = self._knots[1] - self._knots[0]
            starts += [self._start(signal, step * shift) for shift in SHIFTS]
        return best_start(self, t, y, starts)

    def _start(self, signal: Signal, shift: float) -> Array:
        """The lifetimes that suit a shift best."""
        taus = TAUS * float(np.ptp(signal.t))
        columns = np.stack([self._seen(signal.t - shift, 1.0 / tau)[0] for tau in taus], axis=1)
        size = np.linalg.norm(columns, axis=0)
        if not (np.isfinite(size) & (size > 0)).all():
            return np.full(self.n + 1, np.nan)
        fixed = np.ones((signal.size, int(self.offset)))
        chosen = selected(columns / size, fixed, signal.compressed(self.n + 1).y, self.n)
        return np.array([*np.sort(taus[chosen]), shift])


def _each(function: Callable[[Array, Array], Array], t: Array, w: Array) -> Array:
    """(b, N, M) one problem after another: t (N,) or (b, N), w (P, b, 1)."""
    return np.stack([function(t if t.ndim == 1 else t[b], w[:, b, 0]) for b in range(w.shape[1])])


def _stretch(x: Array, k: float, f0: Array, g0: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """F and dF/dk after x on stretches that begin with F = f0, dF/dk = g0, and h = a + b x."""
    z, decay = k * x, np.exp(-k * x)
    one, two, by_one, by_two = _fractions(z)
    f = f0 * decay + a * x * one + b * x**2 * two
    return f, (g0 - x * f0) * decay + a * x**2 * by_one + b * x**3 * by_two


def _fractions(z: Array) -> tuple[Array, Array, Array, Array]:
    """f_1, f_2 and their derivatives: by series up to NEAR, where their formulas cancel."""
    power = np.arange(TERMS)
    factorial = np.cumprod(np.append(1.0, np.arange(1.0, TERMS + 2)))
    sign = (-1.0) ** power
    series = [sign / factorial[1 : TERMS + 1], sign / factorial[2 : TERMS + 2]]
    small = np.minimum(np.abs(z), NEAR) * np.sign(z)
    near = [np.polynomial.polynomial.polyval(small, c) for c in series]
    near += [np.polynomial.polynomial.polyval(small, (power * c)[1:]) for c in series]
    far = np.where(np.abs(z) > NEAR, z, 1.0)
    one = (1.0 - np.exp(-far)) / far
    two = (1.0 - one) / far
    by_one = (np.exp(-far) - one) / far
    by_two = -(by_one + two) / far
    away = np.abs(z) > NEAR
    return (
        np.where(away, one, near[0]),
        np.where(away, two, near[1]),
        np.where(away, by_one, near[2]),
        np.where(away, by_two, near[3]),
    )
