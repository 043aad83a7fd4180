"""Sub-networks of units with several columns: the search that they get, and what it is worth."""

from dataclasses import replace

import numpy as np
import pytest

from tests.train.small_run import N_CLASSES, config_of, dataset, rows_of, run_of
from varpro.train.scalarized.cycle import learning_cycle, subnetwork_task
from varpro.train.scalarized.network import one_hot
from varpro.train.scalarized.partition import TRAINING
from varpro.train.scalarized.units_shown import units_shown, variance_shares

ROWS = rows_of(dataset().train)
MODEL = {"unit": "convolutional", "sigma": "smooth_abs", "filter": 3, "cells": 1}


def task_of(**search):
    config = config_of(model=MODEL | {"cells": 5}, units=2, samples=120, search={"iterations": 3} | search)
    return subnetwork_task(run_of(config), ROWS, TRAINING)


def test_a_sub_network_is_searched_on_its_own_rows_alone():
    task = task_of()
    begin = task.start(1)
    problem = task.network(begin)
    np.testing.assert_array_equal(problem.sample.images, ROWS.images[begin.rows])
    np.testing.assert_array_equal(problem.sample.y, one_hot(ROWS.labels[begin.rows], N_CLASSES))
    assert problem.sample.rows == len(begin.rows) == 120


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", np.float32), ("fp64", np.float64)])
def test_precision_matrix_and_ridge_are_those_of_the_config(precision, dtype):
    task = task_of(gn_precision=precision, jacobian="kaufman", ridge=0.5)
    problem = task.network(task.start(0))
    assert problem.dtype is dtype
    assert problem.kaufman
    assert problem.ridge == 0.5 / 120
    assert not task_of(jacobian="golub-pereyra").network(task.start(0)).kaufman


def test_without_a_ridge_one_is_taken_that_scales_with_the_columns():
    task = task_of()
    begin = task.start(0)
    ridge = task.network(begin).ridge
    phi = begin.units.at(begin.w, "smooth_abs").phi(ROWS.images[begin.rows])
    assert ridge == pytest.approx(1e-5 * float(np.mean(phi**2)), rel=0.05)


def test_training_lowers_the_cost_and_moves_every_sub_network():
    task = task_of(iterations=4)
    for index in range(2):
        begin, found = task.start(index), task(index)
        before = task.network(begin).evaluate(begin.w[None], np.zeros(1, dtype=int)).cost[0]
        assert found.cost < 0.99 * before
        assert found.iterations == 4
        assert not np.array_equal(found.w, begin.w)


def test_a_network_of_such_sub_networks_has_all_their_columns():
    config = config_of(model=MODEL | {"cells": 5}, units=2, samples=120)
    cycle = learning_cycle(run_of(config), ROWS, stream=TRAINING, name="it", validation=None, ridge=1e-3, score=None)
    assert cycle.network.units.count == 4
    assert cycle.network.a.shape == (4 * 25 + 1, N_CLASSES)
    accuracy = np.mean(cycle.network.predict(ROWS.images) == ROWS.labels)
    assert accuracy > 0.9


def test_the_report_shows_the_units_that_weigh_most_and_where_they_fire():
    config = config_of(model=MODEL | {"cells": 5}, units=2, samples=120)
    network = learning_cycle(
        run_of(config), ROWS, stream=TRAINING, name="it", validation=None, ridge=1e-3, score=None
    ).network
    a = network.a.copy()
    a[25:50] = 0.0  # the second of four units says nothing
    network, test = replace(network, a=a), dataset().test
    shown = units_shown(network, ROWS.images, test)
    shares = variance_shares(network, ROWS.images)
    assert shares[1] == 0.0
    assert shares.sum() == pytest.approx(1.0)
    assert list(shown["unit_shares"]) == sorted(shown["unit_shares"], reverse=True)
    assert shown["unit_shares"][-1] == 0.0
    np.testing.assert_array_equal(shown["fired_labels"], np.arange(N_CLASSES))
    assert [one.maps.shape for one in shown["fired"]] == [(N_CLASSES, 5, 5)] * 4
    first = network.units.answers(network.w, network.sigma, np.argsort(-shares)[:1], test.images[:N_CLASSES])[0]
    np.testing.assert_array_equal(shown["fired"][0].maps, first.maps)
    quadratic = learning_cycle(
        run_of(config_of()), ROWS, stream=TRAINING, name="it", validation=None, ridge=1e-3, score=None
    ).network
    assert units_shown(quadratic, ROWS.images, test)["fired"] == []
