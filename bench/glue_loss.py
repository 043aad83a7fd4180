"""Least squares or cross-entropy for the linear layer of the same units: accuracy and seconds over paired seeds.

    python bench/glue_loss.py --data FOLDER --seeds 5 --json glue_loss.json

Each seed draws its images as bench/transduction.py does, from the published training part, trains the units once by
least squares, and solves for the layer in both ways, with the ridge that the validation images choose; the same for the
untrained units.
"""

import time
from pathlib import Path

import numpy as np
import scipy.stats
from transduction import Case, drawn, mcnemar, run_cases, scores_of

from varpro.train.calibration import calibrate, log_loss
from varpro.train.scalarized.cycle import Cycle, learning_cycle, untrained
from varpro.train.scalarized.partition import TRAINING

LOSSES = ("squares", "cross_entropy")


def main() -> None:
    """Run the cases and print their tables."""

    def summaries(name: str, seeds: list[dict[str, dict[str, tuple]]]) -> dict[str, dict[str, float]]:
        rows = {units: summary([s[units] for s in seeds]) for units in ("untrained", "trained")}
        print(name, f"{len(seeds)} seeds", flush=True)
        for units, row in rows.items():
            print(f"  {units:<10}", "  ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
        return rows

    run_cases(__doc__, ["mnist", "fashion", "mnist-conv"], 5, one_seed, summaries)


def one_seed(case: Case, seed: int, data_dir: Path | None = None) -> dict[str, dict[str, tuple]]:
    """(labelled correctly (N,), log-loss, seconds) by units and loss."""
    train, validation, test, run = drawn(case, seed, data_dir)
    cycle = learning_cycle(run, train, stream=TRAINING, name="training", validation=validation, ridge=None, score=None)
    found: dict[str, dict[str, tuple]] = {}
    pairs = {"untrained": untrained(run, train, TRAINING), "trained": (cycle.network.units, cycle.network.w)}
    for name, (units, w) in pairs.items():
        found[name] = {}
        for loss in LOSSES:
            glue = run.config.glue.model_copy(update={"loss": loss})
            config, clock = run.config.model_copy(update={"glue": glue}), time.perf_counter()
            solving = type(run)(config, run.comm, run.display, 1, run.shape, run.n_classes, run.class_names, "")
            glued = solving.glued(units, w, train, validation, None, loss)
            seconds = time.perf_counter() - clock
            network = Cycle(solving.network(units, w, glued.a), glued)
            calibration = calibrate(scores_of(solving, network, validation), validation.labels)
            scores = scores_of(solving, network, test)
            value = log_loss(calibration.probabilities(scores), test.labels)
            found[name][loss] = (scores.argmax(axis=1) == test.labels, value, seconds)
    return found


def summary(seeds: list[dict[str, tuple]]) -> dict[str, float]:
    """Means of both losses, the paired difference in points with its standard error, and tests of it."""
    right = {loss: [seed[loss][0] for seed in seeds] for loss in LOSSES}
    accuracy = {loss: 100 * np.array([r.mean() for r in right[loss]]) for loss in LOSSES}
    change = accuracy["cross_entropy"] - accuracy["squares"]
    tests = [mcnemar(a, b) for a, b in zip(*right.values(), strict=True)]
    row = {f"{loss}": float(accuracy[loss].mean()) for loss in LOSSES}
    row |= {"points": float(change.mean()), "standard_error": float(change.std(ddof=1) / np.sqrt(len(change)))}
    row |= {"p_t": float(scipy.stats.ttest_1samp(change, 0.0).pvalue)}
    row |= {"better": sum(p < 0.05 and sign > 0 for p, sign in tests)}
    row |= {"worse": sum(p < 0.05 and sign < 0 for p, sign in tests)}
    for place, key in ((1, "log_loss"), (2, "seconds")):
        row |= {f"{key}_{loss}": float(np.mean([seed[loss][place] for seed in seeds])) for loss in LOSSES}
    return row


if __name__ == "__main__":
    main()
