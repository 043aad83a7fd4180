"""Units whose parameters form a table (Q, I), row by row, with one column per unit and the biases in the last row."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from varpro.arrays import Array, is_device_array
from varpro.models.units.images import unit_floats
from varpro.models.units.interface import BoundUnits, Shape, Units
from varpro.models.units.linear import LinearUnits
from varpro.models.units.options import UnitOptions


@dataclass(frozen=True)
class Tabled(Units):
    """The layout of such parameters, and the storage of the options of a kind."""

    options: UnitOptions = field(default_factory=UnitOptions)

    def __post_init__(self) -> None:
        if not isinstance(self.options, self.Options):
            object.__setattr__(self, "options", self.Options())

    @classmethod
    def create(cls, shape: Shape, count: int, rng: np.random.Generator, options: Any = None) -> Self:
        return cls(shape, count, options or cls.Options())

    @property
    @abc.abstractmethod
    def n_rows(self) -> int:
        """The number Q of rows."""

    @property
    def n_parameters(self) -> int:
        return self.n_rows * self.count

    def table(self, w: Array) -> Array:
        """w (P,) as (Q, I)."""
        return w.reshape(-1, self.count)

    def bias(self, w: Array) -> Array:
        """The biases b, (I,)."""
        return self.table(w)[-1]

    def blocks(self) -> list[Array]:
        return [np.arange(self.n_parameters).reshape(-1, self.count).T]

    def per_parameter(self, values: Array) -> Array:
        return np.tile(values, (self.n_rows, *[1] * (values.ndim - 1)))

    def per_unit(self, values: Array) -> Array:
        return values.reshape(-1, self.count, *values.shape[1:]).sum(axis=0)

    def joined(self, others: list[tuple[Self, Array]], w: Array) -> tuple[Self, Array]:
        table = np.concatenate([self.table(w), *(units.table(v) for units, v in others)], axis=1)
        return replace(self, count=table.shape[1]), table.ravel()

    def taken(self, w: Array, which: Array) -> tuple[Self, Array]:
        return replace(self, count=len(which)), self.table(w)[:, which].ravel()

    def stored(self) -> dict[str, Array]:
        """The options by name, one-dimensional, text as bytes."""
        values = {name: np.atleast_1d(getattr(self.options, name)) for name in self.options.names()}
        return {name: np.char.encode(v, "utf-8") if v.dtype.kind == "U" else v for name, v in values.items()}

    @classmethod
    def restored(cls, shape: Shape, count: int, arrays: Mapping[str, Array]) -> Self:
        given, plain = {}, cls.Options()
        for name in (name for name in cls.Options.names() if name in arrays):
            values = arrays[name]
            parts = (np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values).tolist()
            given[name] = tuple(parts) if isinstance(getattr(plain, name), tuple) else parts[0]
        return cls(shape, count, cls.Options(**given))


@dataclass(frozen=True)
class TableUnits(Tabled, LinearUnits):
    """The same for units linear in the image; some rows of the table weigh pixels."""

    @abc.abstractmethod
    def seen_rows(self, lit: Array) -> Array:
        """(Q,) bool: the rows that can change q; the others weigh pixels that are never lit.  lit : (C, L, R) bool."""

    def draw(self, rng: np.random.Generator) -> Array:
        table = rng.standard_normal((self.n_rows, self.count))
        table[-1] = 0.0
        return table.ravel()

    def clear_unlit(self, w: Array, lit: Array) -> Array:
        return np.where(self.seen_rows(lit)[:, None], self.table(w), 0.0).ravel()

    @abc.abstractmethod
    def flat(self, images: Array, dtype: np.dtype) -> Array:
        """Images (n, C, L, R) as rows (n, E) of dtype that are multiplied with `matrices` (E, I)."""

    def forward(self, images: Array, matrices: Array) -> Array:
        return self.flat(images, matrices.dtype) @ matrices

    def forward_into(self, images: Array, matrices: Array, out: Array) -> None:
        if is_device_array(images):
            super().forward_into(images, matrices, out)
        else:
            np.matmul(self.flat(images, matrices.dtype), matrices, out=out)

    def adjoint(self, images: Array, b: Array) -> Array:
        return self.flat(images, b.dtype).T @ b


class BoundTable(BoundUnits):
    """Columns of D for pixels that are never lit in these images are zero, so they are left out of the search."""

    def __init__(self, units: TableUnits, images: Array, sigma: str) -> None:
        self.count, self.n_rows, self.sigma = units.count, units.n_rows, sigma
        self.pixels = unit_floats(images)
        lit: Array = np.any(images, axis=0)
        if not lit.any():
            lit.flat[0] = True
        self.rows = np.flatnonzero(units.seen_rows(lit))
        """The rows of the table that are searched."""
        self.columns = np.tile(np.arange(units.count, dtype=np.int32), len(self.rows))

    def lower(self, w: Array) -> Array:
        return w.reshape(-1, self.count)[self.rows].ravel()

    def lift(self, w: Array) -> Array:
        """All parameters; the weights of unlit pixels are zero, since nothing was learnt about them."""
        table = np.zeros((self.n_rows, self.count))
        table[self.rows] = w.reshape(-1, self.count)
        return table.ravel()
