"""bench/coverage.py counts the intervals that hold the true value."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[2] / "bench" / "coverage.py"
_spec = importlib.util.spec_from_file_location("interval_coverage", FILE)  # "coverage" is a package of others
program = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = program
_spec.loader.exec_module(program)


class Estimates:
    """Normal estimates of two parameters and one amplitude, whose errors are stated `factor` times too large."""

    def __init__(self, rng, count, factor, is_complex=False):
        shape = (count, 2)
        unit = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if is_complex else 0)
        self.nonlinear, self.dof = 5.0 + 0.3 * unit, np.full(count, 10**6)
        self.stderr_nonlinear = np.full(shape, factor * (0.3 + (0.3j if is_complex else 0)))
        self.linear, self.stderr_linear = rng.standard_normal((count, 1, 1)), np.full((count, 1, 1), factor)
        self.success = np.ones(count, bool)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize(("factor", "good"), [(1.0, True), (0.85, False), (1.2, False)])
def test_a_share_tells_errors_that_are_right_from_those_that_are_not(factor, good, is_complex):
    result = Estimates(np.random.default_rng(0), 4000, factor, is_complex)
    rows = program.shares(program.Trial(result, np.full(2, 5.0), np.zeros((1, 1))))
    assert len(rows) == (7 if is_complex else 5)
    assert all(row.good == good for row in rows)
    assert all(row.low < row.share < row.high for row in rows)


def test_intervals_that_are_not_given_do_not_count():
    result = Estimates(np.random.default_rng(1), 1000, 1.0)
    result.stderr_nonlinear[:400, 0] = np.nan
    result.success[-100:] = False
    rows = {row.name: row for row in program.shares(program.Trial(result, np.full(2, 5.0), np.zeros((1, 1))))}
    assert (rows["w_0"].count, rows["w_1"].count, rows["all w"].count) == (500, 900, 1400)


def test_wilsons_interval_is_that_of_the_book():
    """81 of 263: 0.255 to 0.366 (Newcombe, Stat. Med. 17 (1998) 857-872, table I)."""
    np.testing.assert_allclose(program.wilson(81, 263), (0.2553, 0.3662), atol=5e-5)


def test_the_command_runs_a_case_and_writes_json(tmp_path, capsys):
    path = tmp_path / "coverage.json"
    code = program.main(["--count", "200", "--case", "tied", "--case", "complex tones", "--json", str(path)])
    record = json.loads(path.read_text())
    assert [row["case"] for row in record["cases"]] == ["tied", "complex tones"]
    shares = [s["share"] for row in record["cases"] for s in row["shares"]]
    assert code == int(not all(0.93 <= share <= 0.97 for share in shares))
    assert "of 2 cases" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(program.CASES))
def test_every_case_converges_and_covers_within_four_standard_deviations(name):
    trial = program.CASES[name](np.random.default_rng([2, *name.encode()]), 150)
    assert np.mean(trial.result.success) >= program.CONVERGED
    pooled = [row for row in program.shares(trial) if row.name.startswith("all")]
    assert all(abs(row.share - 0.95) <= 0.02 + 4 * np.sqrt(0.0475 / 150) for row in pooled)
