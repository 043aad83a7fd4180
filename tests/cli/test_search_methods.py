"""`search.method` from the command line: both other methods train, and keys that they do not read are refused."""

import json

import pytest

from varpro.cli import train

SMALL = ["--set", "subnetworks=2", "--set", "units=4", "--set", "samples=150", "--set", "bootstrap=false"]
SMALL += ["--set", "refine=false", "--set", "control=false", "--quiet"]


@pytest.mark.parametrize(
    "options",
    [
        ["search.method=gradient", "search.iterations=30", "search.cost_tolerance=0"],
        ["search.method=gradient", "search.iterations=30", "search.cost_tolerance=0", "search.squash=true"],
        ["search.method=derivative-free", "search.evaluations=150"],
        ["search.method=derivative-free", "search.evaluations=150", "search.squash=true"],
    ],
)
def test_other_methods_train_sub_networks(tmp_path, options):
    arguments = [part for option in options for part in ("--set", option)]
    assert train.main(["digits_quadratic", *arguments, *SMALL, "--output", str(tmp_path / "run")]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run/history.jsonl").read_text().splitlines()]
    for index in range(2):
        costs = [line["cost"] for line in lines if line["subnetwork"] == index]
        assert costs[-1] < 0.99 * costs[0]
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["test"]["accuracy"] > 0.3
    assert metrics["work"]["gflop"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["search.method=newton"], "search.method is 'newton'; choose one of 'levenberg-marquardt'"),
        (["search.squash=true"], "search.squash is true, but the Gauss-Newton matrix is that of the plain residual"),
        (["search.evaluations=7"], "has no effect, as search.method is levenberg-marquardt"),
        (["search.method=gradient", "search.jacobian=kaufman"], "has no effect, as search.method is gradient"),
        (["search.method=derivative-free", "search.iterations=7"], "has no effect, as search.method is derivative"),
        (["search.method=derivative-free", "backend=cuda"], "derivative-free, which computes on the CPU"),
    ],
)
def test_mistakes(capsys, options, message):
    arguments = [part for option in options for part in ("--set", option)]
    assert train.main(["digits_quadratic", *arguments, "--dry-run"]) == 2
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1, stderr
    assert message in stderr
