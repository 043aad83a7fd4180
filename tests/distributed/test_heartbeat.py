"""A machine that answers no more ends the run: shown by connections, and on hosts that are network namespaces."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.distributed.hosts import hosts
from tests.mpi import find_mpirun
from varpro.cli import train
from varpro.distributed import heartbeat
from varpro.distributed.heartbeat import GOODBYE, Heartbeats, own_addresses, silent_seconds
from varpro.distributed.launch import own_launcher

RUN = [
    "digits", "--quiet",
    *(part for setting in ("subnetworks=12", "units=5", "samples=150", "search.iterations=6", "reproducible=true",
                           "refine.enabled=false", "bootstrap=false", "control=false")
      for part in ("--set", setting)),
]  # fmt: skip


@pytest.fixture
def pair(monkeypatch):
    """Rank 0 and rank 3, whose connections are minded by their threads, and the ranks that each has lost."""
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.02)
    found = {0: [], 3: []}
    first = Heartbeats(0.5, lambda name, seconds: found[0].append(name))
    third = Heartbeats(0.5, lambda name, seconds: found[3].append(name))
    third.join(first.listen(), 3)
    assert until(lambda: first.peers and third.peers)
    yield first, third, found
    first.close()
    third.close()


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())


def test_who_beats_is_not_lost_and_a_goodbye_ends_the_watch(pair):
    first, third, lost = pair
    time.sleep(1.2)  # more than twice the silence that counts
    assert lost == {0: [], 3: []}
    third.close()
    assert until(lambda: not first.peers)
    time.sleep(0.7)
    assert lost[0] == []


def test_silence_is_told_with_rank_and_host(pair, monkeypatch):
    _, third, lost = pair
    monkeypatch.setattr(third, "_beat", lambda peer, passed: None)
    assert until(lambda: lost[0])
    assert lost[0] == [f"rank 3 on {socket.gethostname()}"]
    assert until(lambda: lost[3])
    assert lost[3][0] == ""  # it is told to end, and has nothing to say of its own


def test_a_connection_that_breaks_without_a_goodbye_counts_as_silence(pair):
    _, third, lost = pair
    third.peers[0].connection.shutdown(socket.SHUT_RDWR)
    assert until(lambda: lost[0] and lost[3])
    assert lost[0] == [f"rank 3 on {socket.gethostname()}"]


def test_a_stranger_is_no_rank(pair):
    first, _, lost = pair
    meeting = first._meeting
    with socket.create_connection(("127.0.0.1", meeting.port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n".ljust(256) + GOODBYE)
        with suppress(ConnectionResetError):
            assert stranger.recv(1) == b""
    assert len(first.peers) == 1
    assert lost[0] == []


@pytest.mark.parametrize(("text", "seconds"), [("5", 5.0), ("0", 0.0), ("-1", 0.0), ("soon", 30.0), (None, 30.0)])
def test_the_silence_can_be_set(monkeypatch, text, seconds):
    monkeypatch.delenv("VARPRO_SILENCE", raising=False)
    if text is not None:
        monkeypatch.setenv("VARPRO_SILENCE", text)
    assert silent_seconds() == seconds


def test_addresses_are_not_those_of_the_machine_alone():
    assert not any(address.startswith("127.") for address in own_addresses())


def test_the_launcher_is_found_among_the_ancestors(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getppid", lambda: 40)  # the tests' own may be 1, where they were started in the background

    def process(pid, parent, *command):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cmdline").write_bytes(b"\0".join(part.encode() for part in command) + b"\0")
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a) b) S {parent} 1 1")

    process(40, 30, "/opt/hydra_pmi_proxy", "--id", "0")
    process(30, 20, "/opt/bin/mpiexec.hydra", "-n", "2")
    process(20, 10, "/bin/bash", "mpirun.sh")
    process(10, 1, "sshd")
    assert own_launcher(tmp_path) == 30
    (tmp_path / "30" / "cmdline").write_bytes(b"python\0mpirun\0")
    assert own_launcher(tmp_path) is None


@pytest.mark.timeout(600)
def test_a_host_that_is_cut_off_ends_the_run_within_a_minute_and_it_is_continued(tmp_path):
    """Four hosts with two ranks each."""
    if "hydra" not in subprocess.run([find_mpirun(), "--version"], capture_output=True, text=True).stdout.lower():
        pytest.skip("the stand-in for ssh is that of MPICH's launcher")
    tree = str(Path(__file__).parents[2])
    over_network = {"UCX_TLS": "tcp,self", "FI_PROVIDER": "tcp", "OMP_NUM_THREADS": "1", "PYTHONPATH": tree}
    with hosts(4, tmp_path) as found:
        if found is None:
            pytest.skip("network namespaces need root, and a system that allows them")
        launch = [find_mpirun(), "-launcher", "ssh", "-launcher-exec", found.ssh, "-hosts", found.addresses, "-n", "8"]
        program = [sys.executable, "-m", "varpro.cli.train", *RUN, "--resume", "auto", "--output", tmp_path / "run"]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                found.inside(1, *launch, "-ppn", "2", *program),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **over_network},
                start_new_session=True,
            )  # fmt: skip
            try:
                kept = tmp_path / "run" / "checkpoint"
                assert until(lambda: any(kept.glob("training-subnetwork-*")), 240.0)
                found.cut_off(4)
                clock = time.monotonic()
                assert process.wait(60.0) != 0
                print(f"ended {time.monotonic() - clock:.1f} s after the cut")
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        text = (tmp_path / "log").read_text()
        assert "varpro: nothing was heard of rank 6 on host4 for 30 s" in text or "of rank 7 on host4" in text
        assert "--resume" in text
        assert (
            subprocess.run(found.inside(1, *program), env={**os.environ, **over_network}, timeout=240).returncode == 0
        )
    assert train.main([*RUN, "--output", str(tmp_path / "alone")]) == 0
    assert (tmp_path / "run" / "model.h5").read_bytes() == (tmp_path / "alone" / "model.h5").read_bytes()
