"""What a run hands to its report: numbers and small arrays, nothing that needs a plotting library or PyTorch."""

from dataclasses import dataclass
from typing import Any

from varpro.arrays import Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """What the files, the page and the screen show of any run."""

    metrics: dict[str, Any]
    """As it stands in metrics.json"""
    config: dict[str, Any]
    """The resolved config"""
    history: list[dict[str, Any]]
    """The lines of history.jsonl"""
    class_names: list[str]
    confusion: Array
    """(K, K) int: rows true, columns predicted; test set"""
    misclassified_images: Array
    """(n, L, R) or (n, C, L, R) in [0, 1], the most confident mistakes first"""
    misclassified_true: Array
    misclassified_predicted: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class ScalarizedRecord(Record):
    """A run of sub-networks: history has a line for each of their trial steps and each step of a refinement.

    The confusion and the mistakes are those before bootstrapping.
    """

    unit_matrices: Array
    """(g, rows, columns): pictures of some units, as their kind draws them"""
    partition: list[dict[str, Any]]
    """For each sub-network: index, rank, units, samples, iterations, cost, status, start, seconds"""
    rank_seconds: Array
    """(ranks,) seconds that each rank's threads computed on sub-networks"""


@dataclass(frozen=True, eq=False)
class Embedding:
    """Features of some test images as points of a plane."""

    name: str
    """Which network: training, control or untrained; or which epoch"""
    points: Array
    """(n, 2)"""
    labels: Array
    """(n,)"""
    centroids: Array
    """(K, 2) class means of these points, NaN for a class without any"""


@dataclass(frozen=True, eq=False)
class Retrieved:
    """Queries among the test images, each with its nearest others."""

    queries: Array
    """(q, L, R) or (q, C, L, R) in [0, 1]"""
    query_labels: Array
    found: Array
    """(q, k, ...) the nearest images, nearest first"""
    found_labels: Array
    """(q, k)"""


@dataclass(frozen=True, eq=False, kw_only=True)
class LayeredRecord(Record):
    """A run of a network of layers: history has a line for each epoch of the training, then of the control."""

    projection: str
    """How features became points: features, or t-SNE"""
    embeddings: list[Embedding]
    """Of the trained network, its control and its start"""
    epochs: list[Embedding]
    """Of the trained network after some epochs: the features, or their two principal components"""
    retrieved: Retrieved | None
