"""A kind of unit in two methods: the number q that it reads off an image, and the derivative of q.

    column i of Phi = sigma(q(X; w_i) + b_i),      dphi = sigma' dq

Everything else that the engine asks of a kind (`interface.Units`) follows from these, at the price of D in memory, a
block of rows at a time.
"""

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from varpro.arrays import Array
from varpro.kernels import scalarize
from varpro.models.units.activation import slope
from varpro.models.units.images import unit_floats
from varpro.models.units.interface import BoundUnits, Scalarization, Shape, UnitSize
from varpro.models.units.table import Tabled

START_SAMPLE = 1000
"""Images on which q is centred at the start."""
BLOCK_NUMBERS = 1 << 23
"""Numbers of a block of derivatives."""


@dataclass(frozen=True)
class OwnUnits(Tabled):
    """Base class of a kind of unit of your own, chosen by its import path: ``model.unit: mypackage.units:Ridge``.

    A subclass has a number of `parameters`, the `form` q and its `derivative`; sigma and a bias are added here.  The
    derivative is compared with differences before anything is trained.  Optional: `draw` for the start,
    `Options` (a subclass of `UnitOptions`, read from `self.options`) for keys of the section `model`, `check` to
    refuse shapes, ``any_order = True`` for tensors.

    Examples
    --------
    One number for an image, the square of its distance from a pattern:

    >>> import numpy as np
    >>> from varpro.models import OwnUnits
    >>> class Distance(OwnUnits):
    ...     @property
    ...     def parameters(self):
    ...         return int(np.prod(self.shape))
    ...     def form(self, images, w):
    ...         x = images.reshape(len(images), -1)
    ...         return (x**2).sum(axis=1)[:, None] - 2 * x @ w + (w**2).sum(axis=0)
    ...     def derivative(self, images, w):
    ...         x = images.reshape(len(images), -1)
    ...         return 2 * (w - x[:, :, None])
    >>> units = Distance((1, 2, 2), 3)
    >>> units.form(np.ones((5, 1, 2, 2)), np.zeros((4, 3))).shape
    (5, 3)
    """

    @property
    @abc.abstractmethod
    def parameters(self) -> int:
        """The number of parameters of a unit, Q, without its bias; `self.shape` is (C, L, R)."""

    @abc.abstractmethod
    def form(self, images: Array, w: Array) -> Array:
        """q (n, I) of images (n, C, L, R), floats in [0, 1], and the parameters w (Q, I), a column for each unit."""

    @abc.abstractmethod
    def derivative(self, images: Array, w: Array) -> Array:
        """dq (n, Q, I): of each unit by each of its own parameters."""

    def draw(self, rng: np.random.Generator, images: Array) -> Array:
        """Random parameters (Q, I) for which q should vary over the images by about 1; q is centred afterwards.

        images : (n, C, L, R), those that the units will see.
        """
        drawn: Array = rng.standard_normal((self.parameters, self.count)) / np.sqrt(self.parameters)
        return drawn

    @property
    def n_rows(self) -> int:
        return self.parameters + 1

    @classmethod
    def size_of_one(cls, shape: Shape, options: Any) -> UnitSize:
        one = cls.create(shape, 1, np.random.default_rng(0), options)
        return UnitSize(one.n_rows, prod(shape))

    def start(self, rng: np.random.Generator, images: Array) -> Array:
        some = unit_floats(images[:START_SAMPLE])
        w = self.draw(rng, some)
        return np.concatenate([w, -self.form(some, w).mean(axis=0)[None]]).ravel()

    def at(self, w: Array, sigma: str, dtype: npt.DTypeLike = np.float64) -> Scalarization:
        return _OwnScalarization(self, w, sigma, np.dtype(dtype))

    def bind(self, images: Array, sigma: str) -> BoundUnits:
        return _BoundOwn(self, images, sigma)

    def pictures(self, w: Array, which: Array) -> Array:
        """The change of q when one pixel of a grey image turns white, for every pixel."""
        chosen = np.ascontiguousarray(self.table(w)[:-1, which])
        grey, pixels = np.full((1, *self.shape), 0.5), prod(self.shape)
        out = np.empty((pixels, len(which)))
        step = max(1, BLOCK_NUMBERS // pixels)
        alone = type(self)(self.shape, len(which), self.options)
        level = alone.form(grey, chosen)
        for first in range(0, pixels, step):
            rows = np.arange(first, min(first + step, pixels))
            lit = np.repeat(grey.reshape(1, -1), len(rows), axis=0)
            lit[np.arange(len(rows)), rows] = 1.0
            out[rows] = alone.form(lit.reshape(-1, *self.shape), chosen) - level
        return out.T.reshape(len(which), -1, self.shape[-1])

    def derivatives(self, images: Array, w: Array, dtype: np.dtype) -> Iterator[tuple[slice, Array]]:
        """Blocks of rows, each with dq (n, Q, I) there; images of any kind."""
        step = max(1, BLOCK_NUMBERS // (self.parameters * self.count))
        for first in range(0, len(images), step):
            rows = slice(first, min(first + step, len(images)))
            yield rows, np.asarray(self.derivative(unit_floats(images[rows]), w)).astype(dtype, copy=False)


class _OwnScalarization(Scalarization):
    """Contractions add up over the parameters themselves."""

    def __init__(self, units: OwnUnits, w: Array, sigma: str, dtype: np.dtype) -> None:
        self.units, self.sigma, self.dtype = units, sigma, dtype
        self.w, self.bias = units.table(w)[:-1], units.bias(w)

    def phi(self, images: Array) -> Array:
        phi = np.ones((len(images), self.units.count + 1), dtype=self.dtype)
        phi[:, :-1] = self.units.form(unit_floats(images), self.w)
        scalarize.activate(phi, self.bias, sigma=self.sigma)
        return phi

    def direction(self, v: Array) -> Callable[[Array, Array], Array]:
        along, bias = self.units.table(v)[:-1].astype(self.dtype), self.units.bias(v).astype(self.dtype)

        def of(images: Array, phi: Array) -> Array:
            change = np.empty((len(images), self.units.count), dtype=self.dtype)
            for rows, d in self.units.derivatives(images, self.w, self.dtype):
                change[rows] = np.einsum("nqi,qi->ni", d, along)
            return (change + bias) * slope(phi[:, :-1], self.sigma)

        return of

    @property
    def contraction_size(self) -> int:
        return self.units.n_parameters

    def contraction(self, images: Array, phi: Array, weights: Array) -> Array:
        b = weights * slope(phi[:, :-1], self.sigma)
        total = np.zeros((self.units.n_rows, self.units.count))
        for rows, d in self.units.derivatives(images, self.w, self.dtype):
            total[:-1] += np.einsum("nqi,ni->qi", d, b[rows])
        total[-1] = b.sum(axis=0)
        return total.ravel()

    def gradient(self, total: Array) -> Array:
        return total


class _BoundOwn(BoundUnits):
    def __init__(self, units: OwnUnits, images: Array, sigma: str) -> None:
        self.units, self.images, self.sigma = units, unit_floats(images), sigma
        self.columns = units.per_parameter(np.arange(units.count, dtype=np.int32))

    def basis(self, w: Array, problems: Array) -> Array:
        return self.units.at(w[0], self.sigma).phi(self.images)[None]

    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        steepness = slope(self.basis(w, problems)[0, :, :-1], self.sigma)
        d = np.empty((len(self.images), self.units.n_rows, self.units.count), dtype=dtype)
        d[:, -1] = steepness
        for rows, dq in self.units.derivatives(self.images, self.units.table(w[0])[:-1], d.dtype):
            d[rows, :-1] = dq * steepness[rows, None]
        return d.reshape(1, len(d), -1)
