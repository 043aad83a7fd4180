"""Models of several shapes of one kind, each with its own parameters: exponentials, peaks, oscillations."""

import abc
import re
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np

from varpro.arrays import Array, as_array
from varpro.errors import at_least
from varpro.models.quantities import Frame, Quantity, frame_of
from varpro.models.separable import Column, Framed, stacked


class Repeated(Framed):
    """n shapes of one kind, each with its own parameters, and a column of ones if there is an offset."""

    n: int
    offset: bool
    column_stems: ClassVar[tuple[str, ...]]
    """The names of the columns of one shape."""
    quantities: ClassVar[Mapping[str, Quantity]]
    """The kind of each parameter, by its stem."""

    def __post_init__(self) -> None:
        at_least(f"n of {type(self).__name__}", self.n, 1)

    @property
    @abc.abstractmethod
    def parameter_stems(self) -> tuple[str, ...]:
        """The names of the parameters of one shape."""

    @abc.abstractmethod
    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        """The columns of one shape at its parameters v."""

    @abc.abstractmethod
    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        """The derivatives of these columns: the first column by each parameter, then the second, ..."""

    @cached_property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(f"{stem}_{i + 1}" for i in range(self.n) for stem in self.parameter_stems)

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        names = tuple(f"{stem}_{i + 1}" for i in range(self.n) for stem in self.column_stems)
        return (*names, "offset") if self.offset else names

    @cached_property
    def indices(self) -> list[tuple[int, ...]]:
        """The positions in w of the parameters of each shape."""
        size = len(self.parameter_stems)
        return [tuple(range(i * size, (i + 1) * size)) for i in range(self.n)]

    @property
    def pairs(self) -> Array:
        size = len(self.column_stems)
        listed = [(i * size + j, p) for i, own in enumerate(self.indices) for j in range(size) for p in own]
        return np.array(listed, dtype=np.intp)

    def __call__(self, t: Array, w: Array) -> Array:
        t, w = as_array(t), as_array(w)
        with np.errstate(all="ignore"):  # a trial step may overflow; the solvers check the result
            out = [column for own in self.indices for column in self.shape(t, *(w[p] for p in own))]
        return stacked(t, w, [*out, 1.0] if self.offset else out)

    def columns(self, t: Array, w: Array) -> Array:
        t, w = as_array(t), as_array(w)
        with np.errstate(all="ignore"):
            out = [slope for own in self.indices for slope in self.slopes(t, *(w[p] for p in own))]
        return stacked(t, w, out)

    @cached_property
    def _kinds(self) -> list[Quantity]:
        """The kind of each parameter, (P,)."""
        return [self.quantities[re.sub(r"_\d+$", "", name)] for name in self.parameter_names]

    def at(self, w: Array, frame: Frame) -> Array:
        with np.errstate(over="ignore"):
            return np.nan_to_num([kind.at(value, frame) for kind, value in zip(self._kinds, w, strict=True)])

    def draws(self, t: Array) -> tuple[Array, Array, Array] | None:
        frame = frame_of(t, np.ones(len(t)), movable=self.movable)
        x = [np.array(kind.draws(len(t))) for kind in self._kinds]
        ends = np.array([np.sort(kind.at(end, frame)) for kind, end in zip(self._kinds, x, strict=True)])
        return ends[:, 0], ends[:, 1], np.array([bool(kind.dimension) and not kind.place for kind in self._kinds])

    def _program(self, kind: str) -> tuple[Column, ...]:
        shapes = tuple(Column(kind, own, 0.0) for own in self.indices)
        return (*shapes, Column("power", (), 0.0)) if self.offset else shapes
