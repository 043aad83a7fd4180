"""Ranks with a device each: they find the same sub-networks as one rank, and add up where the arrays are."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.mpi import run_mpi

SMALL = ["data.train=250", "data.validation=80", "data.test=60", "subnetworks=3", "units=3", "samples=70"]
SCRIPT, SUM = (Path(__file__).with_name(f"{name}_on_stand_in.py") for name in ("train", "sum"))


@pytest.mark.parametrize("reads_devices", [0, 1])
def test_sums_move_from_device_to_device_where_the_mpi_can(reads_devices, tmp_path):
    run_mpi(2, SUM, reads_devices, cwd=tmp_path).check()


def test_two_ranks_as_one(device_module, tmp_path):
    if device_module is None:
        pytest.skip("a GPU is here: this test is of the stand-in")
    found = {}
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        settings = [word for key in [*SMALL, "search.iterations=2", "bootstrap=false"] for word in ("--set", key)]
        arguments = ["digits_quadratic", "--backend", "cuda", "--output", folder, "--quiet", *settings]
        run_mpi(ranks, SCRIPT, device_module, *arguments, cwd=tmp_path).check()
        with h5py.File(folder / "model.h5") as file:
            found[ranks] = file["w"][:]
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["backend"] == "cuda"
        took = [s["rank"] for s in metrics["subnetworks"]]
        assert took[:2] == ([0, 0] if ranks == 1 else [0, 1])  # the third goes to whichever is free
    assert np.abs(found[1] - found[2]).max() <= 1e-12 * np.abs(found[1]).max()
