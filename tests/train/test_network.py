"""What a network reads, and how it scores by blocks."""

import numpy as np
import pytest

from tests.train.small_run import SHAPE
from varpro.errors import DataError, ShapeError
from varpro.models import QuadraticUnits
from varpro.models.units import features
from varpro.train.data.pixels import readable_images
from varpro.train.scalarized import network as module
from varpro.train.scalarized.network import Network, one_hot


def test_images_of_another_shape_or_beyond_the_range_are_refused_with_their_numbers():
    good = np.random.default_rng(0).random((4, 5, 5))
    assert readable_images(good, SHAPE).shape == (4, *SHAPE)
    with pytest.raises(ShapeError, match=r"\(1, 4, 5\).*reads \(1, 5, 5\)"):
        readable_images(good[:, 1:], SHAPE)
    for bad in (good - 0.5, 1.5 * good, np.where(good == good[0, 0, 0], np.nan, good)):
        with pytest.raises(DataError, match="divide by the largest value"):
            readable_images(bad, SHAPE)
    assert readable_images((255 * good).astype(np.uint8), SHAPE).max() > 1


@pytest.mark.parametrize("block", [1, 3, 7, 100])
def test_scores_do_not_depend_on_the_block(block, monkeypatch):
    rng = np.random.default_rng(1)
    images = rng.random((7, *SHAPE))
    units = QuadraticUnits(SHAPE, 4)
    w, a = units.start(rng, images), rng.standard_normal((5, 3))
    network = Network(units, w, "tanh", a)
    expected = features(units, w, "tanh", images) @ a
    monkeypatch.setattr(module, "BLOCK_ROWS", block)
    np.testing.assert_allclose(network.scores(images), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(network.predict(images), expected.argmax(axis=1))


def test_the_constant_is_the_last_column_and_labels_are_unit_rows():
    units = QuadraticUnits(SHAPE, 4)
    images = np.random.default_rng(1).random((3, *SHAPE))
    phi = features(units, units.start(np.random.default_rng(0), images), "logistic", images, dtype=np.float32)
    assert phi.dtype == np.float32
    assert phi.shape == (3, 5)
    np.testing.assert_array_equal(phi[:, -1], 1.0)
    assert ((phi[:, :-1] > 0) & (phi[:, :-1] < 1)).all()
    np.testing.assert_array_equal(one_hot(np.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
