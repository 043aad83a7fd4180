"""The whole job: what bootstrapping trains on, what is called accuracy, and which network each figure belongs to."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from tests.train.small_run import N_CLASSES, config_of, dataset, part, rows_of, run_of
from varpro.distributed.communicator import SerialCommunicator
from varpro.report.progress import Display
from varpro.train.data.parts import Part
from varpro.train.data.prepared import Prepared
from varpro.train.scalarized import trainer, transduction
from varpro.train.scalarized.cycle import untrained
from varpro.train.scalarized.glue import glue
from varpro.train.scalarized.partition import TRAINING
from varpro.train.scalarized.trainer import train

INTERPOLATING = {"units": 25, "glue": {"ridge": 1e-9}}
"""More units than the test part has images: what is trained on that part reproduces its labels, whatever they are."""


@pytest.fixture(scope="module", autouse=True)
def no_rate_of_the_machine():
    """Timing matrix products would take most of the time here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "measured_gemm_gflops", lambda dtype: 1.0)
        yield


def job(images=None, **changes):
    return train(Prepared.of(config_of(**changes), images or dataset()), SerialCommunicator(), display=Display())


def relabelled(data, labels):
    return dataclasses.replace(data, test=Part(data.test.images, labels))


@pytest.fixture(scope="module")
def random_guesses(no_rate_of_the_machine):
    """Nearly every guess is ambiguous and so drawn at random, and the retrained network can reproduce them all."""
    record, _ = job(**INTERPOLATING, bootstrap={"variant": "paper", "margin": 0.999})
    return record.metrics


def test_bootstrapping_trains_on_the_guesses_and_on_no_true_label(random_guesses):
    found = random_guesses["bootstrap"]
    assert found["ambiguous_fraction"] > 0.8
    assert found["agreement_with_guesses"] == 1.0  # only if it learnt them, and is asked after it has
    assert abs(found["guess_accuracy"] - 1 / N_CLASSES) < 4 * np.sqrt(2 / 9 / 41)  # four deviations of 41 draws


def test_the_accuracy_after_bootstrapping_is_against_true_labels(random_guesses):
    found = random_guesses["bootstrap"]
    assert found["test_accuracy"] == found["guess_accuracy"] < 0.8
    assert random_guesses["test"]["accuracy"] > 0.8  # of the network before, which is what is saved


def test_no_figure_but_the_accuracies_depends_on_the_true_labels_of_the_test_part():
    data = dataset()
    records = [job(d, bootstrap=True)[0] for d in (data, relabelled(data, (data.test.labels + 1) % N_CLASSES))]
    true, shifted = (record.metrics["bootstrap"] for record in records)
    for same in ("ambiguous_fraction", "agreement_with_guesses"):
        assert true[same] == shifted[same]
    for other in ("guess_accuracy", "test_accuracy"):
        assert true[other] > 0.7
        assert shifted[other] < 0.3
    assert records[0].metrics["test"]["accuracy"] > 0.7
    assert records[1].metrics["test"]["accuracy"] < 0.3
    assert records[0].metrics["train"] == records[1].metrics["train"]


def test_confident_guesses_alone_are_trained_on_and_agreed_with():
    found = job(**INTERPOLATING, bootstrap={"variant": "confident-only", "margin": 0.5})[0].metrics["bootstrap"]
    assert 0 < found["ambiguous_fraction"] < 1
    assert found["agreement_with_guesses"] == 1.0
    assert found["variant"] == "confident-only"


def test_each_round_of_bootstrapping_guesses_with_the_network_of_the_one_before(monkeypatch):
    guessed, cycles = [], []
    guess, cycle = transduction.guess_labels, trainer.learning_cycle

    def watched_guess(scores, **options):
        guessed.append(scores)
        return guess(scores, **options)

    def watched_cycle(*given, **named):
        cycles.append((named["stream"], cycle(*given, **named)))
        return cycles[-1][1]

    monkeypatch.setattr(transduction, "guess_labels", watched_guess)
    for module in (trainer, transduction):
        monkeypatch.setattr(module, "learning_cycle", watched_cycle)
    data = dataset()
    record, _ = job(data, bootstrap={"variant": "argmax", "rounds": 3})
    rounds = record.metrics["bootstrap"]["rounds"]
    assert len(rounds) == 3
    assert len({stream for stream, _ in cycles}) == 4
    for scores, (_, before) in zip(guessed, cycles, strict=False):
        np.testing.assert_allclose(scores, before.network.scores(data.test.images), rtol=1e-9, atol=1e-9)
    for told, after in pairwise(rounds):
        assert told["test_accuracy"] == after["guess_accuracy"]
    assert {name: record.metrics["bootstrap"][name] for name in rounds[-1]} == rounds[-1]
    once = job(data, bootstrap={"variant": "argmax"})[0].metrics["bootstrap"]
    assert {name: once[name] for name in rounds[0]} == rounds[0]


def test_the_retrained_network_has_the_ridge_of_the_first(monkeypatch):
    ridges = []
    kept = trainer.learning_cycle

    def watched(*given, **named):
        cycle = kept(*given, **named)
        ridges.append(cycle.glued.ridge)
        return cycle

    for module in (trainer, transduction):
        monkeypatch.setattr(module, "learning_cycle", watched)
    job(bootstrap=True)
    assert len(ridges) == 2
    assert ridges[0] == ridges[1]


def test_each_part_has_its_own_accuracy_and_the_network_is_that_before_bootstrapping():
    data = dataset()
    record, network = job(data, bootstrap=True)
    split = data.split(50, None, None)
    for name in ("train", "validation", "test"):
        given = getattr(split, name)
        assert record.metrics[name]["accuracy"] == np.mean(network.predict(given.images) == given.labels)
    without = job(data)[1]
    np.testing.assert_array_equal(network.w, without.w)
    np.testing.assert_array_equal(network.a, without.a)


@pytest.mark.parametrize("changes", [{}, {"glue": "tsqr", "search": {"rank_tolerance": 0.4}}, {"glue": {"ridge": 3.0}}])
def test_the_control_is_the_same_units_untrained_and_glued_alike(changes):
    data, config = dataset(), config_of(control=True, **changes)
    record, network = job(data, control=True, **changes)
    split, run = data.split(50, None, None), run_of(config)
    train_rows, validation = rows_of(split.train), rows_of(split.validation)
    units, w = untrained(run, train_rows, TRAINING)
    assert units.count == network.units.count
    assert not np.array_equal(w, network.w)
    glued = glue(
        run.streamed(units, w, train_rows),
        run.streamed(units, w, validation),
        method=config.glue.method,
        ridge=None if config.glue.ridge == "auto" else config.glue.ridge,
        rank_tolerance=config.search.rank_tolerance,
    )
    expected = run.network(units, w, glued.a).predict(split.test.images)
    assert record.metrics["control"]["test_accuracy"] == np.mean(expected == split.test.labels)
    assert record.metrics["control"]["ridge"] == glued.ridge


def test_a_part_without_images_has_no_accuracy():
    record, _ = job(data={"source": "columns", "validation": 0})
    assert np.isnan(record.metrics["validation"]["accuracy"])
    assert record.metrics["train"]["accuracy"] > 1 / N_CLASSES


def test_other_images_of_the_same_classes_are_read_as_well():
    _, network = job()
    other = part(300, 5)
    assert np.mean(network.predict(other.images) == other.labels) > 0.7


def test_each_phase_has_its_own_seconds_and_what_did_not_run_has_none():
    """Taken in turn, not at once: together they are no more than the whole."""
    seconds = job(control=True, bootstrap=True)[0].metrics["seconds"]
    phases = [seconds[name] for name in ("load", "subnetworks", "refine", "glue", "scores", "control", "bootstrap")]
    assert all(value >= 0 for value in phases)
    assert 0 < sum(phases) <= seconds["total"]
    assert seconds["refine"] == seconds["load"] == 0.0
    bare = job(subnetworks=0, refine={"iterations": 1})[0].metrics["seconds"]
    assert bare["subnetworks"] == bare["control"] == bare["bootstrap"] == 0.0
    assert 0 < bare["refine"] + bare["glue"] <= bare["total"]


def test_the_rate_is_the_arithmetic_of_the_sub_networks_over_their_seconds():
    record, _ = job()
    metrics, work = record.metrics, record.metrics["work"]
    assert work["gflop"] > 0
    assert work["gflops"] == pytest.approx(work["gflop"] / metrics["seconds"]["subnetworks"])
    assert work["efficiency"] == pytest.approx(work["gflops"] / work["gemm_gflops_measured"])
    assert job(subnetworks=0, refine=True)[0].metrics["work"]["gflops"] == 0.0
    for line in metrics["subnetworks"]:
        assert 0 < line["seconds"] <= metrics["seconds"]["total"]


def test_phi_is_made_once_while_it_is_held_and_let_go_with_its_units():
    rows, w = rows_of(dataset().train), np.full(5 * 6, 0.1)

    def arrays(streamed):
        return [phi for phi, _ in streamed.blocks()]

    for memory, once in ((1.0, True), (0.0, False)):
        run = run_of(config_of(subnetworks=1, glue={"memory": memory, "block_rows": 50}))
        units, _ = run.design.start(np.random.default_rng(0), rows.images)
        before, again = (arrays(run.streamed(units, w, rows)) for _ in range(2))
        assert [one is other for one, other in zip(before, again, strict=True)] == [once] * 4
        np.testing.assert_array_equal(np.concatenate(before), np.concatenate(again))
        arrays(run.streamed(units, 2.0 * w, rows))
        assert not any(one is other for one, other in zip(before, arrays(run.streamed(units, w, rows)), strict=True))


def test_held_columns_change_no_bit_of_the_network():
    networks = [job(glue={"memory": memory})[1] for memory in (1.0, 0.0)]
    np.testing.assert_array_equal(networks[0].a, networks[1].a)


def test_random_units_alone_are_trained_where_no_control_is_wanted():
    model = {"unit": "convolutional", "sigma": "smooth_abs", "filter": 3, "cells": 2}
    record, network = job(model=model, subnetworks=0, units=6, glue={"precision": "fp32"})
    assert record.metrics["test"]["accuracy"] > 0.9
    assert record.metrics["work"]["gflop"] == record.metrics["work"]["efficiency"] == 0.0
    random = untrained(run_of(config_of(model=model, subnetworks=0, units=6)), rows_of(dataset().train), TRAINING)[1]
    assert network.w.shape == random.shape
