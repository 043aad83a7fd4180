"""What the engine asks of a kind of unit: q_i(X) = <X, M_i(w)> + b_i, Phi = [sigma(q) | 1].

Every scalarization here is linear in the image: w^T X w = <X, w w^T>, u^T X v = <X, u v^T>.  So values, tangents and
gradients of a whole network need two maps over the images only, `forward` and its adjoint; the kinds differ in how
their few parameters span the matrices M_i.  Sub-networks, which want the columns of D themselves, bind instead.
"""

import abc
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from varpro.arrays import Array
from varpro.models.images import unit_floats

START_SAMPLE = 1000
"""Images that the start scale is measured on."""
START_DEVIATION = 1.0
"""Standard deviation of q over the sample at the start: inside sigma's bend, far from saturation."""


class BoundUnits(abc.ABC):
    """Units bound to the images of one sub-network: a basis of B = 1 problems for the search."""

    columns: Array
    """(M,) int32: the unit of each pair; parameters and pairs are the same things here."""
    parameters: None = None

    @abc.abstractmethod
    def basis(self, w: Array, problems: Array) -> Array:
        """Phi (1, N, I + 1) at w (1, M)."""

    @abc.abstractmethod
    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        """D (1, N, M)."""

    def lower(self, w: Array) -> Array:
        """The parameters that these images can move, (M,), out of all (P,)."""
        return w

    def lift(self, w: Array) -> Array:
        """All parameters (P,) from those searched (M,)."""
        return w


@dataclass(frozen=True)
class Units(abc.ABC):
    """I units of one kind on images of one shape; their parameters are a flat vector w (P,) kept apart."""

    shape: tuple[int, int, int]
    """(C, L, R): planes, rows, columns of an image"""
    count: int
    """I"""
    kind: ClassVar[str]

    @classmethod
    @abc.abstractmethod
    def create(cls, shape: tuple[int, int, int], count: int, rng: np.random.Generator, window: tuple[int, int]) -> Self:
        """Units of this kind; rng draws what is fixed about them (places of windows)."""

    @property
    @abc.abstractmethod
    def n_parameters(self) -> int:
        """P"""

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator) -> Array:
        """Standard normal parameters (P,), biases zero."""

    @abc.abstractmethod
    def rescale(self, w: Array, factor: Array, bias: Array) -> Array:
        """Parameters whose q is factor (I,) times that of w, with biases (I,) put in."""

    @abc.abstractmethod
    def bias(self, w: Array) -> Array:
        """b (I,)"""

    @abc.abstractmethod
    def matrices(self, w: Array) -> Array:
        """M(w), in the layout that `forward` reads."""

    @abc.abstractmethod
    def tangent(self, w: Array, dw: Array) -> Array:
        """dM along dw (P,)."""

    @abc.abstractmethod
    def cotangent(self, w: Array, gradient: Array, bias: Array) -> Array:
        """The gradient (P,) with respect to w from those with respect to M and b (I,)."""

    @abc.abstractmethod
    def forward(self, images: Array, matrices: Array) -> Array:
        """<X_n, M_i> (n, I) in the dtype of matrices; images (n, C, L, R)."""

    @abc.abstractmethod
    def adjoint(self, images: Array, b: Array) -> Array:
        """sum_n b[n, i] X_n in the layout of `matrices`; b (n, I)."""

    @abc.abstractmethod
    def blocks(self) -> list[Array]:
        """Each unit's own parameters as indices into w, units with equally many stacked: (units, size) int."""

    @abc.abstractmethod
    def per_parameter(self, values: Array) -> Array:
        """values (I, ...) of the units repeated for each of their parameters, (P, ...)."""

    @abc.abstractmethod
    def per_unit(self, values: Array) -> Array:
        """values (P, ...) of the parameters summed over each unit, (I, ...)."""

    @abc.abstractmethod
    def bind(self, images: Array, sigma: str) -> BoundUnits:
        """The basis of a sub-network on images (N, C, L, R)."""

    @abc.abstractmethod
    def pictures(self, w: Array, which: Array) -> Array:
        """M_i as images (g, C * L, R) of the units named."""

    @abc.abstractmethod
    def joined(self, others: list[tuple[Self, Array]], w: Array) -> tuple[Self, Array]:
        """These units followed by the others', and the parameters of all."""

    def start(self, rng: np.random.Generator, images: Array) -> Array:
        """Random parameters whose q has unit standard deviation and mean zero over the images.

        images : (N, C, L, R).  Units that see almost nothing (a window in an empty corner) are not blown up.
        """
        w = self.draw(rng)
        q = self.forward(images[:START_SAMPLE], self.matrices(w))
        deviation = q.std(axis=0)
        typical = float(np.median(deviation)) or 1.0
        factor = START_DEVIATION / np.maximum(deviation, 0.1 * typical)
        return self.rescale(w, factor, -factor * q.mean(axis=0))


def flat_images(images: Array, dtype: np.dtype) -> Array:
    """images (n, C, L, R) as floats (n, C * L * R)."""
    return unit_floats(images, dtype.type).reshape(len(images), -1)
