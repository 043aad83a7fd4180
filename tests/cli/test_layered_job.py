"""varpro-train with the config of a PyTorch network: checks without PyTorch, and whole runs with it."""

import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import yaml

import varpro
from tests.cli.test_bad_input import mistake
from tests.mpi import run_mpi
from tests.report.example import blank_plots
from varpro.cli import predict, train
from varpro.config.layered import LayeredConfig
from varpro.config.source import validated
from varpro.config.training import load_config
from varpro.report import outputs
from varpro.report.layered_page import LAYERED_ALTERNATIVES
from varpro.train.data.datasets import load_dataset

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
DIGITS = ["--set", "data.source=digits", "--set", "data.train=300", "--set", "threads=1"]
OWN = ["--set", "data.source=small.npz", "--set", "epochs=2", "--set", "batch=60"]
SMALL = [*DIGITS, "--set", "epochs=2", "--set", "batch=60"]


@pytest.fixture
def undrawn(monkeypatch):
    """Pixels instead of plots."""
    plots = dict.fromkeys(LAYERED_ALTERNATIVES, blank_plots()["confusion"])
    monkeypatch.setattr(outputs, "draw_layered", lambda record: plots)


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A working folder with small.npz: 300 images of 8 x 8 to train on and 60 to test."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    parts = {f"{part}images": rng.random((n, 8, 8)) for part, n in (("", 300), ("test_", 60))}
    labels = {f"{part}labels": np.arange(n) % 10 for part, n in (("", 300), ("test_", 60))}
    np.savez("small.npz", **parts, **labels)
    return tmp_path


@pytest.fixture
def no_torch(monkeypatch):
    """As if PyTorch were not installed."""
    for name in [name for name in sys.modules if name.startswith("varpro.adapters.torch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.mark.usefixtures("no_torch")
def test_without_pytorch_one_line_names_the_remedy(capsys, tmp_path):
    line = mistake(capsys, train, "mnist_intraclass", "--output", tmp_path / "o", *SMALL)
    assert line == "varpro-train: error: torch is not installed; pip install 'varpro[torch]'\n"
    assert not (tmp_path / "o").exists()


@pytest.mark.usefixtures("no_torch")
def test_a_dry_run_needs_no_pytorch_and_writes_nothing(capsys, images):
    assert train.main(["mnist_intraclass", "--dry-run", "--seed", "5", "--backend", "cpu", *OWN]) == 0
    resolved, _, table = capsys.readouterr().out.partition("\n\n")
    overrides = [option for option in OWN if option != "--set"]
    config = load_config("mnist_intraclass", overrides, seed=5, device="cpu")
    assert validated(LayeredConfig, yaml.safe_load(resolved), "printed", None) == config
    for words in ("300 train, 0 validation, 60 test", "intraclass_light: 2 features", "2 epochs of 5 batches of 60"):
        assert words in table
    assert [path.name for path in images.iterdir()] == ["small.npz"]


def test_configs_of_both_kinds_are_listed(capsys):
    assert train.main(["--list-configs"]) == 0
    assert {"mnist.yaml", "mnist_intraclass.yaml", "cifar10_nullspacenet.yaml"} <= set(capsys.readouterr().out.split())


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnist_intracluss"], "did you mean mnist_intraclass"),
        (["mnist_intraclass", "--set", "epoch=3"], "did you mean epochs"),
        (["mnist_intraclass", "--set", "objective.nullspase=3"], "did you mean objective.nullspace"),
        (["mnist_intraclass", "--seed", "-1"], "--seed -1: seed is -1"),
        (["mnist_intraclass", "--backend", "cuda", "--dry-run", "--set", "network.name=x"], "network.name is 'x'"),
        (["mnist_intraclass", "--dry-run", *OWN, "--set", "batch=900"], "there are 300 training images"),
        (["mnist_intraclass", "--dry-run", *OWN, "--set", "network.name=lenet5"], "images are 8 x 8"),
        (["digits_quadratic", "--set", "network.name=lenet5"], "unknown key network"),
    ],
)
def test_mistakes_are_told_before_pytorch_is_asked_for(capsys, images, arguments, message):
    assert message in mistake(capsys, train, *arguments)
    assert [path.name for path in images.iterdir()] == ["small.npz"]


@needs_torch
def test_a_device_that_is_not_there(capsys, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    line = mistake(capsys, train, "mnist_intraclass", "--backend", "cuda", "--output", tmp_path / "o", *SMALL)
    assert "device is cuda, but PyTorch finds no GPU here" in line
    assert not (tmp_path / "o").exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("torch", reason="torch is not installed")
    path = tmp_path_factory.mktemp("run")
    options = ["--set", "objective.intraclass_variance=0.1", "--set", "epochs=12", "--set", "batch=50"]
    options += ["--set", "data.validation=239"]
    assert train.main(["mnist_intraclass", "--output", str(path), "--quiet", *DIGITS, *options]) == 0
    return path


def test_a_run_leaves_every_file(folder):
    names = {"metrics.json", "history.jsonl", "config.resolved.yaml", "report.html", "model.h5", "status.json"}
    missing = {"misclassified"} if not (folder / "misclassified.png").exists() else set()
    plots = {f"{name}.png" for name in LAYERED_ALTERNATIVES if name not in missing}
    assert {path.name for path in folder.iterdir()} == names | plots
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test"]["nearest_centroid"] > 0.5  # two features of 300 images in 72 steps; chance is 0.1
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [*range(13), *range(13)]


@pytest.mark.usefixtures("undrawn")
def test_the_resolved_config_runs_again_to_the_same_figures(folder, tmp_path):
    resolved = str(folder / "config.resolved.yaml")
    assert train.main([resolved, "--output", str(tmp_path / "again"), "--quiet"]) == 0
    first, again = (json.loads((path / "metrics.json").read_text()) for path in (folder, tmp_path / "again"))
    first.pop("seconds"), again.pop("seconds")
    assert first == again
    assert (folder / "model.h5").read_bytes() == (tmp_path / "again" / "model.h5").read_bytes()


def test_the_model_predicts_what_the_run_measured(folder, tmp_path, capsys):
    test = load_dataset("digits").test
    model = varpro.load(folder / "model.h5")
    accuracy = json.loads((folder / "metrics.json").read_text())["test"]["accuracy"]
    assert np.mean(model.predict(test.images) == test.labels) == pytest.approx(accuracy, abs=1 / 360)
    calibration = json.loads((folder / "metrics.json").read_text())["calibration"]
    own = model.predict_proba(test.images)[np.arange(len(test.labels)), test.labels]
    assert -np.mean(np.log(own)) == pytest.approx(calibration["test"]["log_loss"], rel=1e-3)
    assert predict.main([str(folder / "model.h5"), "digits", "--output", str(tmp_path / "p.npz")]) == 0
    with np.load(tmp_path / "p.npz") as found:
        np.testing.assert_array_equal(found["labels"], model.predict(test.images))
    assert "accuracy against the labels" in capsys.readouterr().out


def test_without_pytorch_a_network_cannot_be_read(folder, capsys, tmp_path, request):
    request.getfixturevalue("no_torch")
    line = mistake(capsys, predict, folder / "model.h5", "digits", "--output", tmp_path / "p.csv")
    assert line == "varpro-predict: error: torch is not installed; pip install 'varpro[torch]'\n"


@needs_torch
@pytest.mark.usefixtures("undrawn")
def test_a_run_over_another_kind_takes_its_plots_away(tmp_path):
    (tmp_path / "convergence.png").write_bytes(b"of a run of the other kind")
    (tmp_path / "mine.png").write_bytes(b"precious")
    options = ["--output", str(tmp_path), "--overwrite", "--quiet", *SMALL, "--set", "baseline=false"]
    assert train.main(["mnist_nullspace", *options, "--set", "network.embedding=20"]) == 0
    assert not (tmp_path / "convergence.png").exists()
    assert (tmp_path / "mine.png").exists()


@needs_torch
def test_a_diverging_run_ends_in_one_line(capsys, tmp_path):
    options = ["--set", "optimiser.rate=1e30", "--set", "optimiser.kind=sgd", "--output", tmp_path / "o", "--quiet"]
    line = mistake(capsys, train, "mnist_separability", *SMALL, "--set", "network.name=simplenet_small", *options)
    assert "not finite" in line or "is nan" in line or "inf" in line
    assert not (tmp_path / "o").exists()


@needs_torch
def test_two_ranks_by_the_program(tmp_path):
    arguments = ["mnist_separability", *SMALL, "--set", "network.name=simplenet_small", "--quiet", "--set", "epochs=1"]
    options = ["--set", "baseline=false", "--output", tmp_path / "two"]
    ended = run_mpi(2, "-m", "varpro.cli.train", *arguments, *options, runner=(), timeout=200).check()
    assert "Traceback" not in ended.stderr
    metrics = json.loads((tmp_path / "two" / "metrics.json").read_text())
    test = load_dataset("digits").test
    found = np.mean(varpro.load(tmp_path / "two" / "model.h5").predict(test.images) == test.labels)
    assert metrics["ranks"] == 2
    assert metrics["test"]["accuracy"] == pytest.approx(found, abs=1 / 360)
