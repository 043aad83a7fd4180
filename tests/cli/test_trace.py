"""--trace: one file for all ranks, in Chrome's format, whose spans nest and agree with metrics.json."""

import json
import os
import stat
import subprocess

import pytest

from tests.mpi import run_mpi
from tests.report.example import blank_plots
from varpro.cli import train
from varpro.distributed import SerialCommunicator
from varpro.errors import OutputError
from varpro.report.progress import Display
from varpro.report.trace import Traced
from varpro.train.checkpoint import states

SMALL = [
    "subnetworks=4", "units=5", "samples=120", "search.iterations=3", "refine.iterations=2", "refine.first_rows=300",
    "glue.block_rows=200",
]  # fmt: skip
RUN = ["digits", "--quiet", *(part for setting in SMALL for part in ("--set", setting))]
MICROSECOND = 1e-6


def read(path):
    """The complete events, with times in seconds."""
    content = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    for event in content["traceEvents"]:
        assert event["ph"] in "MX"
        assert {"name", "pid", "tid", "args"} <= event.keys()
    return [
        {**event, "begin": event["ts"] * MICROSECOND, "end": (event["ts"] + event["dur"]) * MICROSECOND}
        for event in content["traceEvents"]
        if event["ph"] == "X"
    ]


def named(events, kind, rank=0):
    return [event for event in events if event["cat"] == kind and event["pid"] == rank]


def require_nested(events):
    """Spans of one thread are apart or within each other; those of all threads lie in the phases of their rank."""
    slack = 5e-3  # starts are read from a clock of the system, durations from a monotonic one
    for rank, thread in {(event["pid"], event["tid"]) for event in events}:
        own = sorted(
            (e for e in events if (e["pid"], e["tid"]) == (rank, thread)), key=lambda e: (e["begin"], -e["end"])
        )
        outer = []
        for event in own:
            while outer and outer[-1]["end"] <= event["begin"] + slack:
                outer.pop()
            assert not outer or event["end"] <= outer[-1]["end"] + slack, (event, outer[-1])
            outer.append(event)
    for event in events:
        if event["cat"] == "sub-network":
            phases = named(events, "phase", event["pid"])
            around = [p for p in phases if p["begin"] - slack <= event["begin"] and event["end"] <= p["end"] + slack]
            assert [phase["name"] for phase in around][-1:] == ["training: sub-networks"]


@pytest.mark.parametrize("ranks", [1, 2])
def test_spans_nest_and_agree_with_the_metrics(tmp_path, ranks):
    arguments = [*RUN, "--output", tmp_path / "run", "--trace", tmp_path / "trace.json"]
    run_mpi(ranks, "-m", "varpro.cli.train", *arguments, timeout=200).check()
    events, metrics = read(tmp_path / "trace.json"), json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {event["pid"] for event in events} == set(range(ranks))
    assert min(event["ts"] for event in events) == 0.0
    require_nested(events)
    trained = {event["name"]: event for event in events if event["cat"] == "sub-network"}
    assert len(trained) == 4
    for part in metrics["subnetworks"]:
        event = trained[f"sub-network {part['index']}"]
        assert event["pid"] == part["rank"]
        assert event["end"] - event["begin"] == pytest.approx(part["seconds"], abs=2 * MICROSECOND)
        assert event["tid"] > 0
    phases = {event["name"]: event["end"] - event["begin"] for event in named(events, "phase")}
    assert list(phases)[:2] == ["read data", "training: sub-networks"]
    assert list(phases)[-1] == "write results"
    seconds = metrics["seconds"]
    whole = sum(phases.values())
    assert abs(phases["training: sub-networks"] - seconds["subnetworks"]) < 0.1 * whole
    assert abs(phases["control: untrained units"] - seconds["control"]) < 0.2 * whole
    kept = [event for event in named(events, "checkpoint") if "subnetwork" in event["name"]]
    assert len(kept) == 4
    writing = sum(event["end"] - event["begin"] for event in events if event["cat"] == "checkpoint")
    assert 0 < writing <= metrics["checkpoint"]["seconds"] + 2 * MICROSECOND * len(events)
    for rank in range(ranks):
        assert "training: gluing" in {event["name"] for event in named(events, "phase", rank)}


def test_a_run_that_is_stopped_leaves_its_trace(tmp_path, monkeypatch):
    monkeypatch.setattr("varpro.report.outputs.draw_scalarized", lambda record: blank_plots())
    monkeypatch.setattr("varpro.train.scalarized.trainer.measured_gemm_gflops", lambda dtype: 1.0)
    monkeypatch.setattr(states.Kept, "asked", lambda self: "enough")
    folder = tmp_path / "run"
    assert train.main([*RUN, "--output", str(folder), "--trace", str(tmp_path / "trace.json")]) == 75
    events = read(tmp_path / "trace.json")
    assert [event["name"] for event in named(events, "phase")][-1] == "training: sub-networks"
    assert not list(tmp_path.glob(".*.part"))


def test_every_call_reaches_the_display_behind():
    from tests.report.test_status import Heard

    heard = Heard()
    with Traced(heard, SerialCommunicator()) as traced:
        traced.phase("a", 3)
        traced.advance(0.5, 2)
        traced.close()
        traced.close()
    assert heard.calls == [("a", 3), (0.5, 2)]
    assert [event["name"] for event in traced.events] == ["a"]


def test_a_link_stays_one_and_a_pipe_is_written_to(tmp_path):
    traced = Traced(Display(), SerialCommunicator())
    (tmp_path / "link").symlink_to(tmp_path / "file")
    traced.write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert read(tmp_path / "file") == []
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    traced.write(tmp_path / "pipe")
    assert json.loads(reader.communicate(timeout=20)[0])["traceEvents"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_pipe_that_nobody_reads_and_impossible_targets_are_told(capsys, tmp_path):
    traced = Traced(Display(), SerialCommunicator())
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="pipe cannot be written"):
        traced.write(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone" / "t.json")
    wrong = [("loop", "link to itself"), ("dangling", "is no folder; make it"), (".", "is a folder; name a file")]
    for name, words in (*wrong, ("gone/t.json", "is no folder; make it")):
        assert train.main([*RUN, "--output", str(tmp_path / "run"), "--trace", str(tmp_path / name)]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
