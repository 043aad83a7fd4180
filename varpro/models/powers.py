"""Powers of t with exponents that are searched or fixed."""

from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from varpro.arrays import Array, as_array
from varpro.errors import at_least
from varpro.models.guesses import Signal, best_start, selected
from varpro.models.quantities import EXPONENT, Frame
from varpro.models.ready import MODELS
from varpro.models.repeated import Repeated
from varpro.models.separable import Column, Framed, stacked

EXPONENTS = np.arange(-12, 21) / 4.0
"""Exponents to choose a start from: -3 to 5 in quarters."""


@MODELS.register("powers")
@dataclass(frozen=True, eq=False)
class Powers(Repeated):
    """phi_i = t^w_i for t >= 0, i = 1..n; w has no unit.

    offset : append a column of ones.
    Holomorphic in w.  At t = 0 the column and its derivative t^w log t are 0 for w > 0; negative t gives nan.
    `guess` takes the best exponents from -3 to 5 in quarters, ascending.  Raises ConfigError for n < 1.
    """

    n: int
    _: KW_ONLY
    offset: bool = False
    parameter_stems = ("exponent",)
    column_stems = ("power",)
    quantities = {"exponent": EXPONENT}  # noqa: RUF012
    movable = False

    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        (w,) = v
        return (np.power(t.astype(np.result_type(t, 1.0)), w),)

    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        return (self.shape(t, *v)[0] * np.log(np.where(t == 0, 1.0, t)),)

    def propose(self, x: Array, y: Array) -> Array:
        spread = 0.5 * np.arange(1, self.n + 1)
        signal = Signal.of(x, y)
        signal = signal.rows(int(np.searchsorted(signal.t, 0.0, side="right")))  # negative powers of 0 do not exist
        grid = EXPONENTS if not self.offset else EXPONENTS[EXPONENTS != 0]
        if not signal.size or self.n > len(grid):
            return spread
        at = signal.t / np.exp(np.mean(np.log(signal.t)))
        with np.errstate(all="ignore"):
            phi = np.power(at[:, None], grid)
        if not np.all(np.isfinite(phi)):
            return spread
        chosen = selected(phi, np.ones((len(at), int(self.offset))), signal.compressed(self.n + 1).y, self.n)
        return best_start(self, x, y, [np.sort(grid[chosen]), spread])


@MODELS.register("polynomial")
@dataclass(frozen=True, eq=False)
class Polynomial(Framed):
    """Columns t^0, ..., t^degree; no parameters, w (0,).  Raises ConfigError for degree < 0."""

    degree: int

    def __post_init__(self) -> None:
        at_least("degree of Polynomial", self.degree, 0)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return ()

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(f"t^{i}" for i in range(self.degree + 1))

    @property
    def pairs(self) -> Array:
        return np.zeros((0, 2), dtype=np.intp)

    def __call__(self, t: Array, w: Array) -> Array:
        t, w = as_array(t), as_array(w)
        return stacked(t, w, [t**i for i in range(self.degree + 1)])

    def columns(self, t: Array, w: Array) -> Array:
        return stacked(as_array(t), as_array(w), [])

    def program(self) -> tuple[Column, ...] | None:
        return tuple(Column("power", (), float(i)) for i in range(self.degree + 1))

    def propose(self, x: Array, y: Array) -> Array:
        return np.zeros(0)

    def at(self, w: Array, frame: Frame) -> Array:
        return w


@MODELS.register("constant")
@dataclass(frozen=True, eq=False)
class Constant(Polynomial):
    """A column of ones, used as the offset of a sum."""

    degree: int = field(default=0, init=False)

    @property
    def column_names(self) -> tuple[str, ...]:
        return ("offset",)
