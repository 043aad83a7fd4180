"""bench/reproduce.py: its experiments are configs, its tables are those of the page."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from varpro.config.training import load_config

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
            loaded = load_config(config, pairs[1::2])
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
    (runs[1].folder / "provenance.json").write_text(json.dumps({"commit": "0123456789ab", "machine": "a large one"}))
    found = bench[0].summary(experiment, runs)
    assert found["seeds"] == [0, 1]
    assert found["figures"] == {"test.accuracy": {"mean": 0.5, "min": 0.25, "max": 0.75, "values": [0.25, 0.75]}}
    assert found["runs"] == [
        {"seed": 0, "commit": "not recorded", "machine": "not recorded"},
        {"seed": 1, "commit": "0123456789ab", "machine": "a large one"},
    ]
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


def test_every_kept_value_says_its_seed_commit_and_machine_or_that_nobody_wrote_them_down(bench):
    for found in json.loads(bench[0].RESULTS.read_text()).values():
        assert [run["seed"] for run in found["runs"]] == found["seeds"]
        assert all(run["commit"] and run["machine"] for run in found["runs"])


def test_a_run_records_the_commit_and_the_machine(bench, tmp_path, monkeypatch):
    class Done:
        returncode, stdout, stderr = 0, "", ""

    kept = bench[0].subprocess.run
    monkeypatch.setattr(bench[0].subprocess, "run", lambda command, **named: (
        Done() if "varpro.cli.train" in command else kept(command, **named)))  # fmt: skip
    run = bench[0].Run(bench[0].EXPERIMENTS[0], 1, tmp_path)
    assert "FAILED" not in run.go("nowhere")
    recorded = run.provenance()
    assert recorded["seed"] == 1
    assert re.fullmatch(r"[0-9a-f]{12}\+?|not recorded", recorded["commit"])
    assert recorded["machine"].endswith(f"{os.cpu_count()} cores")


def claims(results):
    """Sentences of the page as comparisons of stored figures, per cent."""

    def of(name, figure, part="mean"):
        return 100 * results[name]["figures"][figure][part]

    mean, score = "test.nearest_centroid", "test.accuracy"
    m2, f2, f4 = ("iv-mnist-2d-{}-1", "iv-fashion-2d-{}-1", "iv-fashion-4d-{}-1")
    out, learned = (lambda stem: stem.format("eliminated")), (lambda stem: stem.format("learned"))
    yield "MNIST 2: eliminated gains 5.2", abs(of(out(m2), mean) - of(out(m2), f"control.{mean}") - 5.2) < 0.05
    yield "MNIST 2: eliminated ahead in every seed", of(out(m2), mean, "min") > of(learned(m2), mean, "max")
    nothing = of("iv-mnist-2d-learned-0.5", mean) - of(out(m2), f"control.{mean}")
    yield "MNIST 2: learned gains nothing at 0.5", nothing < 0.1
    yield "Fashion 2: learned gains nothing", of(learned(f2), mean) < of(out(f2), f"control.{mean}")
    yield "Fashion 2: eliminated gains 3.5", abs(of(out(f2), mean) - of(out(f2), f"control.{mean}") - 3.5) < 0.05
    yield "Fashion 2: seeds overlap", of(out(f2), mean, "min") < of(learned(f2), mean, "max")
    yield "Fashion 4: learned gains nothing", of(learned(f4), mean) - of(out(f4), f"control.{mean}") < 0.1
    spread = of(out(f4), f"control.{mean}", "max") - of(out(f4), f"control.{mean}", "min")
    yield "Fashion 4: a gain within the spread", of(out(f4), mean) - of(out(f4), f"control.{mean}") < spread
    sphere, without = of("is-fashion-xi1", score), of("is-fashion-xi1", f"control.{score}")
    yield "the sphere gains 4.8", abs(sphere - without - 4.8) < 0.05
    ten, plain = of("is-fashion-xi10", "test.recall_at_10"), of("is-fashion-xi1", "control.test.recall_at_10")
    yield "R@10 is no better at xi = 10", ten < plain
    strong, weak = of("fb-mnist-feedback-1", score, "min"), of("fb-mnist-feedback", f"control.{score}", "max")
    yield "LeNet: every seed above all without", strong > weak


def test_what_the_page_says_is_borne_out_by_the_figures(bench):
    for sentence, holds in claims(json.loads(bench[0].RESULTS.read_text())):
        assert holds, sentence
