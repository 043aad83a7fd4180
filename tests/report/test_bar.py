"""The progress bar of fits: on a terminal or in a notebook only, and only for what takes time."""

import io
import sys
import types

import numpy as np
import pytest

import varpro
from varpro.report import bar
from varpro.report.bar import Bar, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)


def test_a_terminal_sees_the_share_and_the_time_left(monkeypatch):
    monkeypatch.setattr(bar, "PATIENCE", 0.0)
    monkeypatch.setattr(bar, "EVERY", 0.0)
    stream = Terminal()
    with progress_bar(True, 4, "fits", stream) as advance:
        for _ in range(4):
            advance(1)
    lines = stream.getvalue().split("\r")
    assert "1/4" in lines[1]
    assert "left" in lines[1]
    assert "4/4" in lines[-1]
    assert lines[-1].endswith("\n")


def test_short_work_stays_quiet():
    stream = Terminal()
    with progress_bar(True, 4, "fits", stream) as advance:
        advance(4)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("progress", [None, False])
def test_nobody_is_told_unless_asked(progress):
    with progress_bar(progress, 4, "fits", Terminal()) as advance:
        assert advance is None


def test_a_file_sees_nothing_and_a_notebook_something(monkeypatch):
    with progress_bar(True, 4, "fits", io.StringIO()) as advance:
        assert advance is None
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    with progress_bar(True, 4, "fits", io.StringIO()) as advance:
        assert isinstance(advance.__self__, Bar)


def test_tqdm_draws_where_it_is_installed(monkeypatch):
    made = {}

    class Stand:
        def __init__(self, **options):
            made.update(options, done=0)

        def update(self, n=1):
            made["done"] += n

        def close(self):
            made["closed"] = True

    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=Stand))
    with progress_bar(True, 7, "starts", Terminal()) as advance:
        advance(3)
    assert (made["total"], made["desc"], made["done"], made["closed"]) == (7, "starts", 3, True)


def test_fits_starts_and_batches_tell_how_many():
    t = np.linspace(0.0, 5.0, 40)
    y = 2.0 * np.exp(-t / 1.5) + 0.01 * np.cos(50 * t)
    told = []
    varpro.fit(varpro.models.Exponentials(1), t, y, multistart=6, progress=told.append)
    assert sum(told) == 7
    told.clear()
    varpro.fit_batch(varpro.models.Exponentials(1), t, np.tile(y, (5, 1)), progress=told.append)
    assert sum(told) == 5
