"""Spectral lines: Gaussians, Lorentzians and their convolution, the Voigt profile; heights are linear."""

import abc
import itertools
import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.models.bumps import located, profiles, refined
from varpro.models.guesses import Signal, best_start
from varpro.models.quantities import PLACE, WIDTH
from varpro.models.ready import MODELS
from varpro.models.repeated import Repeated
from varpro.models.separable import Column

LEAST_SIGMA = 1e-5
"""Least sigma in steps of t: a line whose gamma is at least a step differs from the Lorentzian by the square of this.
The column is only as large as sigma, so its derivative by sigma, less the part along the column, is accurate only to
eps / LEAST_SIGMA^2."""
FAR_OUT = 1e4
"""|z|^2 above which W' comes from its asymptotic series, since -2 z W + 2 i / sqrt(pi) cancels to eps |z|^2."""


@dataclass(frozen=True, eq=False)
class Peaks(Repeated):
    """n lines at center_i; w = (center_1, width_1, center_2, ...), or (center_1, ..., center_n, width) if shared.

    Everything is in the unit of t.  offset : append a column of ones.  shared_width : one width for all.
    `guess` repeatedly takes the highest remaining peak and its width at half height; centers ascend.
    Raises ConfigError for n < 1.
    """

    n: int
    _: KW_ONLY
    offset: bool = False
    shared_width: bool = False
    column_stems: ClassVar[tuple[str, ...]] = ("peak",)
    width_stems: ClassVar[tuple[str, ...]] = ("width",)
    quantities = {"center": PLACE, "width": WIDTH, "sigma": WIDTH, "gamma": WIDTH}  # noqa: RUF012

    @property
    def parameter_stems(self) -> tuple[str, ...]:
        return ("center", *self.width_stems)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        if not self.shared_width:
            return super().parameter_names
        return (*(f"center_{i + 1}" for i in range(self.n)), *self.width_stems)

    @property
    def indices(self) -> list[tuple[int, ...]]:
        if not self.shared_width:
            return super().indices
        return [(i, *range(self.n, self.n + len(self.width_stems))) for i in range(self.n)]

    @abc.abstractmethod
    def widths(self, half: float) -> tuple[float, ...]:
        """The widths of a line whose half width at half height is `half`."""

    def propose(self, x: Array, y: Array) -> Array:
        signal = Signal.of(x, y)

        def line(at: Array, center: float, half: float) -> Array:
            return self.shape(at, *np.array([center, *self.widths(half)]))[0]

        tables = []
        for profile, narrow in itertools.product(profiles(signal, self.offset), (True, False)):
            found = located(signal, profile, line, self.n, self.offset, narrow)
            tables += [found, refined(signal, profile, line, found, self.offset, narrow)]
        return best_start(self, x, y, [self._start(table) for table in tables])

    def _start(self, table: Array) -> Array:
        """w from centers and half widths (n, 2)."""
        table = table[np.argsort(table[:, 0])]
        if self.shared_width:
            return np.concatenate([table[:, 0], self.widths(float(np.median(table[:, 1])))])
        return np.concatenate([[center, *self.widths(float(half))] for center, half in table])


@MODELS.register("gaussians")
class Gaussians(Peaks):
    """phi_i = exp(-(t - c_i)^2 / (2 s_i^2)); even and holomorphic in the width s, the standard deviation."""

    column_stems = ("gaussian",)

    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        center, width = v
        return (np.exp(-0.5 * ((t - center) / width) ** 2),)

    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        center, width = v
        x = (t - center) / width
        by_center = np.exp(-0.5 * x**2) * x / width
        return by_center, by_center * x

    def widths(self, half: float) -> tuple[float, ...]:
        return (half / math.sqrt(2.0 * math.log(2.0)),)

    def program(self) -> tuple[Column, ...] | None:
        return self._program("gaussian")


@MODELS.register("lorentzians")
class Lorentzians(Peaks):
    """phi_i = s_i^2 / ((t - c_i)^2 + s_i^2); even and holomorphic in the width s, half the width at half height."""

    column_stems = ("lorentzian",)

    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        center, width = v
        return (1.0 / (1.0 + ((t - center) / width) ** 2),)

    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        center, width = v
        x = (t - center) / width
        by_center = 2.0 * x / width / (1.0 + x**2) ** 2
        return by_center, by_center * x

    def widths(self, half: float) -> tuple[float, ...]:
        return (half,)

    def program(self) -> tuple[Column, ...] | None:
        return self._program("lorentzian")


@MODELS.register("voigt")
class Voigt(Peaks):
    """phi_i = Re W(z_i), z_i = (t - c_i + i |gamma_i|) / (sqrt(2) |sigma_i|), W(z) = exp(-z^2) erfc(-i z).

    sigma is the standard deviation of the Gaussian part, gamma the half width at half height of the Lorentzian part;
    the column is even in both and has height W(i gamma / (sqrt(2) sigma)), not 1, at the center.  Real w only, sigma !=
    0. At gamma = 0 an even function has a kink, and the minimum is often there.  So a fit keeps gamma >= 0, where its
    derivative is the one from above, and sigma >= 1e-5 steps of t, below which the line is a Lorentzian to ten digits.
    w = (center_1, sigma_1, gamma_1, ...), or (center_1, ..., center_n, sigma, gamma) if shared.
    Derivatives by W' = -2 z W + 2 i / sqrt(pi)  (Abramowitz and Stegun 7.1.20).
    """

    column_stems = ("voigt",)
    width_stems = ("sigma", "gamma")

    @staticmethod
    def _argument(t: Array, center: Array, sigma: Array, gamma: Array) -> Array:
        return (t - center + 1j * np.abs(gamma)) / (math.sqrt(2.0) * np.abs(sigma))

    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        return (scipy.special.wofz(self._argument(t, *v)).real,)

    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        _, sigma, gamma = v
        z = self._argument(t, *v)
        slope = _faddeeva_slope(z)
        per_unit = slope / (math.sqrt(2.0) * np.abs(sigma))
        return -per_unit.real, -(slope * z).real / sigma, -per_unit.imag * np.where(gamma < 0, -1.0, 1.0)

    def natural_bounds(self, t: Array) -> tuple[Array, Array] | None:
        lower = np.full(len(self.parameter_names), -np.inf)
        span = float(np.ptp(t)) if len(t) else 0.0
        lower[self._rows("gamma")], lower[self._rows("sigma")] = 0.0, LEAST_SIGMA * span / max(len(t) - 1, 1)
        return lower, np.full(len(lower), np.inf)

    def folded(self, w: Array) -> Array:
        out = np.array(w)
        for stem in self.width_stems:
            out[..., self._rows(stem)] = np.abs(out[..., self._rows(stem)])
        return out

    def _rows(self, stem: str) -> list[int]:
        """The positions in w of the parameters of one kind."""
        return [p for p, name in enumerate(self.parameter_names) if name.startswith(stem)]

    def widths(self, half: float) -> tuple[float, ...]:
        """Two equally wide parts; the width of the whole by Olivero and Longbothum, JQSRT 17 (1977) 233-236."""
        part = half / (0.5346 + math.sqrt(0.2166 + 1.0))
        return part / math.sqrt(2.0 * math.log(2.0)), part


def _faddeeva_slope(z: Array) -> Array:
    """W'(z) in the upper half plane: -2 z W + 2 i / sqrt(pi); far out, -i / (sqrt(pi) z^2) (1 + 3 / (2 z^2) + ...)."""
    slope = -2.0 * z * scipy.special.wofz(z) + 2j / math.sqrt(math.pi)
    far = z.real**2 + z.imag**2 > FAR_OUT
    if np.any(far):
        x = 1.0 / np.where(far, z, 1.0) ** 2
        series = 1.0 + 1.5 * x * (1.0 + 2.5 * x * (1.0 + 3.5 * x * (1.0 + 4.5 * x)))
        slope = np.where(far, -1j / math.sqrt(math.pi) * x * series, slope)
    return slope
