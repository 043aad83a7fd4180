"""Every mistake: one line on stderr, exit code 2, nothing written, on one rank and on several."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.idx import idx_bytes
from tests.mpi import run_mpi
from varpro.cli import export, predict, train
from varpro.train.checkpoint.hdf5 import written_hdf5
from varpro.train.model_file import MAGIC

SMALL = ["--set", "subnetworks=2", "--set", "units=3", "--set", "samples=100", "--set", "search.iterations=2"]


def mistake(capsys, program, *arguments):
    """The one line that a mistake leaves."""
    assert program.main([str(a) for a in arguments]) == 2
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1, stderr
    return stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.yaml"], "no such file"),
        (["digit"], "did you mean digits"),
        (["digits_quadratic", "--set", "unit=3"], "did you mean model.unit"),
        (["digits_quadratic", "--set", "samples=5000"], "there are 1198 training images"),
        (["digits_quadratic", "--set", "units=500"], "more images than units"),
        (["digits_quadratic", "--set", "data.source=minst"], "did you mean mnist"),
        (["digits_quadratic", "--backend", "cuda"], "CUDA was asked for"),
        (["digits_quadratic", "--data", "nowhere"], "--data nowhere: no such folder"),
        (["digits_quadratic", "--set", "data.train=4"], "none of the 4 images left to train on is of class 4"),
        (["digits_quadratic", "--seed", "-1"], "--seed -1: seed is -1; it needs a value >= 0"),
        (["digits_quadratic", "--sede", "1"], "--sede"),
        (["digits_quadratic", "--seed", "x"], "--seed"),
        ([], "which config"),
    ],
)
def test_mistakes_of_varpro_train(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    line = mistake(capsys, train, *arguments)
    assert line.startswith("varpro-train: error: ")
    assert message in line
    assert [path for path in tmp_path.rglob("*") if path.name != "runs"] == []


def test_output_folders_that_hold_something_or_cannot_be_made(capsys, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    assert "--overwrite" in mistake(capsys, train, "digits_quadratic", "--output", tmp_path / "full")
    (tmp_path / "file").write_text("")
    assert "is a file" in mistake(capsys, train, "digits_quadratic", "--output", tmp_path / "file")
    assert "cannot be written" in mistake(capsys, train, "digits_quadratic", "--output", tmp_path / "file" / "below")


def test_a_new_output_folder_does_not_stay_behind_without_results(capsys, tmp_path):
    (tmp_path / "mine").mkdir()
    for folder, stays in ((tmp_path / "new" / "below", False), (tmp_path / "mine", True)):
        line = mistake(capsys, train, "digits_quadratic", "--output", folder, "--set", "samples=5000")
        assert "there are 1198 training images" in line
        assert folder.exists() == stays


def test_an_output_folder_that_fills_up_or_goes_away_during_the_run(capsys, tmp_path, monkeypatch):
    def full(record, directory):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("varpro.report.outputs.write_outputs", full)
    line = mistake(
        capsys, train, "digits_quadratic", "--output", tmp_path, "--quiet", "--set", "bootstrap=false", *SMALL
    )
    assert f"output folder {tmp_path} cannot be written (No space left on device)" in line
    assert "make room, and continue with --resume" in line


@pytest.mark.parametrize(("program", "arguments"), [(train, ["digits_quadratic"]), (predict, ["model.h5", "digits"])])
def test_what_is_not_installed_is_named_with_the_remedy(capsys, monkeypatch, program, arguments):
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "needs h5py, not installed here; pip install 'varpro[train]'" in mistake(capsys, program, *arguments)


def test_overwriting_keeps_files_of_others(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    assert train.main(["digits_quadratic", "--output", str(tmp_path), "--overwrite", "--quiet", *SMALL]) == 0
    assert (tmp_path / "mine.txt").read_text() == "precious"
    assert (tmp_path / "report.html").is_file()


RARE = ["digits_quadratic", "--set", "data.source=rare.npz", "--set", "samples=40", "--output", "o", "--quiet"]


def save_rare_class(folder):
    labels = np.zeros(600, dtype=int)
    labels[:3] = 1
    np.savez(folder / "rare.npz", images=np.random.default_rng(0).random((600, 5, 5)), labels=labels)


def test_a_class_missing_from_a_mini_batch_names_the_sub_network(capsys, tmp_path, monkeypatch):
    save_rare_class(tmp_path)
    monkeypatch.chdir(tmp_path)
    line = mistake(capsys, train, *RARE)
    assert "sub-network" in line
    assert "class 1" in line
    assert "raise samples" in line


@pytest.mark.parametrize("ranks", [1, 2])
def test_under_mpirun_one_line_on_one_rank_and_no_hang(tmp_path, ranks):
    ended = run_mpi(ranks, "-m", "varpro.cli.train", "digits_quadratic", "--set", "sample=3", runner=(), cwd=tmp_path)
    assert ended.code == 2
    assert ended.stderr.count("did you mean samples") == 1
    assert "Traceback" not in ended.stderr


def test_under_mpirun_a_data_error_in_a_task_ends_all_ranks(tmp_path):
    save_rare_class(tmp_path)
    ended = run_mpi(2, "-m", "varpro.cli.train", *RARE, runner=(), cwd=tmp_path)
    assert ended.code == 2
    assert ended.stderr.count("is of class 1") == 1
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assert train.main(["digits_quadratic", "--output", str(folder), "--quiet", "--set", "bootstrap=false", *SMALL]) == 0
    return folder / "model.h5"


def test_mistakes_of_varpro_predict(capsys, tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    assert "no such model file" in mistake(capsys, predict, "nothing.h5", "digits")
    (tmp_path / "junk.h5").write_bytes(b"junk")
    assert "not a model file" in mistake(capsys, predict, "junk.h5", "digits")
    assert "no such file" in mistake(capsys, predict, model, "images.npz")
    assert "is not known" in mistake(capsys, predict, model, "digits", "--output", "labels.txt")
    with (
        h5py.File(model) as given,
        written_hdf5(Path("uncalibrated.h5"), MAGIC) as file,
    ):
        for name in given:
            if name != "calibration":
                given.copy(name, file)
        file.attrs.update(given.attrs)
    asked = ("uncalibrated.h5", "digits", "--probabilities")
    assert "set data.validation to some hundreds and train again" in mistake(capsys, predict, *asked)
    np.savez("wide.npz", images=np.zeros((2, 9, 8)))
    assert "(1, 9, 8)" in mistake(capsys, predict, model, "wide.npz")
    np.savez("bytes.npz", images=np.full((2, 8, 8), 255.0))
    assert "divide by" in mistake(capsys, predict, model, "bytes.npz")
    np.savez("nan.npz", images=np.full((2, 8, 8), np.nan))
    assert "nan.npz: image 0 has a pixel that is NaN or infinite" in mistake(capsys, predict, model, "nan.npz")
    np.savez("short.npz", images=np.zeros((2, 8, 8)), labels=np.zeros(3))
    assert "2 images but labels of shape (3,)" in mistake(capsys, predict, model, "short.npz")
    np.savez("text.npz", images=np.array(["a"]))
    assert "numbers are needed" in mistake(capsys, predict, model, "text.npz")
    np.save("flat.npy", np.zeros((2, 64)))
    assert "shape (2, 64)" in mistake(capsys, predict, model, "flat.npy")
    np.save("objects.npy", np.array([{}], dtype=object))
    assert "Python objects" in mistake(capsys, predict, model, "objects.npy")
    (tmp_path / "labels").write_bytes(idx_bytes(np.arange(5)))
    assert "shape (5,)" in mistake(capsys, predict, model, "labels")
    assert "is a folder" in mistake(capsys, predict, model, tmp_path)
    assert "did you mean digits" in mistake(capsys, predict, model, "digit")
    assert "nowhere is no folder" in mistake(capsys, predict, model, "digits", "--output", "nowhere/labels.csv")
    (tmp_path / "digits.predictions.csv").write_text("mine")
    assert "--overwrite" in mistake(capsys, predict, model, "digits")
    assert (tmp_path / "digits.predictions.csv").read_text() == "mine"


def test_what_is_read_is_not_written_over(capsys, tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    np.savez("own.npz", images=np.zeros((2, 8, 8)))
    (tmp_path / "link.npz").symlink_to(tmp_path / "own.npz")
    before = Path("own.npz").read_bytes(), model.read_bytes()
    for name in ("own.npz", "link.npz", str(model)):
        line = mistake(capsys, predict, model, "own.npz", "--output", name, "--overwrite")
        assert "is a file that is read" in line
    assert "is a file that is read" in mistake(capsys, export, model, "--c", model, "--overwrite")
    assert (Path("own.npz").read_bytes(), model.read_bytes()) == before
    assert "File name too long" in mistake(capsys, predict, model, "own.npz", "--output", "n" * 300 + ".csv")
    assert "File name too long" in mistake(capsys, train, "digits_quadratic", "--output", "n" * 300)
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    assert "is a link to itself" in mistake(capsys, predict, model, "own.npz", "--output", "loop.csv", "--overwrite")


def test_a_lock_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    script = "import resource, sys; from varpro.cli import train; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
    script += "sys.exit(train.main(sys.argv[1:]))"
    command = [sys.executable, "-B", "-c", script, "digits_quadratic", "--output", str(tmp_path), "--quiet", *SMALL]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 2
    assert "run.lock cannot be written (File too large); make room, or choose another" in done.stderr
    assert list(tmp_path.iterdir()) == []
