"""The main job on the embedded digits, end to end, on one, two and three ranks."""

import json
import re

import h5py
import numpy as np
import pytest
import yaml

import varpro
from tests.mpi import run_mpi
from varpro.cli import predict, train
from varpro.config.training import load_config
from varpro.train.data.datasets import load_dataset

PARTITION = ["--set", "subnetworks=5", "--set", "units=8", "--set", "samples=250", "--set", "search.iterations=6"]
PARTITION += ["--set", "bootstrap=paper"]
REFINED = [*PARTITION, "--set", "refine.iterations=3", "--set", "refine.first_rows=300", "--set", "glue.block_rows=100"]


def job(folder, ranks, *options):
    """The folder of a finished run."""
    arguments = ["digits_quadratic", "--output", folder, "--quiet", *options]
    if ranks == 1:
        assert train.main([str(a) for a in arguments]) == 0
    else:
        run_mpi(ranks, "-m", "varpro.cli.train", *arguments, runner=()).check()
    return folder


def arrays(folder):
    with h5py.File(folder / "model.h5") as file:
        return file["w"][:], file["a"][:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return job(tmp_path_factory.mktemp("alone"), 1, *PARTITION)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return job(tmp_path_factory.mktemp("pair"), 2, *PARTITION)


def test_sub_networks_have_the_same_bits_on_one_two_and_three_ranks(alone, pair, tmp_path):
    three = job(tmp_path, 3, *PARTITION)
    w, a = arrays(alone)
    for folder in (pair, three):
        other_w, other_a = arrays(folder)
        np.testing.assert_array_equal(w, other_w)
        np.testing.assert_allclose(other_a, a, rtol=1e-9, atol=1e-9 * np.abs(a).max())
    costs = [
        [s["cost"] for s in json.loads((f / "metrics.json").read_text())["subnetworks"]] for f in (alone, pair, three)
    ]
    assert costs[0] == costs[1] == costs[2]


def test_reproducible_runs_write_the_same_model_byte_for_byte(tmp_path):
    options = [*REFINED, "--set", "reproducible=true", "--set", "bootstrap=false"]
    folders = [job(tmp_path / str(ranks), ranks, *options) for ranks in (1, 2, 3)]
    first, *others = [(folder / "model.h5").read_bytes() for folder in folders]
    assert all(other == first for other in others)


def test_refined_parameters_agree_to_1e_9_by_default(tmp_path):
    options = [*REFINED, "--set", "bootstrap=false", "--set", "control=false"]
    (w, a), (other_w, other_a) = (arrays(job(tmp_path / str(ranks), ranks, *options)) for ranks in (1, 2))
    np.testing.assert_allclose(other_w, w, rtol=1e-9, atol=1e-9 * np.abs(w).max())
    np.testing.assert_allclose(other_a, a, rtol=1e-7, atol=1e-9 * np.abs(a).max())


def test_another_seed_gives_another_network(alone, tmp_path):
    other = job(tmp_path, 1, *PARTITION, "--seed", "1", "--set", "bootstrap=false", "--set", "control=false")
    assert not np.array_equal(arrays(alone)[0], arrays(other)[0])


KEYS = [
    "dataset",
    "backend",
    "ranks",
    "seed",
    "parameters.nonlinear",
    "parameters.linear",
    "train.accuracy",
    "validation.accuracy",
    "test.accuracy",
    "control.test_accuracy",
    "bootstrap.ambiguous_fraction",
    "bootstrap.guess_accuracy",
    "bootstrap.agreement_with_guesses",
    "bootstrap.test_accuracy",
    "glue.ridge",
    "glue.rank",
    "glue.condition",
    "refine.iterations",
    "refine.products",
    "seconds.load",
    "seconds.subnetworks",
    "seconds.glue",
    "seconds.refine",
    "seconds.bootstrap",
    "seconds.total",
    "work.gflop",
    "work.gemm_gflops_measured",
    "work.efficiency",
]


def test_metrics_hold_every_key_as_a_plain_number(pair):
    metrics = json.loads((pair / "metrics.json").read_text())
    for key in KEYS:
        value = metrics
        for part in key.split("."):
            value = value[part]
        assert isinstance(value, str if key in ("dataset", "backend") else int | float), key
    assert metrics["ranks"] == 2
    assert metrics["refine"]["iterations"] == metrics["refine"]["products"] == 0
    assert [s["index"] for s in metrics["subnetworks"]] == list(range(5))
    for part in metrics["subnetworks"]:
        assert set(part) == {"index", "rank", "iterations", "evaluations", "cost", "status", "seconds"}
        assert part["iterations"] <= 6 < part["evaluations"] + 1
    rate = metrics["work"]["gflop"] / metrics["seconds"]["subnetworks"] / metrics["work"]["gemm_gflops_measured"]
    assert metrics["work"]["efficiency"] == pytest.approx(rate)


def test_accuracies_are_those_of_the_saved_model_against_true_labels(alone):
    metrics = json.loads((alone / "metrics.json").read_text())
    network, digits = varpro.load(alone / "model.h5"), load_dataset("digits")
    split = digits.split(None, None, None)
    for name in ("train", "validation", "test"):
        part = getattr(split, name)
        assert metrics[name]["accuracy"] == pytest.approx(np.mean(network.predict(part.images) == part.labels))
    assert network.scores(split.test.images).shape == (360, 10)
    assert metrics["train"]["accuracy"] > metrics["test"]["accuracy"] > 0.75


def test_the_model_holds_no_times_and_every_file_is_there(alone, tmp_path):
    again = job(tmp_path, 1, *PARTITION, "--set", "bootstrap=false", "--set", "control=false")
    assert (again / "model.h5").read_bytes() == (alone / "model.h5").read_bytes()
    for name in (
        "metrics.json",
        "history.jsonl",
        "config.resolved.yaml",
        "report.html",
        "confusion.png",
        "convergence.png",
        "units.png",
    ):
        assert (alone / name).stat().st_size > 100
    history = [json.loads(line) for line in (alone / "history.jsonl").read_text().splitlines()]
    assert {line["subnetwork"] for line in history if line["phase"] == "train"} == set(range(5))
    for index in range(5):
        costs = [line["cost"] for line in history if line["phase"] == "train" and line["subnetwork"] == index]
        assert costs == sorted(costs, reverse=True)


def test_the_resolved_config_runs_again(alone, tmp_path):
    assert load_config(alone / "config.resolved.yaml").as_dict() == yaml.safe_load(
        (alone / "config.resolved.yaml").read_text()
    )


def test_the_page_needs_nothing_but_itself_and_never_calls_agreement_accuracy(alone):
    page = (alone / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    text = re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S))
    assert "no accuracy: the network reproduces its own guesses" in text
    assert "http" not in text


def test_without_sub_networks_a_random_start_is_refined(tmp_path):
    options = ["--set", "subnetworks=0", "--set", "units=40", "--set", "model={unit: local-bilinear, window: [3, 5]}"]
    refine = ["--set", "refine={iterations: 6, first_rows: 400, growth: 1.5}", "--set", "bootstrap=false"]
    metrics = json.loads((job(tmp_path, 1, *options, *refine) / "metrics.json").read_text())
    assert metrics["subnetworks"] == []
    assert 1 <= metrics["refine"]["iterations"] <= 6
    assert metrics["refine"]["products"] > 6
    assert metrics["refine"]["test_accuracy"] == metrics["test"]["accuracy"]
    assert metrics["test"]["accuracy"] > metrics["control"]["test_accuracy"] + 0.02
    assert (tmp_path / "refinement.png").is_file()


@pytest.mark.parametrize("unit", ["bilinear", "local-bilinear"])
def test_the_other_units_train_glue_and_bootstrap(tmp_path, unit):
    options = [
        "--set",
        f"model={{unit: {unit}, sigma: logistic{', window: [3, 5]' if unit == 'local-bilinear' else ''}}}",
        "--set",
        "bootstrap.variant=confident-only",
    ]
    metrics = json.loads((job(tmp_path, 1, *PARTITION, *options) / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] > 0.75
    assert 0 < metrics["bootstrap"]["ambiguous_fraction"] < 1


@pytest.mark.parametrize("planes", [None, 3])
def test_own_images_in_colour_or_grey(tmp_path, planes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    images = rng.random((400, *([planes] if planes else []), 5, 5)) * 0.5
    images[labels == 1, ..., 2, :] += 0.4
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    folder = job(
        tmp_path / "out",
        1,
        "--set",
        f"data.source={tmp_path}/own.npz",
        "--set",
        "subnetworks=3",
        "--set",
        "units=5",
        "--set",
        "samples=150",
    )
    assert json.loads((folder / "metrics.json").read_text())["test"]["accuracy"] > 0.9


def test_predict_writes_what_python_predicts(alone, tmp_path, capsys):
    network, test = varpro.load(alone / "model.h5"), load_dataset("digits").test
    np.savez(tmp_path / "some.npz", images=test.images[:7])
    for name in ("out.csv", "out.npz", "out.h5"):
        assert (
            predict.main([str(alone / "model.h5"), str(tmp_path / "some.npz"), "--output", str(tmp_path / name)]) == 0
        )
    table = np.loadtxt(tmp_path / "out.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(table[:, 1], network.predict(test.images[:7]))
    np.testing.assert_allclose(table[:, 2:], network.scores(test.images[:7]), rtol=1e-8)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["scores"], network.scores(test.images[:7]))
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["labels"][:], network.predict(test.images[:7]))
    assert predict.main([str(alone / "model.h5"), "digits", "--output", str(tmp_path / "test.csv")]) == 0
    assert f"{100 * np.mean(network.predict(test.images) == test.labels):.2f} %" in capsys.readouterr().out


def test_dry_run_tells_the_plan_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main(["digits_quadratic", "--dry-run"]) == 0
    out = capsys.readouterr().out
    for word in ("16 sub-networks x 12 units", "nonlinear", "GFLOP", "GB a rank", "1198 train"):
        assert word in out
    assert not list(tmp_path.iterdir())


def test_list_configs_and_version(capsys):
    assert train.main(["--list-configs"]) == 0
    assert {"mnist.yaml", "mnist_local.yaml", "digits.yaml"} <= set(capsys.readouterr().out.split())
    assert train.main(["--version"]) == 0
    assert varpro.__version__ in capsys.readouterr().out
