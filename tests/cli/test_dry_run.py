"""--dry-run says what a run will take, and the run then takes just that."""

import json

import numpy as np
import pytest
import yaml

from tests.train.small_run import model_of
from varpro.cli import train
from varpro.config.scalarized import parse_config
from varpro.config.training import load_config
from varpro.models.units import UNITS
from varpro.train.scalarized.cost import plan, size_of_unit, subnetwork_gflop, whole_network_gflop

SMALL = ["--set", "subnetworks=3", "--set", "units=4", "--set", "samples=100", "--set", "search.iterations=2"]
SIZES = {"n_train": 500, "n_test": 100, "n_images": 600, "n_classes": 10, "ranks": 2, "threads": 1}


def test_the_config_printed_is_the_config_and_nothing_is_written(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train.main(["digits_quadratic", "--dry-run", "--seed", "5", *SMALL]) == 0
    printed = capsys.readouterr().out
    resolved, _, table = printed.partition("\n\n")
    options = [option for option in SMALL if option != "--set"]
    assert parse_config(yaml.safe_load(resolved), "printed") == load_config("digits_quadratic", options, seed=5)
    for words in ("3 sub-networks x 4 units, 100 images each", "1198 train, 239 validation, 360 test", "GB a rank"):
        assert words in table
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_in_use_is_mentioned(capsys, tmp_path):
    (tmp_path / "mine").write_text("")
    assert train.main(["digits_quadratic", "--dry-run", "--output", str(tmp_path)]) == 0
    assert "(not empty: needs --overwrite)" in capsys.readouterr().out


def test_parameters_and_arithmetic_are_those_of_the_run(capsys, tmp_path):
    options = ["digits_quadratic", *SMALL, "--set", "search.cost_tolerance=0", "--set", "bootstrap=false"]
    assert train.main([*options, "--quiet", "--output", str(tmp_path)]) == 0
    assert train.main([*options, "--dry-run"]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    counted = plan(load_config("digits_quadratic", [o for o in options[1:] if o != "--set"]), (1, 8, 8), **SIZES)
    assert (counted.nonlinear, counted.linear) == (metrics["parameters"]["nonlinear"], metrics["parameters"]["linear"])
    printed = capsys.readouterr().out
    assert f"{counted.nonlinear} nonlinear (9 a unit), {counted.linear} linear" in printed
    assert metrics["work"]["gflop"] <= counted.subnetwork_gflop * (1 + 1e-12)


@pytest.mark.parametrize("shape", [(1, 7, 7), (3, 5, 5), (1, 6, 9)])
@pytest.mark.parametrize("unit", ["quadratic", "bilinear", "local-bilinear"])
def test_parameters_and_entries_of_a_unit_are_those_of_the_units(shape, unit):
    if unit == "quadratic" and shape[1] != shape[2]:
        shape = (shape[0], shape[1], shape[1])
    model = model_of(unit, window=[4, 4])
    config = parse_config({"data": {"source": "x"}, "model": model, "subnetworks": 2, "units": 5}, "test")
    units = UNITS[unit].create(shape, 10, np.random.default_rng(0), config.model.options)
    assert plan(config, shape, **SIZES).nonlinear == units.n_parameters
    assert units.matrices(np.zeros(units.n_parameters)).size == 10 * size_of_unit(config, shape).multiplications


def test_the_papers_sub_network_is_dominated_by_the_normal_matrix():
    """mathematics: 3.9 GFLOP for D^T D (by N M^2), 1.0 for its Cholesky, the rest under 1, an iteration."""
    one = subnetwork_gflop(n=2000, m=1450, i=50, k=10, iterations=1, evaluations=1)
    assert 2e-6 * 1.45**2 * 1e6 + 1.45**3 / 3 < one < 6.5


def test_a_step_costs_two_evaluations_of_phi_a_product():
    sizes = {"n": 1000, "i": 100, "k": 1, "entries": 400.0}
    more, less = (whole_network_gflop(**sizes, products=products) for products in (12, 2))
    assert more - less == pytest.approx(10 * (2 * 2e-9 * 1000 * 400 * 100 + 8e-9 * 1000 * 100))


def test_the_full_matrix_costs_a_contraction_a_class_more_each_step():
    sizes = {"n": 1000, "i": 100, "k": 7, "entries": 400.0, "products": 3}
    full, kaufman = (whole_network_gflop(**sizes, kaufman=kaufman) for kaufman in (False, True))
    assert full - kaufman == pytest.approx(7 * 2e-9 * 1000 * 400 * 100)


def test_memory_falls_with_ranks_only_where_rows_are_held():
    refined = load_config("mnist_local")
    sizes = {**SIZES, "n_train": 50_000}
    two, four = (plan(refined, (1, 28, 28), **{**sizes, "ranks": ranks}).rank_gigabytes for ranks in (2, 4))
    assert four < two
    paper = load_config("mnist")
    two, four = (plan(paper, (1, 28, 28), **{**sizes, "ranks": ranks}).rank_gigabytes for ranks in (2, 4))
    assert four == two < 1.5
