"""Bilinear units: q = sum_t u_t^T X v_t + b, dq/du = X v, dq/dv = X^T u.  Colour planes are stacked vertically in X.

One term unless `rank` says otherwise; with one, values and derivatives come from the kernel.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.kernels import scalarize
from varpro.models.units.interface import BoundUnits, unit_kind
from varpro.models.units.product_units import ProductUnits
from varpro.models.units.products import Products
from varpro.models.units.table import BoundTable


@unit_kind("bilinear")
@dataclass(frozen=True)
class BilinearUnits(ProductUnits):
    """The rows of the table are u (C L of them) and v (R of them) of each term, then b."""

    @property
    def products(self) -> Products:
        planes, rows, columns = self.shape
        return Products((planes * rows, columns), self.options.rank)

    def bind(self, images: Array, sigma: str) -> BoundUnits:
        return _BoundBilinear(self, images, sigma) if self.options.rank == 1 else super().bind(images, sigma)

    def gathered(
        self, images: Array, index: Array, w: Array, *, sigma: str, jacobian: str | None
    ) -> tuple[Array, Array | None]:
        if self.options.rank > 1:
            return super().gathered(images, index, w, sigma=sigma, jacobian=jacobian)
        table = w.reshape(len(w), -1, self.count)
        return scalarize.bilinear(images, index, table, sigma=sigma, jacobian=jacobian)


class _BoundBilinear(BoundTable):
    def __init__(self, units: BilinearUnits, images: Array, sigma: str) -> None:
        super().__init__(units, images, sigma)
        height, width = units.products.sides
        down = self.rows[self.rows < height]
        across = self.rows[len(down) : -1] - height
        x = self.pixels.reshape(len(images), 1, height, width)
        self.images = np.ascontiguousarray(x[:, :, down[:, None], across])
        del self.pixels

    def basis(self, w: Array, problems: Array) -> Array:
        return scalarize.bilinear(self.images, None, w.reshape(1, -1, self.count), sigma=self.sigma)[0]

    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        table = w.reshape(1, -1, self.count)
        d = scalarize.bilinear(self.images, None, table, sigma=self.sigma, jacobian=dtype)[1]
        assert d is not None
        return d
