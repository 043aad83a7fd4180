"""Every key of a config reaches the part that it controls: a cycle gives what the parts give when called by hand."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.train.small_run import N_CLASSES, config_of, dataset, rows_of, run_of
from varpro.config.scalarized import Refine
from varpro.distributed.communicator import SerialCommunicator
from varpro.models.units import features
from varpro.problems.network import WholeNetwork
from varpro.problems.sample import Sample
from varpro.problems.separable import SeparableProblem
from varpro.result import Status
from varpro.search.damping import DampingRule
from varpro.search.loop import search
from varpro.search.termination import Termination
from varpro.train.scalarized import cycle as cycles
from varpro.train.scalarized import device_subnetworks as on_device
from varpro.train.scalarized import refine as refinement
from varpro.train.scalarized.cycle import learning_cycle
from varpro.train.scalarized.network import one_hot
from varpro.train.scalarized.partition import REFINEMENT, TRAINING, draw, generator

ROWS = rows_of(dataset().train)
VALIDATION = rows_of(dataset().test)


def cycle_of(config, *, validation=None, ridge=1e-3, stream=TRAINING):
    run = run_of(config)
    return learning_cycle(run, ROWS, stream=stream, name="it", validation=validation, ridge=ridge, score=None)


def first_subnetwork(*, damping=0.1, iterations=3, cost_tolerance=0.0, **problem):
    """w of sub-network 0, by the library's search alone."""
    config = config_of()
    start = draw(run_of(config).design, ROWS.images, config.samples, config.seed, TRAINING, 0)
    bound = start.units.bind(ROWS.images[start.rows], config.model.sigma)
    y = one_hot(ROWS.labels[start.rows], N_CLASSES)[None]
    limits = {"max_iterations": iterations, "cost_tolerance": cost_tolerance}
    rules = DampingRule(initial=damping), Termination(**limits, confirmed=False)
    problem = SeparableProblem(model=bound, y=y, **problem)
    found = search(problem, bound.lower(start.w)[None], damping=rules[0], termination=rules[1])
    return bound.lift(found.w[0])


SEARCH = {
    "jacobian": ("kaufman", {"kaufman": True}),
    "gn_precision": ("fp32", {"gn_precision": "float32"}),
    "rank_tolerance": (0.2, {"rank_tolerance": 0.2}),
    "ridge": (0.7, {"ridge": 0.7}),
    "initial_damping": (5.0, {"damping": 5.0}),
    "iterations": (2, {"iterations": 2}),
    "cost_tolerance": (0.5, {"cost_tolerance": 0.5}),
}


def test_a_cycle_trains_its_sub_networks_as_the_search_alone_does():
    trained = cycle_of(config_of()).trained
    np.testing.assert_array_equal(trained[0].w, first_subnetwork())
    assert [t.index for t in trained] == [0, 1]
    assert not np.array_equal(trained[0].w, trained[1].w)


@pytest.mark.parametrize("key", SEARCH)
def test_each_key_of_the_search_acts(key):
    value, by_hand = SEARCH[key]
    config = config_of(search={"iterations": 3, "cost_tolerance": 0.0} | {key: value})
    w = cycle_of(config).trained[0].w
    np.testing.assert_array_equal(w, first_subnetwork(**by_hand))
    assert not np.array_equal(w, first_subnetwork())


def test_every_key_of_the_search_is_tried():
    others = {"method", "evaluations", "squash"}  # tests/cli/test_search_methods.py
    assert set(SEARCH) | others == set(type(config_of().search).model_fields)


def test_the_rank_tolerance_truncates_the_glued_layer_too():
    whole = cycle_of(config_of(glue="tsqr"))
    cut = cycle_of(config_of(glue="tsqr", search={"rank_tolerance": 0.2}))
    assert whole.glued.rank == 11
    assert 1 <= cut.glued.rank < 11


@pytest.mark.parametrize("method", ["gram", "tsqr"])
def test_the_method_and_the_ridge_of_the_glueing_are_those_asked_for(method):
    config = config_of(glue={"method": method, "block_rows": 50})
    found = cycle_of(config, ridge=2.0)
    phi, y = features(found.network.units, found.network.w, "tanh", ROWS.images), one_hot(ROWS.labels, N_CLASSES)
    expected = np.linalg.solve(phi.T @ phi + 2.0 * np.eye(11), phi.T @ y)
    np.testing.assert_allclose(found.network.a, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
    s = np.linalg.svd(phi, compute_uv=False)
    of_method = {"tsqr": s[0] / s[-1], "gram": None}[method]
    if of_method is not None:
        assert found.glued.condition == pytest.approx(of_method)
    assert found.glued.ridge == 2.0


def test_without_a_ridge_the_validation_rows_choose_one_of_several():
    chosen = {seed: cycle_of(config_of(seed=seed), validation=VALIDATION, ridge=None).glued.ridge for seed in range(6)}
    assert len({f"{ridge:.0e}" for ridge in chosen.values()}) > 1


def test_the_model_of_the_config_is_the_one_that_is_trained():
    found = cycle_of(config_of(model={"unit": "local-bilinear", "window": [2, 3], "sigma": "logistic"}))
    assert found.network.sigma == "logistic"
    assert found.network.units.kind == "local-bilinear"
    assert set(np.unique(found.network.units.windows[:, 2:])) == {2, 3}


class Told(Exception):
    """Carries what a search on a device was told."""


@pytest.mark.parametrize("key", SEARCH)
def test_each_key_of_the_search_arrives_on_a_device_too(key, monkeypatch):
    """No device is needed: what would be searched there is the same problem under the same rules as on the CPU."""
    value, by_hand = SEARCH[key]
    config = config_of(search={"iterations": 3, "cost_tolerance": 0.0} | {key: value})
    device = SimpleNamespace(put=np.asarray, free_bytes=10**9, current=nullcontext)
    units = SimpleNamespace(bind=lambda *given: None)
    monkeypatch.setattr(on_device, "DeviceUnits", units)

    def told(problem, w0, *, damping, termination):
        raise Told(problem, w0, damping, termination)

    monkeypatch.setattr(on_device, "search", told)
    task = cycles.subnetwork_task(run_of(config), ROWS, TRAINING)
    there = replace(task, device=device, images=ROWS.images)
    batches = on_device.DeviceTask.of(there, [0, 1], SerialCommunicator(), 1)
    with pytest.raises(Told) as raised:
        batches(0)
    problem, w0, damping, termination = raised.value.args
    expected = {"damping": 0.1, "iterations": 3, "cost_tolerance": 0.0, "kaufman": False} | by_hand
    assert damping == DampingRule(initial=expected.pop("damping"))
    rules = {"max_iterations": expected.pop("iterations"), "cost_tolerance": expected.pop("cost_tolerance")}
    assert termination == Termination(**rules, confirmed=False)
    for name, wanted in expected.items():
        assert getattr(problem, name) == wanted
    assert problem.y.shape == (2, 61, N_CLASSES)
    np.testing.assert_array_equal(w0, [task.start(index).w for index in (0, 1)])


REFINE = {
    "loss": "cross_entropy",
    "iterations": 2,
    "first_rows": 90,
    "growth": 1.25,
    "fresh": True,
    "products": 2,
    "ridge": 3e-4,
    "jacobian": "golub-pereyra",
    "precision": "fp64",
    "damping_floor": 0.02,
    "initial_damping": 0.3,
    "step": "exact",
    "memory": 0.0,  # the same products from the images: other roundings
}
DEFAULTS = {"iterations": 3, "first_rows": 80}


def refined(**settings):
    """w after a refinement of a random start, and the history of its trials."""
    config = config_of(subnetworks=0, units=5, refine=DEFAULTS | settings)
    found = cycle_of(config).refined
    return found.w, found.history, found


@pytest.mark.parametrize("key", REFINE)
def test_each_key_of_the_refinement_changes_it(key):
    assert not np.array_equal(refined(**{key: REFINE[key]})[0], refined()[0])


def test_every_key_of_the_refinement_is_tried():
    assert set(REFINE) | {"enabled"} == set(Refine.model_fields)


def test_a_refinement_is_the_search_over_the_whole_network_with_the_same_numbers(monkeypatch):
    """Every number of the config once, so that no two can be exchanged."""
    given = {}

    def problem(**named):
        given.update(named)
        return WholeNetwork(**named)

    def sample(**named):
        given.update(named)
        return Sample(**named)

    def searched(*positional, damping, termination, **named):
        given.update(damping=damping, termination=termination)
        return search(*positional, damping=damping, termination=termination, **named)

    monkeypatch.setattr(refinement, "WholeNetwork", problem)
    monkeypatch.setattr(refinement, "Sample", sample)
    monkeypatch.setattr(refinement, "search", searched)
    w, history, found = refined(**REFINE | {"loss": "squares"})
    assert given["rows"] == 90
    assert (given["growth"], given["max_products"], given["ridge"]) == (1.25, 2, 3e-4)
    assert given["fresh"] is True
    assert (given["dtype"], given["kaufman"]) == (np.float64, False)
    assert (given["exact"], given["held_bytes"]) == (True, 0)
    assert (given["damping"].initial, given["damping"].smallest, given["damping"].largest) == (0.3, 0.02, 1e6)
    assert given["termination"].confirmed is False
    assert given["offset"] == 0
    assert given["termination"].max_iterations == 2
    assert given["termination"].cost_tolerance == given["termination"].step_tolerance == 0.0
    np.testing.assert_array_equal(given["order"], generator(7, REFINEMENT, TRAINING).permutation(173))
    np.testing.assert_array_equal(given["y"], one_hot(ROWS.labels, N_CLASSES))
    assert given["images"] is ROWS.images
    assert found.status is Status.ITERATIONS
    assert found.iterations == 2 == sum(line["accepted"] for line in history)
    assert [line["rows"] for line in history if line["accepted"]] == [90, 113]  # 1.25 times as many after a step
    assert len(w) == given["units"].n_parameters


def test_a_floor_under_the_damping_is_also_under_the_first():
    history = refined(initial_damping=1e-4, damping_floor=0.02)[1]
    assert history[0]["damping"] == 0.02
    assert min(line["damping"] for line in history) >= 0.02


def test_the_first_sample_is_never_more_than_there_is():
    history = refined(first_rows=10_000)[1]
    assert {line["rows"] for line in history} == {len(ROWS)} == {173}


@pytest.mark.parametrize(
    ("costs", "best"),
    [([0.5, 0.1, 0.3], 2), ([0.5, 0.1, 0.1], 3), ([0.1, 0.5, 0.5], 1), ([np.nan] * 3, 3)],
)
def test_the_iterate_that_is_best_on_the_validation_images_is_handed_on(costs, best):
    config, seen = config_of(subnetworks=0, refine={"iterations": 3, "first_rows": 80}), []

    def score(units, w, a):
        seen.append(w.copy())
        return {"validation_cost": costs[len(seen) - 1], "test_accuracy": 1.0}

    found = learning_cycle(
        run_of(config), ROWS, stream=TRAINING, name="it", validation=None, ridge=1e-3, score=score
    ).refined
    assert (found.best, found.iterations) == (best, 3)
    np.testing.assert_array_equal(found.w, seen[best - 1])


def test_scores_along_a_refinement_are_of_accepted_steps():
    config, seen = config_of(subnetworks=0, refine={"iterations": 3, "first_rows": 80}), []

    def score(units, w, a):
        seen.append((units.count, w.shape, a.shape))
        return {"test_accuracy": float(len(seen))}

    run = run_of(config)
    found = learning_cycle(run, ROWS, stream=TRAINING, name="it", validation=None, ridge=1e-3, score=score)
    lines = [line for line in found.refined.history if "test_accuracy" in line]
    assert [line["test_accuracy"] for line in lines] == [1.0 + i for i in range(len(lines))]
    assert len(lines) == sum(line["accepted"] for line in found.refined.history) == 3
    assert set(seen) == {(5, found.refined.w.shape, (6, N_CLASSES))}
