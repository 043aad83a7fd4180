"""Lines of other shapes: pseudo-Voigt, Pearson VII, Fano; what mixes linearly is left to the amplitudes."""

from math import log

import numpy as np

from varpro.arrays import Array
from varpro.models.peaks import LEAST_SIGMA, Peaks
from varpro.models.quantities import PLACE, SHAPE, WIDTH
from varpro.models.ready import MODELS

LN2 = log(2.0)
PEARSON = (0.55, 200.0)
"""Bounds of Pearson's exponent: the area is infinite at 1/2, and at 200 the line is a Gaussian to 0.2 %."""


class _Lines(Peaks):
    """Lines whose width is half the width at half height; a fit keeps it positive."""

    def natural_bounds(self, t: Array) -> tuple[Array, Array] | None:
        names = self.parameter_names
        lower, upper = np.full(len(names), -np.inf), np.full(len(names), np.inf)
        least = LEAST_SIGMA * float(np.ptp(t)) / max(len(t) - 1, 1) if len(t) else 0.0
        for p, name in enumerate(names):
            if name.startswith("width"):
                lower[p] = least
            if name.startswith("exponent"):
                lower[p], upper[p] = PEARSON
        return lower, upper

    def folded(self, w: Array) -> Array:
        out = np.array(w)
        rows = [p for p, name in enumerate(self.parameter_names) if name.startswith("width")]
        out[..., rows] = np.abs(out[..., rows])
        return out

    def widths(self, half: float) -> tuple[float, ...]:
        return (half,)


@MODELS.register("pseudo_voigt")
class PseudoVoigt(_Lines):
    """Two columns for each line, exp(-log 2 x^2) and 1 / (1 + x^2) with x = (t - c) / s: a Gaussian and a Lorentzian.

    They have one center and one half width s; w = (center_1, width_1, center_2, ...).  The mixing is linear, and so no
    parameter: the share of the Lorentzian is a_L / (a_G + a_L) of the two amplitudes, and linear='nonnegative' keeps it
    between 0 and 1.  Even and holomorphic in s.  Example: X-ray diffraction lines.
    """

    column_stems = ("gaussian", "lorentzian")

    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        center, width = v
        x = ((t - center) / width) ** 2
        return np.exp(-LN2 * x), 1.0 / (1.0 + x)

    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        center, width = v
        x = (t - center) / width
        gaussian, lorentzian = self.shape(t, *v)
        by = 2.0 * LN2 * x / width * gaussian, 2.0 * x / width * lorentzian**2
        return by[0], by[0] * x, by[1], by[1] * x


@MODELS.register("pearson")
class Pearson(_Lines):
    """phi_i = [1 + (2^(1/m_i) - 1) x^2]^(-m_i) with x = (t - c_i) / s_i, Pearson's type VII.

    s is half the width at half height whatever the exponent m: 1 is a Lorentzian, and large m a Gaussian.
    w = (center_1, width_1, exponent_1, ...), or (center_1, ..., center_n, width, exponent) if shared.  A fit keeps m
    between 0.55 and 200.  Even and holomorphic in s.  Example: powder diffraction.
    """

    column_stems = ("pearson",)
    width_stems = ("width", "exponent")
    quantities = {"center": PLACE, "width": WIDTH, "exponent": SHAPE}  # noqa: RUF012

    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        center, width, m = v
        return ((1.0 + (2.0 ** (1.0 / m) - 1.0) * ((t - center) / width) ** 2) ** (-m),)

    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        center, width, m = v
        x, root = (t - center) / width, 2.0 ** (1.0 / m)
        inner = 1.0 + (root - 1.0) * x**2
        line = inner ** (-m)
        by_center = 2.0 * m * (root - 1.0) * x / width * line / inner
        by_m = line * (LN2 / m * root * x**2 / inner - np.log(inner))
        return by_center, by_center * x, by_m

    def widths(self, half: float) -> tuple[float, ...]:
        return half, 2.0


@MODELS.register("fano")
class Fano(_Lines):
    """Two columns for each resonance, 1 / (1 + x^2) and x / (1 + x^2) with x = (t - c) / s: absorption and dispersion.

    Fano's profile (q + x)^2 / (1 + x^2) = 1 + (q^2 - 1) / (1 + x^2) + 2 q x / (1 + x^2) is linear in these, so q is no
    parameter: 2 q / (q^2 - 1) is the ratio of the two amplitudes.  Take offset=True for the 1.
    w = (center_1, width_1, center_2, ...).  Holomorphic in s.  Example: autoionising states.  Fano, Phys. Rev. 124
    (1961) 1866-1878.
    """

    column_stems = ("absorption", "dispersion")

    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        center, width = v
        x = (t - center) / width
        lorentzian = 1.0 / (1.0 + x**2)
        return lorentzian, x * lorentzian

    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        center, width = v
        x = (t - center) / width
        square = (1.0 + x**2) ** -2
        by = 2.0 * x * square / width, (x**2 - 1.0) * square / width
        return by[0], by[0] * x, by[1], by[1] * x
