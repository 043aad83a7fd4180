"""Systems of units, and functions written in them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from campaign_fits.families.family import Draw, Family

Array = np.ndarray
EPOCHS = {"Unix seconds": 1.7e9, "Julian days": 2460000.5, "Unix nanoseconds": 1.7e18}
RESOLUTION = 1e-7
"""Steps of t that a far origin leaves, in natural units, at most."""


@dataclass(frozen=True)
class Units:
    """t_u = origin + time t, w_u = shift + scale w, phi_u = column phi, y_u = y_unit y, a_u = y_unit a / column."""

    name: str
    origin: float
    time: float
    y_unit: float
    scale: Array
    """(P,) real parameters"""
    shift: Array
    column: Array
    """(I,)"""
    exponents: tuple[int, ...] = ()
    """columns t^w_j, whose unit is time^w_j"""
    natural: bool = False

    def representable(self, t: Array) -> Array:
        """Natural t that these units hold without rounding, but for the last digit."""
        return self.to_natural(self.of(t))

    def of(self, t: Array) -> Array:
        return self.origin + self.time * t if self.origin else self.time * t

    def to_natural(self, t: Array) -> Array:
        return (t - self.origin) / self.time if self.origin else t / self.time

    def parameters(self, w: Array) -> Array:
        """(..., P) real parameters in these units."""
        return self.shift + self.scale * w

    def natural_parameters(self, w: Array) -> Array:
        return (w - self.shift) / self.scale

    def column_at(self, w: Array) -> Array:
        """(I,) phi_u / phi at natural w (P,)."""
        column = self.column.copy()
        for j in self.exponents:
            column[j] = self.time ** w[j]
        return column

    def resolution(self, w: Array) -> Array:
        """(P,) what the last digit of w_u is in natural units, at natural w."""
        return np.spacing(np.abs(self.parameters(w))) / np.abs(self.scale)

    def covariance(self, natural: Array, w: Array, a: Array) -> Array:
        """That of (w_u, a_u) from that of (w, a), a (I', K) flattened; complex amplitudes real parts first."""
        count, (n_a, k) = len(w), a.shape
        repeat = n_a // len(self.column)
        column = np.tile(self.column_at(w), repeat)
        move = np.diag(np.concatenate([self.scale, np.repeat(self.y_unit / column, k)]))
        for j in self.exponents:
            place = count + j * k
            move[place : place + k, j] = -np.log(self.time) * self.y_unit / column[j] * a[j]
        lost = np.isnan(np.diagonal(natural))
        with np.errstate(invalid="ignore"):  # infinite errors times 0 are not known
            out = move @ np.where(np.isnan(natural), 0.0, natural) @ move.T
        out[lost] = out[:, lost] = np.nan  # an amplitude beside a parameter on its bound keeps its own
        return out


def natural_units(family: Family, draw: Draw) -> Units:
    """All ones."""
    count, columns = len(draw.w), len(draw.a)
    return Units("natural", 0.0, 1.0, 1.0, np.ones(count), np.zeros(count), np.ones(columns), family.exponents, True)


def power_of_ten(rng: np.random.Generator, most: int = 15) -> float:
    return float(f"1e{rng.integers(-most, most + 1)}")


def random_units(rng: np.random.Generator, family: Family, draw: Draw, *, plain: bool) -> Units:
    """Any power of ten for t and y, of a plain function for parameters and columns too; sometimes a far origin."""
    count, columns = len(draw.w), len(draw.a)
    moves = np.array([p.moves for p in family.parameters])
    names = list(EPOCHS)
    name = names[int(rng.integers(len(names)))]
    far = family.any_origin and rng.random() < 0.25 and (plain or moves.any())
    time, y_unit = power_of_ten(rng), power_of_ten(rng)
    origin = EPOCHS[name] if far else 0.0
    if far:
        least = int(np.ceil(np.log10(np.spacing(origin) / RESOLUTION)))
        time = float(f"1e{rng.integers(least, least + 5)}")
    scale = np.array([time**p.power for p in family.parameters])
    if plain:
        own = np.array([power_of_ten(rng) for _ in range(count)])
        scale = np.where(moves, scale, own) if rng.random() < 0.7 else scale
        column = np.array([power_of_ten(rng, 7) for _ in range(columns)]) if rng.random() < 0.4 else np.ones(columns)
    else:
        column = np.array([time**power for power in family.column_powers] or np.ones(columns))
    if family.complex_w:
        scale[count // 2 :] = scale[: count // 2]
    shift = np.where(moves, origin, 0.0)
    label = f"t {name if far else ''} {time:.0e}, y {y_unit:.0e}"
    exponents = () if plain else family.exponents
    return Units(label, origin, time, y_unit, scale, shift, column, exponents)


class InUnits:
    """Natural columns (t, w) -> (N, I) as a function in the user's units, written in one of several styles."""

    def __init__(self, function: Any, units: Units, column: Array, style: str = "plain", absolute: Any = None) -> None:
        self.function, self.column, self.style = function, column, style
        self.origin, self.time = units.origin, units.time
        self.scale, self.shift, self.absolute = units.scale, units.shift, absolute
        self.buffer: Array | None = None

    def __call__(self, t: Any, w: Any) -> Array:
        v = [(w[p] - self.shift[p]) / self.scale[p] for p in range(len(w))]
        if self.style == "absolute":
            v = [np.abs(x) if even else x for x, even in zip(v, self.absolute, strict=True)]
        if self.style == "scalar":
            v = [float(x) for x in v]
        with np.errstate(all="ignore"):
            out = self.function((t - self.origin) / self.time, v) * self.column
        if self.style == "preallocated":
            kept = np.empty(out.shape)
            kept[...] = out
            return kept
        if self.style == "refilled":
            if self.buffer is None or self.buffer.shape != out.shape or self.buffer.dtype != out.dtype:
                self.buffer = np.empty_like(out)
            self.buffer[...] = out
            return self.buffer
        return out
