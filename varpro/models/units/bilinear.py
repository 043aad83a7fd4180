"""Bilinear units: q = u^T X v + b, dq/du = X v, dq/dv = X^T u.  Colour planes are stacked vertically in X."""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.kernels import scalarize
from varpro.models.units.images import flat_images
from varpro.models.units.interface import BoundUnits, Shape, UnitSize, unit_kind
from varpro.models.units.options import UnitOptions
from varpro.models.units.table import BoundTable, TableUnits


@unit_kind("bilinear")
@dataclass(frozen=True)
class BilinearUnits(TableUnits):
    """The rows of the table are u (C L of them), v (R of them), then b."""

    no_device = None

    @classmethod
    def size_of_one(cls, shape: Shape, options: UnitOptions) -> UnitSize:
        planes, rows, columns = shape
        return UnitSize(planes * rows + columns + 1, planes * rows * columns)

    @property
    def height(self) -> int:
        """C L, the length of u."""
        return self.shape[0] * self.shape[1]

    @property
    def n_rows(self) -> int:
        return self.height + self.shape[2] + 1

    def parts(self, w: Array) -> tuple[Array, Array, Array]:
        """u (C L, I), v (R, I), b (I,)."""
        table = self.table(w)
        return table[: self.height], table[self.height : -1], table[-1]

    def seen_rows(self, lit: Array) -> Array:
        return np.concatenate([np.any(lit, axis=2).ravel(), np.any(lit, axis=(0, 1)), [True]])

    def rescale(self, w: Array, factor: Array, bias: Array) -> Array:
        table = self.table(w) * np.sqrt(factor)
        table[-1] = bias
        return table.ravel()

    def matrices(self, w: Array) -> Array:
        """u v^T of each unit, flattened, (C L R, I)."""
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

    def bind(self, images: Array, sigma: str) -> BoundUnits:
        return _BoundBilinear(self, images, sigma)

    def gathered(
        self, images: Array, index: Array, w: Array, *, sigma: str, jacobian: str | None
    ) -> tuple[Array, Array | None]:
        table = w.reshape(len(w), -1, self.count)
        return scalarize.bilinear(images, index, table, sigma=sigma, jacobian=jacobian)

    def pictures(self, w: Array, which: Array) -> Array:
        u, v, _ = self.parts(w)
        return np.einsum("li,ri->ilr", u[:, which], v[:, which])


class _BoundBilinear(BoundTable):
    def __init__(self, units: BilinearUnits, images: Array, sigma: str) -> None:
        super().__init__(units, images, sigma)
        down = self.rows[self.rows < units.height]
        across = self.rows[len(down) : -1] - units.height
        x = self.pixels.reshape(len(images), 1, units.height, units.shape[2])
        self.images = np.ascontiguousarray(x[:, :, down[:, None], across])
        del self.pixels

    def basis(self, w: Array, problems: Array) -> Array:
        return scalarize.bilinear(self.images, None, w.reshape(1, -1, self.count), sigma=self.sigma)[0]

    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        table = w.reshape(1, -1, self.count)
        d = scalarize.bilinear(self.images, None, table, sigma=self.sigma, jacobian=dtype)[1]
        assert d is not None
        return d
