"""The networks of the discriminant papers as lists of layers: sizes, parameters and arithmetic without a framework.

A body maps images (planes, rows, columns) to features (D,); a last linear layer, which may be eliminated, maps these to
scores.  Widths that a paper leaves open are given in docs/networks.md.
"""

from typing import ClassVar

from varpro.config.kinds import NETWORKS
from varpro.train.layered.layers import (
    Average,
    Body,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Norm,
    Pool,
    PRelu,
    Relu,
    Shape,
    after,
)
from varpro.train.layered.plan import Architecture


@NETWORKS.register("simplenet")
class SimpleNet(Architecture):
    """Neither ReLU nor normalisation between the convolutions: pooling is the only nonlinearity."""

    embedding = 64
    planes: ClassVar[int] = 32
    """The planes of the first convolutions; each later pair has twice as many."""

    @classmethod
    def body(cls, shape: Shape, embedding: int) -> Body:
        blocks = [layer for i in range(3) for layer in (*[Conv(cls.planes << i, 3, 1)] * 2, Pool())]
        return (*blocks, Flatten(), Dense(embedding), PRelu())


@NETWORKS.register("simplenet_small")
class SmallSimpleNet(SimpleNet):
    """SimpleNet with half the planes."""

    planes = 16


@NETWORKS.register("intraclass")
class IntraClassNet(Architecture):
    """Two normalised convolutions and a plane of features that can be plotted."""

    embedding = 2
    kernel: ClassVar[int] = 5
    planes: ClassVar[int] = 32
    width: ClassVar[int] = 256

    @classmethod
    def body(cls, shape: Shape, embedding: int) -> Body:
        blocks = [
            part
            for i in range(2)
            for part in (Conv(cls.planes << i, cls.kernel, cls.kernel // 2), Norm(), Relu(), Pool())
        ]
        return (*blocks, Flatten(), Dense(cls.width), Norm(), Relu(), Dense(embedding))


@NETWORKS.register("intraclass_light")
class LightIntraClassNet(IntraClassNet):
    """IntraClassNet with smaller kernels and half the planes."""

    kernel, planes, width = 3, 16, 128


@NETWORKS.register("lenet5")
class LeNet5(Architecture):
    """LeNet-5 with ReLU and max pooling."""

    embedding = 84

    @classmethod
    def body(cls, shape: Shape, embedding: int) -> Body:
        blocks = (Conv(6, 5, 2), Relu(), Pool(), Conv(16, 5), Relu(), Pool())
        return (*blocks, Flatten(), Dense(120), Relu(), Dense(embedding), Relu())


@NETWORKS.register("nullspace_small")
class SmallNullSpaceNet(Architecture):
    """Two normalised convolutions and normalised features."""

    embedding, linear = 512, False

    @classmethod
    def body(cls, shape: Shape, embedding: int) -> Body:
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


@NETWORKS.register("nullspacenet")
class NullSpaceNet(Architecture):
    """VGG16's trunk, then a convolution to the features, averaged over what remains of the image."""

    embedding, linear = 800, False
    kernel: ClassVar[int] = 3

    @classmethod
    def body(cls, shape: Shape, embedding: int) -> Body:
        trunk = _vgg16()
        left = after(trunk, shape)
        small = len(left) == 3 and min(left[1:]) < cls.kernel
        head = (Conv(embedding, cls.kernel, cls.kernel // 2 if small else 0), Norm(), Relu())
        return (*trunk, *head, Average(1), Flatten())


@NETWORKS.register("nullspacenet_1x1")
class PointwiseNullSpaceNet(NullSpaceNet):
    """NullSpaceNet with a 1 x 1 convolution to the features."""

    kernel = 1


@NETWORKS.register("vgg16_fc")
class Vgg16(Architecture):
    """VGG16 with its dense layers."""

    embedding = 4096

    @classmethod
    def body(cls, shape: Shape, embedding: int) -> Body:
        dense = tuple(layer for width in (4096, embedding) for layer in (Dense(width), Relu(), Dropout()))
        return (*_vgg16(), Average(7), Flatten(), *dense)
