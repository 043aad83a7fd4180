"""A run that ends early, wherever, is continued to the same model; a folder is given to no other run."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.report.example import blank_plots
from varpro.cli import status, train
from varpro.cli._status import status_of
from varpro.train.checkpoint import states
from varpro.train.checkpoint.lock import NAME, FolderLock, Owner
from varpro.train.checkpoint.states import Kept

SMALL = [
    "subnetworks=3", "units=5", "samples=120", "search.iterations=3", "refine.iterations=3", "refine.first_rows=300",
    "refine.fresh=true",
    "glue.block_rows=200", "reproducible=true",
]  # fmt: skip
RUN = ["digits", "--quiet", *(part for setting in SMALL for part in ("--set", setting))]


def run(folder, *options):
    return train.main([*RUN, "--output", str(folder), *map(str, options)])


@pytest.fixture(scope="module", autouse=True)
def quick():
    """No measurement of the machine, no plots: they take longer than these runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("varpro.train.scalarized.trainer.measured_gemm_gflops", lambda dtype: 1.0)
        patch.setattr("varpro.report.outputs.draw_scalarized", lambda record: blank_plots())
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run(folder) == 0
    return folder


@pytest.fixture
def frequent(monkeypatch):
    """Every point between two steps is kept."""
    monkeypatch.setattr(states, "SHARE", 0)


def ending(monkeypatch, after):
    """Processes that end as if killed, just before a state has been written: the one after so many."""
    count, save = [0], Kept.save

    def counted(self, name, state):
        count[0] += 1
        if count[0] > after:
            raise SystemExit(9)
        save(self, name, state)

    monkeypatch.setattr(Kept, "save", counted)
    return count


def model(folder):
    return (folder / "model.h5").read_bytes()


def numbers(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    for key in ("seconds", "work", "checkpoint", "traffic", "ranks", "scheduling"):
        del metrics[key]
    for part in metrics["subnetworks"]:
        del part["seconds"], part["rank"]
    del metrics["control"]["seconds"]
    return metrics


def history(folder):
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "elapsed_seconds"} for line in lines]


@pytest.mark.usefixtures("frequent")
def test_a_run_killed_at_every_state_in_turn_ends_with_the_same_bytes(tmp_path, undisturbed, monkeypatch):
    codes = []
    for _ in range(100):
        with monkeypatch.context() as patch:
            count = ending(patch, after=2)
            codes.append(run(tmp_path, "--resume", "auto"))
        if codes[-1] == 0:
            break
        assert count[0] == 3
        assert codes[-1] == 9
    assert len(codes) >= 8  # a hard end after every third state, so a state of each kind was the last one somewhere
    assert codes[-1] == 0
    assert model(tmp_path) == model(undisturbed)
    assert numbers(tmp_path) == numbers(undisturbed)
    assert history(tmp_path) == history(undisturbed)
    assert not (tmp_path / "checkpoint").exists()
    assert not (tmp_path / NAME).exists()


@pytest.mark.usefixtures("frequent")
def test_keeping_states_changes_no_bit(tmp_path, undisturbed):
    assert run(tmp_path) == 0
    assert model(tmp_path) == model(undisturbed)


def begun(folder, monkeypatch, after=3):
    with monkeypatch.context() as patch:
        ending(patch, after)
        assert run(folder) == 9
    return folder


def refusal(capsys, folder, *options):
    capsys.readouterr()
    assert run(folder, *options) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (["--seed", "1"], "seed is 1 now and was 0"),
        (["--set", "units=6"], "units is 6 now and was 5"),
        (["--set", "glue.ridge=0.5", "--set", "samples=100"], "samples is 100 now and was 120, glue.ridge is 0.5 now"),
        (["--set", "data.train=900"], "data.train is 900 now and was null"),
    ],
)
def test_another_run_is_refused_and_the_difference_named(capsys, tmp_path, monkeypatch, options, difference):
    begun(tmp_path, monkeypatch)
    line = refusal(capsys, tmp_path, "--resume", *options)
    assert "belongs to another run" in line
    assert difference in line
    assert run(tmp_path, "--resume") == 0


def test_another_version_or_other_data_are_refused(capsys, tmp_path, monkeypatch):
    begun(tmp_path, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("varpro.cli._session.__version__", "9.9")
        assert "varpro is 9.9 now and was" in refusal(capsys, tmp_path, "--resume")
    with monkeypatch.context() as patch:
        patch.setattr("varpro.cli._session.checksum", lambda *arrays: "0123456789abcdef")
        assert "the data have SHA-256 0123456789ab... now and had" in refusal(capsys, tmp_path, "--resume")


def test_a_damaged_checkpoint_is_named_and_nothing_else_is_touched(capsys, tmp_path, monkeypatch):
    begun(tmp_path, monkeypatch)
    path = tmp_path / "checkpoint" / "training-subnetwork-1.ckpt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    before = sorted(p.name for p in (tmp_path / "checkpoint").iterdir())
    assert "training-subnetwork-1.ckpt is damaged: its SHA-256" in refusal(capsys, tmp_path, "--resume")
    assert sorted(p.name for p in (tmp_path / "checkpoint").iterdir()) == before
    path.unlink()
    assert run(tmp_path, "--resume") == 0


def test_without_resume_a_begun_run_is_not_overwritten(capsys, tmp_path, monkeypatch):
    begun(tmp_path, monkeypatch)
    assert "continue its run with --resume" in refusal(capsys, tmp_path)
    assert run(tmp_path, "--overwrite") == 0


def test_resume_needs_a_run_and_auto_does_not(capsys, tmp_path, undisturbed):
    assert "holds no run to continue" in refusal(capsys, tmp_path / "new", "--resume")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.h5").write_text("precious")
    assert "is not empty" in refusal(capsys, tmp_path / "mine", "--resume", "auto")
    assert run(tmp_path / "new", "--resume", "auto") == 0
    assert model(tmp_path / "new") == model(undisturbed)


def test_a_finished_run_is_left_alone(capsys, tmp_path):
    assert run(tmp_path) == 0
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert run(tmp_path, "--resume") == 0
    assert run(tmp_path, "--resume", "auto") == 0
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert "results of another run" in refusal(capsys, tmp_path, "--resume", "auto", "--seed", "1")


def test_two_runs_on_one_folder_and_a_dead_owner(capsys, tmp_path, monkeypatch):
    begun(tmp_path, monkeypatch)
    lock = FolderLock(tmp_path)
    lock.take()
    assert f"belongs to a run that goes on (process {os.getpid()} on " in refusal(capsys, tmp_path, "--resume")
    lock.give_back()
    here = Owner.this()
    (tmp_path / NAME).write_text(json.dumps({"host": here.host, "pid": here.pid, "start": "1 boot", "job": ""}))
    capsys.readouterr()
    assert train.main([*[part for part in RUN if part != "--quiet"], "--output", str(tmp_path), "--resume"]) == 0
    assert f"the lock of process {here.pid} on {here.host}, which has ended, is taken over" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_with_75_and_the_run_goes_on(capsys, tmp_path, undisturbed, monkeypatch, number):
    save = Kept.save

    def signalled(self, name, state):
        save(self, name, state)
        if name.startswith("training-subnetwork"):
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Kept, "save", signalled)
        assert run(tmp_path) == 75
    assert signal.getsignal(number) is before
    assert f"varpro-train: stopped by {number.name}; what is done is in {tmp_path}" in capsys.readouterr().err
    assert status_of(tmp_path)["state"] == "paused"
    assert status.main([str(tmp_path)]) == 75
    assert "--resume" in capsys.readouterr().out
    assert run(tmp_path, "--resume") == 0
    assert model(tmp_path) == model(undisturbed)
    assert status.main([str(tmp_path)]) == 0


def test_a_limit_on_the_time_ends_with_75(capsys, tmp_path):
    assert run(tmp_path, "--max-time", "1ms") == 2  # no unit that is known
    assert "no duration" in capsys.readouterr().err
    assert run(tmp_path, "--max-time", "0.001s") == 75
    assert "stopped by --max-time" in capsys.readouterr().err
    assert run(tmp_path, "--resume") == 0


def test_a_full_disk_is_named_and_what_was_kept_is_whole(capsys, tmp_path, undisturbed, monkeypatch):
    count, synchronise = [0], os.fsync

    def full(handle):
        count[0] += 1
        if count[0] > 5:
            raise OSError(28, "No space left on device")
        synchronise(handle)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        line = refusal(capsys, tmp_path)
    assert "cannot be written (No space left on device)" in line
    assert "--resume" in line
    assert status_of(tmp_path)["state"] == "failed"
    assert run(tmp_path, "--resume") == 0
    assert model(tmp_path) == model(undisturbed)


def test_a_folder_that_vanishes_is_named(capsys, tmp_path, monkeypatch):
    save = Kept.save

    def vanish(self, name, state):
        save(self, name, state)
        if name == "training-subnetwork-1":
            self.folder.rename(tmp_path / "elsewhere")

    monkeypatch.setattr(Kept, "save", vanish)
    line = refusal(capsys, tmp_path / "run")
    assert "checkpoint" in line
    assert "cannot be written (No such file or directory); it has been moved or removed" in line


def test_a_log_says_what_the_display_shows(tmp_path):
    assert run(tmp_path / "run", "--log-file", tmp_path / "log", "--log-level", "debug") == 0
    text = (tmp_path / "log").read_text()
    assert "INFO    training: sub-networks: 3 parts" in text
    assert "DEBUG   training: sub-networks: 3 of 3" in text
    assert "finished" in text


def test_a_log_that_cannot_be_written_is_named(capsys, tmp_path):
    line = refusal(capsys, tmp_path / "run", "--log-file", tmp_path / "gone" / "log")
    assert f"--log-file {tmp_path / 'gone' / 'log'} cannot be written" in line
    assert "--output" not in line


def test_status_of_a_folder_without_a_run(capsys, tmp_path):
    assert status.main([str(tmp_path)]) == 2
    assert "holds no status.json" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"state": "running"}', "DONE"])
def test_status_of_a_damaged_file_is_a_line(capsys, tmp_path, monkeypatch, content):
    begun(tmp_path, monkeypatch)
    whole = json.loads((tmp_path / "status.json").read_text())
    (tmp_path / "status.json").write_text(content if content != "DONE" else json.dumps(whole | {"done": "many"}))
    capsys.readouterr()
    assert status.main([str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert "status.json cannot be read, or is damaged" in line
    assert line.count("\n") == 1


def test_status_tells_a_running_from_a_dead_run(capsys, tmp_path, monkeypatch):
    begun(tmp_path, monkeypatch)
    found = json.loads((tmp_path / "status.json").read_text()) | {"state": "running"}
    (tmp_path / "status.json").write_text(json.dumps(found))
    assert status.main([str(tmp_path)]) == 75
    assert "dead" in capsys.readouterr().out
    lock = FolderLock(tmp_path)
    lock.take()
    assert status.main([str(tmp_path), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["state"] == "running"
    lock.give_back()


def test_a_mistake_before_anything_is_done_leaves_nothing_behind(capsys, tmp_path):
    labels = np.zeros(600, dtype=int)
    labels[:3] = 1
    np.savez(tmp_path / "rare.npz", images=np.random.default_rng(0).random((600, 5, 5)), labels=labels)
    line = refusal(capsys, tmp_path / "run", "--set", f"data.source={tmp_path / 'rare.npz'}")
    assert "is of class 1" in line
    assert not (tmp_path / "run").exists()


def test_status_says_it_by_its_exit_code_where_nobody_reads(tmp_path, monkeypatch):
    begun(tmp_path, monkeypatch)
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "varpro.cli.status", str(tmp_path)]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (status.main([str(tmp_path)]), "")
