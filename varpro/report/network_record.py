"""What a run of a network hands to its report: numbers and small arrays, nothing that needs PyTorch."""

from dataclasses import dataclass
from typing import Any

from varpro.arrays import Array


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


@dataclass(frozen=True, eq=False)
class NetworkRecord:
    """Everything that the files, the page and the screen show of a run."""

    metrics: dict[str, Any]
    """As it stands in metrics.json"""
    config: dict[str, Any]
    """The resolved config"""
    history: list[dict[str, Any]]
    """A line an epoch of the training, then of the control"""
    class_names: list[str]
    confusion: Array
    """(K, K) int: rows true, columns predicted; test set"""
    misclassified_images: Array
    """(n, L, R) or (n, C, L, R) in [0, 1], the most confident mistakes first"""
    misclassified_true: Array
    misclassified_predicted: Array
    projection: str
    """How features became points: features, or t-SNE"""
    embeddings: list[Embedding]
    """Of the trained network, its control and its start"""
    epochs: list[Embedding]
    """Of the trained network after some epochs: the features, or their two principal components"""
    retrieved: Retrieved | None
