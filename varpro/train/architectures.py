"""The networks of the discriminant papers as lists of layers: sizes, parameters and arithmetic without a framework.

A body maps images (planes, rows, columns) to features (D,); a last linear layer, which may be eliminated, to scores.
Widths that a paper leaves open are those of docs/networks.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from varpro.errors import ConfigError

Shape = tuple[int, ...]
"""(planes, rows, columns), or (features,)"""


class Layer:
    """One step of a body; by itself a map of each entry without parameters."""

    def after(self, shape: Shape) -> Shape:
        """Shape that comes out, without the batch; () where nothing would be left."""
        return shape

    def parameters(self, shape: Shape) -> int:
        """Numbers to be learnt, for inputs of a shape."""
        return 0

    def products(self, shape: Shape) -> int:
        """Multiplications with a weight, an image."""
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
    """max(x, 0)"""


@dataclass(frozen=True, slots=True)
class PRelu(Layer):
    """x, or a x where x < 0, with one a to be learnt."""

    def parameters(self, shape: Shape) -> int:
        return 1


@dataclass(frozen=True, slots=True)
class Pool(Layer):
    """Largest of 2 x 2."""

    def after(self, shape: Shape) -> Shape:
        rows, columns = (n // 2 for n in shape[1:])
        return (shape[0], rows, columns) if min(rows, columns) > 0 else ()


@dataclass(frozen=True, slots=True)
class Average(Layer):
    """Mean over the image in side x side parts, which overlap or repeat where the image is smaller."""

    side: int

    def after(self, shape: Shape) -> Shape:
        return (shape[0], self.side, self.side)


@dataclass(frozen=True, slots=True)
class Flatten(Layer):
    """Rows of features."""

    def after(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


@dataclass(frozen=True, slots=True)
class Dense(Layer):
    """Linear with a bias."""

    out: int

    def after(self, shape: Shape) -> Shape:
        return (self.out,)

    def parameters(self, shape: Shape) -> int:
        return self.out * (shape[0] + 1)

    def products(self, shape: Shape) -> int:
        return self.out * shape[0]


@dataclass(frozen=True, slots=True)
class Dropout(Layer):
    """Zeros in training."""

    share: float = 0.5


@dataclass(frozen=True, slots=True)
class Inward(Layer):
    """x / (xi |x|): the sphere of radius 1 / xi."""

    xi: float
    learnable: bool = False

    def parameters(self, shape: Shape) -> int:
        return int(self.learnable)


Body = tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network by name."""

    embedding: int
    """D, unless a config says otherwise"""
    linear: bool
    """Whether a last linear layer is part of the definition."""
    body: Callable[[Shape, int], Body]
    """Layers for images of a shape and D features."""


def _simplenet(first: int) -> Callable[[Shape, int], Body]:
    def body(shape: Shape, embedding: int) -> Body:
        """Neither ReLU nor normalisation between the convolutions: pooling is all that bends."""
        blocks = [layer for i in range(3) for layer in (*[Conv(first << i, 3, 1)] * 2, Pool())]
        return (*blocks, Flatten(), Dense(embedding), PRelu())

    return body


def _intraclass(kernel: int, planes: int, width: int) -> Callable[[Shape, int], Body]:
    def body(shape: Shape, embedding: int) -> Body:
        blocks = [part for i in range(2) for part in (Conv(planes << i, kernel, kernel // 2), Norm(), Relu(), Pool())]
        return (*blocks, Flatten(), Dense(width), Norm(), Relu(), Dense(embedding))

    return body


def _lenet5(shape: Shape, embedding: int) -> Body:
    blocks = (Conv(6, 5, 2), Relu(), Pool(), Conv(16, 5), Relu(), Pool())
    return (*blocks, Flatten(), Dense(120), Relu(), Dense(embedding), Relu())


def _nullspace_small(shape: Shape, embedding: int) -> Body:
    blocks = [part for planes in (32, 64) for part in (Conv(planes, 3, 1), Norm(), Relu(), Pool())]
    return (*blocks, Flatten(), Dense(embedding), Norm(), Relu())


def _vgg16() -> Body:
    """The thirteen convolutions of VGG16, each normalised."""
    widths = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    return tuple(
        layer
        for planes, count in widths
        for layer in (*(part for _ in range(count) for part in (Conv(planes, 3, 1), Norm(), Relu())), Pool())
    )


def _nullspacenet(kernel: int) -> Callable[[Shape, int], Body]:
    def body(shape: Shape, embedding: int) -> Body:
        trunk = _vgg16()
        left = after(trunk, shape)
        small = len(left) == 3 and min(left[1:]) < kernel
        head = (Conv(embedding, kernel, kernel // 2 if small else 0), Norm(), Relu())
        return (*trunk, *head, Average(1), Flatten())

    return body


def _vgg16_fc(shape: Shape, embedding: int) -> Body:
    dense = tuple(layer for width in (4096, embedding) for layer in (Dense(width), Relu(), Dropout()))
    return (*_vgg16(), Average(7), Flatten(), *dense)


ARCHITECTURES = {
    "simplenet": Architecture(64, True, _simplenet(32)),
    "simplenet_small": Architecture(64, True, _simplenet(16)),
    "intraclass": Architecture(2, True, _intraclass(5, 32, 256)),
    "intraclass_light": Architecture(2, True, _intraclass(3, 16, 128)),
    "lenet5": Architecture(84, True, _lenet5),
    "nullspace_small": Architecture(512, False, _nullspace_small),
    "nullspacenet": Architecture(800, False, _nullspacenet(3)),
    "nullspacenet_1x1": Architecture(800, False, _nullspacenet(1)),
    "vgg16_fc": Architecture(4096, True, _vgg16_fc),
}


def after(body: Body, shape: Shape) -> Shape:
    """Shape that comes out of a body; () where the images are too small for it."""
    for layer in body:
        shape = layer.after(shape) if shape else ()
    return shape


@dataclass(frozen=True)
class Plan:
    """A network for images of one shape."""

    name: str
    shape: Shape
    n_classes: int
    body: Body
    linear: bool

    @property
    def embedding(self) -> int:
        """D"""
        return after(self.body, self.shape)[0]

    def walk(self) -> list[tuple[Layer, Shape]]:
        """Every layer of the body with the shape that comes into it."""
        steps, shape = [], self.shape
        for layer in self.body:
            steps.append((layer, shape))
            shape = layer.after(shape)
        return steps

    @property
    def parameters(self) -> int:
        """Numbers to be learnt, with the last layer's if there is one."""
        last = self.n_classes * (self.embedding + 1) if self.linear else 0
        return sum(layer.parameters(shape) for layer, shape in self.walk()) + last

    @property
    def gflop(self) -> float:
        """Of one image from pixels to features, additions and multiplications in 10^9."""
        return 2e-9 * sum(layer.products(shape) for layer, shape in self.walk())


def plan_network(
    name: str,
    shape: Shape,
    n_classes: int,
    *,
    embedding: int | None = None,
    xi: float | None = None,
    learnable_xi: bool = False,
    linear: bool | None = None,
) -> Plan:
    """The network `name` for images (planes, rows, columns).

    embedding, linear : None takes the definition's; xi : features on a sphere of radius 1 / xi.
    Raises ConfigError where the name is not known or the images are too small.
    """
    if name not in ARCHITECTURES:
        raise ConfigError(f"network.name is {name!r}; choose one of {', '.join(ARCHITECTURES)}")
    definition = ARCHITECTURES[name]
    body = definition.body(shape, embedding or definition.embedding)
    if xi is not None:
        body = (*body, Inward(xi, learnable_xi))
    if not after(body, shape):
        rows, columns = shape[1:]
        raise ConfigError(
            f"network.name is {name}, but the images are {rows} x {columns} and nothing is left of them after its "
            f"layers; it reads images of {_smallest(name)} x {_smallest(name)} or more: choose another network"
        )
    return Plan(name, shape, n_classes, body, definition.linear if linear is None else linear)


def _smallest(name: str) -> int:
    """Rows of the smallest square images that leave something."""
    body = ARCHITECTURES[name].body
    return next(n for n in range(1, 1024) if after(body((1, n, n), 2), (1, n, n)))
