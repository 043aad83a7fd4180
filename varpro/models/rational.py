"""Rational functions with a free numerator: phi_i = t^i / q(t), q(t) = 1 + w_1 t + ... + w_q t^q."""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, as_array
from varpro.errors import at_least
from varpro.models.guesses import Signal, best_start, remainder_at
from varpro.models.quantities import Frame
from varpro.models.ready import MODELS
from varpro.models.separable import Framed, stacked

REWEIGHTINGS = 6
"""Rounds of the linearised fit; each divides its rows by the last denominator (Sanathanan and Koerner 1963)."""
LEAST_DENOMINATOR = 1e-6
"""Least denominator, relative to the largest: a row still closer to a pole gets no more weight."""
FAR = 2.0
"""Distance of the middle of t from 0, in half ranges, beyond which starts about the middle are tried as well."""
POLE_GAINS = 0.1
"""A start with a pole among the data is accepted only if it leaves less than this share of what a start without one
leaves: a pole between two points can also fit noise, and no search leads out of there."""
REAL = 1e-9
"""Imaginary part of a zero, relative to it, that counts as rounding."""
SMOOTH_DEGREE = 10
"""Degree of the polynomial that smooths y for a second set of starts."""


@MODELS.register("rational")
@dataclass(frozen=True, eq=False)
class Rational(Framed):
    """Columns t^i / q(t), i = 0..p, with q(t) = 1 + sum_{k=1..q} w_k t^k; w (q,), w_k in 1 / unit of t^k.

    Holomorphic in w away from zeros of q(t).  `guess` solves y q(t) = p(t), which is linear, with the weights of
    Sanathanan and Koerner, IEEE Trans. Automatic Control 8 (1963) 56-58.  Raises ConfigError for p < 0 or q < 1.
    """

    p: int
    """Degree of the numerator."""
    q: int
    """Degree of the denominator."""
    movable = False

    def __post_init__(self) -> None:
        at_least("p of Rational", self.p, 0)
        at_least("q of Rational", self.q, 1)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(f"denominator_{k}" for k in range(1, self.q + 1))

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(f"numerator_{i}" for i in range(self.p + 1))

    @property
    def pairs(self) -> Array:
        return np.indices((self.p + 1, self.q)).reshape(2, -1).T

    def _denominator(self, t: Array, w: Array) -> Array:
        out = w[self.q - 1]
        for k in range(self.q - 2, -1, -1):
            out = w[k] + t * out
        return 1.0 + t * out

    def __call__(self, t: Array, w: Array) -> Array:
        t, w = as_array(t), as_array(w)
        with np.errstate(all="ignore"):
            inverse = 1.0 / self._denominator(t, w)
            return stacked(t, w, [t**i * inverse for i in range(self.p + 1)])

    def columns(self, t: Array, w: Array) -> Array:
        t, w = as_array(t), as_array(w)
        with np.errstate(all="ignore"):
            slope = -(self._denominator(t, w) ** -2)
            by_degree = [t**degree * slope for degree in range(self.p + self.q + 1)]
        return stacked(t, w, [by_degree[i + k] for i in range(self.p + 1) for k in range(1, self.q + 1)])

    def propose(self, x: Array, y: Array) -> Array:
        signal = Signal.of(x, y).compressed(self.p + self.q + 1)
        starts = [np.zeros(self.q), *self._rounds(signal.t, signal.y)]
        low, high = (float(end) for end in (signal.t[[0, -1]] if signal.size else (0.0, 0.0)))
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        if abs(middle) > FAR * half > 0:  # powers of x are nearly equal there, those of u are not
            u = (signal.t - middle) / half
            starts += [_moved(w, -middle / half, 1.0 / half) for w in self._rounds(u, signal.y)]
        smooth = [w for w in starts if not self._has_pole(w, low, high)]
        best, best_smooth = best_start(self, x, y, starts), best_start(self, x, y, smooth)
        left, left_smooth = (remainder_at(self, x, y, w) for w in (best, best_smooth))
        return best if left < POLE_GAINS * left_smooth else best_smooth

    def _has_pole(self, w: Array, low: float, high: float) -> bool:
        """Whether q(x) has a real zero between low and high."""
        if not np.isfinite(w).all():
            return False
        zeros = np.polynomial.polynomial.polyroots([1.0, *w])
        real = np.abs(zeros.imag) <= REAL * np.abs(zeros)
        return bool((real & (zeros.real > low) & (zeros.real < high)).any())

    def at(self, w: Array, frame: Frame) -> Array:
        """w_k / unit^k; 0 where that is not representable in double precision, as for the square of t near 1e-300."""
        with np.errstate(all="ignore"):
            moved = w
            for k in range(self.q):
                moved = np.concatenate([moved[:k], moved[k:] / frame.unit])
        return np.where(np.isfinite(moved), moved, 0.0)

    def _rounds(self, x: Array, y: Array) -> list[Array]:
        return [*self._reweighted(x, y), *self._reweighted(x, _smooth(x, y))]

    def _reweighted(self, x: Array, y: Array) -> list[Array]:
        """The w of each round."""
        weight, rounds = np.ones(len(x)), []
        for _ in range(REWEIGHTINGS):
            rounds.append(self._linearised(x, y, weight))
            size = np.abs(self._denominator(x, rounds[-1]))
            weight = 1.0 / np.maximum(size, LEAST_DENOMINATOR * size.max(initial=1.0))
        return rounds

    def _linearised(self, x: Array, y: Array, weight: Array) -> Array:
        """w that minimises ||weight (p(x) - y q(x))|| over all channels of y (N, K)."""
        powers = x[:, None] ** np.arange(max(self.p, self.q) + 1)
        basis = np.linalg.qr(weight[:, None] * powers[:, : self.p + 1])[0]
        b = weight[:, None] * y
        a = b[:, :, None] * powers[:, None, 1 : self.q + 1]
        b = b - basis @ (basis.T @ b)
        a = a - np.tensordot(basis, np.tensordot(basis.T, a, axes=1), axes=1)
        try:
            return -np.linalg.lstsq(a.reshape(-1, self.q), b.ravel(), rcond=None)[0]
        except np.linalg.LinAlgError:
            return np.zeros(self.q)


def _moved(w: Array, shift: float, stretch: float) -> Array:
    """The denominator 1 + sum w_k u^k at u = shift + stretch x, as one in x that is 1 at x = 0.

    Not finite if it is zero at x = 0: then 0 is a pole, which no w can express.
    """
    polynomial = np.polynomial.Polynomial([1.0, *w])(np.polynomial.Polynomial([shift, stretch]))
    with np.errstate(all="ignore"):
        moved = polynomial.coef / polynomial.coef[0]
    return np.concatenate([moved[1:], np.zeros(len(w) + 1 - len(moved))])


def _smooth(x: Array, y: Array) -> Array:
    """y smoothed by a polynomial in x: noise in y q(t) pulls w towards zero, and this removes most of it."""
    if len(x) <= 2 * SMOOTH_DEGREE:
        return y
    low, high = x.min(), x.max()
    q = np.linalg.qr(np.polynomial.chebyshev.chebvander((2.0 * x - low - high) / (high - low), SMOOTH_DEGREE))[0]
    return q @ (q.T @ y)
