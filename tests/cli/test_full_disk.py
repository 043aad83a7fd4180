"""A disk that is really full: a small file system in memory, made larger for the continuation."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.cli.test_resume import model
from varpro.cli import train

SETTINGS = [
    "subnetworks=12", "units=5", "samples=120", "search.iterations=3", "refine.enabled=false", "bootstrap=false",
    "control=false", "reproducible=true",
]  # fmt: skip
RUN = ["digits", "--quiet", *(part for setting in SETTINGS for part in ("--set", setting))]


def mount(*options):
    return subprocess.run(["mount", "-t", "tmpfs", *map(str, options)], capture_output=True, check=False).returncode


def small_disk(folder, size):
    """A file system of some kB, or the test is skipped."""
    folder.mkdir()
    if os.geteuid() != 0 or mount("-o", f"size={size}k", "tmpfs", folder):
        pytest.skip("a file system of its own needs root, and a system that allows it")


@pytest.fixture
def disk(tmp_path):
    """24 kB: room for the identity of the run, its status and a few sub-networks."""
    folder = tmp_path / "disk"
    small_disk(folder, 24)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_ends_the_run_with_a_line_and_it_goes_on_when_there_is_room(capsys, tmp_path, disk):
    assert train.main([*RUN, "--output", str(disk / "run")]) == 2
    line = capsys.readouterr().err
    assert "cannot be written (No space left on device)" in line
    assert line.count("\n") == 1
    kept = sorted(path.name for path in (disk / "run" / "checkpoint").glob("training-subnetwork-*.ckpt"))
    assert 0 < len(kept) < 12
    assert not list((disk / "run" / "checkpoint").glob(".*"))
    assert mount("-o", "remount,size=8m", "tmpfs", disk) == 0
    assert train.main([*RUN, "--output", str(disk / "run"), "--resume"]) == 0
    assert json.loads((disk / "run" / "metrics.json").read_text())["checkpoint"]["restored"] >= len(kept)
    assert train.main([*RUN, "--output", str(tmp_path / "alone")]) == 0
    assert model(disk / "run") == model(tmp_path / "alone")


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from varpro.cli import data, predict
from varpro.errors import unwritable
from varpro.train.model_file import written

def model(arguments):
    try:
        with written(arguments[0], None) as file:
            file.create_dataset("w", data=np.ones((100, 100)))
    except OSError as error:
        return str(unwritable(arguments[0], error))

room, program, *arguments = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * int(room), 1024 * int(room)))
sys.exit({"model": model, "data": data.main, "predict": predict.main}[program](arguments))
"""
"""A program that may write no file of more than some kB, which holds for root, too."""


def limited(room, program, *arguments):
    """What is told, in one line, of a process that ends in an orderly way."""
    # without -B, what is imported here for the first time would leave its bytecode cut off at that size in the clone
    command = [sys.executable, "-B", "-c", LIMITED, str(room), program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode in (1, 2), (done.returncode, done.stderr)
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Images of one's own, and a model of them."""
    folder = tmp_path_factory.mktemp("own")
    images = np.random.default_rng(0).integers(0, 256, (200, 16, 16), dtype=np.uint8)
    np.savez(folder / "own.npz", images=images, labels=np.arange(200) % 3)
    small = [f"data.source={folder / 'own.npz'}", "units=5", "subnetworks=1", "samples=100", "refine.enabled=false"]
    small = [part for setting in small for part in ("--set", setting)]
    assert train.main(["digits", "--quiet", *small, "--output", str(folder / "run")]) == 0
    return folder


@pytest.mark.parametrize(("program", "room"), [
    *(("model", room) for room in (0, 1, 3, 8, 30)), *(("data", room) for room in (0, 1, 3, 8, 30, 49)),
    *(("predict", room) for room in (0, 1, 3, 6)),
])  # fmt: skip
def test_a_full_disk_is_told_of_every_hdf5_file(tmp_path, own, program, room):
    """h5py by itself dies of signal 11."""
    arguments = {
        "model": [tmp_path / "out.h5"], "data": ["convert", own / "own.npz", tmp_path / "out.h5", "--quiet"],
        "predict": [own / "run" / "model.h5", own / "own.npz", "--output", tmp_path / "out.h5"],
    }[program]  # fmt: skip
    assert "cannot be written (File too large)" in limited(room, program, *arguments)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".part" or path.is_file()] == []
