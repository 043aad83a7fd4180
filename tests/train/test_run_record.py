"""What a run tells of itself: progress that reaches its totals, a history, and numbers that fit one another."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.train.small_run import N_CLASSES, config_of, dataset
from varpro.distributed.communicator import SerialCommunicator, Traffic
from varpro.report.progress import Display
from varpro.train.data.prepared import Prepared
from varpro.train.scalarized import record as records
from varpro.train.scalarized import subnetworks, trainer
from varpro.train.scalarized.trainer import train

EVERYTHING = {
    "control": True,
    "bootstrap": {"variant": "argmax", "rounds": 2},
    "refine": {"iterations": 2, "first_rows": 80},
}


class Counting(Display):
    """Phases with their totals, what was done in each, and the lines of the history."""

    def __init__(self):
        self.phases, self.lines = [], []

    def phase(self, name, total):
        self.phases.append([name, total, 0])

    def advance(self, cost=None, n=1):
        self.phases[-1][2] += n

    def line(self, line):
        self.lines.append(line)

    def timeline(self):
        return [{"phase": name, "start": 50.0 + i, "seconds": 0.5} for i, (name, *_) in enumerate(self.phases)]


@pytest.fixture(scope="module")
def told():
    """A run with every phase, with the display that it told."""
    display = Counting()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "measured_gemm_gflops", lambda dtype: 2.5)
        found = train(Prepared.of(config_of(**EVERYTHING), dataset()), SerialCommunicator(), display=display)
    return found[0], found[1], display


def test_every_phase_gets_to_its_end_and_no_further(told):
    display = told[2]
    assert [(name, total) for name, total, _ in display.phases] == [
        ("training: sub-networks", 2), ("training: refinement", 2), ("training: gluing", 1),
        ("control: untrained units", 1),
        ("bootstrapping: sub-networks", 2), ("bootstrapping: refinement", 2), ("bootstrapping: gluing", 1),
        ("bootstrapping.2: sub-networks", 2), ("bootstrapping.2: refinement", 2), ("bootstrapping.2: gluing", 1),
    ]  # fmt: skip
    for _, total, done in display.phases:
        assert done == total


def test_a_bootstrap_of_the_linear_layer_gets_to_its_end_too(monkeypatch):
    monkeypatch.setattr(trainer, "measured_gemm_gflops", lambda dtype: 1.0)
    display = Counting()
    train(Prepared.of(config_of(bootstrap="linear"), dataset()), SerialCommunicator(), display=display)
    assert display.phases[-1] == ["bootstrapping: gluing", 1, 1]


def test_the_history_of_the_record_is_what_was_told_on_the_way(told):
    record, _, display = told
    phases = [line["phase"] for line in record.history]
    assert set(phases) == {"train", "refine", "bootstrap", "bootstrap-refine"}
    of_training = [line for line in display.lines if line["phase"] in ("train", "refine")]
    assert record.history[: len(of_training)] == of_training
    for index in (0, 1):
        lines = [line for line in record.history if line["phase"] == "train" and line["subnetwork"] == index]
        assert [line["status"] for line in lines[:-1]] == ["running"] * (len(lines) - 1)
        assert lines[-1]["status"] == record.metrics["subnetworks"][index]["status"] != "running"
        assert lines[-1]["cost"] == record.metrics["subnetworks"][index]["cost"]


def test_the_metrics_fit_the_network_and_one_another(told):
    record, network, _ = told
    metrics = record.metrics
    assert metrics["parameters"] == {"nonlinear": len(network.w), "linear": network.a.size}
    assert metrics["parameters"]["linear"] == (network.units.count + 1) * N_CLASSES
    assert metrics["refine"]["iterations"] == 2
    assert metrics["refine"]["best_iteration"] in (1, 2)
    assert metrics["refine"]["test_accuracy"] == metrics["test"]["accuracy"]
    assert metrics["work"]["gemm_gflops_measured"] == 2.5
    assert metrics["work"]["gflop"] > 0
    assert metrics["left_out"] == []
    assert (metrics["ranks"], metrics["threads_per_rank"] >= 1, metrics["seed"]) == (1, True, 7)
    assert (metrics["backend"], metrics["device"]) == ("cpu", None)
    assert metrics["glue"]["rank"] == network.units.count + 1
    assert 0 <= metrics["scheduling"]["share"] < 1
    assert record.rank_seconds == pytest.approx([sum(part["seconds"] for part in metrics["subnetworks"])])
    assert metrics["control"]["seconds"] == metrics["seconds"]["control"] > 0
    assert [line["rank"] for line in metrics["traffic"]] == [0]
    assert metrics["traffic"][0]["queue_seconds"] >= 0
    assert metrics["checkpoint"] == {"seconds": 0.0, "bytes": 0, "restored": 0, "share": 0.0}


def test_without_a_refinement_or_a_control_their_numbers_are_none():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "measured_gemm_gflops", lambda dtype: 1.0)
        metrics = train(Prepared.of(config_of(), dataset()), SerialCommunicator(), display=Display())[0].metrics
    assert metrics["refine"] == {"iterations": 0, "best_iteration": 0, "products": 0, "test_accuracy": None}
    assert metrics["control"] == {"test_accuracy": None}
    assert metrics["seconds"]["control"] == 0.0
    assert set(metrics["bootstrap"].values()) == {None}


def test_times_count_from_the_first_sub_network(told):
    record, _, display = told
    starts = [part["start"] for part in record.partition]
    assert min(starts) == 0.0
    assert [part["index"] for part in record.partition] == [0, 1]
    assert {(part["units"], part["samples"], part["rank"]) for part in record.partition} == {(5, 61, 0)}
    gaps = np.diff([phase["start"] for phase in record.timeline])
    np.testing.assert_allclose(gaps, 1.0, atol=1e-6)
    assert len(record.timeline) == len(display.phases)


def test_a_timeline_without_sub_networks_counts_from_its_first_phase():
    cycle = SimpleNamespace(trained=[])
    phases = [{"phase": "a", "start": 7.0, "seconds": 1.0}, {"phase": "b", "start": 9.5, "seconds": 1.0}]
    assert [phase["start"] for phase in records._timeline(cycle, phases)] == [0.0, 2.5]
    assert records._timeline(cycle, []) == []


def test_the_time_of_a_rank_that_is_no_longer_there_is_counted():
    trained = [SimpleNamespace(seconds=seconds) for seconds in (1.0, 2.0, 4.0)]
    cycle = SimpleNamespace(trained=trained, task_ranks=[0, 3, 0])
    np.testing.assert_array_equal(records._rank_seconds(cycle, 2), [5.0, 0.0, 0.0, 2.0])
    np.testing.assert_array_equal(records._rank_seconds(cycle, 5), [5.0, 0.0, 0.0, 2.0, 0.0])


def test_the_share_of_scheduling_is_of_all_threads_of_all_ranks():
    found = SimpleNamespace(traffic=[Traffic(), Traffic()], seconds={"subnetworks": 10.0}, bootstrap_cycle=None)
    found.traffic[0].idle_seconds, found.traffic[1].queue_seconds = 3.0, 1.0
    assert records._scheduling(found, 4) == {"seconds": 4.0, "share": 4.0 / 80.0}
    found.bootstrap_cycle = SimpleNamespace(seconds={"subnetworks": 15.0})  # the queue hands out its sub-networks, too
    assert records._scheduling(found, 4)["share"] == 4.0 / 200.0
    found.seconds["subnetworks"] = found.bootstrap_cycle.seconds["subnetworks"] = 0.0
    assert records._scheduling(found, 4)["share"] == 0.0


def test_the_rate_of_products_is_their_arithmetic_over_the_best_time(monkeypatch):
    ticks = iter([0.0, 4.0, 10.0, 11.0, 20.0, 22.0])
    monkeypatch.setattr(subnetworks.time, "perf_counter", lambda: next(ticks))
    assert subnetworks.measured_gemm_gflops("float32", size=10, repeats=3) == pytest.approx(2e-9 * 10**3 / 1.0)
