"""bench/results.py: the page says what the files of runs and peers say."""

import json
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    sys.modules.pop("results", None)
    import results as module

    yield module
    sys.modules.pop("results", None)


def finished(folder, *, seed, test, control):
    """The files that a run leaves, as far as the page reads them."""
    folder.mkdir(parents=True)
    seconds = {"total": 100.0, "load": 1.0, "control": 9.0, "subnetworks": 20.0, "glue": 5.0, "refine": 60.0}
    metrics = {
        "dataset": "mnist",
        "seconds": seconds,
        "test": {"accuracy": test},
        "validation": {"accuracy": 0.99},
        "control": {"test_accuracy": control, "seconds": 9.0},
        "parameters": {"nonlinear": 1000, "linear": 234},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "config.resolved.yaml").write_text(f"seed: {seed}\n")
    lines = [
        {"phase": "train", "cost": 1.0},
        {"phase": "refine", "accepted": False, "elapsed_seconds": 5.0},
        {"phase": "refine", "elapsed_seconds": 10.0, "validation_accuracy": 0.9, "test_accuracy": 0.8},
    ]
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "model.h5").write_bytes(bytes(2048))


def keep(results, monkeypatch, tmp_path):
    for seed, (test, control) in enumerate([(0.98, 0.95), (0.96, 0.94)]):
        finished(tmp_path / f"tiny-{seed}", seed=seed, test=test, control=control)
    folders = [str(tmp_path / f"tiny-{seed}") for seed in (0, 1)]
    monkeypatch.setattr(sys, "argv", ["results.py", "--results", str(tmp_path / "kept"), "keep", *folders])
    results.main()


def test_runs_of_a_config_are_one_line_with_the_range_of_their_seeds(results, monkeypatch, tmp_path):
    keep(results, monkeypatch, tmp_path)
    text = results.page(tmp_path / "kept", tmp_path, "a machine")
    line = next(line for line in text.splitlines() if "`tiny`" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        "**`tiny`**",
        "97.00 (96.00 to 98.00)",
        "94.50 (94.00 to 95.00)",
        "+2.50",
        "99.00 (99.00 to 99.00)",
        "1,234",
        "90 (90 to 90)",  # without the data and the control
        "2",
        "2",
    ]
    assert "on a machine" in text
    assert (tmp_path / "_static" / "results" / "mnist.png").stat().st_size > 5000


def test_seconds_of_a_busy_machine_are_left_out(results, monkeypatch, tmp_path):
    keep(results, monkeypatch, tmp_path)
    monkeypatch.setattr(sys, "argv", ["results.py", "--results", str(tmp_path / "kept"), "keep", "--busy",
                                      str(tmp_path / "tiny-0")])  # fmt: skip
    metrics = json.loads((tmp_path / "tiny-0" / "metrics.json").read_text())
    metrics["seconds"]["total"] = 1000.0
    (tmp_path / "tiny-0" / "metrics.json").write_text(json.dumps(metrics))
    results.main()
    text = results.page(tmp_path / "kept", tmp_path, "a machine")
    cells = [cell.strip() for cell in next(line for line in text.splitlines() if "`tiny`" in line).split("|")]
    assert cells[2] == "97.00 (96.00 to 98.00)"
    assert cells[7:9] == ["90", "2"]


def test_the_curve_of_a_run_begins_with_what_came_before_the_refinement(results, monkeypatch, tmp_path):
    keep(results, monkeypatch, tmp_path)
    kept = json.loads((tmp_path / "kept" / "runs" / "mnist-tiny-1.json").read_text())
    assert kept["curve"] == [
        {"seconds": 30.0, "validation": 0.9, "test": 0.8},
        {"seconds": 90.0, "validation": 0.99, "test": 0.96},
    ]


def test_peers_stand_beside_the_runs_the_best_first(results, monkeypatch, tmp_path):
    keep(results, monkeypatch, tmp_path)
    peers = tmp_path / "kept" / "peers"
    peers.mkdir()
    peer = {
        "dataset": "mnist", "name": "a rival", "seed": 0, "test": 0.975, "validation": 0.97, "seconds": 12.3,
        "parameters": 7, "kilobytes": 0.5, "chosen": "rate 0.1 of 0.1, 1", "curve": [],
    }  # fmt: skip
    (peers / "mnist-rival-0.json").write_text(json.dumps(peer))
    rows = [line for line in results.page(tmp_path / "kept", tmp_path, "m").splitlines() if line.startswith("| ")]
    assert rows[1].startswith("| a rival (rate 0.1 of 0.1, 1) | 97.50 |  |  | 97.00 | 7 | 12 | 1 |")
    assert "`tiny`" in rows[2]


def test_a_run_elsewhere_is_a_line_of_its_own_that_says_where(results, monkeypatch, tmp_path):
    keep(results, monkeypatch, tmp_path)
    arguments = ["--results", str(tmp_path / "kept"), "keep", "--machine", "a faster one", str(tmp_path / "tiny-0")]
    monkeypatch.setattr(sys, "argv", ["results.py", *arguments])
    results.main()
    rows = [line for line in results.page(tmp_path / "kept", tmp_path, "m").splitlines() if line.startswith("| ")]
    assert rows[1].startswith("| **`tiny`**, on a faster one | 98.00 | 95.00 |")
    assert rows[2].startswith("| **`tiny`** | 97.00 (96.00 to 98.00) |")


def test_the_page_is_that_of_the_kept_files(results, tmp_path):
    root = BENCH.parent
    written = results.page(BENCH / "results", tmp_path, results.MACHINE)
    assert written == (root / "docs" / "results.md").read_text(), "run python bench/results.py page"
