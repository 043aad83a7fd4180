"""Units whose forms are sums of products of vectors, in any number of dimensions."""

import abc
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod

import numpy as np

from varpro.arrays import Array, namespace
from varpro.kernels import scalarize
from varpro.models.units.activation import slope
from varpro.models.units.forms import Forms
from varpro.models.units.images import flat_images
from varpro.models.units.interface import BoundUnits, Shape, UnitSize
from varpro.models.units.options import UnitOptions, option, whole
from varpro.models.units.products import Products
from varpro.models.units.table import BoundTable, TableUnits


@dataclass(frozen=True, kw_only=True)
class ProductOptions(UnitOptions):
    """The number of terms in a form."""

    rank: int = option(1, check=whole(1))
    """The number of terms, each a product of vectors."""


@dataclass(frozen=True)
class ProductUnits(TableUnits):
    """Units whose forms are sums of products of vectors; the table is that of `Products`."""

    options: ProductOptions = field(default_factory=ProductOptions)
    Options = ProductOptions
    no_device = None

    @classmethod
    def size_of_one(cls, shape: Shape, options: ProductOptions) -> UnitSize:
        return UnitSize(cls(shape, 1, options).n_rows, prod(shape))

    @property
    @abc.abstractmethod
    def products(self) -> Products:
        """The layout of the table, whose sides multiply to the number of entries of a tensor."""

    @property
    def n_rows(self) -> int:
        return self.products.n_rows

    def seen_rows(self, lit: Array) -> Array:
        layout, axes = self.products, range(len(self.products.sides))
        lit = lit.reshape(layout.sides)
        seen = [np.any(lit, axis=tuple(other for other in axes if other != j)) for j in axes]
        term = np.any(seen, axis=0) if layout.shared else np.concatenate(seen)
        return np.concatenate([np.tile(term, layout.rank), [True]])

    def rescale(self, w: Array, factor: Array, bias: Array) -> Array:
        table = self.table(w) * factor ** (1.0 / len(self.products.sides))
        table[-1] = bias
        return table.ravel()

    def matrices(self, w: Array) -> Array:
        return self.products.matrices(self.table(w))

    def tangent(self, w: Array, dw: Array) -> Array:
        return self.products.tangent(self.table(w), self.table(dw))

    def cotangent(self, w: Array, gradient: Array, bias: Array) -> Array:
        by_vectors = self.products.cotangent(self.table(w), gradient)
        return np.concatenate([by_vectors, bias[None]]).ravel()

    def flat(self, images: Array, dtype: np.dtype) -> Array:
        return flat_images(images, dtype)

    def bind(self, images: Array, sigma: str) -> BoundUnits:
        return _BoundProducts(self, images, sigma)

    def gathered(
        self, images: Array, index: Array, w: Array, *, sigma: str, jacobian: str | None
    ) -> tuple[Array, Array | None]:
        """One sub-network after another: its matrix products are large enough to fill a device."""
        xp, tables = namespace(w), w.reshape(len(w), -1, self.count)
        phi = xp.empty((*index.shape, self.count + 1))
        d = None if jacobian is None else xp.empty((*index.shape, w.shape[1]), dtype=jacobian)
        for b, table in enumerate(tables):
            tensors = images[index[b]]
            phi[b] = self.at(table.ravel(), sigma).phi(tensors)
            if d is not None:
                steepness = slope(phi[b, :, :-1], sigma)
                d[b] = self.products.jacobian(flat_images(tensors, phi.dtype), table, steepness, str(d.dtype))
        return phi, d

    def forms(self, w: Array, sigma: str) -> list[Forms]:
        table, layout = self.table(w), self.products
        terms = tuple(
            tuple(vectors[:1] * len(vectors) if layout.shared else vectors) for vectors in layout.terms(table)
        )
        return [
            Forms(terms, np.repeat(np.array(layout.signs, dtype=float)[:, None], self.count, axis=1), table[-1], sigma)
        ]

    def pictures(self, w: Array, which: Array) -> Array:
        chosen = self.products.matrices(np.ascontiguousarray(self.table(w)[:, which]))
        return np.ascontiguousarray(chosen.T).reshape(len(which), -1, self.shape[-1])


class _BoundProducts(BoundTable):
    """Tensors without the slices that are never lit, and the layout of what is left."""

    def __init__(self, units: ProductUnits, images: Array, sigma: str) -> None:
        super().__init__(units, images, sigma)
        layout = units.products
        lit, starts = self.rows[self.rows < layout.rows_per_term], np.cumsum([0, *layout.sides])
        kept = [lit] * len(layout.sides)
        if not layout.shared:
            kept = [lit[(lit >= a) & (lit < b)] - a for a, b in pairwise(starts)]
        tensors = self.pixels.reshape(len(images), *layout.sides)[np.ix_(np.arange(len(images)), *kept)]
        self.layout = replace(layout, sides=tuple(len(places) for places in kept))
        self.tensors = np.ascontiguousarray(tensors).reshape(len(images), -1)
        del self.pixels

    def basis(self, w: Array, problems: Array) -> Array:
        table = w.reshape(-1, self.count)
        phi = np.ones((1, len(self.tensors), self.count + 1))
        phi[0, :, :-1] = self.tensors @ self.layout.matrices(table)
        scalarize.activate(phi[0], table[-1], sigma=self.sigma)
        return phi

    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        steepness = slope(self.basis(w, problems)[0, :, :-1], self.sigma)
        return self.layout.jacobian(self.tensors, w.reshape(-1, self.count), steepness, dtype)[None]
