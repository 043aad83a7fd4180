"""Does fitting to guessed test labels help?  Every variant of `bootstrap`, judged by true accuracy over paired seeds.

    python bench/transduction.py --data FOLDER --seeds 10 --json transduction.json

Each seed draws its own training, validation and test images from the published training part; the published test
images are never touched.  One training run is shared by all variants, so that their differences are paired.  The table
has, for each variant, the mean accuracy, the mean difference from the trained network in points with its standard
error, p of a paired t test and of Wilcoxon's signed ranks over the seeds, and on how many seeds McNemar's exact test
finds the variant better or worse at 5 %.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, get_args

import numpy as np
import scipy.stats

from varpro.config.scalarized import ScalarizedConfig, Variant, parse_config
from varpro.distributed.communicator import SerialCommunicator
from varpro.models.units.images import planes
from varpro.report.progress import Display
from varpro.train.calibration import calibrate
from varpro.train.data.datasets import load_dataset
from varpro.train.scalarized.cycle import Cycle, learning_cycle
from varpro.train.scalarized.glue import Rows, all_scores
from varpro.train.scalarized.partition import TRAINING
from varpro.train.scalarized.run import Run
from varpro.train.scalarized.transduction import transduce

T = TypeVar("T")
VARIANTS = get_args(Variant)
LEVEL = 0.05
"""Of McNemar's test on each seed."""


@dataclass(frozen=True)
class Case:
    """A data set with a network small enough for many runs."""

    source: str
    train: int
    validation: int
    test: int
    config: dict[str, object]


SUBNETWORKS = {"subnetworks": 8, "units": 20, "samples": 700, "search": {"iterations": 8, "gn_precision": "fp32"}}
CASES = {
    "digits": Case("digits", 700, 200, 500, {"subnetworks": 8, "units": 12, "samples": 400}),
    "mnist": Case("mnist", 3000, 1000, 3000, SUBNETWORKS),
    "fashion": Case("fashion", 3000, 1000, 3000, SUBNETWORKS),
    "mnist-conv": Case(
        "mnist",
        3000,
        1000,
        3000,
        {
            "model": {"unit": "convolutional", "sigma": "smooth_abs", "filter": 7, "cells": 4},
            "subnetworks": 0,
            "units": 12,
            "refine": {"iterations": 3, "first_rows": 2000, "step": "exact"},
        },
    ),
}


@dataclass(frozen=True)
class Seed:
    """Whether each test image was labelled correctly, (N,) bool."""

    before: np.ndarray
    after: dict[str, np.ndarray]


def main() -> None:
    """Run the cases and print their tables."""

    def summaries(name: str, seeds: list[Seed]) -> list[dict[str, float]]:
        rows = [summary(variant, seeds) for variant in VARIANTS]
        print(table(name, CASES[name], seeds, rows), flush=True)
        return rows

    run_cases(__doc__, list(CASES), 10, one_seed, summaries)


def run_cases(
    words: str, names: list[str], seeds: int, one: Callable[[Case, int, Path | None], T],
    summaries: Callable[[str, list[T]], object],
) -> None:  # fmt: skip
    """A program that runs one(case, seed, folder) for every seed of every case, and keeps their summaries as JSON."""
    parser = argparse.ArgumentParser(description=words.split("\n")[0])
    parser.add_argument("--data", type=Path, help="the folder that holds mnist/, fashion-mnist/")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=names)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--json", type=Path, help="a file for the numbers")
    options = parser.parse_args()
    numbers = {}
    for name in options.cases:
        numbers[name] = summaries(name, [one(CASES[name], seed, options.data) for seed in range(options.seeds)])
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def one_seed(case: Case, seed: int, data_dir: Path | None = None) -> Seed:
    """Train once, then fit to the guesses in every way."""
    train, validation, test, run = drawn(case, seed, data_dir)
    cycle = learning_cycle(run, train, stream=TRAINING, name="training", validation=validation, ridge=None, score=None)
    calibration = calibrate(scores_of(run, cycle, validation), validation.labels)
    calibrated = replace(cycle, network=replace(cycle.network, calibration=calibration))
    scores = scores_of(run, cycle, test)
    after = {}
    for variant in VARIANTS:
        config = run.config.model_copy(
            update={"bootstrap": run.config.bootstrap.model_copy(update={"enabled": True, "variant": variant})}
        )
        found = transduce(run_of(config, test, run.n_classes), calibrated, scores, test)
        after[variant] = found.predicted == test.labels
    return Seed(scores.argmax(axis=1) == test.labels, after)


def drawn(case: Case, seed: int, data_dir: Path | None) -> tuple[Rows, Rows, Rows, Run]:
    """Disjoint images of the published training part, and a run of the case's config."""
    part, sizes = load_dataset(case.source, data_dir), np.cumsum([case.train, case.validation, case.test])
    order = np.random.default_rng([seed, 17]).permutation(len(part.train))[: sizes[-1]]
    images = planes(part.train.images)
    rows = [Rows(images[which], part.train.labels[which]) for which in np.split(order, sizes[:-1])]
    config = parse_config({"data": {"source": case.source}, "control": False, "seed": seed, **case.config}, "case")
    return rows[0], rows[1], rows[2], run_of(config, rows[0], part.n_classes)


def run_of(config: ScalarizedConfig, rows: Rows, n_classes: int) -> Run:
    """A run on one thread, without a screen."""
    names = tuple(map(str, range(n_classes)))
    return Run(config, SerialCommunicator(), Display(), 1, rows.images.shape[1:], n_classes, names, config.data.source)


def scores_of(run: Run, cycle: Cycle, rows: Rows) -> np.ndarray:
    """The outputs (N, K) of a cycle's network."""
    return all_scores(run.streamed(cycle.network.units, cycle.network.w, rows), cycle.network.a)


def summary(variant: str, seeds: list[Seed]) -> dict[str, float | str]:
    """A line of the table."""
    accuracy = np.array([s.after[variant].mean() for s in seeds])
    change = 100 * (accuracy - np.array([s.before.mean() for s in seeds]))
    better = worse = 0
    for s in seeds:
        p, sign = mcnemar(s.before, s.after[variant])
        better, worse = better + (p < LEVEL and sign > 0), worse + (p < LEVEL and sign < 0)
    same = bool(np.ptp(change) == 0)
    return {
        "variant": variant,
        "accuracy": float(accuracy.mean()),
        "points": float(change.mean()),
        "standard_error": float(change.std(ddof=1) / np.sqrt(len(change))),
        "p_t": 1.0 if same else float(scipy.stats.ttest_1samp(change, 0.0).pvalue),
        "p_wilcoxon": 1.0 if not change.any() else float(scipy.stats.wilcoxon(change).pvalue),
        "better": int(better),
        "worse": int(worse),
    }


def mcnemar(before: np.ndarray, after: np.ndarray) -> tuple[float, int]:
    """The exact two-sided p, and the sign of the change, from images that only one of two classifiers has right."""
    gained, lost = int(np.sum(after & ~before)), int(np.sum(before & ~after))
    if gained + lost == 0:
        return 1.0, 0
    return float(scipy.stats.binomtest(gained, gained + lost).pvalue), int(np.sign(gained - lost))


def table(name: str, case: Case, seeds: list[Seed], rows: list[dict[str, float | str]]) -> str:
    """A section of Markdown."""
    before = np.array([s.before.mean() for s in seeds])
    lines = [
        f"### {name}: {case.train} training, {case.validation} validation, {case.test} test images, {len(seeds)} seeds",
        "",
        f"The trained network has {100 * before.mean():.2f} % ({100 * before.std(ddof=1):.2f} over the seeds).",
        "",
        "| variant | accuracy, % | difference, points | p, t test | p, Wilcoxon | better / worse by McNemar |",
        "|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['variant']} | {100 * r['accuracy']:.2f} | {r['points']:+.2f} ± {r['standard_error']:.2f} "
            f"| {r['p_t']:.2g} | {r['p_wilcoxon']:.2g} | {r['better']} / {r['worse']} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
