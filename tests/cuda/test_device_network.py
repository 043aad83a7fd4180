"""The problem of a whole network with its images on a device: values, gradient and products are those of the CPU."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from varpro.arrays import is_device_array
from varpro.distributed.communicator import SerialCommunicator
from varpro.models import QuadraticUnits
from varpro.models.units.bilinear import BilinearUnits
from varpro.models.units.convolution_options import ConvolutionOptions
from varpro.models.units.convolutional import ConvolutionalUnits
from varpro.models.units.local_bilinear import LocalBilinearUnits, WindowOptions
from varpro.problems.network import WholeNetwork
from varpro.problems.network_entropy import EntropyNetwork
from varpro.problems.sample import Sample
from varpro.train.scalarized.network import one_hot

KINDS = {
    "quadratic": partial(QuadraticUnits, (1, 6, 6), 3),
    "quadratic, colour": partial(QuadraticUnits, (2, 6, 6), 3),
    "bilinear": partial(BilinearUnits, (1, 6, 5), 3),
    "local-bilinear": partial(
        LocalBilinearUnits.create, (2, 6, 7), 5, np.random.default_rng(1), WindowOptions(window=(2, 4))
    ),
    "convolutional": partial(
        ConvolutionalUnits.create, (1, 7, 6), 3, np.random.default_rng(1), ConvolutionOptions(filter=(3, 4), cells=2)
    ),
    "convolutional, whitened": partial(
        ConvolutionalUnits.create, (3, 6, 6), 2, np.random.default_rng(1),
        ConvolutionOptions(filter=(3,), cells=1, whitening=0.1),
    ),
}  # fmt: skip
WAYS = {
    "products": (WholeNetwork, {}),
    "products, J held": (WholeNetwork, {"held_bytes": 1 << 30}),
    "the whole matrix of Golub and Pereyra": (WholeNetwork, {"kaufman": False}),
    "formed": (WholeNetwork, {"exact": True, "held_bytes": 1 << 30}),
    "formed, Golub and Pereyra": (WholeNetwork, {"exact": True, "kaufman": False}),
    "cross-entropy": (EntropyNetwork, {}),
    "cross-entropy, J held": (EntropyNetwork, {"held_bytes": 1 << 30}),
}


def both(xp, kind, way, dtype):
    """The same network on the host and on the device, and its start."""
    rng = np.random.default_rng(3)
    units = KINDS[kind]()
    n = 37
    images = rng.integers(0, 255, (n, *units.shape)).astype(np.uint8)
    w = units.start(rng, images)
    make, options = WAYS[way]
    here = Sample(images, one_hot(np.arange(n) % 3, 3), rng.permutation(n), 31, SerialCommunicator())
    shared = {"units": units, "sigma": "smooth_abs" if "conv" in kind else "tanh", "ridge": 1e-3, "dtype": dtype}
    return [
        make(**shared, **options, sample=sample) for sample in (here, replace(here, images=xp.asarray(images)))
    ], w  # fmt: skip


CASES = [
    *((kind, "products", np.float64) for kind in KINDS),
    *((kind, "products, J held", np.float32) for kind in KINDS),
    *((kind, way, np.float64) for kind in ("local-bilinear", "convolutional") for way in list(WAYS)[1:]),
    ("quadratic", "the whole matrix of Golub and Pereyra", np.float32),
    ("bilinear", "cross-entropy", np.float32),
]


@pytest.mark.parametrize(("kind", "way", "dtype"), CASES)
def test_network_on_a_device_is_that_on_the_host(xp, kind, way, dtype):
    (here, there), w = both(xp, kind, way, dtype)
    tolerance = 1e-9 if dtype is np.float64 else 2e-3
    if "cross" in way:
        tolerance = max(tolerance, 1e-5)  # the layer is found to a tolerance, by other roundings
    start = w[None], np.array([0])
    first, second = (problem.evaluate(*start) for problem in (here, there))
    assert all(map(is_device_array, (*second.phi, *second.residual)))
    assert second.cost[0] == pytest.approx(first.cost[0], rel=tolerance)
    systems = here.linearise(first), there.linearise(second)
    steps = [system.solve(np.array([0.1])) for system in systems]
    pairs = [(systems[0].gradient, systems[1].gradient), (systems[0].diagonal, systems[1].diagonal)]
    pairs += [(systems[0].curvature, systems[1].curvature), (steps[0].delta, steps[1].delta)]
    for expected, found in pairs:
        assert isinstance(found, np.ndarray), "the search of one network is on the host"
        assert np.abs(found - expected).max() <= 30 * tolerance * np.abs(expected).max()
    assert steps[1].predicted[0] == pytest.approx(steps[0].predicted[0], rel=30 * tolerance)
