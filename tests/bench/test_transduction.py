"""bench/transduction.py compares variants over paired seeds."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

FILE = Path(__file__).resolve().parents[2] / "bench" / "transduction.py"
_spec = importlib.util.spec_from_file_location("transduction_bench", FILE)
program = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = program
_spec.loader.exec_module(program)


def seed_of(before, after):
    rng = np.random.default_rng(round(1e6 * after))
    return program.Seed(rng.random(1000) < before, {"soft": rng.random(1000) < after})


def test_mcnemar_counts_images_that_only_one_has_right():
    before = np.array([True] * 10 + [False] * 12)
    after = np.array([True] * 8 + [False] * 2 + [True] * 11 + [False])
    p, sign = program.mcnemar(before, after)
    assert p == pytest.approx(scipy.stats.binomtest(2, 13).pvalue)
    assert sign == 1
    assert program.mcnemar(before, before) == (1.0, 0)


def test_a_variant_that_helps_is_told_from_one_that_does_not():
    helps = program.summary("soft", [seed_of(0.7, 0.9 + i / 1000) for i in range(8)])
    assert helps["points"] == pytest.approx(20, abs=4 * helps["standard_error"] + 2)
    assert max(helps["p_t"], helps["p_wilcoxon"]) < 0.05
    assert (helps["better"], helps["worse"]) == (8, 0)
    alike = [program.Seed(s.before, {"soft": s.before}) for s in (seed_of(0.7, 0.8), seed_of(0.7, 0.81))]
    same = program.summary("soft", alike)
    assert (same["points"], same["p_t"], same["p_wilcoxon"], same["better"], same["worse"]) == (0, 1, 1, 0, 0)


def test_a_seed_shares_one_training_and_draws_disjoint_images(tmp_path):
    case = program.Case("digits", 200, 60, 90, {"subnetworks": 2, "units": 4, "samples": 80})
    train, validation, test, _ = program.drawn(case, 0, None)
    images = np.concatenate([rows.images.reshape(len(rows), -1) for rows in (train, validation, test)])
    assert len(np.unique(images, axis=0)) == 350
    found = program.one_seed(case, 0)
    assert set(found.after) == set(program.VARIANTS)
    again = program.one_seed(case, 0)
    for variant, right in found.after.items():
        assert len(right) == 90
        np.testing.assert_array_equal(right, again.after[variant])
    text = program.table("digits", case, [found, program.one_seed(case, 1)], [program.summary("paper", [found, again])])
    assert text.count("\n| ") == 2
