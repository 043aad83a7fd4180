"""Layers of a network: shapes, parameters and arithmetic, without a framework."""

import math
from dataclasses import dataclass

Shape = tuple[int, ...]
"""(planes, rows, columns), or (features,)"""


class Layer:
    """One step of a body; this base class acts on each entry and has no parameters."""

    def after(self, shape: Shape) -> Shape:
        """The output shape, without the batch; () if nothing would be left."""
        return shape

    def parameters(self, shape: Shape) -> int:
        """The number of learnable parameters for inputs of a shape."""
        return 0

    def products(self, shape: Shape) -> int:
        """The number of multiplications by a weight, per image."""
        return 0


@dataclass(frozen=True, slots=True)
class Conv(Layer):
    """Convolution with a bias, stride 1."""

    out: int
    kernel: int
    pad: int = 0

    def after(self, shape: Shape) -> Shape:
        rows, columns = (n + 2 * self.pad - self.kernel + 1 for n in shape[1:])
        return (self.out, rows, columns) if min(rows, columns) > 0 else ()

    def parameters(self, shape: Shape) -> int:
        return self.out * (shape[0] * self.kernel**2 + 1)

    def products(self, shape: Shape) -> int:
        return math.prod(self.after(shape)) * shape[0] * self.kernel**2


@dataclass(frozen=True, slots=True)
class Norm(Layer):
    """Batch normalisation with a scale and a shift for each plane or feature."""

    def parameters(self, shape: Shape) -> int:
        return 2 * shape[0]


@dataclass(frozen=True, slots=True)
class Relu(Layer):
    """max(x, 0)."""


@dataclass(frozen=True, slots=True)
class PRelu(Layer):
    """x, or a x where x < 0, with one learnable a."""

    def parameters(self, shape: Shape) -> int:
        return 1


@dataclass(frozen=True, slots=True)
class Pool(Layer):
    """The largest of each 2 x 2 square."""

    def after(self, shape: Shape) -> Shape:
        rows, columns = (n // 2 for n in shape[1:])
        return (shape[0], rows, columns) if min(rows, columns) > 0 else ()


@dataclass(frozen=True, slots=True)
class Average(Layer):
    """The mean over side x side parts of the image, which overlap or repeat if the image is smaller."""

    side: int

    def after(self, shape: Shape) -> Shape:
        return (shape[0], self.side, self.side)


@dataclass(frozen=True, slots=True)
class Flatten(Layer):
    """One row of features per image."""

    def after(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


@dataclass(frozen=True, slots=True)
class Dense(Layer):
    """A linear map with a bias."""

    out: int

    def after(self, shape: Shape) -> Shape:
        return (self.out,)

    def parameters(self, shape: Shape) -> int:
        return self.out * (shape[0] + 1)

    def products(self, shape: Shape) -> int:
        return self.out * shape[0]


@dataclass(frozen=True, slots=True)
class Dropout(Layer):
    """Random zeros during training."""

    share: float = 0.5


@dataclass(frozen=True, slots=True)
class Inward(Layer):
    """x / (xi |x|): a point on the sphere of radius 1 / xi."""

    xi: float
    learnable: bool = False

    def parameters(self, shape: Shape) -> int:
        return int(self.learnable)


Body = tuple[Layer, ...]


def after(body: Body, shape: Shape) -> Shape:
    """The output shape of a body; () if the images are too small for it."""
    for layer in body:
        shape = layer.after(shape) if shape else ()
    return shape
