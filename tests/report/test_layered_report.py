"""The report of a PyTorch network's run: files, plots and page, from a record made up without PyTorch."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.report.example import check_image
from tests.report.layered_example import epoch_line, example_network_metrics, example_network_record
from tests.report.test_page import HOSTILE, Tags
from varpro.report.layered_page import LAYERED_ALTERNATIVES, render_layered_page
from varpro.report.layered_plots import draw_layered
from varpro.report.outputs import write_outputs
from varpro.report.screen import print_summary

pytestmark = pytest.mark.filterwarnings("error")
DOCS = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("outputs")
    (path / "units.png").write_bytes(b"of an earlier run of the other kind")
    write_outputs(example_network_record(), path)
    return path


def test_every_file_is_written_and_every_plot_is_an_image(folder):
    names = {"metrics.json", "history.jsonl", "config.resolved.yaml", "report.html"}
    assert {path.name for path in folder.iterdir()} == names | {f"{name}.png" for name in LAYERED_ALTERNATIVES}
    for name in LAYERED_ALTERNATIVES:
        check_image((folder / f"{name}.png").read_bytes())


def test_numbers_round_trip(folder):
    assert json.loads((folder / "metrics.json").read_text()) == example_network_metrics()
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert lines == example_network_record().history
    assert yaml.safe_load((folder / "config.resolved.yaml").read_text()) == example_network_record().config


def test_the_page_needs_nothing_but_itself(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    tags = Tags(page).found
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "embed", "base"}
    images = [attrs for tag, attrs in tags if tag == "img"]
    assert {image["alt"] for image in images} == set(LAYERED_ALTERNATIVES.values())
    assert all(image["src"].startswith("data:image/png;base64,") for image in images)
    assert not re.search(r"https?://|url\(|@import", page)


def test_the_page_says_what_the_figures_are(folder):
    text = " ".join(Tags((folder / "report.html").read_text(encoding="utf-8")).text.split())
    for words in (
        "97.00 %",
        "96.00 %",
        "95.00 %",
        "control: cross-entropy alone",
        "In 40 batches a term had no value 3 times: 1 left out",
        "R@10",
    ):
        assert words in text


def test_names_from_the_data_are_text_not_markup():
    names = [HOSTILE, "$x^$", "plain"]
    record = example_network_record(names=names)
    record.metrics["dataset"] = HOSTILE
    page = render_layered_page(record, draw_layered(record))
    assert "<img src=x" not in page


KINDS = {
    "colour, many classes": {"classes": 25, "shape": (3, 5, 5)},
    "two planes": {"shape": (2, 5, 5)},
    "no control": {"control": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_any_kind_have_every_plot(kind):
    record = example_network_record(**KINDS[kind])
    plots = draw_layered(record)
    assert list(plots) == list(LAYERED_ALTERNATIVES)
    Tags(render_layered_page(record, plots))


def test_a_run_without_a_trained_last_layer_scatter_or_mistakes():
    nothing = dict.fromkeys(("separability", "separability_normalised", "cosine", "scatter_ratio", "eigenvalues"))
    record = example_network_record(
        control=False,
        history=[epoch_line("training", 0, **nothing), epoch_line("training", 1, **nothing)],
        misclassified_images=np.zeros((0, 6, 6)),
        retrieved=None,
        epochs=[],
    )
    for part in (record.metrics, record.metrics["untrained"]):
        part["test"]["eigenvalues"] = part["test"]["scatter_ratio"] = None
    record.metrics["last_layer"] = dict.fromkeys(record.metrics["last_layer"])
    plots = draw_layered(record)
    assert set(plots) == {"learning", "embedding", "reliability", "confusion"}
    assert "e(W)" not in render_layered_page(record, plots)


def test_the_screen_has_the_three_networks_side_by_side(tmp_path):
    stream = io.StringIO()
    print_summary(example_network_record(), tmp_path, stream)
    lines = stream.getvalue().splitlines()
    assert any(re.match(r"  highest score +97\.00 % +96\.00 % +-$", line) for line in lines)
    assert any("1 left out, 2 solved with a ridge" in line for line in lines)
    alone = io.StringIO()
    record = example_network_record(control=False)
    record.metrics["seconds"]["control"] = 0.0
    print_summary(record, tmp_path, alone)
    assert "control" not in alone.getvalue()


def leaves(tree, prefix=""):
    """Dotted names of what metrics.json holds, but for the blocks that repeat it."""
    keys = set()
    for key, value in tree.items():
        if prefix == "" and key in ("control", "untrained"):
            continue
        inner = isinstance(value, dict) and key != "objective"
        keys |= leaves(value, f"{prefix}{key}.") if inner else {prefix + key}
    return keys


def test_every_key_and_field_and_plot_is_documented():
    for key in leaves(example_network_metrics()):
        assert f"`{key}`" in DOCS, key
    for field in epoch_line("training", 1).keys() - {"cross_entropy"}:
        assert f"`{field}`" in DOCS, field
    for name in LAYERED_ALTERNATIVES:
        assert f"`{name}.png`" in DOCS, name


@pytest.mark.parametrize("name", ["lenet5", "vgg16_fc"])
def test_the_page_says_whether_the_control_is_the_same_network(name):
    record = example_network_record()
    record.metrics["control"]["network"]["name"] = name
    page = " ".join(render_layered_page(record, {}).split())
    assert ("The control is the same network trained for" in page) == (name == record.metrics["network"]["name"])
    assert ("The control is another network, vgg16_fc, trained for" in page) == (name == "vgg16_fc")


def test_a_page_without_a_control_does_not_speak_of_one():
    assert "The control is" not in render_layered_page(example_network_record(control=False), {})
