"""Pruning: losses and layers are those of a refit without the units, and a run hands on the smaller network."""

from itertools import pairwise

import numpy as np
import pytest

from tests.models.unit_options import options_of
from tests.train.small_run import config_of, dataset, model_of, part
from varpro.distributed.communicator import SerialCommunicator
from varpro.errors import ConfigError
from varpro.models.units import UNITS, features
from varpro.report.progress import Display
from varpro.report.scalarized_plots import draw_pruning
from varpro.train.checkpoint import Kept
from varpro.train.checkpoint.identity import Identity
from varpro.train.checkpoint.stop import Stop
from varpro.train.data.prepared import Prepared
from varpro.train.scalarized import prune
from varpro.train.scalarized.trainer import train

RNG = np.random.default_rng(4)


def objective(phi, y, ridge):
    """min_A 1/2 ||Y - Phi A||^2 + mu/2 ||A||^2 and A, by a stacked least-squares problem."""
    stacked = np.concatenate([phi, np.sqrt(ridge) * np.eye(phi.shape[1])])
    targets = np.concatenate([y, np.zeros((phi.shape[1], y.shape[1]))])
    a = np.linalg.lstsq(stacked, targets, rcond=None)[0]
    return 0.5 * np.sum((targets - stacked @ a) ** 2), a


@pytest.mark.parametrize(("count", "c"), [(9, 1), (5, 4)])
def test_losses_and_layers_are_those_of_a_brute_force_refit(count, c):
    phi = np.concatenate([RNG.standard_normal((80, count * c)), np.ones((80, 1))], axis=1)
    phi[:, :c] = phi[:, c : 2 * c] + 0.05 * RNG.standard_normal((80, c))  # a unit that another can replace
    y, ridge = RNG.standard_normal((80, 3)) + phi[:, 3:4], 0.3
    first, _ = objective(phi, y, ridge)
    steps = list(prune.dropped_backward(np.tril(phi.T @ phi), phi.T @ y, ridge, count))
    assert [len(step.units) for step in steps] == list(range(count, 0, -1))
    for before, after in pairwise(steps):
        trials = {}
        for unit in before.units:
            left = np.setdiff1d(before.units, unit)
            columns = np.append((left[:, None] * c + np.arange(c)).ravel(), count * c)
            trials[unit] = (*objective(phi[:, columns], y, ridge), columns)
        best = min(trials, key=lambda unit: trials[unit][0])
        assert set(before.units) - set(after.units) == {best}
        value, a, columns = trials[best]
        np.testing.assert_allclose(after.increase, value - first, rtol=1e-9)
        np.testing.assert_allclose(after.layer[columns], a, atol=1e-10 * np.abs(a).max())
        assert np.all(np.delete(after.layer, columns, axis=0) == 0)


def test_several_units_at_a_time_have_the_exact_loss_of_them_all(monkeypatch):
    monkeypatch.setattr(prune, "ONE_AT_A_TIME", 0)
    count = 450
    phi = np.concatenate([RNG.standard_normal((500, count)), np.ones((500, 1))], axis=1)
    y, ridge = RNG.standard_normal((500, 2)), 1.0
    steps = list(prune.dropped_backward(phi.T @ phi, phi.T @ y, ridge, count, least=440))
    assert [len(step.units) for step in steps] == [450, 448, 446, 444, 442, 440]
    value, a = objective(phi[:, np.append(steps[-1].units, count)], y, ridge)
    np.testing.assert_allclose(steps[-1].increase, value - objective(phi, y, ridge)[0], rtol=1e-8)
    np.testing.assert_allclose(steps[-1].layer[np.append(steps[-1].units, count)], a, atol=1e-9 * np.abs(a).max())


@pytest.mark.parametrize("kind", list(UNITS))
def test_the_units_that_are_taken_have_their_own_columns(kind):
    shape, cls = (1, 6, 6), UNITS[kind]
    changes = {"filter": (3, 5)} if kind == "convolutional" else {}
    units = cls.create(shape, 7, RNG, options_of(kind, **changes))
    images, which = RNG.random((11, *shape)), np.array([1, 2, 6])
    w = units.start(RNG, images)
    taken, of_taken = units.taken(w, which)
    c = units.columns_per_unit
    columns = np.append((which[:, None] * c + np.arange(c)).ravel(), units.n_columns)
    whole = features(units, w, "tanh", images)
    np.testing.assert_allclose(features(taken, of_taken, "tanh", images), whole[:, columns], rtol=0, atol=1e-14)
    again = cls.restored(shape, taken.count, taken.stored())
    np.testing.assert_array_equal(features(again, of_taken, "tanh", images), features(taken, of_taken, "tanh", images))


def trained(**changes):
    found = train(Prepared.of(config_of(**changes), dataset()), SerialCommunicator(), display=Display())
    assert found is not None
    return found


@pytest.mark.parametrize("unit", ["quadratic", "convolutional"])
def test_a_run_keeps_the_units_that_it_is_told_to(unit):
    model = model_of(unit, filter=(2,), cells=2, padding="valid")
    record, network = trained(model=model, prune={"units": 4})
    pruned = record.metrics["prune"]
    assert (network.units.count, pruned["units"], pruned["units_before"]) == (4, 4, 10)
    assert [point["units"] for point in pruned["curve"]] == list(range(10, 3, -1))
    assert pruned["curve"][-1]["parameters"] == network.w.size + network.a.size
    assert pruned["curve"][0]["increase"] == 0.0
    assert record.metrics["parameters"] == {"nonlinear": network.w.size, "linear": network.a.size}
    test = part(41, 1)
    assert record.metrics["test"]["accuracy"] == np.mean(network.predict(test.images) == test.labels)
    assert draw_pruning(record) is not None


def test_a_run_drops_as_many_as_the_loss_allows():
    record, network = trained(prune={"loss": 4.0})
    pruned = record.metrics["prune"]
    points = {point["units"]: point["validation_accuracy"] for point in pruned["curve"]}
    allowed = [units for units, accuracy in points.items() if points[10] - accuracy <= 0.04 + 1e-12]
    assert network.units.count == pruned["units"] == min(allowed) < 10
    unchanged, same = trained()
    assert "prune" not in unchanged.metrics
    assert same.units.count == 10


def test_without_validation_images_the_number_of_units_must_be_given():
    with pytest.raises(ConfigError, match=r"set data\.validation, or prune\.units"):
        trained(prune=True, data={"source": "columns", "validation": 0})
    _, network = trained(prune={"units": 3}, data={"source": "columns", "validation": 0})
    assert network.units.count == 3


def test_a_run_that_is_continued_keeps_the_same_units(tmp_path):
    prepared, comm = Prepared.of(config_of(prune={"loss": 4.0}), dataset()), SerialCommunicator()
    made = []
    for resume in (False, True):
        kept = Kept(tmp_path, comm, Stop())
        assert kept.begin(Identity("test", {}, "", None), resume=resume) == resume
        made.append(train(prepared, comm, display=Display(), checkpoint=kept))
    (first, network), (second, again) = made
    assert kept.restored > 0
    assert first.metrics["prune"]["curve"] == second.metrics["prune"]["curve"]
    np.testing.assert_array_equal(network.a, again.a)
