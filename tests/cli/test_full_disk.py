"""A disk that is really full: a small file system in memory, made larger for the continuation."""

import json
import os
import subprocess

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


@pytest.fixture
def disk(tmp_path):
    """24 kB: room for the identity of the run, its status and a few sub-networks."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or mount("-o", "size=24k", "tmpfs", folder):
        pytest.skip("a file system of its own needs root, and a system that allows it")
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
