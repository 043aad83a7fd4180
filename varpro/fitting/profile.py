"""Profile likelihood: the interval in which one parameter may lie when all others are fitted again.

    S(v) = min over the others of ||R||^2 (+ ridge),    z(v) = +- sqrt((S(v) - S_min) / sigma^2)

The ends are where |z| is the quantile of Student's t for dof, whose square is that of F(1, dof); with known errors
sigma = 1 and the quantile is the normal one.  z is nearly straight in v, so that a secant finds an end in a few fits,
both ends at the same time.  Bates and Watts, Nonlinear Regression Analysis and Its Applications (1988), section 6.1.
"""

from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.profile_lines import Line, of_amplitude, of_parameter
from varpro.fitting.refits import require_minimum

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from varpro.fitting.result import FitResult

DOUBLINGS = 8
"""Steps outwards, each twice the last, before a profile counts as open: 256 times the linear interval."""
ROUNDS = 40
CLOSE = 1e-7
"""Relative error of z at which an end is found."""
REACHED = 1e-3
"""The same where no value of z comes closer, as at a jump; beyond it, an end is not reached."""
DRAWN = 17
"""Values between the ends at which the curve is computed for a picture."""
BEYOND = 1.2
"""How far they reach beyond the ends."""
NEAR = 1e-3
"""How close to a bound at which the model has no value it is tried, as a share of the way there."""
LOWER = 1e-3
"""A z^2 below minus this says that the fit was not the minimum."""


@dataclass(frozen=True)
class Profile:
    """The profile of one parameter; `lower` and `upper` are infinite, or a bound, where it does not close."""

    name: str
    level: float
    """The confidence, between 0 and 1."""
    estimate: float
    lower: float
    upper: float
    closed: tuple[bool, bool]
    """Whether the lower and the upper end were reached."""
    message: str
    """One sentence for each end that is open; empty where both are closed."""
    values: Array = field(repr=False)
    """The values at which the others were fitted again, (m,), ascending."""
    z: Array = field(repr=False)
    """The signed root of the rise of the sum of squares, (m,), in units of sigma; straight for a linear model."""
    quantile: float = field(repr=False)
    """The |z| of the ends."""

    def plot(self, path: str | Path | None = None) -> "Figure":
        """A matplotlib figure: z against the parameter, with the ends and the straight line of the standard error."""
        from varpro.report.profile_plot import draw_profile

        return draw_profile(self, path)

    def __str__(self) -> str:
        ends = f"{self.name} = {self.estimate:.8g}, {100 * self.level:g} % from {self.lower:.8g} to {self.upper:.8g}"
        return f"{ends}; {self.message}" if self.message else ends


def profile_of(fit: "FitResult", name: str, level: float = 0.95) -> Profile:
    """See FitResult.profile."""
    require_minimum(fit, "a profile")
    spec = fit._solution.spec
    if not isinstance(level, Real) or not 0 < level < 1:
        raise ConfigError(f"level is {level!r}; it needs a number between 0 and 1, such as 0.95")
    if fit._solution.loss != "linear":
        raise ConfigError(f"a profile needs loss='linear', not {fit._solution.loss!r}; use bootstrap for a robust loss")
    if not fit.dof and not fit.absolute_sigma:
        raise ConfigError("a profile needs degrees of freedom: there are as many parameters as values")
    dof = fit.dof
    quantile = scipy.stats.norm.ppf(0.5 + level / 2) if fit.absolute_sigma else scipy.stats.t.ppf(0.5 + level / 2, dof)
    line = of_amplitude(fit, name) if name in fit.linear_names else of_parameter(fit, name)
    least = 2.0 * float(fit._solution.objective[0])
    unit = 1.0 / spec.data.weight_unit**2 if fit.absolute_sigma else least / dof
    return _Search(name, line, least, unit, float(quantile)).profile(level)


@dataclass
class _Search:
    """The search for both ends of a profile."""

    name: str
    line: Line
    least: float
    unit: float
    quantile: float
    seen: list[tuple[float, float]] = field(default_factory=list)

    def z(self, values: Array, side: Array) -> Array:
        """The signed root at values (m,) on the side -1 or 1 (m,) of the estimate; NaN where there is no fit."""
        rise = (self.line.squares(values) - self.least) / self.unit
        z = np.where(np.isfinite(rise), np.sign(rise) * np.sqrt(np.abs(rise)), np.nan)
        self.seen += [(float(v), float(s * r)) for v, s, r in zip(values, side, z, strict=True) if np.isfinite(r)]
        return z

    def profile(self, level: float) -> Profile:
        line = self.line
        self.seen.append((line.estimate, 0.0))
        ends, closed, words = [-np.inf, np.inf], [False, False], ["", ""]
        if line.undetermined:
            words[0] = f"the data do not determine {self.name}"
        else:
            for k, (end, good, word) in enumerate(zip(*self._ends(), strict=True)):
                ends[k], closed[k], words[k] = end, good, word
            self._fill(ends)
        if any(v * s < -LOWER for v, s in ((z, np.sign(x - line.estimate)) for x, z in self.seen)):
            words.append("a lower sum of squares than that of the fit was found on the way: fit again from there")
        values, z = np.array(sorted(self.seen)).T
        return Profile(
            self.name, level, line.estimate, float(ends[0]), float(ends[1]), (closed[0], closed[1]),
            "; ".join(filter(None, words)), values, z, self.quantile,
        )  # fmt: skip

    def _ends(self) -> tuple[list[float], list[bool], list[str]]:
        """The lower and the upper end: steps outwards until |z| passes the quantile, then secants between."""
        line, side = self.line, np.array([-1.0, 1.0])
        limit = np.array([line.lower, line.upper])
        inner, inner_z = np.full(2, line.estimate), np.zeros(2)
        outer, outer_z = np.full(2, np.nan), np.full(2, np.nan)
        step, active = self.quantile * line.step, np.ones(2, dtype=bool)
        for _ in range(DOUBLINGS):
            trial = np.clip(line.estimate + side * step, line.lower, line.upper)
            z, at_limit = np.full(2, np.nan), trial == limit
            z[active] = self.z(trial[active], side[active])
            lost = active & at_limit & np.isnan(z)
            if lost.any():
                trial[lost] += NEAR * (inner - limit)[lost]
                z[lost] = self.z(trial[lost], side[lost])
            beyond = active & (z >= self.quantile)
            outer[beyond], outer_z[beyond] = trial[beyond], z[beyond]
            within = active & (z < self.quantile)
            inner[within], inner_z[within] = trial[within], z[within]
            inner[within & at_limit] = limit[within & at_limit]
            active = within & ~at_limit
            step *= 2.0
            if not active.any():
                break
        beyond = np.isfinite(outer)
        end, last, found = self._between(inner, inner_z, outer, outer_z, beyond)
        torn = beyond & ~found
        out = np.where(found, end, np.where(inner == limit, limit, side * np.inf))
        words = [self._word(k, out[k], last[k] if beyond[k] else inner[k], torn[k]) for k in (0, 1)]
        return out.tolist(), found.tolist(), words

    def _word(self, k: int, end: float, last: float, torn: bool) -> str:
        """What an open end needs said; torn: whether the model has no value beyond the last one."""
        way = ("lower", "upper")[k]
        if torn:
            return f"the {way} end is open: the model has no value beyond {self.name} = {last:.4g}, within the limit"
        if not np.isfinite(end):
            return f"the {way} end is open: the sum of squares stays below its limit beyond {self.name} = {last:.4g}"
        if end == (self.line.lower, self.line.upper)[k]:
            return f"the {way} end is the bound of {self.name}"
        return ""

    def _between(
        self, inner: Array, inner_z: Array, outer: Array, outer_z: Array, found: Array
    ) -> tuple[Array, Array, Array]:
        """(2,) where |z| is the quantile, the last values below it, and whether it is reached there.

        The Illinois form of the false position on both sides at once; bisection towards values that have no z.
        """
        a, b, fa, fb = inner.copy(), outer.copy(), inner_z - self.quantile, outer_z - self.quantile
        out, left = b.copy(), found & (np.abs(fb) > CLOSE * self.quantile)
        for _ in range(ROUNDS):
            if not left.any():
                break
            with np.errstate(invalid="ignore"):
                secant = b - fb * (b - a) / np.where(fb == fa, 1.0, fb - fa)
            apart = ~(np.isfinite(secant) & np.isfinite(fa) & np.isfinite(fb))
            x = np.where(left, np.where(apart, 0.5 * (a + b), secant), b)
            f = np.full(2, np.nan)
            f[left] = self.z(x[left], np.sign(x - self.line.estimate)[left]) - self.quantile
            f = np.where(np.isnan(f), np.inf, f)
            out = np.where(left, x, out)
            crossed = np.sign(f) != np.sign(fb)
            a, fa = np.where(left & crossed, b, a), np.where(left, np.where(crossed, fb, 0.5 * fa), fa)
            b, fb = np.where(left, x, b), np.where(left, f, fb)
            left = left & (np.abs(f) > CLOSE * self.quantile)
        return out, np.where(fa <= 0, a, b), found & (np.abs(fb) <= REACHED * self.quantile)

    def _fill(self, ends: list[float]) -> None:
        """Values between the ends, for a picture of the curve."""
        line, seen = self.line, [v for v, _ in self.seen]
        low, high = (end if np.isfinite(end) else far for end, far in zip(ends, (min(seen), max(seen)), strict=True))
        first, last = (line.estimate + BEYOND * (end - line.estimate) for end in (low, high))
        values = np.linspace(max(first, line.lower), min(last, line.upper), DRAWN)
        self.z(values, np.where(values < line.estimate, -1.0, 1.0))
