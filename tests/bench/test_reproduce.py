"""bench/reproduce.py: its experiments are configs, its tables are those of the page."""

import json
import sys
from pathlib import Path

import pytest

from varpro.network_config import load_network_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import reproduce
    import reproduction_tables

    yield reproduce, reproduction_tables
    for name in ("reproduce", "reproduction_tables"):
        sys.modules.pop(name)


def test_every_experiment_is_a_config_with_a_name_of_its_own(bench):
    experiments = bench[0].EXPERIMENTS
    assert len({experiment.name for experiment in experiments}) == len(experiments)
    for experiment in experiments:
        for quick in (False, True):
            config, *pairs = experiment.arguments(2, quick)
            loaded = load_network_config(config, pairs[1::2])
            assert (loaded.seed, loaded.threads, loaded.device) == (2, 1, "cpu")
            assert loaded.epochs == 1 or not quick


def test_a_run_counts_only_with_metrics_of_the_same_command(bench, tmp_path):
    run = bench[0].Run(bench[0].EXPERIMENTS[0], 1, tmp_path)
    assert run.metrics() is None
    (tmp_path / "metrics.json").write_text(json.dumps({"test": {"accuracy": 0.5}}))
    assert run.metrics() is None
    (tmp_path / "command.json").write_text(json.dumps(run.arguments))
    assert run.metrics() == {"test": {"accuracy": 0.5}}
    assert bench[0].Run(run.experiment, 2, tmp_path).metrics() is None


def test_a_summary_has_mean_and_ends_over_seeds_and_no_lists(bench, tmp_path):
    experiment = bench[0].EXPERIMENTS[0]
    runs = [bench[0].Run(experiment, seed, tmp_path / experiment.name / str(seed)) for seed in range(3)]
    for run, value in zip(runs[:2], (0.25, 0.75), strict=True):
        run.folder.mkdir(parents=True)
        metrics = {"seed": run.seed, "test": {"accuracy": value, "eigenvalues": [1.0]}, "control": None}
        (run.folder / "metrics.json").write_text(json.dumps(metrics))
        (run.folder / "command.json").write_text(json.dumps(run.arguments))
    found = bench[0].summary(experiment, runs)
    assert found["seeds"] == [0, 1]
    assert found["figures"] == {"test.accuracy": {"mean": 0.5, "min": 0.25, "max": 0.75}}
    assert bench[1].Source({"it": found}, "it")("test.accuracy") == "50.0 (25.0..75.0)"
    assert bench[0].seeds_kept(tmp_path) == 2, "a run that was never begun has no folder"
    assert bench[0].seeds_kept(tmp_path / "none") == 0
    kept = bench[0].collect([], {experiment.name: found, "gone": found})
    assert kept == {experiment.name: found}
    assert bench[0].collect([], {experiment.name: found | {"command": ["varpro-train", "other"]}}) == {}


def test_a_table_without_runs_says_so_and_the_rest_of_a_page_stays(bench, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: fb-mnist -->\nold\n<!-- end -->\nafter\n")
    bench[1].fill_document(page, {})
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "not run" in text
    assert "old" not in text


def test_the_page_shows_the_figures_of_the_stored_results(bench, tmp_path):
    page = tmp_path / "reproductions.md"
    page.write_text(bench[0].DOCUMENT.read_text())
    bench[1].fill_document(page, json.loads(bench[0].RESULTS.read_text()))
    assert page.read_text() == bench[0].DOCUMENT.read_text()
