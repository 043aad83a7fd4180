"""Bilinear units on local windows: q = u^T X[window] v + b, where u and v live on a window of random place and size.

A unit has h + w + 1 parameters (about 20 on MNIST) instead of L + R + 1, and costs h w multiplications per image.
The windows are fixed; u, v and b are searched.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np

from varpro.arrays import Array, Twin, is_device_array, namespace
from varpro.errors import ConfigError, ShapeError
from varpro.kernels import scalarize
from varpro.kernels.scalarize.window_columns import WindowColumns
from varpro.models.units.activation import slope
from varpro.models.units.forms import Forms
from varpro.models.units.images import flat_images
from varpro.models.units.interface import BoundUnits, Shape, UnitSize, unit_kind
from varpro.models.units.linear import LinearUnits
from varpro.models.units.options import UnitOptions, option


def _two_sides(value: object) -> tuple[int, int]:
    sides = tuple(value) if isinstance(value, list | tuple) else ()
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    if len(sides) != 2 or not whole or not 1 <= sides[0] <= sides[1]:
        raise ValueError("needs two sides >= 1 in pixels, [smallest, largest], such as [6, 14]")
    return sides[0], sides[1]


@dataclass(frozen=True, kw_only=True)
class WindowOptions(UnitOptions):
    """Where units may look."""

    window: tuple[int, int] = option((6, 14), check=_two_sides)
    """The smallest and largest side of a window, in pixels."""


@unit_kind("local-bilinear")
@dataclass(frozen=True, eq=False)
class LocalBilinearUnits(LinearUnits):
    """w is one unit after another: u (C h), v (w), b."""

    windows: Array = field(default_factory=lambda: np.zeros((0, 4), dtype=np.int32))
    """The windows, (I, 4) int32: top, left, height, width."""
    Options = WindowOptions
    no_device = None
    alike = False

    @classmethod
    def create(cls, shape: Shape, count: int, rng: np.random.Generator, options: WindowOptions | None = None) -> Self:
        least, most = (options or WindowOptions()).window
        if most > min(shape[1:]):
            raise ShapeError(f"windows of side {most} do not fit images of {shape[1]} x {shape[2]}; lower model.window")
        sides = rng.integers(least, most, size=(count, 2), endpoint=True)
        place = rng.integers(0, np.array(shape[1:]) - sides, endpoint=True)
        return cls(shape, count, np.concatenate([place, sides], axis=1).astype(np.int32))

    @classmethod
    def check(cls, shape: Shape, options: WindowOptions) -> None:
        _, rows, columns = shape
        if options.window[1] > min(rows, columns):
            raise ConfigError(
                f"model.window is {list(options.window)}, but the images are {rows} x {columns}; "
                f"set the largest side <= {min(rows, columns)}"
            )

    @classmethod
    def size_of_one(cls, shape: Shape, options: WindowOptions) -> UnitSize:
        planes, side = shape[0], sum(options.window) / 2
        return UnitSize((planes + 1) * side + 1, planes * side**2)

    @classmethod
    def restored(cls, shape: Shape, count: int, arrays: Mapping[str, Array]) -> Self:
        return cls(shape, count, arrays["windows"])

    def stored(self) -> dict[str, Array]:
        return {"windows": self.windows}

    @cached_property
    def _split(self) -> tuple[Array, Array, Array]:
        """For each unit: the positions in w at which its u, v and b begin."""
        heights = self.shape[0] * self.windows[:, 2].astype(np.int64)
        widths = self.windows[:, 3].astype(np.int64)
        ends = np.cumsum(heights + widths + 1)
        return ends - heights - widths - 1, ends - widths - 1, ends - 1

    @property
    def n_parameters(self) -> int:
        return int(self._split[2][-1]) + 1

    def _indices(self) -> tuple[Array, Array, Array]:
        """Indices into w of all u, all v (unit by unit) and all b."""
        _, at_v, at_b = self._split
        owner = np.zeros(self.n_parameters, dtype=np.int8)
        owner[at_b] = 2
        steps = np.zeros(self.n_parameters + 1, dtype=np.int64)
        np.add.at(steps, at_v, 1)
        np.add.at(steps, at_b, -1)
        owner[np.cumsum(steps)[:-1] == 1] = 1
        return np.flatnonzero(owner == 0), np.flatnonzero(owner == 1), at_b

    @cached_property
    def _outer(self) -> tuple[Array, Array]:
        """The index in w of the u and of the v of every entry of the ragged matrices."""
        at_u, at_v, _ = self._split
        heights, widths = self.shape[0] * self.windows[:, 2].astype(np.int64), self.windows[:, 3].astype(np.int64)
        sizes = heights * widths
        inside = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        width = np.repeat(widths, sizes)
        return np.repeat(at_u, sizes) + inside // width, np.repeat(at_v, sizes) + inside % width

    @cached_property
    def _dense(self) -> WindowColumns:
        """The windows as a device takes them."""
        return WindowColumns(self.windows, self.shape)

    @cached_property
    def _positions(self) -> tuple[Twin, Twin, Twin, Twin]:
        """Positions in w, as WindowColumns.jacobian needs them."""
        at_u, at_v = self._outer
        owner = self.per_parameter(np.arange(self.count))
        return Twin(at_u), Twin(at_v), Twin(self._split[2]), Twin(owner)

    def bias(self, w: Array) -> Array:
        return w[self._split[2]]

    def draw(self, rng: np.random.Generator) -> Array:
        w = rng.standard_normal(self.n_parameters)
        w[self._split[2]] = 0.0
        return w

    def rescale(self, w: Array, factor: Array, bias: Array) -> Array:
        out = w * self.per_parameter(np.sqrt(factor))
        out[self._split[2]] = bias
        return out

    def matrices(self, w: Array) -> Array:
        """The ragged matrices: u v^T of each unit, (C h, w) row-major, one unit after another."""
        at_u, at_v = self._outer
        return w[at_u] * w[at_v]

    def tangent(self, w: Array, dw: Array) -> Array:
        at_u, at_v = self._outer
        return dw[at_u] * w[at_v] + w[at_u] * dw[at_v]

    def cotangent(self, w: Array, gradient: Array, bias: Array) -> Array:
        at_u, at_v = self._outer
        out = np.bincount(at_u, gradient * w[at_v], minlength=len(w)) + np.bincount(
            at_v, gradient * w[at_u], minlength=len(w)
        )
        out[self._split[2]] = bias
        return out.astype(w.dtype, copy=False)

    def forward(self, images: Array, matrices: Array) -> Array:
        if is_device_array(images):
            return self._dense.forward(flat_images(images, matrices.dtype), matrices)
        return scalarize.window_forward(images, self.windows, matrices)

    def adjoint(self, images: Array, b: Array) -> Array:
        if is_device_array(images):
            return self._dense.adjoint(flat_images(images, b.dtype), b)
        return scalarize.window_adjoint(images, self.windows, b)

    def blocks(self) -> list[Array]:
        sizes = self.shape[0] * self.windows[:, 2] + self.windows[:, 3] + 1
        begins = self._split[0]
        return [begins[sizes == size][:, None] + np.arange(size) for size in np.unique(sizes)]

    def per_parameter(self, values: Array) -> Array:
        return np.repeat(values, self.shape[0] * self.windows[:, 2] + self.windows[:, 3] + 1, axis=0)

    def per_unit(self, values: Array) -> Array:
        return np.add.reduceat(values, self._split[0], axis=0)

    def bind(self, images: Array, sigma: str) -> BoundUnits:
        return _BoundLocal(self, np.ascontiguousarray(images), sigma)

    def gathered(
        self, images: Array, index: Array, w: Array, *, sigma: str, jacobian: str | None
    ) -> tuple[Array, Array | None]:
        """One w after another: its matrix products are large enough to fill a device."""
        xp, bias = namespace(w), self._positions[2].beside(w)
        at_u, at_v = (twin.beside(w) for twin in self._positions[:2])
        phi = xp.empty((*index.shape, self.count + 1))
        d = None if jacobian is None else xp.empty((*index.shape, w.shape[1]), dtype=jacobian)
        for b, one in enumerate(w):
            pixels = images[index[b]]
            phi[b, :, :-1] = self.forward(pixels, one[at_u] * one[at_v])
            scalarize.activate(phi[b], one[bias], sigma=sigma)
            if d is not None:
                steepness = slope(phi[b, :, :-1], sigma)
                d[b] = self._dense.jacobian(
                    flat_images(pixels, d.dtype), one, steepness, self._positions, dtype=d.dtype
                )
        return phi, d

    def forms(self, w: Array, sigma: str) -> list[Forms]:
        """Bilinear forms on whole images, whose vectors are zero outside the windows."""
        planes, rows, columns = self.shape
        at_u, at_v, at_b = self._split
        u, v = np.zeros((planes, rows, self.count)), np.zeros((columns, self.count))
        for i, (top, left, height, width) in enumerate(self.windows):
            u[:, top : top + height, i] = w[at_u[i] : at_v[i]].reshape(planes, height)
            v[left : left + width, i] = w[at_v[i] : at_b[i]]
        terms = ((u.reshape(-1, self.count), v),)
        return [Forms(terms, np.ones((1, self.count)), self.bias(w), sigma, windows=self.windows)]

    def pictures(self, w: Array, which: Array) -> Array:
        planes, rows, columns = self.shape
        at_u, at_v, at_b = self._split
        out = np.zeros((len(which), planes, rows, columns))
        for picture, i in zip(out, which, strict=True):
            top, left, height, width = self.windows[i]
            u, v = w[at_u[i] : at_v[i]].reshape(planes, height), w[at_v[i] : at_b[i]]
            picture[:, top : top + height, left : left + width] = u[:, :, None] * v
        return out.reshape(len(which), planes * rows, columns)

    def taken(self, w: Array, which: Array) -> tuple[Self, Array]:
        chosen = self.per_parameter(np.isin(np.arange(self.count), which))
        return type(self)(self.shape, len(which), self.windows[which]), w[chosen]

    def joined(self, others: list[tuple[Self, Array]], w: Array) -> tuple[Self, Array]:
        windows = np.concatenate([self.windows, *(units.windows for units, _ in others)])
        return type(self)(self.shape, len(windows), windows), np.concatenate([w, *(v for _, v in others)])


class _BoundLocal(BoundUnits):
    def __init__(self, units: LocalBilinearUnits, images: Array, sigma: str) -> None:
        self.units, self.images, self.sigma = units, images, sigma
        self.columns = units.per_parameter(np.arange(units.count, dtype=np.int32))
        self.at_u, self.at_v, _ = units._indices()

    def basis(self, w: Array, problems: Array) -> Array:
        phi = np.ones((1, len(self.images), self.units.count + 1))
        phi[0, :, :-1] = self.units.forward(self.images, self.units.matrices(w[0]))
        scalarize.activate(phi[0], self.units.bias(w[0]), sigma=self.sigma)
        return phi

    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        steepness = slope(self.basis(w, problems)[0, :, :-1], self.sigma)
        u, v = w[0, self.at_u], w[0, self.at_v]
        return scalarize.window_jacobian(self.images, self.units.windows, u, v, steepness, dtype=dtype)[None]
