"""Decays seen through a Gaussian instrument response whose place and width are fitted with them.

    phi(t) = int_0^inf g(t - c - s) exp(-s / tau) ds,   g the normal density of standard deviation sigma
           = 1/2 exp(sigma^2 k^2 / 2 - k x) erfc(z),    x = t - c,  k = 1 / tau,  z = (sigma k - x / sigma) / sqrt(2)

the exponentially modified Gaussian.  With G = exp(-x^2 / (2 sigma^2)) / sqrt(2 pi), also 1/2 exp(...) erfcx(z):

    dphi/dk = (sigma^2 k - x) phi - sigma G,    dphi/dc = k phi - G / sigma
    dphi/dsigma = sigma k^2 phi - (k + x / sigma^2) G
"""

from dataclasses import KW_ONLY, dataclass
from math import pi, sqrt

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.errors import at_least
from varpro.models.bumps import profiles
from varpro.models.grids import decades
from varpro.models.guesses import Signal, best_start, selected
from varpro.models.peaks import LEAST_SIGMA
from varpro.models.quantities import PLACE, TIME, WIDTH, Frame, Quantity, frame_of
from varpro.models.ready import MODELS
from varpro.models.separable import Framed, stacked

TAUS = decades(0.003, 5.0, 16)
"""Lifetimes to choose a start from, in ranges of t."""
WIDTHS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Widths of the response to choose a start from, in steps of t; the rise of the data gives another."""


@MODELS.register("seen_exponentials")
@dataclass(frozen=True, eq=False)
class SeenExponentials(Framed):
    """Decays exp(-(t - c) / tau_i) from t = c on, convolved with a Gaussian of standard deviation sigma around c.

    w = (tau_1, ..., tau_n, center, sigma), all in the unit of t: lifetimes, the time zero, the width of the response.
    offset : append a column of ones.  The amplitude is that of the bare decay at t = c.
    Even in sigma; real w only.  A fit keeps tau > 0 and sigma above 1e-5 steps of t.  Example: fluorescence after a
    laser pulse, transient absorption.  For a measured response, see Exponentials(convolve=).
    `guess` from the rise of the data and a grid of lifetimes.  Raises ConfigError for n < 1.
    Grushka, Anal. Chem. 44 (1972) 1733-1738.
    """

    n: int = 1
    _: KW_ONLY
    offset: bool = False

    def __post_init__(self) -> None:
        at_least("n of SeenExponentials", self.n, 1)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return (*(f"tau_{i + 1}" for i in range(self.n)), "center", "sigma")

    @property
    def column_names(self) -> tuple[str, ...]:
        names = tuple(f"exp_{i + 1}" for i in range(self.n))
        return (*names, "offset") if self.offset else names

    @property
    def pairs(self) -> Array:
        return np.array([(i, p) for i in range(self.n) for p in (i, self.n, self.n + 1)], dtype=np.intp)

    def __call__(self, t: Array, w: Array) -> Array:
        t, w = np.asarray(t), np.asarray(w)
        with np.errstate(all="ignore"):
            out = [_seen(t - w[self.n], 1.0 / w[i], np.abs(w[self.n + 1])) for i in range(self.n)]
        return stacked(t, w, [*out, np.ones(1)] if self.offset else out)

    def columns(self, t: Array, w: Array) -> Array:
        t, w = np.asarray(t), np.asarray(w)
        out: list[Array] = []
        with np.errstate(all="ignore"):
            x, sigma, sign = t - w[self.n], np.abs(w[self.n + 1]), np.where(w[self.n + 1] < 0, -1.0, 1.0)
            bell = np.exp(-0.5 * (x / sigma) ** 2) / sqrt(2.0 * pi)
            for i in range(self.n):
                k = 1.0 / w[i]
                phi = _seen(x, k, sigma)
                by_rate = (sigma**2 * k - x) * phi - sigma * bell
                out += [-(k**2) * by_rate, k * phi - bell / sigma]
                out.append(sign * (sigma * k**2 * phi - (k + x / sigma**2) * bell))
        return stacked(t, w, out)

    def natural_bounds(self, t: Array) -> tuple[Array, Array] | None:
        least = LEAST_SIGMA * float(np.ptp(t)) / max(len(t) - 1, 1) if len(t) else 0.0
        return np.array([*[0.0] * self.n, -np.inf, least]), np.full(self.n + 2, np.inf)

    def folded(self, w: Array) -> Array:
        out = np.array(w)
        out[..., -1] = np.abs(out[..., -1])
        return out

    def draws(self, t: Array) -> tuple[Array, Array, Array] | None:
        frame = frame_of(t, np.ones(len(t)), movable=True)
        ends = [np.sort(kind.at(np.array(kind.draws(len(t))), frame)) for kind in self._kinds]
        low, high = np.array(ends).T
        return low, high, np.array([not kind.place for kind in self._kinds])

    @property
    def _kinds(self) -> list[Quantity]:
        return [*[TIME] * self.n, PLACE, WIDTH]

    def at(self, w: Array, frame: Frame) -> Array:
        with np.errstate(over="ignore"):
            return np.nan_to_num([kind.at(value, frame) for kind, value in zip(self._kinds, w, strict=True)])

    def propose(self, x: Array, y: Array) -> Array:
        signal = Signal.of(x, y)
        spread = np.array([*(0.5 * np.arange(1, self.n + 1) / self.n), 0.2, 0.05])
        starts = [spread]
        if signal.size > self.n + 2:
            for profile in profiles(signal, self.offset):
                starts += [self._start(signal, *place) for place in _rises(signal, profile)]
        return best_start(self, x, y, starts)

    def _start(self, signal: Signal, center: float, sigma: float) -> Array:
        """The lifetimes that suit a response best."""
        with np.errstate(all="ignore"):
            columns = _seen((signal.t - center)[:, None], 1.0 / TAUS, sigma)
        size = np.linalg.norm(columns, axis=0)
        if not (np.isfinite(size) & (size > 0)).all() or len(TAUS) < self.n:
            return np.full(self.n + 2, np.nan)
        fixed = np.ones((signal.size, int(self.offset)))
        chosen = selected(columns / size, fixed, signal.compressed(self.n + 1).y, self.n)
        return np.array([*np.sort(TAUS[chosen]), center, sigma])


def _seen(x: Array, k: Array, sigma: Array | float) -> Array:
    """The column, from whichever of its two forms neither overflows nor cancels."""
    z = (sigma * k - x / sigma) / sqrt(2.0)
    left = np.exp(-0.5 * (x / sigma) ** 2) * scipy.special.erfcx(np.maximum(z, 0.0))
    right = np.exp(np.minimum(sigma**2 * k**2 / 2 - k * x, 700.0)) * scipy.special.erfc(np.minimum(z, 0.0))
    return 0.5 * np.where(z > 0, left, right)


def _rises(signal: Signal, profile: Array) -> list[tuple[float, float]]:
    """Centers and widths to try: around the steepest rise of the data, and where they have half their height."""
    size = np.abs(profile)
    top = int(np.argmax(size))
    if not size[top]:
        return []
    t, step = signal.t, signal.step
    before = size[: top + 1]
    half = int(np.argmax(before >= 0.5 * size[top]))
    low, high = (int(np.argmax(before >= share * size[top])) for share in (0.15, 0.85))
    steep = int(np.argmax(np.diff(before))) if top else 0
    rise = 0.5 * (t[high] - t[low])
    widths = [share * step for share in WIDTHS] + ([rise] if rise > 0 else [])
    return [(float(c), float(s)) for c in {t[half], t[steep], t[low]} for s in widths]
