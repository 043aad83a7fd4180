"""What a run passes to its report: numbers and small arrays, nothing that needs a plotting library or PyTorch."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from varpro.arrays import Array

JsonObject = dict[str, Any]
"""Numbers, words, and lists and objects of them: metrics.json, or a line of history.jsonl."""


def plain(value: object) -> object:
    """The value in plain Python numbers; anything that is not finite becomes None, which JSON can express."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """What the files, the page and the screen show of any run."""

    metrics: JsonObject
    """The content of metrics.json."""
    config: JsonObject
    """The resolved config."""
    history: list[JsonObject]
    """The lines of history.jsonl."""
    class_names: list[str]
    confusion: Array
    """The confusion matrix of the test set, (K, K) int: true classes in rows, predicted ones in columns."""
    misclassified_images: Array
    """The most confident mistakes first, (n, L, R) or (n, C, L, R) in [0, 1]."""
    misclassified_true: Array
    misclassified_predicted: Array


@dataclass(frozen=True, eq=False)
class Fired:
    """One unit on some test images: what it answers at each place, where its kind has places."""

    picture: Array
    """The unit as the gallery shows it, (rows, columns)."""
    share: float
    """Its share in `unit_shares`."""
    maps: Array
    """sigma(q), (n, down, across)."""
    area: tuple[float, float, float, float]
    """Left, right, bottom and top edge of a map in pixels of the image."""
    cells: int
    """The number of parts per direction over which places are averaged."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ScalarizedRecord(Record):
    """A run of sub-networks; history has one line for each of their trial steps and for each step of a refinement.

    The confusion matrix and the mistakes are those before bootstrapping.
    """

    unit_matrices: Array
    """Pictures of the units that weigh most, as their kind draws them, (g, rows, columns)."""
    unit_shares: Array
    """What each of these units contributes to the variance of the outputs, relative to the sum over all units, (g,)."""
    unit_count: int
    """The number of units in the network."""
    partition: list[JsonObject]
    """For each sub-network: index, rank, units, samples, iterations, cost, status, start, seconds."""
    rank_seconds: Array
    """The seconds that each rank's threads computed on sub-networks, (ranks,)."""
    fired: list[Fired] = field(default_factory=list)
    """The units that weigh most on some test images; empty if the kind looks at an image as a whole."""
    fired_images: Array | None = None
    """These images, (n, L, R) or (n, C, L, R) in [0, 1]."""
    fired_labels: Array | None = None
    """Their true classes, (n,)."""
    timeline: list[JsonObject] = field(default_factory=list)
    """For each phase of this process: phase, start, seconds; times in seconds since the first sub-network began."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """Features of some test images as points of a plane."""

    name: str
    """The network (training, control or untrained) or the epoch."""
    points: Array
    """The points, (n, 2)."""
    labels: Array
    """Their labels, (n,)."""
    centroids: Array
    """The class means of these points, (K, 2); NaN for a class without points."""


@dataclass(frozen=True, eq=False)
class Retrieved:
    """Queries among the test images, each with its nearest neighbours."""

    queries: Array
    """The queries, (q, L, R) or (q, C, L, R) in [0, 1]."""
    query_labels: Array
    found: Array
    """The nearest images, nearest first, (q, k, ...)."""
    found_labels: Array
    """The labels of the nearest images, (q, k)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LayeredRecord(Record):
    """A run of a network of layers; history has one line for each epoch of the training, then of the control."""

    projection: str
    """How features became points: features, or t-SNE."""
    embeddings: list[Embedding]
    """The points of the trained network, its control and its start."""
    epochs: list[Embedding]
    """The points of the trained network after some epochs: the features, or their two principal components."""
    retrieved: Retrieved | None
