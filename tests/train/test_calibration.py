"""Probabilities: calibrated ones stay as they are, wrong ones are mended, and the numbers in the report are right."""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.train.small_run import config_of, dataset
from varpro.distributed.communicator import SerialCommunicator
from varpro.errors import DataError
from varpro.linalg.cross_entropy import softmax
from varpro.report.progress import Display
from varpro.train.calibration import (
    FOLDS,
    Calibration,
    calibrate,
    expected_calibration_error,
    fitted_layers,
    log_loss,
    reliability,
)
from varpro.train.data.prepared import Prepared
from varpro.train.scalarized.storage import load_network, save_network
from varpro.train.scalarized.trainer import train

N, K = 4000, 4


def drawn(seed=0, n=N, mix=None):
    """True logits (n, K) and labels drawn from their softmax; mix (K, K) distorts the outputs that a network gives."""
    rng = np.random.default_rng(seed)
    logits = 2.0 * rng.standard_normal((n, K))
    labels = (np.cumsum(softmax(logits), axis=1) > rng.random((n, 1))).argmax(axis=1)
    return logits if mix is None else logits @ np.linalg.inv(mix), labels, logits


def spread(labels, p):
    """The standard deviation of a mean of len(labels) log-losses."""
    return np.std(-np.log(p[np.arange(len(labels)), labels])) / np.sqrt(len(labels))


@pytest.mark.parametrize("slope", [0.05, 1.0, 30.0])
def test_the_temperature_of_scaled_logits_is_found(slope):
    scores, labels, truth = drawn()
    layer = fitted_layers(scores / slope, labels, logistic=False)["temperature"]
    assert layer[0, 0] == pytest.approx(slope, rel=0.1)
    np.testing.assert_array_equal(layer[:-1], layer[0, 0] * np.eye(K))
    p = Calibration("temperature", layer).probabilities(scores / slope)
    assert log_loss(p, labels) <= log_loss(softmax(truth), labels)  # a minimum over a family that has the truth


def test_a_bias_common_to_all_outputs_changes_nothing():
    scores, labels, _ = drawn()
    one, other = (fitted_layers(s, labels, logistic=False)["temperature"] for s in (scores, scores + 100.0))
    first, second = Calibration("temperature", one), Calibration("temperature", other)
    np.testing.assert_allclose(first.probabilities(scores), second.probabilities(scores + 100.0), rtol=1e-6)


def test_the_logistic_form_is_that_of_scikit_learn_up_to_the_prior():
    scores, labels, _ = drawn(mix=np.eye(K) + 0.3 * np.ones((K, K)))
    p = Calibration("logistic", fitted_layers(scores, labels)["logistic"]).probabilities(scores)
    theirs = LogisticRegression(C=1e6, max_iter=2000, tol=1e-10).fit(scores, labels).predict_proba(scores)
    assert np.abs(p - theirs).max() < 10 / N * K


def test_the_form_is_chosen_by_held_out_log_loss():
    scores, labels, _ = drawn()
    plain = calibrate(scores, labels)
    mixed, labels, _ = drawn(mix=np.eye(K) + np.triu(np.ones((K, K)), 1))
    other = calibrate(mixed, labels)
    assert (plain.method, other.method) == ("temperature", "logistic")
    for found in (plain, other):
        losses = dict(found.held_out)
        assert set(losses) == {"temperature", "logistic"}
        assert losses[found.method] == min(losses.values())
        assert found.images == N


def test_held_out_log_loss_is_that_of_new_images():
    scores, labels, _ = drawn()
    found = calibrate(scores, labels)
    new, new_labels, _ = drawn(seed=1)
    p = found.probabilities(new)
    assert abs(dict(found.held_out)[found.method] - log_loss(p, new_labels)) < 6 * spread(new_labels, p)


def test_calibration_does_not_depend_on_the_order_of_the_images_or_the_precision_of_the_outputs():
    scores, labels, _ = drawn(n=301)
    order = np.random.default_rng(5).permutation(301)
    one, other = calibrate(scores, labels), calibrate(scores[order].astype(np.float32), labels[order])
    np.testing.assert_allclose(one.probabilities(scores), other.probabilities(scores), rtol=1e-3)


def test_separated_classes_get_no_certainty():
    """As if one image in N + 1 had a random label."""
    labels = np.arange(200) % 2
    found = calibrate(np.eye(2)[labels], labels)
    p = found.probabilities(np.eye(2)[labels])
    assert (p.argmax(axis=1) == labels).all()
    assert 1 - p.max() == pytest.approx(0.5 / 201, rel=0.05)


def test_a_class_without_validation_images_keeps_a_probability():
    scores, labels, _ = drawn(n=400)
    kept = labels != 3
    p = calibrate(scores[kept], labels[kept]).probabilities(scores)
    assert np.isfinite(p).all()
    assert (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=16 * np.finfo(float).eps)


def test_many_classes_are_not_given_more_parameters_than_images():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 20, 300)
    found = calibrate(np.eye(20)[labels] + rng.standard_normal((300, 20)), labels)
    assert dict(found.held_out).keys() == {"temperature"}


def test_outputs_that_say_nothing_give_the_frequencies():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    p = calibrate(np.zeros((100, 3)), labels).probabilities(np.zeros((1, 3)))[0]
    np.testing.assert_allclose(p, [0.5, 0.3, 0.2], atol=1 / 101)


def test_reliability_by_hand():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [1.0, 0.0]])
    bins = reliability(p, np.array([0, 1, 1, 1, 0]), bins=5)
    assert [(b.low, b.high, b.images) for b in bins] == [(0.4, 0.6, 1), (0.6, 0.8, 2), (0.8, 1.0, 2)]
    assert [b.accuracy for b in bins] == [0.0, 0.5, 1.0]
    assert [b.confidence for b in bins] == pytest.approx([0.6, 0.75, 0.95])
    assert expected_calibration_error(bins) == pytest.approx((0.6 + 2 * 0.25 + 2 * 0.05) / 5)


def test_calibrated_probabilities_have_a_small_error_and_distorted_ones_a_large_one():
    scores, labels, truth = drawn(seed=7)
    error = expected_calibration_error(reliability(calibrate(scores, labels).probabilities(scores), labels))
    right = expected_calibration_error(reliability(softmax(truth), labels))
    assert error < right + 3 / np.sqrt(N)
    assert expected_calibration_error(reliability(softmax(3 * truth), labels)) > 3 * error


def small_run(**changes):
    config = config_of(units=3, **changes)
    return train(Prepared.of(config, dataset()), SerialCommunicator(), display=Display())


def test_a_trained_network_gives_probabilities_and_so_does_its_file(tmp_path):
    record, network = small_run()
    images = dataset().test.images
    p = network.predict_proba(images)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=16 * np.finfo(float).eps)
    found = record.metrics["calibration"]
    assert found["images"] == 50
    assert found["test"]["log_loss"] == pytest.approx(log_loss(p, dataset().test.labels))
    assert sum(b["images"] for b in found["test"]["bins"]) == len(images)
    save_network(tmp_path / "model.h5", network)
    read = load_network(tmp_path / "model.h5")
    np.testing.assert_array_equal(read.predict_proba(images), p)
    assert read.calibration.method == network.calibration.method
    assert found["test"]["log_loss"] < np.log(3)


def test_without_validation_images_there_are_none_and_one_line_says_what_to_do(tmp_path):
    record, network = small_run(data={"source": "columns", "validation": 0})
    assert record.metrics["calibration"]["method"] is None
    save_network(tmp_path / "model.h5", network)
    for model in (network, load_network(tmp_path / "model.h5")):
        with pytest.raises(DataError, match=r"fewer than 5; set data.validation") as told:
            model.predict_proba(dataset().test.images)
        assert "\n" not in str(told.value)


def test_fewer_images_than_folds_calibrate_nothing():
    scores, labels, _ = drawn(n=FOLDS)
    assert calibrate(scores[:-1], labels[:-1]) is None
    assert calibrate(scores, labels) is not None


def test_a_damaged_calibration_is_a_damaged_file(tmp_path):
    _, network = small_run()
    square = dataclasses.replace(network.calibration, layer=np.eye(3))
    save_network(tmp_path / "model.h5", dataclasses.replace(network, calibration=square))
    with pytest.raises(DataError, match=r"damaged \(calibration has shape \(3, 3\)\)"):
        load_network(tmp_path / "model.h5")
