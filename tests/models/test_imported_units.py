"""Units of one's own by their import path: found, checked by differences, trained, stored; or refused in one line."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import varpro
from tests.models.own_ridge import Ridge, RidgeOptions
from tests.mpi import run_mpi
from tests.oracle import central_differences, relative_error
from varpro.cli import predict, train
from varpro.errors import ConfigError, DataError
from varpro.models.units import features, find_kind
from varpro.models.units.check import check_kind

PATH = "tests.models.own_ridge:Ridge"
SMALL = ["--set", "subnetworks=2", "--set", "units=5", "--set", "samples=150", "--set", "search.iterations=4"]
SMALL += ["--set", "bootstrap=false", "--quiet"]
ONE = np.arange(1)


def units_on(shape=(1, 6, 5), count=4):
    rng = np.random.default_rng(3)
    images = rng.random((17, *shape))
    units = Ridge.create(shape, count, rng, RidgeOptions(gain=0.3))
    return units, units.start(rng, images), images


def test_everything_follows_from_the_form_and_its_derivative():
    units, w, images = units_on()
    bound = units.bind(images, "tanh")
    phi = bound.basis(w[None], ONE)[0]
    np.testing.assert_allclose(phi, features(units, w, "tanh", images), rtol=1e-14)
    d = bound.jacobian(w[None], ONE, "float64")[0]
    dense = central_differences(lambda v: bound.basis(v[None], ONE)[0].ravel(), w).reshape(*phi.shape, -1)
    assert relative_error(d, np.stack([dense[:, j, m] for m, j in enumerate(bound.columns)], axis=1)) < 1e-8
    rng = np.random.default_rng(4)
    v, weights = rng.standard_normal(len(w)), rng.standard_normal((17, 4))
    at = units.at(w, "tanh")
    along = at.direction(v)(images, phi)
    np.testing.assert_allclose(along, np.einsum("nji,i->nj", dense[:, :-1], v), atol=1e-7 * np.abs(along).max())
    summed = at.gradient(at.contraction(images, phi, weights))
    assert summed @ v == pytest.approx(np.sum(weights * along), rel=1e-10)


def test_the_start_is_centred_and_blocks_do_not_show(monkeypatch):
    units, w, images = units_on()
    q = units.form(images, units.table(w)[:-1]) + units.bias(w)
    np.testing.assert_allclose(q.mean(axis=0), 0.0, atol=1e-12 * np.abs(q).max())
    whole = units.bind(images, "tanh").jacobian(w[None], ONE, "float64"), units.pictures(w, np.arange(2))
    monkeypatch.setattr("varpro.models.units.own.BLOCK_NUMBERS", 1)
    blocked = units.bind(images, "tanh").jacobian(w[None], ONE, "float64"), units.pictures(w, np.arange(2))
    for found, expected in zip(blocked, whole, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-13 * np.abs(expected).max())


def test_pictures_of_a_linear_form_are_its_weights():
    units, w, _ = units_on()
    bell, _ = units._bell(units.table(w))
    expected = 0.5 * 0.3 * (units.table(w)[2] * bell).T[:2, :, None] * np.ones(5)
    np.testing.assert_allclose(units.pictures(w, np.arange(2)), expected, atol=1e-12)


def test_a_run_from_config_to_prediction(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = f"{{unit: '{PATH}', gain: 0.4, edge: hart}}"
    for refine in ([], ["--set", "refine.iterations=2", "--set", "refine.first_rows=300"]):
        options = ["digits_quadratic", "--set", f"model={model}", *SMALL, *refine, "--output", "run", "--overwrite"]
        assert train.main(options) == 0
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["test"]["accuracy"] > 0.3  # rows alone tell digits apart, though not well
    assert metrics["parameters"]["nonlinear"] == 2 * 5 * 4
    network = varpro.load("run/model.h5")
    assert network.units.options == RidgeOptions(gain=0.4, edge="hart")
    assert predict.main(["run/model.h5", "digits", "--output", "p.npz"]) == 0
    assert "accuracy" in capsys.readouterr().out
    monkeypatch.delitem(sys.modules, "tests.models.own_ridge")
    with pytest.raises(DataError, match=r"run/model\.h5: .*is code, which opening a file does not run; import tests"):
        varpro.load("run/model.h5")
    assert predict.main(["run/model.h5", "digits", "--output", "q.npz"]) == 2
    assert "--import tests.models.own_ridge" in capsys.readouterr().err
    options = ["--output", "q.npz", "--import", "tests.models.own_ridge"]
    assert predict.main(["run/model.h5", "digits", *options]) == 0
    with np.load("p.npz") as p, np.load("q.npz") as q:
        np.testing.assert_array_equal(p["scores"], q["scores"])


def save_the_example(folder):
    """mine.py, as the documentation has it."""
    text = (Path(__file__).parents[2] / "docs/configuration.md").read_text()
    code = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "OwnUnits" in block)
    (folder / "mine.py").write_text(code)


def test_the_example_of_the_documentation_works_from_the_working_folder(tmp_path, monkeypatch):
    save_the_example(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert train.main(["digits_quadratic", "--set", "model.unit=mine:Distance", *SMALL, "--output", "run"]) == 0
    assert json.loads((tmp_path / "run/metrics.json").read_text())["test"]["accuracy"] > 0.6
    monkeypatch.delitem(sys.modules, "mine")


def test_units_of_ones_own_travel_between_ranks(tmp_path):
    save_the_example(tmp_path)
    arguments = ["digits_quadratic", "--set", "model.unit=mine:Distance", *SMALL, "--output", "run"]
    run_mpi(2, "-m", "varpro.cli.train", *arguments, runner=(), cwd=tmp_path).check()
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["ranks"] == 2
    assert metrics["test"]["accuracy"] > 0.6


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("nowhere_at_all.units:Ridge", "there is no module nowhere_at_all; install it, put its folder on PYTHONPATH"),
        ("tests.models.own_bridge:Ridge", "there is no module tests.models.own_bridge"),
        ("tests.models.own_ridge:Bridge", "has no Bridge; its units are Ridge, Wrong"),
        ("tests.models.own_ridge:NUMBER", "is no kind of unit; derive the class from varpro.models.OwnUnits"),
        ("tests.models.own_ridge:Lacking", "lacks derivative, form; define what is missing"),
        ("tests.models.own_ridge:", "module:class, such as mypackage.units:Ridge"),
        ("ridge:a b", "module:class, such as mypackage.units:Ridge"),
        ("tests.models.own_ridge:Wrong", "its derivative is wrong: of column 0 by parameter"),
        ("tests.models.own_ridge:Short", "`derivative` fails on images of 1 x 8 x 8: ValueError"),
        ("tests.models.own_ridge:Raising", "`start` fails on images of 1 x 8 x 8: ValueError"),
        ("tests.models.own_ridge:Forgetful", "what `restored` makes of `stored` has other columns"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_trained(tmp_path, monkeypatch, capsys, unit, message):
    monkeypatch.chdir(tmp_path)
    options = ["--set", f"model.unit='{unit}'", "--set", "model.gain=0.4", *SMALL, "--output", "run"]
    assert train.main(["digits_quadratic", *options]) == 2
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1, stderr
    assert message in stderr
    assert not (tmp_path / "run").exists()


def test_options_of_ones_own_units_are_checked_and_unknown_ones_named(capsys):
    for given, message in (
        ("gain: -1", "model.gain is -1; it needs a value > 0"),
        ("again: 1", "unknown key model.again"),
    ):
        assert train.main(["digits_quadratic", "--set", f"model={{unit: '{PATH}', {given}}}", "--dry-run"]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["quadratic", "bilinear", "local-bilinear", "convolutional", "multilinear"])
@pytest.mark.parametrize("sigma", ["tanh", "logistic"])
def test_the_check_accepts_every_kind_of_the_package(kind, sigma):
    options = {"local-bilinear": {"window": (2, 4)}, "convolutional": {"filter": (3,), "cells": 2}}.get(kind, {})
    check_kind(find_kind(kind), (2, 6, 6), find_kind(kind).Options(**options), sigma)


def test_a_wrong_product_of_a_whole_kind_is_found(monkeypatch):
    from varpro.models.units import BilinearUnits

    def halved(self, w, gradient, bias):
        return 0.5 * honest(self, w, gradient, bias)

    honest = BilinearUnits.cotangent
    monkeypatch.setattr(BilinearUnits, "cotangent", halved)
    with pytest.raises(ConfigError, match="`contraction` does not agree"):
        check_kind(BilinearUnits, (1, 5, 6), BilinearUnits.Options(), "tanh")
