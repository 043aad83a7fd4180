"""Sub-networks that fail: once more on another rank, then left out and reported, and never many."""

import dataclasses
import json

import numpy as np
import pytest

from tests.mpi import run_mpi
from tests.train.small_run import config_of, dataset, rows_of, run_of
from varpro.distributed.communicator import SerialCommunicator
from varpro.errors import TrainingError
from varpro.report.progress import Display
from varpro.train.data.prepared import Prepared
from varpro.train.scalarized.cycle import learning_cycle, untrained
from varpro.train.scalarized.partition import TRAINING, draw
from varpro.train.scalarized.subnetworks import SubnetworkTask
from varpro.train.scalarized.trainer import train

PLAIN = SubnetworkTask.__call__


class Heard(Display):
    """Remembers what was said."""

    def __init__(self):
        self.said = []

    def message(self, text):
        self.said.append(text)


def failing(monkeypatch, fails):
    """fails(index, redrawn, attempt) raises, or gives a changed result, for some sub-networks."""
    calls = {}

    def call(self, index, *, redrawn=0):
        calls[index] = calls.get(index, 0) + 1
        found = PLAIN(self, index, redrawn=redrawn)
        return fails(found, index, redrawn, calls[index]) or found

    monkeypatch.setattr(SubnetworkTask, "__call__", call)
    return calls


def cycle_of(count, display=None):
    run = run_of(config_of(subnetworks=count))
    run = dataclasses.replace(run, display=display or Display())
    rows = rows_of(dataset().train)
    return run, rows, learning_cycle(
        run, rows, stream=TRAINING, name="training", validation=None, ridge=1e-3, score=None
    )  # fmt: skip


def memory_once(found, index, redrawn, attempt):
    if index == 1 and attempt == 1:
        raise MemoryError("no room")


def not_finite_once(found, index, redrawn, attempt):
    return dataclasses.replace(found, cost=float("nan")) if index == 1 and not redrawn else None


def broken(found, index, redrawn, attempt):
    if index == 1:
        raise np.linalg.LinAlgError("no convergence")


def test_out_of_memory_is_tried_again_with_the_same_draw(monkeypatch):
    *_, plain = cycle_of(3)
    display = Heard()
    calls = failing(monkeypatch, memory_once)
    *_, cycle = cycle_of(3, display)
    assert calls == {0: 1, 1: 2, 2: 1}
    np.testing.assert_array_equal(cycle.network.w, plain.network.w)
    assert cycle.draws == [(0, 0), (1, 0), (2, 0)]
    assert display.said == ["sub-network 1 failed on rank 0 (MemoryError: no room); it is tried once more"]


def test_what_is_not_finite_is_drawn_again_and_so_is_its_control(monkeypatch):
    *_, plain = cycle_of(3)
    failing(monkeypatch, not_finite_once)
    run, rows, cycle = cycle_of(3)
    assert cycle.draws == [(0, 0), (1, 1), (2, 0)]
    assert [trained.redrawn for trained in cycle.trained] == [0, 1, 0]
    parts = np.split(cycle.network.w.reshape(-1, 15), 3, axis=1)
    before = np.split(plain.network.w.reshape(-1, 15), 3, axis=1)
    assert [np.array_equal(a, b) for a, b in zip(parts, before, strict=True)] == [True, False, True]
    _, w = untrained(run, rows, TRAINING, cycle.draws)
    again = draw(run.design, rows.images, 61, run.config.seed, TRAINING, 1, 1)
    np.testing.assert_array_equal(w.reshape(-1, 15)[:, 5:10], again.w.reshape(-1, 5))


def test_one_of_twenty_is_left_out_and_reported(monkeypatch):
    failing(monkeypatch, broken)
    display, config = Heard(), config_of(subnetworks=20, control=True)
    found = train(Prepared.of(config, dataset()), SerialCommunicator(), display=display)
    assert found is not None
    record, network = found
    assert network.units.count == 19 * 5
    assert record.metrics["left_out"] == [{"index": 1, "reason": "LinAlgError: no convergence"}]
    assert [part["index"] for part in record.metrics["subnetworks"]] == [0, *range(2, 20)]
    assert record.metrics["control"]["test_accuracy"] > 0
    assert "sub-network 1 failed again (LinAlgError: no convergence); it is left out" in display.said


def test_more_than_five_per_cent_end_the_run(monkeypatch):
    failing(monkeypatch, broken)
    with pytest.raises(TrainingError, match=r"1 of 19 .* more than 5 %; .*number 1: LinAlgError: no convergence"):
        cycle_of(19)


def test_the_second_attempt_is_another_ranks(tmp_path):
    script = tmp_path / "fail.py"
    script.write_text(
        "import sys\n"
        "from varpro.cli import train\n"
        "from varpro.distributed import world\n"
        "from varpro.train.scalarized.subnetworks import SubnetworkTask\n"
        "call = SubnetworkTask.__call__\n"
        "def failing(self, index, *, redrawn=0):\n"
        "    if world().rank == 1:\n"
        "        raise MemoryError('no room on rank 1')\n"
        "    return call(self, index, redrawn=redrawn)\n"
        "SubnetworkTask.__call__ = failing\n"
        "sys.exit(train.main(sys.argv[1:]))\n"
    )
    small = [part for s in ("subnetworks=6", "units=5", "samples=120", "search.iterations=3", "bootstrap=false")
             for part in ("--set", s)]  # fmt: skip
    run_mpi(2, script, "digits", *small, "--output", tmp_path / "a", runner=("-m", "mpi4py"), timeout=200).check()
    run_mpi(1, "-m", "varpro.cli.train", "digits", *small, "--output", tmp_path / "b", runner=(), timeout=200).check()
    two, one = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in "ab")
    assert {part["rank"] for part in two["subnetworks"]} == {0}
    assert two["left_out"] == []
    assert [part["cost"] for part in two["subnetworks"]] == [part["cost"] for part in one["subnetworks"]]
