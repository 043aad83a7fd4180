"""A network for images of one shape: its layers, its size, and whether a config can be trained on some data."""

from dataclasses import dataclass

from varpro.config.kinds import NETWORKS
from varpro.config.layered import LayeredConfig
from varpro.errors import ConfigError
from varpro.train.layered.layers import Body, Inward, Layer, Shape, after

PER_CLASS = 2
"""Samples of each class that a balanced batch has at least: one alone has no scatter."""


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
) -> NetworkPlan:
    """The network `name` for images (planes, rows, columns).

    embedding, linear : None takes the definition's; xi : features on a sphere of radius 1 / xi.
    Raises ConfigError where the name is not known or the images are too small.
    """
    definition = NETWORKS[name]
    body = definition.body(shape, embedding or definition.embedding)
    if xi is not None:
        body = (*body, Inward(xi, learnable_xi))
    if not after(body, shape):
        rows, columns = shape[1:]
        raise ConfigError(
            f"network.name is {name}, but the images are {rows} x {columns} and nothing is left of them after its "
            f"layers; it reads images of {_smallest(name)} x {_smallest(name)} or more: choose another network"
        )
    return NetworkPlan(name, shape, n_classes, body, definition.linear if linear is None else linear)


def _smallest(name: str) -> int:
    """Rows of the smallest square images that leave something."""
    body = NETWORKS[name].body
    return next(n for n in range(1, 1024) if after(body((1, n, n), 2), (1, n, n)))


def plan_of(config: LayeredConfig, shape: tuple[int, int, int], n_classes: int) -> NetworkPlan:
    """The network of a config for images of a shape, with a last layer where cross-entropy trains one.

    Raises ConfigError.
    """
    options = config.network.model_dump(exclude={"name"})
    linear = config.objective.cross_entropy > 0
    return plan_network(config.network.name, shape, n_classes, **options, linear=linear)


def check_with_data(config: LayeredConfig, n_train: int, n_classes: int, shape: tuple[int, int, int]) -> NetworkPlan:
    """Whether the network reads these images and the batches can be made; the network.  Raises ConfigError."""
    plan = plan_of(config, shape, n_classes)
    if config.baseline.enabled and config.baseline.name:
        plan_network(config.baseline.name, shape, n_classes)
    if config.batch > n_train:
        raise ConfigError(f"batch is {config.batch}, but there are {n_train} training images; set batch <= {n_train}")
    if config.balanced and config.batch < PER_CLASS * n_classes:
        raise ConfigError(
            f"batch is {config.batch}, fewer than {PER_CLASS} of each of {n_classes} classes; "
            f"set batch >= {PER_CLASS * n_classes}, or balanced: false"
        )
    nullspace = config.objective.nullspace
    if nullspace.weight and nullspace.mode == "exact" and config.batch - n_classes >= plan.embedding:
        raise ConfigError(
            f"objective.nullspace.mode is exact, but no batch has a null space: batch - classes = "
            f"{config.batch - n_classes} >= {plan.embedding} features; set batch < {plan.embedding + n_classes}, a "
            "larger network.embedding, or mode: ridge"
        )
    return plan
