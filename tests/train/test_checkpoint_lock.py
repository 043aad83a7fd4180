"""One run for each folder; a dead owner's lock is taken over."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict

import pytest

from varpro.errors import ConfigError, OutputError
from varpro.train.checkpoint import lock as locks
from varpro.train.checkpoint.lock import DEAD_SECONDS, NAME, FolderLock, Owner, start_of
from varpro.train.checkpoint.stop import Stop, seconds_of


def write_lock(folder, owner):
    (folder / NAME).write_text(json.dumps(asdict(owner)))


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid


def test_the_second_is_refused_with_the_owner_and_the_host(tmp_path):
    first = FolderLock(tmp_path)
    first.take()
    with pytest.raises(OutputError, match=rf"process {os.getpid()} on {socket.gethostname()}"):
        FolderLock(tmp_path).take()
    first.give_back()
    assert list(tmp_path.iterdir()) == []
    again = FolderLock(tmp_path)
    again.take()
    assert again.took_over is None
    again.give_back()


@pytest.mark.parametrize("case", ["ended", "number of another", "other machine"])
def test_a_dead_owners_lock_is_taken_over(tmp_path, case):
    here = Owner.this()
    dead = {
        "ended": Owner(here.host, ended_process(), "5 boot"),
        "number of another": Owner(here.host, here.pid, "1 another boot"),
        "other machine": Owner("elsewhere", 1, "1 boot"),
    }[case]
    write_lock(tmp_path, dead)
    if case == "other machine":
        old = time.time() - DEAD_SECONDS - 1
        os.utime(tmp_path / NAME, (old, old))
    lock = FolderLock(tmp_path)
    lock.take()
    assert lock.took_over == dead
    assert Owner.of(tmp_path / NAME) == here
    lock.give_back()


def test_an_owner_elsewhere_that_was_heard_of_lately_lives(tmp_path):
    write_lock(tmp_path, Owner("elsewhere", 1, "1 boot", "4711"))
    with pytest.raises(OutputError, match="process 1 on elsewhere, job 4711"):
        FolderLock(tmp_path).take()


def test_of_many_that_find_a_dead_lock_one_gets_it(tmp_path):
    write_lock(tmp_path, Owner(socket.gethostname(), ended_process(), "5 boot"))
    start, won, refused = threading.Barrier(8), [], []

    def run(number):
        lock = FolderLock(tmp_path)
        lock.owner = Owner(lock.owner.host, lock.owner.pid, lock.owner.start, str(number))
        lock.path = tmp_path / NAME
        start.wait()
        try:
            lock.take()
            won.append(lock)
        except OutputError:
            refused.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 7)
    won[0].give_back()


def test_an_owner_touches_its_lock_while_it_holds_it_and_not_after(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.01)
    lock = FolderLock(tmp_path)
    lock.take()
    os.utime(tmp_path / NAME, (5.0, 5.0))
    until = time.monotonic() + 30.0
    while (tmp_path / NAME).stat().st_mtime == 5.0:
        assert time.monotonic() < until, "nobody touches the lock"
        time.sleep(0.01)
    lock.give_back()
    write_lock(tmp_path, Owner("elsewhere", 1, "1 boot"))
    os.utime(tmp_path / NAME, (5.0, 5.0))
    time.sleep(0.1)
    assert (tmp_path / NAME).stat().st_mtime == 5.0


def test_a_lock_that_another_has_taken_is_told_and_left_alone(tmp_path):
    lock = FolderLock(tmp_path)
    lock.take()
    lock.require()
    write_lock(tmp_path, Owner("elsewhere", 1, "1 boot"))
    with pytest.raises(OutputError, match="was taken over by process 1 on elsewhere; this process ends"):
        lock.require()
    lock.give_back()
    assert Owner.of(tmp_path / NAME) == Owner("elsewhere", 1, "1 boot")


def test_what_killed_processes_have_left_is_removed_but_not_what_is_being_made_or_the_users(tmp_path):
    for name in (".varpro-1", ".status.json.7", ".model.h5.9.part", f".{NAME}.old", f".{NAME}.young", ".mine", "a"):
        (tmp_path / name).write_text("x")
    os.utime(tmp_path / f".{NAME}.old", (5.0, 5.0))
    lock = FolderLock(tmp_path)
    lock.take()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".mine", f".{NAME}.young", "a", NAME])
    lock.give_back()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"host": "x", "pid": "no", "start": ""}', b"\xff"])
def test_a_lock_that_cannot_be_read_names_nobody_and_is_taken_once_it_is_old(tmp_path, content):
    assert Owner.read(content) is None
    (tmp_path / NAME).write_bytes(content)
    os.utime(tmp_path / NAME, (5.0, 5.0))
    lock = FolderLock(tmp_path)
    lock.take()
    assert lock.took_over is None
    assert Owner.of(tmp_path / NAME) == lock.owner
    lock.give_back()


@pytest.mark.parametrize("name", ["SLURM_JOB_ID", "PBS_JOBID"])
def test_an_owner_knows_its_job(monkeypatch, name):
    for other in ("SLURM_JOB_ID", "PBS_JOBID"):
        monkeypatch.delenv(other, raising=False)
    assert Owner.this().job == ""
    assert "job" not in str(Owner.this())
    monkeypatch.setenv(name, "4711")
    assert str(Owner.this()) == f"process {os.getpid()} on {socket.gethostname()}, job 4711"


def test_a_process_that_has_ended_has_no_start():
    assert start_of(os.getpid())
    assert start_of(ended_process()) == ""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("11h30m", 41400), ("90m", 5400), ("45s", 45), ("45", 45), ("1d2h", 93600), ("2-01:00:00", 176400),
     ("00:10:30", 630), ("1.5h", 5400), (" 3 min ", 180)],
)  # fmt: skip
def test_durations(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "soon", "5x", "0", "-3m", "11:30", "3m x"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ConfigError, match="--max-time"):
        seconds_of(text)


def test_a_limit_counts_the_longest_part_so_that_none_begins_that_would_pass_it():
    stop = Stop(time.monotonic() + 1000.0)
    assert stop.reason() == ""
    stop.last -= 2000.0
    assert stop.reason() == "--max-time"
    stop.begin_phase()
    assert stop.reason() == ""
