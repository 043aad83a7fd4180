"""Rational functions with a free numerator: phi_i = t^i / q(t), q(t) = 1 + w_1 t + ... + w_q t^q."""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.models.guesses import Signal, best_start
from varpro.models.separable import Model, at_least, stacked

REWEIGHTINGS = 6
"""Rounds of the linearised fit; each divides its rows by the last denominator (Sanathanan and Koerner 1963)."""
SMOOTH_DEGREE = 10
"""Of the polynomial that takes the noise off y for a second set of starts."""


@dataclass(frozen=True, eq=False)
class Rational(Model):
    """Columns t^i / q(t), i = 0..p, with q(t) = 1 + sum_{k=1..q} w_k t^k; w (q,), w_k in 1 / unit of t^k.

    Holomorphic in w away from zeros of q(t).  `guess` solves y q(t) = p(t), which is linear, with the weights of
    Sanathanan and Koerner, IEEE Trans. Automatic Control 8 (1963) 56-58.  Raises ConfigError for p < 0 or q < 1.
    """

    p: int
    """Degree of the numerator"""
    q: int
    """Degree of the denominator"""

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
        t, w = np.asarray(t), np.asarray(w)
        with np.errstate(all="ignore"):
            inverse = 1.0 / self._denominator(t, w)
            return stacked(t, w, [t**i * inverse for i in range(self.p + 1)])

    def columns(self, t: Array, w: Array) -> Array:
        t, w = np.asarray(t), np.asarray(w)
        with np.errstate(all="ignore"):
            slope = -(self._denominator(t, w) ** -2)
            by_degree = [t**degree * slope for degree in range(self.p + self.q + 1)]
        return stacked(t, w, [by_degree[i + k] for i in range(self.p + 1) for k in range(1, self.q + 1)])

    def guess(self, t: Array, y: Array) -> Array:
        signal = Signal.of(t, y).compressed(self.p + self.q + 1)
        scale = float(np.abs(signal.t).max(initial=0.0)) or 1.0  # powers of t / scale stay within [-1, 1]
        x = signal.t / scale
        starts = [np.zeros(self.q), *self._reweighted(x, signal.y), *self._reweighted(x, _smooth(x, signal.y))]
        return best_start(self, t, y, [w / scale ** np.arange(1, self.q + 1) for w in starts])

    def _reweighted(self, x: Array, y: Array) -> list[Array]:
        """w of each round."""
        weight, rounds = np.ones(len(x)), []
        for _ in range(REWEIGHTINGS):
            rounds.append(self._linearised(x, y, weight))
            weight = 1.0 / np.maximum(np.abs(self._denominator(x, rounds[-1])), 1e-6)
        return rounds

    def _linearised(self, x: Array, y: Array, weight: Array) -> Array:
        """w of min ||weight (p(x) - y q(x))|| over the channels of y (N, K) together."""
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


def _smooth(x: Array, y: Array) -> Array:
    """y by a polynomial in x: noise in y q(t) pulls w towards zero, and this takes most of it out."""
    if len(x) <= 2 * SMOOTH_DEGREE:
        return y
    low, high = x.min(), x.max()
    q = np.linalg.qr(np.polynomial.chebyshev.chebvander((2.0 * x - low - high) / (high - low), SMOOTH_DEGREE))[0]
    return q @ (q.T @ y)
