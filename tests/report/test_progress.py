"""The progress display: a bar on a terminal, plain lines elsewhere, nothing when quiet or on other ranks."""

import io
import itertools
import re

import pytest

from varpro.report import progress
from varpro.report.progress import Display, LineDisplay, LiveDisplay, make_display


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets: clock[0] in seconds."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def use(display):
    with display:
        display.phase("training", 3)
        for cost in (30.0, None, 10.0):
            display.advance(cost=cost)
        display.message("a word")


@pytest.mark.parametrize(("quiet", "first_rank"), [(True, True), (True, False), (False, False)])
def test_silent_when_quiet_and_on_other_ranks(quiet, first_rank, capsys):
    for stream in (io.StringIO(), Terminal()):
        display = make_display(quiet=quiet, first_rank=first_rank, stream=stream)
        assert type(display) is Display
        use(display)
        assert stream.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_plain_lines_where_there_is_no_terminal(clock):
    stream = io.StringIO()
    display = make_display(quiet=False, first_rank=True, stream=stream)
    assert type(display) is LineDisplay
    use(display)
    assert stream.getvalue().splitlines() == [
        "[    0.0 s] training ...",
        "[    0.0 s] training 3/3, cost 10, 0.0 s",
        "[    0.0 s] a word",
    ]


def test_standard_error_is_the_stream_when_none_is_given(capsys):
    use(make_display(quiet=False, first_rank=True))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "training 3/3" in shown.err


def test_plain_lines_come_seldom_and_tell_what_is_left(clock):
    stream = io.StringIO()
    display = LineDisplay(stream)
    display.phase("training", 100)
    for done in range(1, 41):
        clock[0] = 1.0 * done
        display.advance(cost=500.0 / done)
    lines = stream.getvalue().splitlines()[1:]
    assert len(lines) == 4
    assert lines[0] == "[   10.0 s] training 10/100, cost 50, ETA 90 s"
    assert lines[-1].endswith("training 40/100, cost 12.5, ETA 60 s")


def test_a_new_phase_begins_at_nothing(clock):
    stream = io.StringIO()
    display = LineDisplay(stream)
    for name, begin in (("one", 0.0), ("two", 50.0)):
        clock[0] = begin
        display.phase(name, 1)
        clock[0] += 2.5
        display.advance()
    assert stream.getvalue().splitlines()[-1] == "[   52.5 s] two 1/1, 2.5 s"


def test_a_refused_step_advances_nothing(clock):
    stream = io.StringIO()
    display = LineDisplay(stream)
    display.phase("refinement", 2)
    for clock[0] in itertools.islice(itertools.count(20.0, 20.0), 3):
        display.advance(cost=1.0, n=0)
    assert len(stream.getvalue().splitlines()) == 1
    display.advance(cost=1.0, n=2)
    assert "refinement 2/2" in stream.getvalue()


def test_plain_lines_hold_no_control_characters():
    stream = io.StringIO()
    use(make_display(quiet=False, first_rank=True, stream=stream))
    assert re.fullmatch(r"[ -~\n]*", stream.getvalue())


def test_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    display = make_display(quiet=False, first_rank=True, stream=stream)
    assert type(display) is LiveDisplay
    use(display)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "training" in text
    assert "3/3" in text
    assert "cost 10" in text
    assert "a word" in text


@pytest.mark.parametrize("kind", [LineDisplay, LiveDisplay])
def test_a_message_is_shown_as_it_is(kind):
    stream = Terminal()
    with kind(stream) as display:
        display.message("[bold] of [/path] stays")
    assert "[bold] of [/path] stays" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())


def test_the_bar_is_taken_down_when_a_run_fails():
    stream = Terminal()
    display = LiveDisplay(stream)

    def fail():
        with display:
            display.phase("training", 2)
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert not display.progress.live.is_started
