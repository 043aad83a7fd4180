"""The description of a network: its values, what it counts, and its rounding to bytes."""

from dataclasses import replace

import numpy as np
import pytest

from tests.export.networks import CASES, close, images_of, network_of
from varpro.errors import ConfigError
from varpro.export.graph import Graph
from varpro.export.int8 import in_bytes
from varpro.models.units import OwnUnits

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize("name", CASES)
def test_the_description_computes_what_the_network_computes(name):
    network, images = network_of(name), images_of(name)
    single = network.units.prediction_dtype == np.float32
    found = Graph.of(network).scores(images, np.float64)
    close(found, network.scores(images), 1e-5 if single else 1e3 * EPS)


@pytest.mark.parametrize("name", CASES)
def test_vectors_in_bytes_are_wrong_by_half_a_step_at_most(name):
    graph = Graph.of(network_of(name))
    rounded = in_bytes(graph)
    assert rounded.layer.dtype == np.int8
    assert np.all(np.abs(rounded.layer * rounded.scale - graph.layer) <= 0.5000001 * rounded.scale)
    for before, after in zip(graph.forms, rounded.forms, strict=True):
        for vector, codes in zip(before.vectors, after.vectors, strict=True):
            assert codes.dtype == np.int8
            step = np.abs(vector).max(axis=0) / 127
            assert np.all(np.abs(codes * step - vector) <= 0.5000001 * step)


@pytest.mark.parametrize("name", ["convolutional", "quadratic", "local-bilinear"])
def test_images_make_the_scores_in_bytes_better_on_other_images(name):
    graph = Graph.of(network_of(name))
    seen, others = images_of(name, 600, seed=8), images_of(name, 200, seed=9)
    expected = graph.scores(others)
    plain, fitted = (np.abs(in_bytes(graph, of).scores(others) - expected).mean() for of in (None, seen))
    assert fitted < 0.8 * plain


def test_rounding_of_the_layer_is_the_free_least_squares_fit_of_what_is_left():
    """After the first code, the others are what a fit of all but that column to the missing part gives."""
    from varpro.export import int8

    rng = np.random.default_rng(0)
    phi, layer = rng.standard_normal((40, 6)), rng.standard_normal((6, 1))
    gram = phi.T @ phi
    codes, scale, constant = int8._rounded_layer(layer, gram)
    free = layer.copy()
    for j in range(5):
        code = np.clip(np.round(free[j] / scale), -127, 127)
        assert code == codes[j]
        missing = phi[:, j : j + 1] * (free[j] - code * scale)
        free[j + 1 :] += np.linalg.lstsq(phi[:, j + 1 :], missing, rcond=None)[0]
    np.testing.assert_allclose(constant, free[5], rtol=1e-10)


def test_multiply_adds_of_a_filter_bank_by_hand():
    form = Graph.of(network_of("convolutional, boxes")).forms[0]
    rows, columns, averages = 12 * 12 * 3, 12 * 12 * 3, 12 * 12 * 3 + 12 * 9
    assert form.multiply_adds((1, 12, 12)) == 11 * (rows + columns + averages)
    form = Graph.of(network_of("quadratic")).forms[0]
    assert form.multiply_adds((1, 7, 7)) == 11 * (7 * 7 + 7)


class Sums(OwnUnits):
    parameters = 1

    def draw(self, rng, images):
        return np.ones((1, self.count))

    def form(self, images, w):
        return images.sum(axis=(1, 2, 3))[:, None] * w

    def derivative(self, images, w):
        return np.repeat(images.sum(axis=(1, 2, 3))[:, None, None], self.count, axis=2)


def test_units_of_ones_own_are_refused():
    network = network_of("quadratic")
    Sums.kind = "mine:Sums"
    with pytest.raises(ConfigError, match=r"mine:Sums units are computed by code of their own.*varpro\.load"):
        Graph.of(replace(network, units=Sums((1, 7, 7), 11), w=np.ones(22)))
