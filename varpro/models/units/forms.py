"""What units compute, as arrays and a few numbers: the description that a model is exported from.

    q_i[s] = sum_t f_ti <X[s], u_ti1 x u_ti2 x .. x u_tik> + b_i
    column (i, cell) = sum_s weight(cell, s) sigma(q_i[s])

X[s] is the whole image, or its patch at s.  The kinds of units say what their vectors are; what writes a model in
another language knows this module only.
"""

from dataclasses import dataclass
from functools import cached_property, reduce
from math import prod

import numpy as np

from varpro.arrays import Array
from varpro.kernels.convolve import Patches
from varpro.models.units.products import outer


@dataclass(frozen=True, eq=False)
class Slide:
    """The places of a patch on an image (C, L, R), and the averages over them."""

    patch: tuple[int, int]
    """The height and width of a patch."""
    stride: int
    """The number of pixels between places."""
    padding: tuple[int, int]
    """The rows of zeros above and below, and the columns left and right."""
    down: Array
    """The weights of the places down in a cell, (G, places down), rows of sum 1."""
    across: Array
    """The weights of the places across in a cell, (G, places across); a place has the product of both."""

    @classmethod
    def of(cls, patches: Patches, shape: tuple[int, ...], weights: list[Array]) -> "Slide":
        """The places of the kernel's patches.

        weights : (G, boxes) down and across, how cells are made of the kernel's boxes in a direction.
        """
        sides = []
        for places, count, averages in zip(patches.places(shape), patches.cells, weights, strict=True):
            boxes = np.repeat(np.eye(count), places // count, axis=1) * (count / places)
            sides.append(averages @ boxes)
        return cls((patches.height, patches.width), patches.stride, patches.padding, sides[0], sides[1])

    @property
    def places(self) -> tuple[int, int]:
        """The number of places down and across."""
        return self.down.shape[1], self.across.shape[1]


@dataclass(frozen=True, eq=False)
class Forms:
    """I units of one form; their columns follow one another unit by unit, in each cell by cell."""

    terms: tuple[tuple[Array, ...], ...]
    """The vectors u_t1 .. u_tk of each term, (d_j, I); a vector that stands at two places is one array."""
    factors: Array
    """The factor f of each term and unit, (T, I)."""
    bias: Array
    """The bias b, (I,)."""
    squash: str
    """The name of sigma."""
    smoothing: float = 0.0
    """The constant in smooth_abs, sqrt(q^2 + smoothing)."""
    windows: Array | None = None
    """The windows (I, 4), top, left, height, width, outside which the vectors of a unit are zero."""
    slide: Slide | None = None
    """The places at which the form is taken; None if it reads the image as a whole."""

    @property
    def count(self) -> int:
        """The number I of units."""
        return len(self.bias)

    @property
    def cells(self) -> int:
        """The number of columns per unit."""
        return 1 if self.slide is None else len(self.slide.down) * len(self.slide.across)

    @property
    def sides(self) -> tuple[int, ...]:
        """The lengths d_j of the vectors of a term, whose product is the number of pixels of an image or a patch."""
        return tuple(len(vector) for vector in self.terms[0])

    @property
    def vectors(self) -> list[Array]:
        """The arrays of all terms, each once."""
        return list({id(vector): vector for term in self.terms for vector in term}.values())

    @cached_property
    def planes(self) -> tuple[int | None, ...]:
        """The plane that each term of forms on patches looks at; None where units mix them, or there is only one."""
        return tuple(_plane(term[0]) if self.slide is not None and len(term) == 3 else None for term in self.terms)

    @cached_property
    def matrices(self) -> Array:
        """sum_t f_t u_t1 x u_t2 x .., flattened row by row, (d_1 d_2 .., I) float64."""
        products = [
            outer([vector.astype(np.float64) for vector in term]) * factor
            for term, factor in zip(self.terms, self.factors, strict=True)
        ]
        return reduce(np.add, products)

    def multiply_adds(self, shape: tuple[int, ...]) -> int:
        """The multiply-adds for the columns of all units on one image (C, L, R) or tensor, one vector at a time."""
        if self.windows is not None:
            planes, (_, _, height, width) = shape[0], self.windows.T.astype(int)
            return int(np.sum(planes * height * (width + 1)))
        if self.slide is None:
            each = sum(prod(self.sides[:k]) for k in range(1, len(self.sides) + 1))
            return len(self.terms) * self.count * each
        (down, across), (height, width), slide = self.slide.places, self.slide.patch, self.slide
        one = shape[-2] * across * width + down * across * height
        mixes = {id(term[0]) for term, plane in zip(self.terms, self.planes, strict=True) if plane is None}
        mixing = len(mixes) * prod(shape) if shape[0] > 1 else 0
        averages = down * across * len(slide.across) + down * self.cells
        return self.count * (len(self.terms) * one + mixing + averages)


def _plane(mix: Array) -> int | None:
    """The plane that all units look at, if their weights of the planes, (C, I), are equal there and zero elsewhere."""
    used = np.flatnonzero(np.any(mix != 0, axis=1))
    return int(used[0]) if len(used) == 1 and np.all(mix[used[0]] == mix[used[0], 0]) else None
