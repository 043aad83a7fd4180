"""The networks as lists of layers: sizes, parameters, and images that are too small for them."""

import pytest

from varpro.config.kinds import NETWORKS
from varpro.errors import ConfigError
from varpro.train.layered.plan import plan_network

MNIST, CIFAR, STL = (1, 28, 28), (3, 32, 32), (3, 96, 96)
PUBLISHED = [
    ("simplenet", MNIST, 64, 360_875),
    ("simplenet_small", MNIST, 64, 109_371),
    ("intraclass", MNIST, 2, 856_436 - 20),  # the centroids, 10 x 2, belong to the objective
    ("intraclass_light", MNIST, 2, 206_292 - 20),
    ("lenet5", MNIST, 84, 61_706),
    ("nullspace_small", MNIST, 512, 1_626_176),
    ("nullspacenet", CIFAR, 800, 18_411_936),
    ("nullspacenet", STL, 800, 18_411_936),
    ("nullspacenet", (3, 128, 128), 800, 18_411_936),
    ("nullspacenet_1x1", CIFAR, 800, 15_135_136),
    ("vgg16_fc", CIFAR, 4096, 134_309_962),
]


@pytest.mark.parametrize(("name", "shape", "embedding", "parameters"), PUBLISHED)
def test_features_and_parameters_are_those_of_the_definitions(name, shape, embedding, parameters):
    plan = plan_network(name, shape, 10)
    assert (plan.embedding, plan.parameters) == (embedding, parameters)


def test_a_hundred_classes_change_the_last_layer_only():
    assert plan_network("vgg16_fc", CIFAR, 100).parameters == 134_678_692
    assert plan_network("nullspacenet", CIFAR, 100).parameters == 18_411_936


def test_options():
    plain = plan_network("simplenet", MNIST, 10)
    wide = plan_network("simplenet", MNIST, 10, embedding=2, xi=100.0, learnable_xi=True, linear=False)
    assert wide.embedding == 2
    assert wide.parameters == plain.parameters - 62 * (1152 + 1) - 650 + 1


def test_arithmetic_of_a_layer_by_hand():
    """LeNet-5: 28 28 6 25, 10 10 16 6 25, then the dense layers' weights; an addition with each product."""
    products = 28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84
    assert plan_network("lenet5", MNIST, 10).gflop == pytest.approx(2e-9 * products)


@pytest.mark.parametrize(
    ("name", "side", "smallest"),
    [("lenet5", 8, 12), ("simplenet", 7, 8), ("intraclass_light", 3, 4), ("nullspacenet", 28, 32), ("vgg16_fc", 8, 32)],
)
def test_images_that_are_too_small_name_the_smallest(name, side, smallest):
    with pytest.raises(ConfigError, match=f"images are {side} x {side} .* reads images of {smallest} x {smallest}"):
        plan_network(name, (1, side, side), 10)
    assert plan_network(name, (1, smallest, smallest), 10).parameters > 0


def test_an_unknown_name():
    with pytest.raises(ConfigError, match="choose one of simplenet"):
        plan_network("lenet", MNIST, 10)
    assert len(list(NETWORKS)) == 9
