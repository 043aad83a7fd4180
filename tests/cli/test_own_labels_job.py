"""A run on the user's own labels, from varpro-train to what varpro-predict writes."""

import csv
import json

import h5py
import numpy as np
import pytest
import yaml
from sklearn.datasets import load_digits

import varpro
from varpro.cli import predict, train
from varpro.train.checkpoint.hdf5 import written_hdf5
from varpro.train.model_file import MAGIC

SMALL = ["--set", "subnetworks=2", "--set", "units=6", "--set", "samples=120", "--set", "search.iterations=3"]
NAMES = np.array(["none", "eins", "zwei"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """own.npz with text, odd.npz with 3 and 8, and a run on each."""
    place = tmp_path_factory.mktemp("own")
    digits = load_digits()
    images = digits.images / 16
    few, odd = digits.target < 3, np.isin(digits.target, (3, 8))
    np.savez(place / "own.npz", images=images[few], labels=NAMES[digits.target[few]])
    np.savez(place / "odd.npz", images=images[odd], labels=digits.target[odd])
    for name in ("own", "odd"):
        source = f"data.source={place / name}.npz"
        options = ["--set", source, "--set", "bootstrap=false", *SMALL, "--output", str(place / name), "--quiet"]
        assert train.main(["digits_quadratic", *options]) == 0
    return place


def test_names_stand_in_metrics_report_model_and_config(folder):
    names = ["eins", "none", "zwei"]
    metrics = json.loads((folder / "own/metrics.json").read_text())
    assert metrics["class_names"] == names
    assert metrics["test"]["accuracy"] > 0.8
    assert list(varpro.load(folder / "own/model.h5").class_names) == names
    assert yaml.safe_load((folder / "own/config.resolved.yaml").read_text())["data"]["classes"] == names
    assert json.loads((folder / "odd/metrics.json").read_text())["class_names"] == ["3", "8"]


def test_the_resolved_config_runs_again(folder, capsys):
    resolved = str(folder / "own/config.resolved.yaml")
    assert train.main([resolved, "--dry-run"]) == 0
    assert "3 classes" in capsys.readouterr().out


def test_predictions_carry_the_users_labels(folder, tmp_path, capsys):
    model, source = str(folder / "own/model.h5"), str(folder / "own.npz")
    given = np.load(source)["labels"]
    for ending in ("csv", "npz", "h5"):
        assert predict.main([model, source, "--output", str(tmp_path / f"p.{ending}")]) == 0
    rows = list(csv.DictReader((tmp_path / "p.csv").open(encoding="utf-8")))
    labels = np.array([row["label"] for row in rows])
    assert set(rows[0]) == {"index", "label", "score_eins", "score_none", "score_zwei"}
    with np.load(tmp_path / "p.npz") as found:
        np.testing.assert_array_equal(found["labels"], labels)
        assert found["classes"].tolist() == ["eins", "none", "zwei"]
    with h5py.File(tmp_path / "p.h5") as file:
        np.testing.assert_array_equal(file["labels"].asstr()[:], labels)
    assert np.mean(labels == given) > 0.8
    assert f"{100 * np.mean(labels == given):.2f} %" in capsys.readouterr().out


def test_probabilities_are_written_on_request(folder, tmp_path):
    model, source = folder / "own/model.h5", folder / "own.npz"
    expected = varpro.load(model).predict_proba(np.load(source)["images"])
    for ending in ("csv", "npz", "h5"):
        output = str(tmp_path / f"p.{ending}")
        assert predict.main([str(model), str(source), "--probabilities", "--output", output]) == 0
    with np.load(tmp_path / "p.npz") as found:
        np.testing.assert_array_equal(found["probabilities"], expected)
    with h5py.File(tmp_path / "p.h5") as file:
        np.testing.assert_array_equal(file["probabilities"][:], expected)
    rows = list(csv.DictReader((tmp_path / "p.csv").open(encoding="utf-8")))
    written = [[float(row[f"probability_{name}"]) for name in ("eins", "none", "zwei")] for row in rows]
    np.testing.assert_allclose(written, expected, rtol=1e-8)


def test_numbers_that_are_labels_come_back_as_numbers(folder, tmp_path, capsys):
    assert (
        predict.main([str(folder / "odd/model.h5"), str(folder / "odd.npz"), "--output", str(tmp_path / "p.npz")]) == 0
    )
    with np.load(tmp_path / "p.npz") as found:
        assert found["labels"].dtype.kind == "i"
        assert set(found["labels"].tolist()) == {3, 8}
    assert (
        predict.main([str(folder / "odd/model.h5"), str(folder / "own.npz"), "--output", str(tmp_path / "q.csv")]) == 0
    )
    assert "(eins, none, zwei) are none of the model's (3, 8): no accuracy" in capsys.readouterr().out


def test_a_model_file_without_names_still_predicts(folder, tmp_path):
    old = tmp_path / "old.h5"
    with (
        h5py.File(folder / "odd/model.h5") as given,
        written_hdf5(old, MAGIC) as file,
    ):
        for name in given:
            given.copy(name, file)
        file.attrs.update({key: value for key, value in given.attrs.items() if key != "class_names"})
    assert predict.main([str(old), str(folder / "odd.npz"), "--output", str(tmp_path / "p.csv")]) == 0
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert {row["label"] for row in rows} == {"0", "1"}


def test_few_images_are_answered_with_fewer_units_too(folder, capsys):
    options = ["--set", f"data.source={folder / 'odd.npz'}", "--set", "data.train=60", "--set", "units=80"]
    assert train.main(["digits_quadratic", *options, "--set", "samples=100"]) == 2
    assert "there are 60 training images; use more images, or fewer units: units < 60" in capsys.readouterr().err
