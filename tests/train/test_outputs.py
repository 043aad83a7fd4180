"""The forms in which outputs can be read keep the label, and outputs add up to 1 by themselves."""

import numpy as np
import pytest

from tests.train.small_run import config_of, dataset, part, rows_of, run_of
from varpro.errors import ConfigError
from varpro.train.scalarized.cycle import learning_cycle
from varpro.train.scalarized.outputs import shaped
from varpro.train.scalarized.partition import TRAINING


def network_of(ridge):
    run, rows = run_of(config_of()), rows_of(dataset().train)
    return learning_cycle(run, rows, stream=TRAINING, name="it", validation=None, ridge=ridge, score=None).network


def test_outputs_add_up_to_one_but_for_the_ridge():
    images = part(31, 5).images
    plain, ridged = (network_of(ridge).scores(images).sum(axis=1) for ridge in (0.0, 30.0))
    np.testing.assert_allclose(plain, 1.0, rtol=1e-9)
    assert np.abs(ridged - 1.0).max() > 1e-3
    np.testing.assert_allclose(network_of(30.0).scores(images, outputs="sum-1").sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("outputs", ["sum-1", "squashed"])
def test_every_form_has_the_labels_of_the_plain_one(outputs):
    network, images = network_of(1.0), part(31, 5).images
    found = network.scores(images, outputs=outputs)
    np.testing.assert_array_equal(found.argmax(axis=1), network.predict(images))
    assert not np.array_equal(found, network.scores(images))


def test_a_row_without_a_positive_sum_stays_as_it_is():
    scores = np.array([[1.0, 3.0], [-2.0, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(shaped(scores, "sum-1"), [[0.25, 0.75], [-2.0, 1.0], [0.0, 0.0]])


def test_an_unknown_form_is_told():
    with pytest.raises(ConfigError, match="outputs is 'softmax'; choose one of plain, sum-1, squashed"):
        shaped(np.ones((1, 2)), "softmax")
