"""Arithmetic and memory of a run, counted by hand at sizes that all differ."""

import pytest

from tests.train.small_run import config_of, model_of
from varpro.train.scalarized.cost import plan, size_of_unit, subnetwork_gflop, whole_network_gflop
from varpro.train.scalarized.memory import LIBRARIES, REPORT, phase_bytes

SIZES = {"n_train": 900, "n_test": 70, "n_images": 1000, "n_classes": 3, "ranks": 2, "threads": 4}
SHAPE = (3, 5, 7)


def test_a_sub_network_costs_what_its_table_says():
    n, m, i, k = 101, 60, 5, 3
    linearisation = n * m**2 + m**3 / 3 + 2 * n * m * (i + 1 + k) + (i + 1) * m**2 + (2 * k + 4) * m**2 / 2
    linearisation += 2 * n * m * (m / i)
    evaluation = 2 * n * m * (m / i) + 4 * n * (i + 1) ** 2
    found = subnetwork_gflop(n=n, m=m, i=i, k=k, iterations=7, evaluations=11)
    assert found == pytest.approx(1e-9 * (7 * linearisation + 11 * evaluation), rel=1e-12)


def test_a_gradient_costs_d_and_its_product_with_the_derivative_by_the_columns():
    n, m, i, k = 101, 60, 5, 3
    linearisation = 2 * n * m * (m / i) + 2 * n * m + 2 * n * (i + 1) * k
    sizes = {"n": n, "m": m, "i": i, "k": k, "gauss_newton": False}
    found = subnetwork_gflop(**sizes, iterations=7, evaluations=11)
    alone = subnetwork_gflop(**sizes, iterations=0, evaluations=11)
    assert found - alone == pytest.approx(1e-9 * 7 * linearisation, rel=1e-12)


@pytest.mark.parametrize("c", [2, 4])
def test_a_gradient_of_units_with_several_columns_takes_values_from_their_entries(c):
    n, m, i, k, entries = 101, 60, 5, 3, 700
    linearisation = c * 2 * n * m * (m / i) + 2 * n * m * c + 2 * n * (i * c + 1) * k
    evaluation = 2 * n * i * entries + 4 * n * (i * c + 1) ** 2
    sizes = {"n": n, "m": m, "i": i, "k": k, "c": c, "entries": entries, "gauss_newton": False}
    found = subnetwork_gflop(**sizes, iterations=7, evaluations=11)
    assert found == pytest.approx(1e-9 * (7 * linearisation + 11 * evaluation), rel=1e-12)


@pytest.mark.parametrize("kaufman", [True, False])
def test_a_step_of_a_whole_network_contracts_for_every_column_of_a_unit(kaufman):
    n, i, k, c, entries = 101, 5, 3, 4, 700
    evaluation = 2 * n * entries * i + n * (i * c + 1) ** 2 + (i * c + 1) ** 3 / 3
    contractions = 1 if kaufman else 1 + k * c
    step = contractions * 2 * n * entries * i + 9 * (4 * n * entries * i + 8 * n * i * c * k)
    found = whole_network_gflop(n=n, i=i, k=k, c=c, entries=entries, products=9, kaufman=kaufman)
    assert found == pytest.approx(1e-9 * (evaluation + step), rel=1e-12)


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({"method": "gradient", "iterations": 9}, {"iterations": 9, "evaluations": 10}),
        ({"method": "derivative-free", "evaluations": 70}, {"iterations": 0, "evaluations": 70}),
    ],
)
def test_a_plan_counts_what_the_method_of_search_does(search, expected):
    config = config_of(search=search)
    m = round(size_of_unit(config, (1, 5, 5)).parameters * 5)
    one = subnetwork_gflop(n=61, m=m, i=5, k=3, gauss_newton=False, **expected)
    assert plan(config, (1, 5, 5), **SIZES).subnetwork_gflop == pytest.approx(2 * one, rel=1e-12)


def test_each_round_of_bootstrapping_is_counted():
    once, thrice = (
        plan(config_of(bootstrap={"enabled": True, "rounds": rounds}), (1, 5, 5), **SIZES) for rounds in (1, 3)
    )
    assert thrice.bootstrap_gflop == pytest.approx(3 * once.bootstrap_gflop, rel=1e-12)


@pytest.mark.parametrize(("kaufman", "contractions"), [(True, 1), (False, 4)])
def test_a_step_of_a_whole_network_costs_what_its_table_says(kaufman, contractions):
    n, i, k, entries = 101, 5, 3, 17
    evaluation = 2 * n * entries * i + n * (i + 1) ** 2 + (i + 1) ** 3 / 3
    step = contractions * 2 * n * entries * i + 9 * (4 * n * entries * i + 8 * n * i * k)
    sizes = {"n": n, "i": i, "k": k, "entries": entries, "kaufman": kaufman}
    assert whole_network_gflop(**sizes, products=9) == pytest.approx(1e-9 * (evaluation + step), rel=1e-12)
    assert whole_network_gflop(**sizes, products=0) == pytest.approx(1e-9 * evaluation, rel=1e-12)


@pytest.mark.parametrize(
    ("unit", "shape", "parameters", "entries"),
    [
        ("quadratic", (1, 6, 6), 7, 21),
        ("quadratic", (3, 6, 6), 10, 63),
        ("bilinear", SHAPE, 3 * 5 + 7 + 1, 105),
        ("local-bilinear", SHAPE, 4 * 3 + 1, 27),
    ],
)
def test_parameters_and_entries_of_a_unit(unit, shape, parameters, entries):
    size = size_of_unit(config_of(model=model_of(unit, window=[2, 4])), shape)
    assert size.parameters == parameters
    assert size.multiplications == entries


BILINEAR = {"model": {"unit": "bilinear"}, "subnetworks": 6, "units": 4, "samples": 200}


def phases_of(config):
    counts = {name: SIZES[name] for name in ("n_train", "n_classes", "ranks", "threads")}
    return phase_bytes(config, SHAPE, **counts, size=size_of_unit(config, SHAPE))


@pytest.mark.parametrize(("precision", "item"), [("fp64", 8), ("fp32", 4)])
def test_memory_is_that_of_the_hungriest_phase(precision, item):
    m, columns, pixels = 4 * 23, 25, 105
    always = LIBRARIES + 1000 * pixels + 8 * 900 * 3
    searching = 4 * (200 * (8 * pixels + item * m) + (16 + item) * m * m)
    config = config_of(**BILINEAR, search={"gn_precision": precision}, glue={"block_rows": 10})
    kept = item * 900 * columns / 2  # of Phi, on each of two ranks
    gluing = 8 * 3 * columns**2
    expected = {"sub-networks": searching, "gluing": gluing + 8 * 900 * columns / 2, "report": REPORT}
    assert phases_of(config) == pytest.approx(expected, rel=1e-12)
    assert plan(config, SHAPE, **SIZES).rank_gigabytes == pytest.approx(1e-9 * (always + REPORT), rel=1e-12)
    for memory, held in ((1.0, kept), (1e-5, 2 * 8 * 900 * columns)):  # two blocks of all the rows there are
        glue = {"block_rows": 90_000, "precision": precision, "memory": memory}
        config = config_of(**BILINEAR, search={"gn_precision": precision}, glue=glue)
        assert phases_of(config)["gluing"] == pytest.approx(gluing + held, rel=1e-12)
    two = config_of(**BILINEAR | {"subnetworks": 2}, search={"gn_precision": precision}, glue={"block_rows": 10})
    assert phases_of(two)["sub-networks"] == pytest.approx(searching / 2, rel=1e-12)
    large = config_of(**BILINEAR | {"units": 190}, search={"gn_precision": precision}, glue={"block_rows": 10})
    most = max(phases_of(large).values())
    assert most > REPORT
    assert plan(large, SHAPE, **SIZES).rank_gigabytes == pytest.approx(1e-9 * (always + most), rel=1e-12)


@pytest.mark.parametrize(("precision", "item"), [("fp64", 8), ("fp32", 4)])
def test_memory_of_a_refinement_is_shared_by_the_ranks_but_for_a_block(precision, item):
    def refined(**keys):
        return config_of(
            model={"unit": "bilinear"},
            subnetworks=0,
            units=80,
            glue={"block_rows": 1},
            refine={"precision": precision, "first_rows": 300, "growth": 2, "iterations": 5, **keys},
        )

    one = item * 3 * 80 * 23
    phi, d = 2 * item * 900 / 2 * 81, 4 * (8 + item) * 900 * 80 * 23  # each thread makes D of its block
    always = phi + 8 * 3 * 81**2 + d
    assert phases_of(refined())["refinement"] == pytest.approx(always + one * 900 / 2, rel=1e-12)
    always += one * 900 * 4  # where not all of J is held, each thread makes a block
    fewer = refined(memory=1e-9 * one * 700)  # the samples have 300, 600 and 900 rows
    assert phases_of(fewer)["refinement"] == pytest.approx(always + one * 600 / 2, rel=1e-12)
    assert phases_of(refined(memory=0.0))["refinement"] == pytest.approx(always, rel=1e-12)


def test_memory_of_a_sub_network_with_several_columns_is_that_of_its_jacobian():
    config = config_of(
        model={"unit": "convolutional", "filter": [2], "cells": 2, "rank": 1, "pooling": "boxes"},
        subnetworks=2,
        units=5,
        samples=200,
    )
    size, threads = size_of_unit(config, SHAPE), 2
    columns, m = 5 * size.columns + 1, round(5 * size.parameters)
    expected = threads * (8 * 3 * m * 400 + 3 * 8 * 200 * columns + 3 * 8 * columns**2)
    assert phases_of(config)["sub-networks"] == pytest.approx(expected, rel=1e-12)


def test_memory_of_gradients_grows_with_the_units_not_with_their_square():
    sizes = []
    for units in (5000, 10_000):
        config = config_of(
            **BILINEAR | {"units": units, "subnetworks": 1, "samples": 20_000},
            glue={"method": "cg", "ridge": 1.0, "block_rows": 100},
        )
        sizes.append(phases_of(config)["gluing"])
    assert sizes[1] == pytest.approx(2 * sizes[0], rel=1e-3)


def test_a_sub_network_of_units_with_several_columns_costs_a_jacobian_and_its_products():
    n, m, i, k, c, entries = 101, 60, 5, 3, 4, 700
    evaluation = 2 * n * i * entries + n * (i * c + 1) ** 2 + (i * c + 1) ** 3 / 3
    step = 6 * n * i * entries + 2 * n * m * c * k + 25 * (4 * n * k * m + 8 * n * (i * c + 1) * k)
    found = subnetwork_gflop(n=n, m=m, i=i, k=k, iterations=7, evaluations=11, c=c, entries=entries)
    assert found == pytest.approx(1e-9 * (7 * step + 11 * evaluation), rel=1e-12)


def test_a_plan_counts_each_phase_and_the_control_and_bootstrapping_where_they_are():
    config = config_of(**BILINEAR, search={"iterations": 9}, control=False, bootstrap=False)
    whole = whole_network_gflop(n=900, i=24, k=3, entries=105, products=0)
    one = subnetwork_gflop(n=200, m=92, i=4, k=3, iterations=9, evaluations=10)
    found = plan(config, SHAPE, **SIZES)
    assert (found.nonlinear, found.linear) == (24 * 23, 25 * 3)
    assert found.subnetwork_gflop == pytest.approx(6 * one)
    assert found.glue_gflop == pytest.approx(whole)
    assert found.refine_gflop == found.bootstrap_gflop == 0.0
    more = plan(config_of(**BILINEAR, search={"iterations": 9}, control=True, bootstrap=True), SHAPE, **SIZES)
    assert more.glue_gflop == pytest.approx(2 * whole)
    few = subnetwork_gflop(n=70, m=92, i=4, k=3, iterations=9, evaluations=10)
    glued = whole_network_gflop(n=70, i=24, k=3, entries=105, products=0)
    assert more.bootstrap_gflop == pytest.approx(6 * few + glued)


def test_the_sample_of_a_refinement_grows_until_it_holds_every_row():
    refine = {"iterations": 4, "first_rows": 300, "growth": 2.0, "products": 5, "jacobian": "golub-pereyra"}
    config = config_of(**BILINEAR, refine=refine)
    steps = [whole_network_gflop(n=n, i=24, k=3, entries=105, products=5, kaufman=False) for n in (300, 600, 900, 900)]
    assert plan(config, SHAPE, **SIZES).refine_gflop == pytest.approx(sum(steps), rel=1e-12)
