"""Units that are linear in the image: q_i(X) = <X, M_i(w)> + b_i, one column sigma(q_i) each.

w^T X w = <X, w w^T>, u^T X v = <X, u v^T>.  So values, tangents and gradients of a whole network need only two maps
over the images, `forward` and its adjoint; the kinds differ in how their few parameters span the matrices M_i.
Sub-networks, which need the columns of D themselves, use `bind` instead.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from varpro.arrays import Array, Twin, namespace
from varpro.kernels import scalarize
from varpro.models.units.activation import slope
from varpro.models.units.interface import Scalarization, Units

START_SAMPLE = 1000
"""Images on which the scale of the start is measured."""
START_DEVIATION = 1.0
"""Standard deviation of q over the sample at the start: in the bend of sigma, far from saturation."""


@dataclass(frozen=True)
class LinearUnits(Units):
    """What such a kind has to provide besides the layout of its parameters."""

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator) -> Array:
        """Standard normal parameters (P,), biases zero."""

    @abc.abstractmethod
    def rescale(self, w: Array, factor: Array, bias: Array) -> Array:
        """Parameters whose q is factor (I,) times that of w, with the biases (I,) inserted."""

    @abc.abstractmethod
    def bias(self, w: Array) -> Array:
        """The biases b, (I,)."""

    @abc.abstractmethod
    def matrices(self, w: Array) -> Array:
        """M(w), in the layout that `forward` reads."""

    @abc.abstractmethod
    def tangent(self, w: Array, dw: Array) -> Array:
        """dM along dw (P,)."""

    @abc.abstractmethod
    def cotangent(self, w: Array, gradient: Array, bias: Array) -> Array:
        """The gradient (P,) with respect to w, from those with respect to M and to b (I,)."""

    @abc.abstractmethod
    def forward(self, images: Array, matrices: Array) -> Array:
        """<X_n, M_i> (n, I) in the dtype of matrices; images (n, C, L, R)."""

    def forward_into(self, images: Array, matrices: Array, out: Array) -> None:
        """The same into out (n, I), whose rows may lie farther apart."""
        out[...] = self.forward(images, matrices)

    @abc.abstractmethod
    def adjoint(self, images: Array, b: Array) -> Array:
        """sum_n b[n, i] X_n in the layout of `matrices`; b (n, I)."""

    def at(self, w: Array, sigma: str, dtype: npt.DTypeLike = np.float64) -> Scalarization:
        return _LinearScalarization(self, w, sigma, np.dtype(dtype))

    def start(self, rng: np.random.Generator, images: Array) -> Array:
        """Random parameters whose q has unit standard deviation and mean zero over the images.

        images : (N, C, L, R).  Units that see almost nothing (a window in an empty corner) are not scaled up.
        """
        w = self.draw(rng)
        q = self.forward(images[:START_SAMPLE], self.matrices(w))
        deviation = q.std(axis=0)
        typical = float(np.median(deviation)) or 1.0
        factor = START_DEVIATION / np.maximum(deviation, 0.1 * typical)
        return self.rescale(w, factor, -factor * q.mean(axis=0))


class _LinearScalarization(Scalarization):
    """Matrices are made once for all blocks of images; contractions add up in the space of the matrices and biases."""

    def __init__(self, units: LinearUnits, w: Array, sigma: str, dtype: np.dtype) -> None:
        self.units, self.w, self.sigma, self.dtype = units, w, sigma, dtype
        self.matrices = Twin(units.matrices(w.astype(dtype, copy=False)))
        self.bias = units.bias(w)

    def phi(self, images: Array) -> Array:
        phi = namespace(images).empty((len(images), self.units.count + 1), dtype=self.dtype)
        self.units.forward_into(images, self.matrices.beside(images), phi[:, :-1])
        phi[:, -1] = 1.0
        scalarize.activate(phi, self.bias, sigma=self.sigma)
        return phi

    def direction(self, v: Array) -> Callable[[Array, Array], Array]:
        matrices = Twin(self.units.tangent(self.w, v).astype(self.dtype))
        bias = Twin(self.units.bias(v).astype(self.dtype))

        def along(images: Array, phi: Array) -> Array:
            change = self.units.forward(images, matrices.beside(images))
            change += bias.beside(images)
            change *= slope(phi[:, :-1], self.sigma)
            return change

        return along

    @property
    def contraction_size(self) -> int:
        return self.matrices.here.size + self.units.count

    def contraction(self, images: Array, phi: Array, weights: Array) -> Array:
        steepness = slope(phi[:, :-1], self.sigma)
        b = np.multiply(weights, steepness, out=weights if weights.shape == steepness.shape else steepness)
        parts = [self.units.adjoint(images, b).ravel(), b.sum(axis=0)]
        return namespace(images).concatenate(parts, dtype=np.float64)

    def gradient(self, total: Array) -> Array:
        count = self.units.count
        return self.units.cotangent(self.w, total[:-count].reshape(self.matrices.here.shape), total[-count:])
