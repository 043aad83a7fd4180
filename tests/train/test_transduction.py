"""Variants of bootstrapping: what each fits to which targets, and which need what."""

from dataclasses import replace

import numpy as np
import pytest

from tests.train.small_run import N_CLASSES, config_of, dataset, rows_of, run_of
from varpro.distributed.communicator import SerialCommunicator
from varpro.errors import ConfigError
from varpro.report.progress import Display
from varpro.train.calibration import calibrate
from varpro.train.data.prepared import Prepared
from varpro.train.scalarized import transduction
from varpro.train.scalarized.bootstrap import guess_labels
from varpro.train.scalarized.cycle import learning_cycle
from varpro.train.scalarized.glue import Rows, all_scores
from varpro.train.scalarized.network import one_hot
from varpro.train.scalarized.partition import TRAINING
from varpro.train.scalarized.trainer import train
from varpro.train.scalarized.transduction import transduce


@pytest.fixture(scope="module")
def trained():
    """A training cycle with its calibration, and its outputs on the test images."""
    config, data = config_of(), dataset()
    run, split = run_of(config), data.split(50, None, None)
    train_rows, held = rows_of(split.train), rows_of(split.validation)
    cycle = learning_cycle(run, train_rows, stream=TRAINING, name="", validation=held, ridge=None, score=None)
    network = cycle.network
    scores = {
        name: all_scores(run.streamed(network.units, network.w, rows_of(part)), network.a)
        for name, part in (("held", split.validation), ("test", split.test))
    }
    calibration = calibrate(scores["held"], split.validation.labels)
    return replace(cycle, network=replace(network, calibration=calibration)), scores["test"], rows_of(split.test)


def passed(trained, variant, **changes):
    cycle, scores, test = trained
    run = run_of(config_of(bootstrap={"variant": variant, **changes}))
    return transduce(run, cycle, scores, test)


@pytest.fixture
def fitted(monkeypatch):
    """The rows of every learning cycle."""
    seen = []
    monkeypatch.setattr(
        transduction, "learning_cycle", lambda run, rows, **how: seen.append(rows) or learning_cycle(run, rows, **how)
    )
    return seen


def test_soft_labels_are_the_calibrated_probabilities(trained, fitted):
    cycle, scores, test = trained
    passed(trained, "soft")
    np.testing.assert_array_equal(fitted[0].targets, cycle.network.calibration.probabilities(scores))
    np.testing.assert_array_equal(fitted[0].y(slice(3, 7), N_CLASSES), fitted[0].targets[3:7])
    assert len(fitted[0]) == len(test)


@pytest.mark.parametrize("variant", ["argmax", "average"])
def test_argmax_and_average_fit_the_largest_outputs(trained, fitted, variant):
    passed(trained, variant)
    assert fitted[0].targets is None
    np.testing.assert_array_equal(fitted[0].labels, trained[1].argmax(axis=1))


def test_confident_only_leaves_ambiguous_images_out(trained, fitted):
    found = passed(trained, "confident-only", margin=0.6)
    left = 1 - found.metrics["ambiguous_fraction"]
    assert 0 < len(fitted[0]) == round(left * len(trained[2])) < len(trained[2])


def test_linear_keeps_the_units_and_solves_for_the_layer_of_the_guesses(trained, fitted):
    cycle, scores, test = trained
    found = passed(trained, "linear")
    assert found.cycle is None
    assert fitted == []
    network = cycle.network
    phi = network.units.at(network.w, network.sigma).phi(test.images)
    y = one_hot(scores.argmax(axis=1), N_CLASSES)
    a = np.linalg.solve(phi.T @ phi + cycle.glued.ridge * np.eye(phi.shape[1]), phi.T @ y)
    np.testing.assert_array_equal(found.predicted, (phi @ a).argmax(axis=1))


def test_average_is_the_mean_of_the_outputs_before_and_after(trained):
    _, scores, test = trained
    found = passed(trained, "average")
    network = found.cycle.network
    after = network.units.at(network.w, network.sigma).phi(test.images) @ network.a
    np.testing.assert_array_equal(found.predicted, (scores + after).argmax(axis=1))
    assert (passed(trained, "argmax").predicted == after.argmax(axis=1)).all()


@pytest.mark.parametrize("variant", ["paper", "argmax", "confident-only", "soft", "linear", "average"])
def test_every_variant_is_judged_by_true_labels_and_trains_on_none(trained, variant):
    cycle, scores, test = trained
    run = run_of(config_of(bootstrap={"variant": variant}))
    shifted = Rows(test.images, (test.labels + 1) % N_CLASSES)
    true, other = (transduce(run, cycle, scores, rows) for rows in (test, shifted))
    np.testing.assert_array_equal(true.predicted, other.predicted)
    assert true.metrics["test_accuracy"] == np.mean(true.predicted == test.labels)
    assert other.metrics["test_accuracy"] == np.mean(true.predicted == shifted.labels)
    assert true.metrics["variant"] == variant


def test_a_run_takes_a_variant_by_its_name():
    config = config_of(bootstrap="linear")
    record, _ = train(Prepared.of(config, dataset()), SerialCommunicator(), display=Display())
    assert record.metrics["bootstrap"]["variant"] == "linear"
    assert 0.5 < record.metrics["bootstrap"]["test_accuracy"] <= 1
    assert not [line for line in record.history if line["phase"].startswith("bootstrap")]


def test_under_cross_entropy_the_margin_is_that_of_the_softmax(trained, monkeypatch):
    cycle, scores, test = trained
    seen = []
    monkeypatch.setattr(
        transduction, "guess_labels", lambda values, **how: seen.append(values) or guess_labels(values, **how)
    )
    for loss in ("squares", "cross_entropy"):
        transduce(run_of(config_of(bootstrap="linear", glue={"loss": loss})), cycle, scores, test)
    np.testing.assert_array_equal(seen[0], scores)
    np.testing.assert_allclose(seen[1].sum(axis=1), 1.0)
    np.testing.assert_array_equal(seen[1].argmax(axis=1), scores.argmax(axis=1))


def test_a_config_without_bootstrap_does_not_bootstrap():
    tree = config_of().as_dict()
    del tree["bootstrap"]
    assert not type(config_of())(**tree).bootstrap.enabled


def test_soft_labels_without_validation_images_are_refused_before_anything_is_trained():
    config = config_of(bootstrap="soft", data={"source": "columns", "validation": 0})
    with pytest.raises(ConfigError, match=r"soft.*there are 0 validation images; set data.validation") as told:
        train(Prepared.of(config, dataset()), SerialCommunicator(), display=Display())
    assert "\n" not in str(told.value)
