"""Curves that saturate: sigmoids, dose and response after Hill, enzymes after Michaelis and Menten."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.models.grids import decades, from_grid
from varpro.models.quantities import HILL, PLACE, TIME, WIDTH
from varpro.models.ready import MODELS
from varpro.models.repeated import Repeated

LEAST_WIDTH = 1e-3
"""Least width of a step on an offset, in steps of t: a narrower one is the same at every point."""
HILL_LIMITS = (0.05, 50.0)


@MODELS.register("sigmoids")
@dataclass(frozen=True, eq=False)
class Sigmoids(Repeated):
    """phi_i = 1 / (1 + exp(-(t - c_i) / s_i)), a step of height 1; w = (center_1, width_1, center_2, ...).

    Both are in the unit of t: between 12 and 88 % the step takes 4 s.  offset : append a column of ones; then a fit
    keeps s > 0, since a falling step is the offset less a rising one.  Holomorphic in w.  Example: a melting curve.
    `guess` by a grid search.  Raises ConfigError for n < 1.
    """

    n: int = 1
    _: KW_ONLY
    offset: bool = False
    parameter_stems = ("center", "width")
    column_stems = ("step",)
    quantities = {"center": PLACE, "width": WIDTH}  # noqa: RUF012

    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        center, width = v
        x = (t - center) / width
        return (1.0 / (1.0 + np.exp(-x)) if np.iscomplexobj(x) else scipy.special.expit(x),)

    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        center, width = v
        x = (t - center) / width
        (step,) = self.shape(t, *v)
        slope = -step * scipy.special.expit(-x) / width
        return slope, slope * x

    def natural_bounds(self, t: Array) -> tuple[Array, Array] | None:
        if not self.offset:
            return None
        least = LEAST_WIDTH * float(np.ptp(t)) / max(len(t) - 1, 1) if len(t) else 0.0
        return np.tile([-np.inf, least], self.n), np.full(2 * self.n, np.inf)

    def folded(self, w: Array) -> Array:
        out = np.array(w)
        if self.offset:
            out[..., 1::2] = np.abs(out[..., 1::2])
        return out

    def propose(self, x: Array, y: Array) -> Array:
        widths = decades(0.004, 0.3, 7)
        both = widths if self.offset or self.n > 1 else np.concatenate([widths, -widths])
        return from_grid(self, x, y, [np.linspace(0.02, 0.98, 25), both])


@MODELS.register("hill")
@dataclass(frozen=True, eq=False)
class Hill(Repeated):
    """phi_i = t^h / (K^h + t^h) for t >= 0; w = (half_1, exponent_1, half_2, ...), the half K in the unit of t.

    K is the concentration of half the effect, h the Hill coefficient.  offset : append a column of ones.
    A fit keeps K > 0 and h between 0.05 and 50.  Holomorphic in w; negative t gives nan.  Example: the oxygen that
    haemoglobin binds, h = 2.8.
    `guess` by a grid search.  Raises ConfigError for n < 1.
    """

    n: int = 1
    _: KW_ONLY
    offset: bool = False
    parameter_stems = ("half", "exponent")
    column_stems = ("effect",)
    quantities = {"half": TIME, "exponent": HILL}  # noqa: RUF012
    movable = False

    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        half, exponent = v
        ratio = (np.where(t < 0, np.nan, t) / half) ** exponent  # which exists there for whole exponents only
        return (1.0 / (1.0 + 1.0 / np.where(t == 0, 1.0, ratio)) * (t != 0),)

    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        half, exponent = v
        log = np.log(np.where(t == 0, 1.0, t / half))
        slope = scipy.special.expit(exponent * log) * scipy.special.expit(-exponent * log) * (t != 0)
        return -slope * exponent / half, slope * log

    def natural_bounds(self, t: Array) -> tuple[Array, Array] | None:
        return np.tile([0.0, HILL_LIMITS[0]], self.n), np.tile([np.inf, HILL_LIMITS[1]], self.n)

    def propose(self, x: Array, y: Array) -> Array:
        exponents = np.array([0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.5, 7.0])
        return from_grid(self, x, y, [decades(1e-3, 2.0, 24), exponents])


@MODELS.register("michaelis_menten")
@dataclass(frozen=True, eq=False)
class MichaelisMenten(Repeated):
    """phi_i = t / (K_i + t) for t >= 0, the amplitude being the limiting rate; w = (half_1, half_2, ...).

    The half K is Michaelis's constant, in the unit of t.  offset : append a column of ones.  A fit keeps K > 0.
    Holomorphic in w.  Example: the rate of an enzyme against the concentration of its substrate.
    `guess` by a grid search.  Raises ConfigError for n < 1.
    """

    n: int = 1
    _: KW_ONLY
    offset: bool = False
    parameter_stems = ("half",)
    column_stems = ("rate",)
    quantities = {"half": TIME}  # noqa: RUF012
    movable = False

    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        (half,) = v
        return (t / (half + t),)

    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        (half,) = v
        return (-t / (half + t) ** 2,)

    def natural_bounds(self, t: Array) -> tuple[Array, Array] | None:
        return np.zeros(self.n), np.full(self.n, np.inf)

    def propose(self, x: Array, y: Array) -> Array:
        return from_grid(self, x, y, [decades(1e-3, 20.0, 60)])
