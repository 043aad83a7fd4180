"""What a run says of itself while it runs, and what its page says of failures, checkpoints and ranks."""

import dataclasses
import json

import pytest

from tests.report.example import example_metrics, example_record
from varpro.cli._status import describe
from varpro.errors import OutputError
from varpro.report.progress import Display
from varpro.report.scalarized_page import _conduct
from varpro.report.scalarized_plots import draw_ranks
from varpro.report.status import FINISHED, HISTORY, STATUS, Watched, read_status

FACTS = {"ranks": 4, "threads": 2, "host": "node7", "pid": 12, "continued": False, "run": "abc"}


class Heard(Display):
    """Remembers every call."""

    def __init__(self):
        self.calls = []

    def phase(self, name, total):
        self.calls.append((name, total))

    def advance(self, cost=None, n=1):
        self.calls.append((cost, n))


def test_status_and_history_are_there_while_the_run_goes_on(tmp_path):
    shown = Heard()
    with Watched(shown, tmp_path, FACTS) as watched:
        assert read_status(tmp_path)["state"] == "running"
        watched.phase("training: sub-networks", 9)
        watched.advance(cost=0.25)
        watched.line({"phase": "train", "cost": float("inf"), "subnetwork": 3})
        status = read_status(tmp_path)
        assert (status["phase"], status["total"], status["host"]) == ("training: sub-networks", 9, "node7")
        assert json.loads((tmp_path / HISTORY).read_text()) == {"phase": "train", "cost": None, "subnetwork": 3}
        watched.phase("training: gluing", 1)
        assert [phase["phase"] for phase in watched.timeline()] == ["training: sub-networks", "training: gluing"]
        assert all(phase["seconds"] >= 0 for phase in watched.timeline())
        watched.end(FINISHED, "")
    assert read_status(tmp_path)["state"] == FINISHED
    assert shown.calls == [("training: sub-networks", 9), (0.25, 1), ("training: gluing", 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [HISTORY, STATUS]


def test_a_folder_that_goes_away_is_named(tmp_path):
    with pytest.raises(OutputError, match="gone cannot be written"), Watched(Display(), tmp_path / "gone", FACTS):
        pass


def test_a_status_that_cannot_be_read_is_none(tmp_path):
    assert read_status(tmp_path) is None
    (tmp_path / STATUS).write_text("{")
    assert read_status(tmp_path) is None


def test_the_time_left_is_that_of_the_phase(tmp_path):
    found = FACTS | {
        "state": "running", "phase": "training: sub-networks", "done": 25, "total": 100, "cost": 3.25, "began": 1000.0,
        "phase_began": 1100.0, "heartbeat": 1400.0,
    }  # fmt: skip
    text = describe(found, tmp_path, 1403.0)
    assert "training: sub-networks, 25 of 100" in text
    assert "15 min to the end of this phase" in text
    assert "3 s ago" in text
    assert "4 x 2 threads, rank 0 is 12 on node7" in text


def test_the_page_tells_failures_checkpoints_and_waiting():
    metrics = example_metrics()
    metrics["left_out"] = [{"index": 5, "reason": "MemoryError: no room"}]
    facts = dict(_conduct(metrics))
    assert facts["sub-networks left out"] == "1: number 5 (MemoryError: no room)"
    assert facts["checkpoints"] == "3.4 MB, 1.0 % of the time, 2 states taken up"
    assert facts["between ranks"] == "at most 5 MB a rank, 0.5 s of waiting"


def test_the_timeline_shows_the_phases_behind_the_ranks():
    record = example_record()
    phases = [{"phase": "training: gluing", "start": 4.0, "seconds": 2.5}]
    plain, timed = draw_ranks(record), draw_ranks(dataclasses.replace(record, timeline=phases))
    assert len(timed.axes[0].patches) == len(plain.axes[0].patches) + 1
    assert timed.axes[0].patches[-1].get_label() == "training: gluing"
    assert [text.get_text() for text in timed.legends[0].get_texts()] == ["training: gluing"]
