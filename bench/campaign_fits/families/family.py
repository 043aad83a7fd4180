"""What a family of models is: natural columns and derivatives, random true values, and how units enter.

Natural means that t, the parameters and the columns are all of order one.  Another system of units is

    t_u = origin + time t,   w_u = shift + scale w,   phi_u = column phi,   y_u = y_unit y,   a_u = y_unit a / column

For a ready model scale and column follow from the unit of t, by the powers that stand here; a plain function can have
any.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray
Function = Callable[[Any, Any], Array]


def stack(*parts: Any) -> Array:
    """Columns (..., N, I) from arrays (..., N) that broadcast."""
    return np.stack(np.broadcast_arrays(*parts), axis=-1)


@dataclass(frozen=True)
class Parameter:
    """One nonlinear parameter."""

    power: float = 0.0
    """w has the unit of t to this power in a ready model"""
    moves: bool = False
    """a position on the axis of t: moves with its origin"""
    positive: bool = True
    """starts are off by a factor of up to 3; else by up to `Draw.reach`, and zero may lie between"""


@dataclass
class Draw:
    """A random member of a family, in natural units."""

    t: Array
    """(N,) or (N, 2)"""
    w: Array
    """(P,) true values"""
    a: Array
    """(I,) true amplitudes"""
    reach: Array | None = None
    """(P,) how far starts may be off where a parameter is not positive"""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of model."""

    name: str
    columns: Function
    """(t, w) -> (N, I) in natural units; serves many problems at once: t (b, N), w[p] (b, 1)"""
    slopes: Function
    """(t, w) -> (N, M)"""
    pairs: tuple[tuple[int, int], ...]
    """(M, 2) column and parameter"""
    parameters: tuple[Parameter, ...]
    draw: Callable[[np.random.Generator], Draw]
    ready: Callable[[Draw], Any] | None = None
    """the model of varpro.models with the same columns"""
    column_powers: tuple[float, ...] = ()
    """phi_j has the unit of t to this power in a ready model; () for none"""
    exponents: tuple[int, ...] = ()
    """a ready model's column j is t^w_j for these j: its unit depends on w"""
    fixed_term: Function | None = None
    """(t, w) -> (N,), without an amplitude"""
    fixed_slopes: Function | None = None
    """(t, w) -> (N, P)"""
    ties: tuple[tuple[int, int], ...] = ()
    """(follower, leader) of the same kind that may be tied"""
    equality: tuple[int, ...] = ()
    """amplitudes whose sum may be known"""
    complex_w: bool = False
    """parameters are real parts, then imaginary parts"""
    complex_data: bool = False
    real_only: bool = False
    """the columns do not take complex w"""
    any_origin: bool = True
    """t may be measured from a far origin (a ready model: only where all positions move)"""
    equidistant: bool = False
    nonnegative: bool = False
    """true amplitudes are positive: 'nonnegative' may be asked"""
    tags: tuple[str, ...] = field(default=())


FAMILIES: list[Family] = []


def register(**what: Any) -> None:
    """Add a family to the campaign."""
    FAMILIES.append(Family(**what))


def grid(rng: np.random.Generator, start: float, end: float, least: int = 24, most: int = 120) -> Array:
    """An axis from start to end: equidistant, jittered, or denser at the beginning."""
    n = int(rng.integers(least, most))
    x = np.linspace(0.0, 1.0, n)
    kind = rng.integers(3)
    if kind == 1:
        x[1:-1] += rng.uniform(-0.4, 0.4, n - 2) / n
    if kind == 2:
        x = x**1.5
    return start + (end - start) * x


def amplitudes(rng: np.random.Generator, count: int, signs: bool = True) -> Array:
    """(count,) of sizes 0.3 to 3."""
    size = 3.0 ** rng.uniform(-1, 1, count)
    return size * np.where(rng.random(count) < 0.3, -1.0, 1.0) if signs else size


def uniform(rng: np.random.Generator, *limits: tuple[float, float]) -> Array:
    """One value from each interval."""
    return np.array([rng.uniform(*pair) for pair in limits])
