"""varpro-export: the files that it writes, what it says about them, and one line for each mistake."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import varpro
from tests.export.networks import network_of
from varpro.cli import export, train
from varpro.export import onnx_model
from varpro.models.units import import_kind
from varpro.train.data.datasets import load_dataset
from varpro.train.scalarized.storage import save_network

CC = shutil.which("cc") or shutil.which("gcc")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A model of the 8 x 8 digits, in a second."""
    folder = tmp_path_factory.mktemp("digits")
    options = ["--set", "units=20", "--set", "refine.iterations=2", "--quiet", "--output", str(folder)]
    assert train.main(["digits", "--set", "subnetworks=0", "--set", "control=false", *options]) == 0
    return folder / "model.h5"


def told(capsys, *arguments):
    assert export.main([str(a) for a in arguments]) == 0
    return capsys.readouterr().out


def mistake(capsys, *arguments):
    assert export.main([str(a) for a in arguments]) == 2
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1, stderr
    return stderr


@pytest.mark.skipif(CC is None, reason="no C compiler on PATH")
def test_a_c_file_in_bytes_has_the_accuracy_that_is_reported(capsys, digits, tmp_path):
    out = told(capsys, digits, "--c", tmp_path / "dig-its.c", "--int8", "--images", "digits")
    source = (tmp_path / "dig-its.c").read_text()
    stored = {"signed char": 1, "float": 4}
    arrays = re.findall(r"static const (signed char|float) \w+\[(\d+)\]", source)
    assert f"int8, {sum(stored[kind] * int(size) for kind, size in arrays):,} bytes of weights" in out
    main = """#include "dig-its.c"
#include <stdio.h>
int main(void) {
    unsigned char image[64];
    while (fread(image, 64, 1, stdin) == 1) printf("%d ", dig_its_predict(image));
    return 0;
}
"""
    (tmp_path / "main.c").write_text(main)
    strict = ["-std=c99", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([CC, *strict, "main.c", "-lm", "-o", "main"], cwd=tmp_path, check=True)
    test = load_dataset("digits").test
    pixels = np.round(255.0 * test.images).astype(np.uint8) if test.images.dtype != np.uint8 else test.images
    printed = subprocess.run([tmp_path / "main"], input=pixels.tobytes(), capture_output=True, check=True).stdout
    share = 100 * np.mean(np.array(printed.split(), dtype=int) == test.labels)
    whole = 100 * np.mean(varpro.load(digits).predict(test.images) == test.labels)
    words = r"([\d.]+) % by the model, ([\d.]+) % by the arithmetic of the int8 export, (-?[\d.]+) points"
    found = re.search(words, out)
    assert found is not None, out
    assert [float(number) for number in found.groups()] == [round(v, 2) for v in (whole, share, whole - share)]
    assert whole - share < 1.0


def test_nothing_is_replaced_without_being_asked(capsys, digits, tmp_path):
    path = tmp_path / "model.c"
    assert "fp32" in told(capsys, digits, "--c", path)
    path.write_text("precious")
    assert "add --overwrite" in mistake(capsys, digits, "--c", path)
    assert path.read_text() == "precious"
    told(capsys, digits, "--c", path, "--overwrite")
    assert path.read_text().startswith("/* A network of units")
    assert [file.name for file in tmp_path.iterdir()] == ["model.c"]


def test_mistakes(capsys, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "nothing to write" in mistake(capsys, digits)
    assert "--int8 is for the C file" in mistake(capsys, digits, "--onnx", "m.onnx", "--int8")
    assert "cannot share a file" in mistake(capsys, digits, "--c", "m", "--onnx", "./m")
    assert "nowhere is no folder" in mistake(capsys, digits, "--c", "nowhere/m.c")
    assert "is a folder" in mistake(capsys, digits, "--c", tmp_path)
    assert "no such model file" in mistake(capsys, "nowhere.h5", "--c", "m.c")
    assert "no such data set" in mistake(capsys, digits, "--c", "m.c", "--images", "digitz")
    np.savez("other.npz", images=np.random.default_rng(0).random((40, 6, 6)), labels=np.arange(40) % 10)
    assert "its images are 1 x 6 x 6; the model reads 1 x 8 x 8" in mistake(
        capsys, digits, "--c", "m.c", "--images", "other.npz"
    )
    damaged = bytearray(digits.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "bad.h5").write_bytes(damaged)
    assert "damaged" in mistake(capsys, "bad.h5", "--c", "m.c")
    monkeypatch.setattr(onnx_model, "find_spec", lambda name: None)
    assert "pip install 'varpro[onnx]'" in mistake(capsys, digits, "--onnx", "m.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.h5", "other.npz"]


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc here, a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_to_is_told(capsys, digits):
    assert "cannot be written" in mistake(capsys, digits, "--c", "/proc/model.c")


def test_units_of_ones_own_are_refused_in_one_line(capsys, tmp_path, monkeypatch):
    (tmp_path / "own_sums.py").write_text(
        "import numpy as np\n"
        "from varpro.models import OwnUnits\n"
        "class Sums(OwnUnits):\n"
        "    parameters = 1\n"
        "    def draw(self, rng, images): return np.ones((1, self.count))\n"
        "    def form(self, images, w): return images.mean(axis=(1, 2, 3))[:, None] * w\n"
        "    def derivative(self, images, w):\n"
        "        return np.repeat(images.mean(axis=(1, 2, 3))[:, None, None], self.count, axis=2)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    kind, network = import_kind("own_sums:Sums"), network_of("quadratic")
    units = kind((1, 7, 7), network.units.count)
    save_network(tmp_path / "model.h5", replace(network, units=units, w=np.ones(units.n_parameters)))
    assert "own_sums:Sums units are computed by code of their own" in mistake(capsys, "model.h5", "--c", "m.c")
    monkeypatch.delitem(sys.modules, "own_sums")


def test_onnx_and_torch_files(capsys, digits, tmp_path):
    runtime, torch = pytest.importorskip("onnxruntime"), pytest.importorskip("torch")
    pytest.importorskip("onnx")
    out = told(capsys, digits, "--onnx", tmp_path / "m.onnx", "--torch", tmp_path / "m.pt2")
    assert f"{(tmp_path / 'm.onnx').stat().st_size:,} bytes" in out
    images = np.random.default_rng(0).random((5, 1, 8, 8)).astype(np.float32)
    expected = varpro.load(digits).scores(images)
    scores = runtime.InferenceSession(tmp_path / "m.onnx").run(["scores"], {"images": images})[0]
    program = torch.export.load(tmp_path / "m.pt2").module()(torch.tensor(images)).detach().numpy()
    for found in (scores, program):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
