"""The columns of the NIST problems with their derivatives: (model, pairs, columns) each.

Every function takes complex w as well, so that a complex step differentiates it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Function = Callable[[Array, Array], Array]
Shape = tuple[Function, list[tuple[int, int]], Function]


def columns_of(*columns: Any) -> Array:
    return np.stack(np.broadcast_arrays(*columns), axis=1)


def single(value: Callable[..., Array], *slopes: Callable[..., Array]) -> Shape:
    """One column f(t, *w); each slope is called as slope(f, t, *w)."""

    def model(t: Array, w: Array) -> Array:
        return columns_of(value(t, *w))

    def columns(t: Array, w: Array) -> Array:
        return columns_of(*(slope(value(t, *w), t, *w) for slope in slopes))

    return model, [(0, p) for p in range(len(slopes))], columns


def exponentials(count: int, constant: int = 0) -> Shape:
    def model(t: Array, w: Array) -> Array:
        return columns_of(*[np.ones_like(t)] * constant, *(np.exp(-rate * t) for rate in w))

    def columns(t: Array, w: Array) -> Array:
        return columns_of(*(-t * np.exp(-rate * t) for rate in w))

    return model, [(p + constant, p) for p in range(count)], columns


def rational(top: int, bottom: int) -> Shape:
    """t^j / (1 + w_0 t + w_1 t^2 + ...), j = 0..top."""

    def denominator(t: Array, w: Array) -> Array:
        return 1 + sum(v * t ** (p + 1) for p, v in enumerate(w))

    def model(t: Array, w: Array) -> Array:
        return columns_of(*(t**j / denominator(t, w) for j in range(top + 1)))

    pairs = [(j, p) for j in range(top + 1) for p in range(bottom)]

    def columns(t: Array, w: Array) -> Array:
        return columns_of(*(-(t ** (j + p + 1)) / denominator(t, w) ** 2 for j, p in pairs))

    return model, pairs, columns


def decay_and_two_peaks() -> Shape:
    def peak(t: Array, centre: Any, width: Any) -> Array:
        return np.exp(-(((t - centre) / width) ** 2))

    def model(t: Array, w: Array) -> Array:
        return columns_of(np.exp(-w[0] * t), peak(t, w[1], w[2]), peak(t, w[3], w[4]))

    def columns(t: Array, w: Array) -> Array:
        of_peaks = []
        for centre, width in (w[1:3], w[3:5]):
            value, z = peak(t, centre, width), (t - centre) / width
            of_peaks += [value * 2 * z / width, value * 2 * z**2 / width]
        return columns_of(-t * np.exp(-w[0] * t), *of_peaks)

    return model, [(0, 0), (1, 1), (1, 2), (2, 3), (2, 4)], columns


def seasons() -> Shape:
    def model(t: Array, w: Array) -> Array:
        angles = [2 * np.pi * t / period for period in (12.0, *w)]
        return columns_of(np.ones_like(t), *(wave(angle) for angle in angles for wave in (np.cos, np.sin)))

    def columns(t: Array, w: Array) -> Array:
        slopes = []
        for period in w:
            angle = 2 * np.pi * t / period
            slopes += [np.sin(angle) * angle / period, -np.cos(angle) * angle / period]
        return columns_of(*slopes)

    return model, [(3, 0), (4, 0), (5, 1), (6, 1)], columns


def nelson() -> Shape:
    def model(t: Array, w: Array) -> Array:
        return columns_of(1.0, -t[:, 0] * np.exp(-w[0] * t[:, 1]))

    def columns(t: Array, w: Array) -> Array:
        return columns_of(t[:, 0] * t[:, 1] * np.exp(-w[0] * t[:, 1]))

    return model, [(1, 0)], columns


def line() -> Shape:
    return lambda t, w: columns_of(1.0, -t), [], lambda t, w: np.empty((len(t), 0))


def arctangent(t: Array, w: Array) -> Array:
    return -np.arctan(w[0] / (t - w[1])) / np.pi


def arctangent_columns(t: Array, w: Array) -> Array:
    u = t - w[1]
    return columns_of(-u, np.full_like(u, -w[0])) / (np.pi * (u**2 + w[0] ** 2))[:, None]


SATURATION = single(lambda t, w: 1 - np.exp(-w * t), lambda f, t, w: t * np.exp(-w * t))
MISRA1B = single(lambda t, w: 1 - (1 + w * t / 2) ** -2, lambda f, t, w: t * (1 + w * t / 2) ** -3)
MISRA1C = single(lambda t, w: 1 - (1 + 2 * w * t) ** -0.5, lambda f, t, w: t * (1 + 2 * w * t) ** -1.5)
MISRA1D = single(lambda t, w: w * t / (1 + w * t), lambda f, t, w: t / (1 + w * t) ** 2)
POWER = single(lambda t, w: t**w, lambda f, t, w: f * np.log(t))
MGH10 = single(
    lambda t, p, q: np.exp(p / (t + q)), lambda f, t, p, q: f / (t + q), lambda f, t, p, q: -f * p / (t + q) ** 2
)
BENNETT5 = single(
    lambda t, p, q: (p + t) ** (-1 / q),
    lambda f, t, p, q: -f / (q * (p + t)),
    lambda f, t, p, q: f * np.log(p + t) / q**2,
)
ECKERLE4 = single(
    lambda t, s, m: np.exp(-(((t - m) / s) ** 2) / 2) / s,
    lambda f, t, s, m: f * (((t - m) / s) ** 2 - 1) / s,
    lambda f, t, s, m: f * (t - m) / s**2,
)
RAT42 = single(
    lambda t, p, q: 1 / (1 + np.exp(p - q * t)), lambda f, t, p, q: -f * (1 - f), lambda f, t, p, q: t * f * (1 - f)
)
RAT43 = single(
    lambda t, p, q, r: (1 + np.exp(p - q * t)) ** (-1 / r),
    lambda f, t, p, q, r: -f / (r * (1 + np.exp(q * t - p))),
    lambda f, t, p, q, r: f * t / (r * (1 + np.exp(q * t - p))),
    lambda f, t, p, q, r: f * np.log(1 + np.exp(p - q * t)) / r**2,
)
MGH09 = single(
    lambda t, p, q, r: (t**2 + t * p) / (t**2 + t * q + r),
    lambda f, t, p, q, r: t / (t**2 + t * q + r),
    lambda f, t, p, q, r: -f * t / (t**2 + t * q + r),
    lambda f, t, p, q, r: -f / (t**2 + t * q + r),
)
CHWIRUT = single(
    lambda t, p, q: np.exp(-p * t) / (1 + q * t), lambda f, t, p, q: -t * f, lambda f, t, p, q: -t * f / (1 + q * t)
)
