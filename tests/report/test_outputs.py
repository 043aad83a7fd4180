"""The files of a run: all are there, programs can read them, and the documentation names every key."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.report.example import (
    blank_plots,
    check_image,
    example_metrics,
    example_plots,
    example_record,
    train_line,
    without,
)
from varpro.cli import train
from varpro.report import outputs
from varpro.report.outputs import plain, write_outputs
from varpro.report.scalarized_page import ALTERNATIVES

PAGE = Path(__file__).parents[2] / "docs" / "report.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outputs, "draw_scalarized", lambda record: example_plots())
        write_outputs(example_record(), path)
    return path


@pytest.fixture
def undrawn(monkeypatch):
    """Pixels instead of plots."""
    monkeypatch.setattr(outputs, "draw_scalarized", lambda record: blank_plots())


def all_keys(tree, prefix=""):
    """Dotted names of every key of metrics.json; those of the sub-networks as subnetworks.KEY."""
    keys = set()
    for key, value in tree.items():
        keys.add(prefix + key)
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                keys |= all_keys(inner, f"{prefix}{key}.")
    return keys


def strict(text):
    """JSON without the NaN and Infinity that Python would let pass."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_every_file_is_written(folder):
    names = {"metrics.json", "history.jsonl", "config.resolved.yaml", "report.html"}
    assert {path.name for path in folder.iterdir()} == names | {f"{name}.png" for name in ALTERNATIVES}
    assert all(path.stat().st_size > 50 for path in folder.iterdir())


def test_the_plots_are_images(folder):
    for name in ALTERNATIVES:
        check_image((folder / f"{name}.png").read_bytes())


def test_metrics_round_trip_as_plain_numbers(folder):
    metrics = strict((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics == example_metrics()
    assert list(metrics) == list(example_metrics())
    assert type(metrics["parameters"]["linear"]) is int
    assert type(metrics["test"]["accuracy"]) is float


@pytest.mark.usefixtures("undrawn")
def test_what_is_absent_or_not_finite_is_null(tmp_path):
    metrics = without("control", "bootstrap", "refine")
    metrics["validation"]["accuracy"] = float("nan")
    metrics["glue"]["condition"] = np.float64(np.inf)
    write_outputs(example_record(metrics=metrics), tmp_path)
    written = strict((tmp_path / "metrics.json").read_text())
    assert written["validation"]["accuracy"] is written["glue"]["condition"] is None
    assert written["control"]["test_accuracy"] is written["refine"]["test_accuracy"] is None
    assert set(written["bootstrap"].values()) == {None}


def test_history_is_one_object_a_line(folder):
    record = example_record()
    lines = (folder / "history.jsonl").read_text().splitlines()
    assert len(lines) == len(record.history) == 2 * 4 + 1 + 4
    for line, original in zip(map(strict, lines), record.history, strict=True):
        assert list(line) == list(original)
        assert line["cost"] == original["cost"]
        assert type(line["accepted"]) is bool
        assert (line["gain"] is None) == bool(np.isnan(original["gain"]))


@pytest.mark.usefixtures("undrawn")
def test_a_cost_that_is_not_finite_is_null_in_the_history(tmp_path):
    write_outputs(example_record(history=[train_line(0, 1, np.inf), train_line(0, 2, np.nan)]), tmp_path)
    assert [strict(line)["cost"] for line in (tmp_path / "history.jsonl").read_text().splitlines()] == [None, None]


def test_the_resolved_config_is_yaml_in_the_order_of_the_config(folder):
    text = (folder / "config.resolved.yaml").read_text()
    assert yaml.safe_load(text) == {
        "data": {"source": "made up"}, "units": 10, "model": {"window": [6, 14]}, "glue": {"ridge": "auto"}
    }  # fmt: skip
    assert text.index("data:") < text.index("units:") < text.index("model:")


def test_plots_of_an_earlier_run_go_and_files_of_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "draw_scalarized", lambda record: blank_plots())
    write_outputs(example_record(), tmp_path)
    (tmp_path / "mine.png").write_bytes(b"mine")
    monkeypatch.setattr(outputs, "draw_scalarized", lambda record: {"confusion": blank_plots()["confusion"]})
    write_outputs(example_record(), tmp_path)
    assert {path.stem for path in tmp_path.glob("*.png")} == {"confusion", "mine"}


def test_plain_values():
    value = plain({1: np.arange(3), "t": (np.bool_(True), np.float32(0.5)), "n": [None, -np.inf, "text"]})
    assert value == {"1": [0, 1, 2], "t": [True, 0.5], "n": [None, None, "text"]}
    assert type(value["t"][0]) is bool


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The folder of the smallest run that has every part, but for its plots."""
    path = tmp_path_factory.mktemp("real")
    partition = ["subnetworks=2", "units=4", "samples=100", "search.iterations=2"]
    refine = ["refine.iterations=2", "refine.first_rows=200", "data.train=400", "bootstrap=paper", "prune=true"]
    options = [part for option in partition + refine for part in ("--set", option)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outputs, "draw_scalarized", lambda record: {})
        assert train.main(["digits_quadratic", "--output", str(path), "--quiet", *options]) == 0
    return path


def documented(heading):
    """Names in the first column of the tables below a heading of docs/report.md."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_the_documentation_names_every_key_of_metrics_json(real):
    keys = all_keys(json.loads((real / "metrics.json").read_text()))
    sections = {key.rpartition(".")[0] for key in keys} - {"", "subnetworks"}
    assert documented("metrics.json") == keys - sections
    assert all_keys(example_metrics()) == keys, "the example of these tests is not what a run writes"


def test_the_documentation_names_every_field_of_history_jsonl(real):
    lines = [json.loads(line) for line in (real / "history.jsonl").read_text().splitlines()]
    assert documented("history.jsonl") == {key for line in lines for key in line}
    assert {line["phase"] for line in lines} == {"train", "refine", "bootstrap", "bootstrap-refine"}


def test_the_documentation_names_every_file(real):
    assert documented("The files") == {path.name for path in real.iterdir()} | {"*.png"}
    assert documented("The plots") == {f"{name}.png" for name in ALTERNATIVES}
