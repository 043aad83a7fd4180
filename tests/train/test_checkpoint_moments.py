"""When a state is written, what is left in the folder, and how a run ends that was asked to."""

import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest

from varpro.distributed import Paused
from varpro.distributed.communicator import SerialCommunicator
from varpro.errors import OutputError
from varpro.train.checkpoint import Checkpoint, Kept, State, states
from varpro.train.checkpoint import stop as stopping
from varpro.train.checkpoint.identity import Identity
from varpro.train.checkpoint.stop import Stop

IDENTITY = Identity("1", {"seed": 3}, "data")
SMALL, LARGE = (State({"n": n}, {"w": np.zeros(n)}) for n in (3, 200_000))


@pytest.fixture
def clock(monkeypatch):
    """A clock that is put forward by hand; writing takes 0.5 s for a small state and 2 s for a large one."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(states.time, "perf_counter", lambda: now.seconds)
    write = states.write_state

    def slow(path, state):
        now.seconds += 2.0 if state.size > states.LARGE else 0.5
        return write(path, state)

    monkeypatch.setattr(states, "write_state", slow)
    return now


@pytest.fixture
def kept(tmp_path, clock):
    made = Kept(tmp_path, SerialCommunicator(), Stop())
    assert made.begin(IDENTITY, resume=False) is False
    return made


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_state_is_written_when_a_hundred_times_the_time_of_writing_it_has_passed(kept, clock):
    made = []

    def make():
        made.append(clock.seconds)
        return SMALL

    written = clock.seconds  # the state that says whose run it is took 0.5 s
    for wait, expected in ((0.0, 0), (49.9, 0), (50.5, 1), (50.6, 1)):
        clock.seconds = written + wait
        kept.moment("search", 24, make)
        assert len(made) == expected
    clock.seconds = made[0] + 0.5 + 50.5
    kept.moment("search", 24, make)
    assert len(made) == 2
    kept.begin_phase()
    clock.seconds += 49.0
    kept.moment("search", 24, make)
    assert len(made) == 2


def test_what_a_large_state_takes_is_learnt_from_the_last_one(kept, clock):
    kept.save("large", LARGE)  # 1.6 MB in 2 s
    last, made = clock.seconds, []
    for wait, expected in ((240.0, 0), (252.0, 1)):  # 100 times (0.5 s and the time of as many bytes again)
        clock.seconds = last + wait
        kept.moment("large", 1_600_000, lambda: made.append(1))
        assert len(made) == expected


def test_nothing_to_keep_is_not_kept(kept, clock):
    clock.seconds += 1e6
    kept.moment("search", 0, lambda: None)
    assert files(kept.folder) == ["run.ckpt"]


def test_what_was_written_and_read_is_counted(kept):
    before = kept.account()
    assert before["seconds"] == pytest.approx(0.5)
    kept.save("a-0", SMALL)
    kept.save("a-2", SMALL)
    kept.save("b", LARGE)
    after = kept.account()
    assert after["seconds"] == pytest.approx(3.5)
    assert 1_600_048 <= after["bytes"] - before["bytes"] < 1_602_000
    assert after["restored"] == 0
    assert sorted(kept.load_numbered("a", 3)) == [0, 2]
    assert list(kept.load_numbered("a", 2)) == [0]
    assert kept.load("b").values == {"n": 200_000}
    assert kept.load("c") is None
    assert kept.account()["restored"] == 4


def test_each_write_is_told_with_its_name_and_seconds(kept):
    told = []
    kept.told = lambda *span: told.append(span)
    kept.save("a", SMALL)
    name, start, seconds, kind = told[0]
    assert (name, kind) == ("keep a", "checkpoint")
    assert seconds == pytest.approx(0.5)
    assert abs(start - time.time()) < 100


def test_a_lock_that_was_lost_keeps_a_state_from_being_written(kept):
    def lost():
        raise OutputError("taken over")

    kept.require_lock = lost
    with pytest.raises(OutputError, match="taken over"):
        kept.save("a", SMALL)
    assert files(kept.folder) == ["run.ckpt"]


def test_ending_a_run_removes_its_states_and_nothing_of_the_users(kept):
    assert kept.is_empty
    kept.save("a", SMALL)
    assert not kept.is_empty
    kept.forget("a")
    kept.forget("never there")
    assert kept.is_empty
    kept.save("a", SMALL)
    (kept.folder / ".a.ckpt.1.part").write_text("cut off")
    (kept.folder / "notes.txt").write_text("mine")
    kept.clear()
    assert files(kept.folder) == ["notes.txt"]
    (kept.folder / "notes.txt").unlink()
    kept.clear()
    assert not kept.folder.exists()
    kept.clear()


def test_a_run_is_taken_up_by_its_own_continuation_and_given_up_by_another(kept, tmp_path):
    kept.save("a", SMALL)
    again = Kept(tmp_path, SerialCommunicator(), Stop())
    (kept.folder / ".b.ckpt.1.part").write_text("cut off")
    assert again.begin(IDENTITY, resume=True) is True
    assert files(kept.folder) == ["a.ckpt", "run.ckpt"]
    with pytest.raises(OutputError, match="belongs to another run: seed is 4 now and was 3; choose another --output"):
        again.begin(Identity("1", {"seed": 4}, "data"), resume=True)
    assert again.begin(Identity("1", {"seed": 4}, "data"), resume=False) is False
    assert files(kept.folder) == ["run.ckpt"]


def test_a_run_that_is_asked_to_stop_keeps_its_state_first(kept, tmp_path):
    kept.stop.signalled = "SIGTERM"
    with pytest.raises(Paused) as told:
        kept.moment("search", 0, lambda: SMALL)
    assert told.value.words == f"stopped by SIGTERM; what is done is in {tmp_path}: continue with --resume"
    assert kept.load("search").values == {"n": 3}
    assert str(tmp_path) in kept.asked()
    kept.stop.signalled = ""
    assert kept.asked() == ""


def test_a_run_that_keeps_nothing_says_so():
    nothing = Checkpoint()
    nothing.save("a", SMALL)
    nothing.moment("a", 1, lambda: pytest.fail("it was asked for a state"))
    assert (nothing.load("a"), nothing.load_on_first("a"), nothing.load_numbered("a", 3)) == (None, None, {})
    assert nothing.account() == {"seconds": 0.0, "bytes": 0, "restored": 0}
    assert nothing.asked() == ""


@pytest.fixture
def monotonic(monkeypatch):
    now = SimpleNamespace(seconds=10.0)
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now.seconds)
    return now


def test_a_part_that_would_pass_the_limit_is_not_begun_and_long_parts_are_forgotten_slowly(monotonic):
    stop = Stop(deadline=100.0, last=10.0)
    for seconds, longest, reason in (
        (40.0, 30.0, ""), (41.0, 24.0, ""), (66.0, 25.0, ""), (79.0, 20.0, ""), (80.5, 16.0, ""),
        (90.0, 12.8, "--max-time"),
    ):  # fmt: skip
        monotonic.seconds = seconds
        assert stop.reason() == reason
        assert stop.longest == pytest.approx(longest)
    stop.begin_phase()
    assert stop.reason() == ""
    monotonic.seconds = 100.1
    assert stop.reason_at_once() == "--max-time"


def test_before_its_first_part_a_run_may_use_all_of_its_time(monotonic):
    stop = Stop(deadline=10.5)
    assert stop.reason_at_once() == ""
    monotonic.seconds = 10.6
    assert stop.reason_at_once() == "--max-time"
    assert Stop().reason() == ""


def test_the_first_signal_is_noted_and_the_old_handlers_come_back():
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGTERM)
    with Stop().listening() as stop:
        assert stop.reason() == ""
        signal.raise_signal(signal.SIGUSR1)
        assert stop.reason() == stop.reason_at_once() == "SIGUSR1"
        signal.raise_signal(signal.SIGTERM)
        assert stop.reason() == "SIGUSR1"
    assert (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGTERM)) == before
