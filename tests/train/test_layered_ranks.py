"""One network on several ranks: the same bits on all of them, the same numbers as alone up to rounding."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.mpi import run_mpi
from varpro.distributed import SerialCommunicator

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sklearn", reason="the digits come with scikit-learn")

from tests.train.layered_ranks import CASES, trained  # noqa: E402

SCRIPT = Path(__file__).with_name("layered_ranks.py")
ROOT = str(SCRIPT.resolve().parents[2])


@pytest.fixture(scope="module")
def alone():
    torch.set_num_threads(1)
    return {name: trained(name, SerialCommunicator()) for name in CASES}


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_agree_bitwise_and_with_one_up_to_rounding(tmp_path, alone, ranks):
    environment = {"PYTHONPATH": os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])}
    ended = run_mpi(ranks, SCRIPT, tmp_path, environment=environment, timeout=200).check()
    assert json.loads(ended.stdout.strip().splitlines()[-1]) == dict.fromkeys(CASES, True)
    for name, expected in alone.items():
        found = np.load(tmp_path / f"{name}.npz")
        assert set(found) == set(expected)
        if name == "normalised":  # each rank normalises by its own part: another path, by design
            assert all(np.isfinite(found[key]).all() for key in found)
            continue
        for key, value in expected.items():
            # sums of 61 terms in another order, six steps
            np.testing.assert_allclose(
                found[key], value, rtol=0, atol=1e-10 * max(1.0, np.abs(value).max()), err_msg=key
            )
