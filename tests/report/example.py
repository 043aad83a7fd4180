"""A made-up run with small numbers, for the reports; any part of it can be replaced."""

import dataclasses
import functools
import io

import matplotlib.image
import numpy as np

from varpro.report.record import Fired, ScalarizedRecord
from varpro.report.scalarized_page import ALTERNATIVES
from varpro.report.scalarized_plots import draw_scalarized
from varpro.train.calibration import measured


def example_calibration():
    """The probabilities of a run: two bins, one of them too confident."""
    bins = [
        {"low": 0.5, "high": 0.6, "images": np.int64(10), "confidence": 0.55, "accuracy": 0.6},
        {"low": 0.9, "high": 1.0, "images": np.int64(90), "confidence": 0.98, "accuracy": 0.94},
    ]
    test = {"log_loss": 0.21, "expected_calibration_error": 0.041, "bins": bins}
    losses = {"temperature": 0.2, "logistic": 0.25}
    return {"method": "temperature", "images": 500, "held_out_log_loss": losses, "test": test}


def example_metrics():
    """Every key that a run with control, bootstrapping and refinement has; NumPy numbers among them, as in a run."""
    return {
        "dataset": "made up",
        "class_names": ["0", "1", "2"],
        "backend": "cpu",
        "device": None,
        "no_gpu": None,
        "ranks": 2,
        "threads_per_rank": 3,
        "seed": 5,
        "parameters": {"nonlinear": 1234, "linear": np.int64(63)},
        "train": {"accuracy": 0.97},
        "validation": {"accuracy": 0.94},
        "test": {"accuracy": np.float64(0.93125)},
        "calibration": example_calibration(),
        "control": {"test_accuracy": 0.9, "ridge": 0.25, "seconds": 1.5},
        "bootstrap": {
            "ambiguous_fraction": 0.05,
            "guess_accuracy": 0.91,
            "agreement_with_guesses": 0.998,
            "test_accuracy": 0.915,
            "variant": "paper",
            "rounds": [
                {
                    "ambiguous_fraction": 0.05,
                    "guess_accuracy": 0.91,
                    "agreement_with_guesses": 0.998,
                    "test_accuracy": 0.915,
                }
            ],
        },
        "glue": {"ridge": 12.5, "rank": 21, "condition": 345.6, "residual": 0.0},
        "refine": {"iterations": 4, "best_iteration": 4, "products": 40, "test_accuracy": 0.93125},
        "prune": {
            "units": 16,
            "units_before": 20,
            "curve": [
                {"units": n, "parameters": 20 * n, "increase": 0.01 * (20 - n), "validation_accuracy": 0.8 + 0.005 * n}
                for n in (20, 18, 16, 8)
            ],
            "seconds": 0.5,
        },
        "seconds": {
            "load": 0.25,
            "scores": 0.0,
            "subnetworks": 8.0,
            "glue": 3.0,
            "refine": 2.0,
            "bootstrap": 9.0,
            "total": 24.0,
            "control": 1.5,
        },
        "work": {"gflop": 80.0, "gflops": 10.0, "gemm_gflops_measured": 20.0, "efficiency": 0.5},
        "checkpoint": {"seconds": 0.25, "bytes": 3_400_000, "restored": 2, "share": 0.01},
        "scheduling": {"seconds": 0.02, "share": 0.001},
        "traffic": [
            {
                "rank": rank,
                "bytes": 5_000_000 + rank,
                "waited_seconds": 0.5 * rank,
                "idle_seconds": 0.01,
                "queue_seconds": 0.001,
            }
            for rank in range(2)
        ],
        "left_out": [],
        "subnetworks": [
            {key: part[key] for key in ("index", "rank", "iterations", "evaluations", "cost", "status", "seconds")}
            for part in example_partition(2)
        ],
    }


def example_partition(count):
    """count sub-networks, taken by two ranks in turn."""
    return [
        {
            "index": index,
            "rank": index % 2,
            "iterations": 4,
            "evaluations": 6,
            "cost": 200.0 + index,
            "status": "iterations" if index % 2 else "cost_tolerance",
            "seconds": 0.75,
            "units": 10,
            "samples": 100,
            "start": 0.75 * (index // 2),
        }
        for index in range(count)
    ]


def train_line(index, iteration, cost, **other):
    """A line of the history: a trial step of a sub-network."""
    line = {"phase": "train", "subnetwork": index, "iteration": iteration, "cost": cost, "damping": 0.1, "gain": 0.9}
    return line | {"accepted": True, "rank": 11, "status": "running"} | other


def refine_line(iteration, cost, **other):
    """A line of the history: an accepted step of a refinement."""
    line = {"phase": "refine", "iteration": iteration, "cost": cost, "damping": 0.01, "gain": np.nan, "accepted": True}
    accuracies = {"validation_accuracy": 0.9 + iteration / 100, "test_accuracy": 0.89 + iteration / 100}
    return line | {"rank": 21, "rows": 100 * iteration, "products": 10 * iteration} | accuracies | other


def example_history(subnetworks):
    """Falling costs of some sub-networks, a refused trial step, and a refinement of four steps."""
    lines = [train_line(index, step, 300.0 / step + index) for index in range(subnetworks) for step in range(1, 5)]
    lines.append(train_line(0, 4, 75.0, accepted=False, gain=np.nan, status="stalled"))
    return lines + [refine_line(step, 0.5**step, elapsed_seconds=0.5 * step) for step in range(1, 5)]


def example_fired(rng, shape, side):
    """A filter of a side on two images (L, R), without padding."""
    down, across = (length - side + 1 for length in shape)
    first = (side - 1) / 2 - 0.5
    area = (first, first + across, first + down, first)
    return Fired(rng.standard_normal((side, side)), 0.25, rng.random((2, down, across)), area, 2)


def example_record(*, classes=3, mistakes=3, shape=(6, 6), subnetworks=2, **replaced):
    """A record with `mistakes` misclassified images of a shape (L, R) or (C, L, R); fields by name replace its own."""
    rng = np.random.default_rng(0)
    confusion = rng.integers(0, 4, (classes, classes))
    confusion[np.diag_indices(classes)] += 50
    record = ScalarizedRecord(
        metrics=example_metrics(),
        config={
            "data": {"source": "made up"},
            "units": 10,
            "model": {"window": (6, 14)},
            "glue": {"ridge": "auto"},
        },
        history=example_history(subnetworks),
        class_names=[str(k) for k in range(classes)],
        confusion=confusion,
        misclassified_images=rng.random((mistakes, *shape)),
        misclassified_true=rng.integers(0, classes, mistakes),
        misclassified_predicted=rng.integers(0, classes, mistakes),
        unit_matrices=rng.standard_normal((3, *shape[-2:])),
        unit_shares=np.array([0.5, 0.3, 0.2]),
        unit_count=20,
        fired=[example_fired(rng, shape[-2:], side) for side in (1, 3)],
        fired_images=rng.random((2, *shape)),
        fired_labels=np.arange(2),
        partition=example_partition(subnetworks),
        rank_seconds=np.array([0.75, 0.75]),
    )
    return dataclasses.replace(record, **replaced)


def without(*parts):
    """example_metrics of a run without some parts: control, bootstrap, calibration, refine, prune, subnetworks, or
    seconds."""
    metrics = example_metrics()
    if "control" in parts:
        metrics["control"] = {"test_accuracy": None}
    if "bootstrap" in parts:
        keys = ("ambiguous_fraction", "guess_accuracy", "agreement_with_guesses", "test_accuracy")
        metrics["bootstrap"] = dict.fromkeys(keys)
    if "calibration" in parts:
        metrics["calibration"] = measured(None, np.zeros((0, 3)), np.zeros(0))
    if "refine" in parts:
        metrics["refine"] = {"iterations": 0, "products": 0, "test_accuracy": None}
    if "prune" in parts:
        del metrics["prune"]
    if "subnetworks" in parts:
        metrics["subnetworks"] = []
        metrics["work"] |= {"gflop": 0, "gflops": 0.0, "efficiency": 0.0}
    metrics["seconds"] |= dict.fromkeys(parts, 0.0)
    return metrics


@functools.cache
def example_plots():
    """Every plot of example_record(), drawn once for all tests."""
    return draw_scalarized(example_record())


@functools.cache
def blank_plots():
    """A grey pixel in the place of every plot, for tests that look at other things."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, np.full((1, 1, 3), 0.5))
    return dict.fromkeys(ALTERNATIVES, buffer.getvalue())


def pixels(png):
    """(rows, columns, planes) of a PNG's bytes."""
    return matplotlib.image.imread(io.BytesIO(png), format="png")


def check_image(png):
    """A PNG that decodes, with something drawn on it."""
    image = pixels(png)
    assert min(image.shape[:2]) >= 30
    assert image[..., :3].min() < 0.9 < image[..., :3].max()
