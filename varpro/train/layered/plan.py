"""The layers and the size of a network, by name and for images of one shape."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypedDict, Unpack

from varpro.config.kinds import NETWORKS
from varpro.errors import ConfigError
from varpro.train.layered.layers import Body, Inward, Layer, Shape, after


@dataclass(frozen=True)
class NetworkPlan:
    """A network for images of one shape."""

    name: str
    shape: Shape
    n_classes: int
    body: Body
    linear: bool

    @property
    def embedding(self) -> int:
        """The number D of features."""
        return after(self.body, self.shape)[0]

    def walk(self) -> list[tuple[Layer, Shape]]:
        """Every layer of the body, with the shape of its input."""
        steps, shape = [], self.shape
        for layer in self.body:
            steps.append((layer, shape))
            shape = layer.after(shape)
        return steps

    @property
    def parameters(self) -> int:
        """The number of learnable parameters, including the last layer if there is one."""
        last = self.n_classes * (self.embedding + 1) if self.linear else 0
        return sum(layer.parameters(shape) for layer, shape in self.walk()) + last

    @property
    def gflop(self) -> float:
        """Additions and multiplications for one image, from pixels to features, in 10^9."""
        return 2e-9 * sum(layer.products(shape) for layer, shape in self.walk())


class Architecture(ABC):
    """A network by name: its body, and what a config may leave open."""

    embedding: ClassVar[int]
    """The number D of features, unless a config says otherwise."""
    linear: ClassVar[bool] = True
    """Whether a last linear layer is part of the definition."""

    @classmethod
    @abstractmethod
    def body(cls, shape: Shape, embedding: int) -> Body:
        """The layers for images of a shape and D features."""

    @classmethod
    def plan(
        cls,
        name: str,
        shape: Shape,
        n_classes: int,
        *,
        embedding: int | None = None,
        xi: float | None = None,
        learnable_xi: bool = False,
        linear: bool | None = None,
    ) -> NetworkPlan:
        """See `plan_network`; name : the one under which this class is registered."""
        body = cls.body(shape, embedding or cls.embedding)
        if xi is not None:
            body = (*body, Inward(xi, learnable_xi))
        if not after(body, shape):
            rows, columns, least = *shape[1:], cls._smallest()
            raise ConfigError(
                f"network.name is {name}, but the images are {rows} x {columns} and nothing is left of them after its "
                f"layers; it reads images of {least} x {least} or more: choose another network"
            )
        return NetworkPlan(name, shape, n_classes, body, cls.linear if linear is None else linear)

    @classmethod
    def _smallest(cls) -> int:
        """The rows of the smallest square images for which something is left."""
        return next(n for n in range(1, 1024) if after(cls.body((1, n, n), 2), (1, n, n)))


class PlanOptions(TypedDict, total=False):
    """What a config may say of a network; None takes the definition's."""

    embedding: int | None
    xi: float | None
    learnable_xi: bool
    linear: bool | None


def plan_network(name: str, shape: Shape, n_classes: int, **options: Unpack[PlanOptions]) -> NetworkPlan:
    """The network `name` for images (planes, rows, columns).

    options : embedding and linear, where None means the definition's; xi for features on a sphere of radius 1 / xi, and
    learnable_xi.  Raises ConfigError if the name is unknown or the images are too small.
    """
    return NETWORKS[name].plan(name, shape, n_classes, **options)
