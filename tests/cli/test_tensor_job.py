"""Runs on tensors of several orders, from varpro-train to varpro-predict, and the mistakes that belong to them."""

import json

import h5py
import numpy as np
import pytest

import varpro
from tests.cli.test_bad_input import mistake
from varpro.cli import predict, train

SMALL = ["--set", "subnetworks=2", "--set", "units=4", "--set", "samples=90", "--set", "search.iterations=4"]
SMALL += ["--set", "bootstrap=false", "--quiet"]


def tensors(shape, n=300, seed=0):
    """Two classes: the mass of a tensor lies at the beginning or at the end of its first dimension."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    x = 0.5 * rng.random((n, *shape))
    x[labels == 0, 0] += 0.5 * rng.random((np.sum(labels == 0), *shape[1:]))
    x[labels == 1, -1] += 0.5 * rng.random((np.sum(labels == 1), *shape[1:]))
    return x, np.array(["early", "late"])[labels]


def save(path, images, labels):
    if path.suffix == ".npz":
        np.savez(path, images=images, labels=labels)
        return
    with h5py.File(path, "w") as file:
        file["images"] = images
        file["labels"] = labels.astype(h5py.string_dtype())


@pytest.mark.parametrize(
    ("name", "shape", "model", "parameters"),
    [
        ("video.npz", (4, 5, 6), "{unit: multilinear}", 4 + 5 + 6 + 1),
        ("volumes.h5", (5, 5, 5), "{unit: multilinear, shared: true, rank: 2}", 2 * 5 + 1),
        ("colour_video.npz", (4, 3, 5, 6), "{unit: multilinear, rank: 2}", 2 * (4 + 3 + 5 + 6) + 1),
        ("grey.npz", (5, 6), "{unit: bilinear, rank: 2}", 2 * (5 + 6) + 1),
    ],
)
def test_train_report_and_predict(tmp_path, monkeypatch, capsys, name, shape, model, parameters):
    monkeypatch.chdir(tmp_path)
    images, labels = tensors(shape)
    save(tmp_path / name, images, labels)
    options = ["digits_quadratic", "--set", f"data.source={name}", "--set", f"model={model}", *SMALL]
    assert train.main([*options, "--dry-run"]) == 0
    assert " x ".join(map(str, shape[-2:])) in capsys.readouterr().out
    assert train.main([*options, "--output", "run"]) == 0
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["test"]["accuracy"] > 0.9
    assert metrics["parameters"]["nonlinear"] == 2 * 4 * parameters
    assert (tmp_path / "run/misclassified.png").is_file() or metrics["test"]["accuracy"] == 1.0
    assert (tmp_path / "run/units.png").is_file()
    fresh, expected = tensors(shape, n=60, seed=1)
    save(tmp_path / f"new_{name}", fresh, expected)
    assert predict.main(["run/model.h5", f"new_{name}", "--output", "p.npz"]) == 0
    network = varpro.load("run/model.h5")
    with np.load("p.npz") as found:
        np.testing.assert_allclose(found["scores"], network.scores(fresh))
        assert np.mean(found["labels"] == expected) > 0.9


@pytest.mark.parametrize(
    ("shape", "model", "message"),
    [
        ((4, 3, 5, 5), "{unit: quadratic}", "tensors of 4 x 3 x 5 x 5; set model.unit: multilinear"),
        ((4, 3, 5, 5), "{unit: convolutional}", "set model.unit: multilinear"),
        ((4, 5, 6), "{unit: multilinear, shared: true}", "4 x 5 x 6; one vector for all dimensions needs equal ones"),
        ((4, 5, 6), "{unit: multilinear, rank: 0}", "model.rank is 0; it must be a whole number >= 1"),
        ((5, 6), "{unit: bilinear, rank: 0}", "model.rank is 0; it must be a whole number >= 1"),
        ((5, 6), "{unit: multilinear, shared: 3}", "model.shared is 3; it must be true or false"),
        ((5, 6), "{unit: bilinear, shared: true}", "model.shared is true; it is an option of multilinear units"),
        ((7,), "{unit: multilinear}", "(N, d1, .., dk) for tensors; reshape each row to its image"),
    ],
)
def test_mistakes(tmp_path, monkeypatch, capsys, shape, model, message):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "x.npz", *tensors(shape))
    options = ["--set", "data.source=x.npz", "--set", f"model={model}", *SMALL, "--output", "run"]
    assert message in mistake(capsys, train, "digits_quadratic", *options)
    assert not (tmp_path / "run").exists()


def test_tensors_of_unlike_shapes_are_refused_in_every_format(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ragged = np.empty(4, dtype=object)
    for i in range(4):
        ragged[i] = np.zeros((2, 3, 4 + i % 2))
    np.savez(tmp_path / "ragged.npz", images=ragged, labels=np.arange(4) % 2, allow_pickle=True)
    with h5py.File(tmp_path / "ragged.h5", "w") as file:
        rows = file.create_dataset("images", (4,), dtype=h5py.vlen_dtype(np.float64))
        for i in range(4):
            rows[i] = np.zeros(4 + i % 2)
        file["labels"] = np.arange(4) % 2
    x, labels = tensors((4, 5, 6))
    np.savez(tmp_path / "parts.npz", images=x, labels=labels, test_images=x[:, :3], test_labels=labels)
    words = {
        "ragged.npz": "as arrays of unlike shapes do",
        "ragged.h5": "in one array of tensors of equal shape",
        "parts.npz": "training images have shape (4, 5, 6), test images (3, 5, 6)",
    }
    for name, said in words.items():
        options = ["--set", f"data.source={name}", "--set", "model.unit=multilinear", "--output", "run"]
        assert said in mistake(capsys, train, "digits_quadratic", *options)


def test_networks_of_layers_read_images_only(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "x.npz", *tensors((4, 3, 5, 5)))
    (tmp_path / "net.yaml").write_text("data: {source: x.npz}\nnetwork: {name: lenet5}\n")
    assert "networks of layers read images" in mistake(capsys, train, "net.yaml", "--output", "run")
