"""Multilinear units on tensors of any order: q = <X, sum_t u_t1 x u_t2 x .. x u_tk> + b, a vector for each dimension.

A video (T, L, R), a volume, a hyperspectral image (C, L, R) or a colour image is read by T + L + R numbers a unit
instead of T L R.  Where all dimensions are equal, one vector may serve them all (`shared`), as in w^T X w.  Dimensions
of length 1 have no vector.  Section 7 of Pereyra's paper.
"""

from dataclasses import dataclass, field

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.models.units.interface import Shape, unit_kind
from varpro.models.units.options import option
from varpro.models.units.product_units import ProductOptions, ProductUnits
from varpro.models.units.products import Products

STACKED = 4
"""Slices that a picture stacks vertically, as it does with colour planes."""


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


@dataclass(frozen=True, kw_only=True)
class MultilinearOptions(ProductOptions):
    """The terms of a form, and whether their vectors are the same in all dimensions."""

    shared: bool = option(False, check=_truth)
    """Whether one vector serves all dimensions, which must then be equal."""


@unit_kind("multilinear")
@dataclass(frozen=True)
class MultilinearUnits(ProductUnits):
    """One vector for each dimension longer than 1, or one for all."""

    options: MultilinearOptions = field(default_factory=MultilinearOptions)
    Options = MultilinearOptions
    any_order = True

    @classmethod
    def check(cls, shape: Shape, options: MultilinearOptions) -> None:
        sides = _sides(shape)
        if options.shared and len(set(sides)) > 1:
            raise ConfigError(
                f"model.shared is true, but the tensors are {' x '.join(map(str, sides))}; one vector for all "
                "dimensions needs equal ones: set model.shared: false"
            )

    def gallery(self, w: Array, which: Array, spread: Array) -> Array:
        """The slices of a tensor side by side in a block that is about as wide as high, with zeros to fill it."""
        whole = super().gallery(w, which, spread)
        rows, columns = self.shape[-2:]
        slices = whole.shape[1] // rows
        across = max(1, round((slices * rows / columns) ** 0.5)) if slices > STACKED else 1
        down = -(-slices // across)
        padded = np.zeros((len(whole), down * across, rows, columns))
        padded[:, :slices] = whole.reshape(len(whole), slices, rows, columns)
        block = padded.reshape(len(whole), down, across, rows, columns).transpose(0, 1, 3, 2, 4)
        return np.ascontiguousarray(block).reshape(len(whole), down * rows, across * columns)

    @property
    def products(self) -> Products:
        return Products(_sides(self.shape), self.options.rank, self.options.shared)


def _sides(shape: Shape) -> tuple[int, ...]:
    """The dimensions that have a vector: a vector of length 1 would only rescale the others."""
    return tuple(side for side in shape if side > 1) or (1,)
