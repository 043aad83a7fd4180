"""Where a network errs on the test images, for the report on any kind of network."""

from typing import TypedDict

import numpy as np

from varpro.arrays import Array
from varpro.models.units.images import unit_floats

SHOWN = 60
"""Misclassified images on the page."""


class Mistakes(TypedDict):
    """The fields of a `Record` about mistakes."""

    confusion: Array
    misclassified_images: Array
    misclassified_true: Array
    misclassified_predicted: Array


def mistakes(scores: Array, labels: Array, images: Array) -> Mistakes:
    """The fields of a `Record` about mistakes.  scores : (N, K); labels : (N,); images : (N, ...)."""
    predicted, wrong = scores.argmax(axis=1), confident_mistakes(scores, labels)
    return {
        "confusion": confusion_matrix(labels, predicted, scores.shape[1]),
        "misclassified_images": shown(images[wrong]),
        "misclassified_true": labels[wrong],
        "misclassified_predicted": predicted[wrong],
    }


def confusion_matrix(labels: Array, predicted: Array, n_classes: int) -> Array:
    """(K, K) counts, with true classes in rows."""
    counts = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def confident_mistakes(scores: Array, labels: Array) -> Array:
    """At most SHOWN rows whose highest score is not at the label, those with the largest lead over the true class
    first."""
    predicted = scores.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    lead = scores[wrong, predicted[wrong]] - scores[wrong, labels[wrong]]
    return wrong[np.argsort(-lead, kind="stable")][:SHOWN]


def shown(images: Array) -> Array:
    """Floats in [0, 1]; a single plane without its axis."""
    return unit_floats(images, np.float32)
