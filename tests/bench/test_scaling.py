"""The model of time over ranks: its limits, and the benchmark that holds it against runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from scaling_model import Machine, Phase, gluing, refinement  # noqa: E402

FREE = Machine(latency=0.0, bandwidth=float("inf"))
EPS = sys.float_info.epsilon


def test_without_messages_work_is_divided_and_the_rest_stays():
    phase = Phase(work=96.0, parts=96, serial=2.0, collectives=((5, 1e9),))
    assert [phase.seconds(ranks, FREE) for ranks in (1, 2, 4, 96)] == [98.0, 50.0, 26.0, 3.0]


def test_parts_are_not_divided():
    phase = Phase(work=10.0, parts=10)
    assert phase.seconds(4, FREE) == pytest.approx(3.0, rel=4 * EPS)
    assert phase.seconds(1000, FREE) == pytest.approx(1.0, rel=4 * EPS)


def test_ranks_that_share_cores_gain_nothing():
    phase = Phase(work=64.0, parts=64, serial=1.0)
    two = Machine(latency=0.0, bandwidth=float("inf"), cores=2)
    assert phase.seconds(2, two) == 33.0
    assert phase.seconds(8, two) == 32.0 + 4.0


def test_a_large_sum_takes_twice_its_bytes_and_a_small_one_its_steps():
    machine = Machine(latency=1e-6, bandwidth=1e9)
    assert machine.collective(1, 1e9) == 0.0
    assert machine.collective(1024, 0.0) == pytest.approx(40e-6, rel=4 * EPS)
    assert machine.collective(2, 1e9) == pytest.approx(1.0 + 4e-6, rel=4 * EPS)
    assert machine.collective(1024, 1e9) < 2.0 + 40e-6


def test_handing_out_bounds_the_rate_of_tasks():
    phase = Phase(work=1000.0, parts=1000, handed=0.01)
    assert phase.seconds(100, FREE) == pytest.approx(10.0, rel=4 * EPS)
    assert phase.seconds(1000, FREE) == pytest.approx(10.0, rel=4 * EPS)


def test_the_phases_of_a_run_on_one_rank_add_up_to_it():
    glued = gluing(work=7.0, cholesky=0.5, columns=100, blocks=10)
    assert glued.seconds(1, FREE) == pytest.approx(7.0 + 5 * 0.5, rel=4 * EPS)
    refined = refinement(work=7.0, cholesky=0.5, columns=100, parameters=1000, blocks=10, steps=2, products=9)
    assert refined.seconds(1, FREE) == pytest.approx(8.0, rel=4 * EPS)
    assert refined.seconds(1024, Machine(latency=1e-6, bandwidth=1e9)) > 1.0


def test_the_benchmark_measures_and_extrapolates(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import scaling\n"
        "scaling.RUNS = {'quadratic': ['digits', 'subnetworks=3', 'units=4', 'samples=100', 'search.iterations=1']}\n"
        "scaling.MINIMAL = ['bootstrap=false', 'control=false', 'glue.block_rows=250']\n"
        "sys.argv = ['scaling', '--ranks', '1', '2', '--json', sys.argv[2]]; scaling.main()\n"
    )
    command = [sys.executable, "-c", script, str(BENCH), str(tmp_path / "s.json")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False, env=dict(os.environ))
    assert ended.returncode == 0, ended.stderr
    found = json.loads((tmp_path / "s.json").read_text())
    assert {(row["phase"], row["ranks"]) for row in found["runs"]} == {
        (phase, ranks) for phase in ("sub-networks", "gluing, quadratic") for ranks in (1, 2)
    }
    assert all(row["measured"] > 0 and row["model"] > 0 for row in found["runs"])
    for line in found["far"]:
        assert line["64"] <= line["1"]  # handing out sub-networks may bound both
