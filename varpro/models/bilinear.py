"""Bilinear units: q = u^T X v + b, dq/du = X v, dq/dv = X^T u.  Colour planes stand below one another in X."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from varpro.arrays import Array
from varpro.kernels import scalarize
from varpro.models.images import unit_floats
from varpro.models.units import BoundUnits, Units, flat_images


@dataclass(frozen=True)
class BilinearUnits(Units):
    """w is (C L + R + 1, I) row-major: rows u, v, b."""

    kind = "bilinear"

    @classmethod
    def create(cls, shape: tuple[int, int, int], count: int, rng: np.random.Generator, window: tuple[int, int]) -> Self:
        return cls(shape, count)

    @property
    def height(self) -> int:
        """C L, the length of u."""
        return self.shape[0] * self.shape[1]

    @property
    def n_parameters(self) -> int:
        return (self.height + self.shape[2] + 1) * self.count

    def parts(self, w: Array) -> tuple[Array, Array, Array]:
        """u (C L, I), v (R, I), b (I,)"""
        table = w.reshape(-1, self.count)
        return table[: self.height], table[self.height : -1], table[-1]

    def bias(self, w: Array) -> Array:
        return self.parts(w)[2]

    def draw(self, rng: np.random.Generator) -> Array:
        table = rng.standard_normal((self.n_parameters // self.count, self.count))
        table[-1] = 0.0
        return table.ravel()

    def rescale(self, w: Array, factor: Array, bias: Array) -> Array:
        table = w.reshape(-1, self.count) * np.sqrt(factor)
        table[-1] = bias
        return table.ravel()

    def matrices(self, w: Array) -> Array:
        """(C L R, I)"""
        u, v, _ = self.parts(w)
        return (u[:, None] * v).reshape(-1, self.count)

    def tangent(self, w: Array, dw: Array) -> Array:
        (u, v, _), (du, dv, _) = self.parts(w), self.parts(dw)
        return (du[:, None] * v + u[:, None] * dv).reshape(-1, self.count)

    def cotangent(self, w: Array, gradient: Array, bias: Array) -> Array:
        u, v, _ = self.parts(w)
        cube = gradient.reshape(self.height, -1, self.count)
        return np.concatenate([np.einsum("lri,ri->li", cube, v), np.einsum("lri,li->ri", cube, u), bias[None]]).ravel()

    def forward(self, images: Array, matrices: Array) -> Array:
        return flat_images(images, matrices.dtype) @ matrices

    def adjoint(self, images: Array, b: Array) -> Array:
        return flat_images(images, b.dtype).T @ b

    def blocks(self) -> list[Array]:
        return [np.arange(self.n_parameters).reshape(-1, self.count).T]

    def per_parameter(self, values: Array) -> Array:
        return np.tile(values, (self.n_parameters // self.count, *[1] * (values.ndim - 1)))

    def per_unit(self, values: Array) -> Array:
        return values.reshape(-1, self.count, *values.shape[1:]).sum(axis=0)  # type: ignore[no-any-return]

    def bind(self, images: Array, sigma: str) -> BoundUnits:
        return _BoundBilinear(self, images, sigma)

    def pictures(self, w: Array, which: Array) -> Array:
        u, v, _ = self.parts(w)
        return np.einsum("li,ri->ilr", u[:, which], v[:, which])

    def joined(self, others: list[tuple[Self, Array]], w: Array) -> tuple[Self, Array]:
        tables = [w.reshape(-1, self.count), *(v.reshape(-1, units.count) for units, v in others)]
        table = np.concatenate(tables, axis=1)
        return type(self)(self.shape, table.shape[1]), table.ravel()


class _BoundBilinear(BoundUnits):
    """Rows and columns that none of these images lights are left out of the search: their columns of D are zero."""

    def __init__(self, units: BilinearUnits, images: Array, sigma: str) -> None:
        x = unit_floats(images).reshape(len(images), units.height, units.shape[2])
        lit: Array = np.any(x, axis=0)
        down, across = np.flatnonzero(np.any(lit, axis=1)), np.flatnonzero(np.any(lit, axis=0))
        if not down.size:
            down = across = np.arange(1)
        self.x = np.ascontiguousarray(x[:, down[:, None], across])[None]
        self.units, self.sigma = units, sigma
        self.rows = np.concatenate([down, units.height + across, [units.height + units.shape[2]]])
        self.columns = np.tile(np.arange(units.count, dtype=np.int32), len(self.rows))

    def lower(self, w: Array) -> Array:
        return w.reshape(-1, self.units.count)[self.rows].ravel()

    def lift(self, w: Array) -> Array:
        """Weights of unlit pixels are zero: nothing was learnt about them."""
        table = np.zeros((self.units.n_parameters // self.units.count, self.units.count))
        table[self.rows] = w.reshape(-1, self.units.count)
        return table.ravel()

    def basis(self, w: Array, problems: Array) -> Array:
        return scalarize.bilinear(self.x, w.reshape(1, -1, self.units.count), sigma=self.sigma)[0]

    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        d = scalarize.bilinear(self.x, w.reshape(1, -1, self.units.count), sigma=self.sigma, jacobian=dtype)[1]
        assert d is not None
        return d
