"""A made-up run of a PyTorch network with small numbers, for the reports; any part of it can be replaced."""

import dataclasses

import numpy as np

from tests.report.example import example_calibration
from varpro.report.record import LayeredRecord
from varpro.train.layered.pictures import embedding, retrieved


def example_block(accuracy=0.97, *, last_layer="trained"):
    """What metrics.json says of one trained network."""
    return {
        "network": {
            "name": "lenet5",
            "embedding": 84,
            "parameters": 61706,
            "last_layer": last_layer,
            "xi": None,
            "objective": {"cross_entropy": 1.0, "feed_backward": 0.5},
        },
        "train": {"accuracy": 0.99, "scatter_ratio": 0.1},
        "validation": {"accuracy": None},
        "test": example_test(accuracy),
        "calibration": example_calibration(),
        "last_layer": {
            "separability": 3.5,
            "separability_normalised": 0.5,
            "smallest_norm": 0.8,
            "largest_norm": np.float64(1.5),
            "cosine": 0.9,
        },
        "degenerate": {"batches": 40, "skipped": 1, "ridge": 2},
    }


def example_test(accuracy=None):
    """Its part on the test images; without scores where accuracy is None."""
    return ({} if accuracy is None else {"accuracy": accuracy}) | {
        "nearest_centroid": 0.9,
        "nearest_centroid_normalised": 0.91,
        "nearest_learned_centroid": None,
        "discriminant": 0.95,
        **{f"recall_at_{k}": 0.9 for k in (1, 5, 10)},
        **{f"true_positives_at_{k}": 0.8 for k in (1, 5, 10)},
        "scatter_ratio": 0.2,
        "eigenvalues": [0.001, 0.01],
    }


def example_network_metrics(*, control=True):
    """Every key that a run has."""
    return {
        "kind": "network",
        "dataset": "made up",
        "backend": "cpu",
        "ranks": 2,
        "threads_per_rank": 1,
        "seed": 5,
        "epochs": 3,
        "batch": 64,
        **example_block(),
        "control": example_block(0.96) if control else None,
        "untrained": {"test": example_test()},
        "seconds": {"load": 0.5, "training": 9.0, "control": 8.0, "epoch": 3.0, "total": 20.0},
    }


def epoch_line(phase, epoch, **other):
    """A line of the history."""
    steps = {
        "loss": 2.0 / (1 + epoch),
        "cross_entropy": 1.5 / (1 + epoch),
        "batch_accuracy": 0.9,
        "skipped": 0,
        "ridged": 0,
    }
    line = {"phase": phase, "epoch": epoch, **(steps | {"rate": 0.1, "seconds": 3.0} if epoch else {})}
    seen = {"test_accuracy": 0.9 + epoch / 100, "nearest_centroid": 0.8, "scatter_ratio": 0.5 / (1 + epoch)}
    eigenvalues = [0.001 * (1 + epoch), 0.01 * (1 + epoch)]
    last = {"separability": 1.0 + epoch, "separability_normalised": 0.5, "cosine": 0.5, "xi": None}
    return line | seen | {"eigenvalues": eigenvalues} | last | other


def example_network_record(*, classes=3, shape=(6, 6), control=True, names=None, **replaced):
    """A record of a run with images of a shape (L, R) or (C, L, R)."""
    rng = np.random.default_rng(0)
    images = rng.random((5 * classes, *shape))
    labels = np.arange(5 * classes) % classes
    points = rng.standard_normal((len(labels), 2)) + labels[:, None]
    phases = ("training", "control") if control else ("training",)
    record = LayeredRecord(
        metrics=example_network_metrics(control=control),
        config={"data": {"source": "made up"}, "network": {"name": "lenet5"}},
        history=[epoch_line(phase, epoch) for phase in phases for epoch in range(4)],
        class_names=names or [str(k) for k in range(classes)],
        confusion=rng.integers(0, 9, (classes, classes)),
        misclassified_images=images[:4],
        misclassified_true=labels[:4],
        misclassified_predicted=(labels[:4] + 1) % classes,
        projection="t-SNE",
        embeddings=[embedding(name, points, labels, classes) for name in (*phases, "untrained")],
        epochs=[embedding(f"epoch {epoch}", points, labels, classes) for epoch in range(4)],
        retrieved=retrieved(points, labels, images),
    )
    return dataclasses.replace(record, **replaced)
