"""A training by steps that is killed between any two of them is continued to the same bits."""

import json

import pytest

from tests.mpi import run_mpi

torch = pytest.importorskip("torch")

from varpro.cli import train  # noqa: E402
from varpro.report.layered_page import LAYERED_ALTERNATIVES  # noqa: E402
from varpro.train.checkpoint import states  # noqa: E402
from varpro.train.checkpoint.states import Kept  # noqa: E402
from varpro.train.layered import pictures  # noqa: E402

CASES = {
    # a batch normalisation, centroids that move on with each batch, Adam, dropout
    "normalised": """
network: {name: intraclass_light, embedding: 3}
objective: {cross_entropy: 1, intraclass_variance: {mode: proximal}}
""",
    # an eliminated layer that remembers moments, momentum, balanced batches, parameters of the objective
    "eliminated": """
network: {name: simplenet_small, embedding: 6}
objective: {cross_entropy: 0, varpro_head: {memory: 0.5}, contrastive: 0.3}
optimiser: {kind: sgd, rate: 0.02}
balanced: true
""",
}
COMMON = "data: {source: digits, train: 400, test: 100}\nepochs: 2\nbatch: 100\nbaseline: false\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No plots, no t-SNE: they take longer than these trainings."""
    monkeypatch.setattr("varpro.report.outputs.draw_layered", lambda record: dict.fromkeys(LAYERED_ALTERNATIVES, b""))
    monkeypatch.setattr(
        pictures, "neighbour_plane", lambda features, seed: (pictures.principal_plane(features), "plane")
    )


@pytest.fixture(params=CASES)
def config(request, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(COMMON + CASES[request.param])
    return path


def results(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["seconds"], metrics["ranks"]
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("seconds", None)
    return (folder / "model.h5").read_bytes(), metrics, lines


def killed_often(config, folder, monkeypatch, after):
    """The exit codes of processes that each die before their state number after + 1."""
    save, codes = Kept.save, []
    while not codes or codes[-1] == 9:
        assert len(codes) < 50
        count = [0]

        def counted(self, name, state, count=count):
            count[0] += 1
            if count[0] > after:
                raise SystemExit(9)
            save(self, name, state)

        with monkeypatch.context() as patch:
            patch.setattr(states, "SHARE", 0)
            patch.setattr(Kept, "save", counted)
            codes.append(train.main([str(config), "--output", str(folder), "--quiet", "--resume", "auto"]))
    return codes


def test_a_training_killed_every_other_step_ends_with_the_same_bytes(config, tmp_path, monkeypatch):
    assert train.main([str(config), "--output", str(tmp_path / "a"), "--quiet"]) == 0
    codes = killed_often(config, tmp_path / "b", monkeypatch, 2)
    assert codes[-1] == 0
    assert len(codes) > 3
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_another_number_of_ranks_is_refused(capsys, tmp_path, monkeypatch):
    path = tmp_path / "config.yaml"
    path.write_text(COMMON + CASES["normalised"])
    with monkeypatch.context() as patch:
        patch.setattr(states, "SHARE", 0)
        save = Kept.save

        def ending(self, name, state):
            save(self, name, state)
            if name != "run":
                raise SystemExit(9)

        patch.setattr(Kept, "save", ending)
        assert train.main([str(path), "--output", str(tmp_path / "o"), "--quiet"]) == 9
    ended = run_mpi(2, "-m", "varpro.cli.train", path, "--output", tmp_path / "o", "--resume", runner=())
    assert ended.code == 2
    assert "there are 2 ranks now and were 1" in ended.stderr


def test_two_ranks_continue_with_the_same_bytes(tmp_path):
    path, script = tmp_path / "config.yaml", tmp_path / "begin.py"
    path.write_text(COMMON + CASES["normalised"])
    script.write_text(
        "import os, signal, sys\n"
        "from varpro.cli import train\n"
        "from varpro.train.checkpoint import states\n"
        "moment, count = states.Kept.moment, [0]\n"
        "def counted(self, *arguments):\n"
        "    count[0] += 1\n"
        "    if self.comm.rank == 1 and count[0] == 5:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    moment(self, *arguments)\n"
        "states.Kept.moment = counted\n"
        "sys.exit(train.main(sys.argv[1:]))\n"
    )
    plain = ["-m", "varpro.cli.train", path, "--quiet"]
    run_mpi(2, *plain, "--output", tmp_path / "a", runner=()).check()
    ended = run_mpi(2, script, path, "--quiet", "--output", tmp_path / "b", runner=("-m", "mpi4py"))
    assert ended.code == 75, ended
    run_mpi(2, *plain, "--output", tmp_path / "b", "--resume", runner=()).check()
    assert results(tmp_path / "a") == results(tmp_path / "b")
