"""What a run hands to its report: numbers and small arrays, nothing that needs a plotting library."""

from dataclasses import dataclass
from typing import Any

from varpro.arrays import Array


@dataclass(frozen=True, eq=False)
class RunRecord:
    """Everything that the files, the page and the screen show of a run."""

    metrics: dict[str, Any]
    """As it stands in metrics.json"""
    config: dict[str, Any]
    """The resolved config"""
    history: list[dict[str, Any]]
    """A line for each sub-network and trial step, and for each step of a refinement"""
    class_names: list[str]
    confusion: Array
    """(K, K) int: rows true, columns predicted; test set, before bootstrapping"""
    misclassified_images: Array
    """(n, L, R) or (n, C, L, R) in [0, 1], the most confident mistakes first"""
    misclassified_true: Array
    misclassified_predicted: Array
    misclassified_score: Array
    """(n,) the output of the predicted class"""
    unit_matrices: Array
    """(g, rows, columns): w w^T or u v^T of some units, in place on the image"""
    partition: list[dict[str, Any]]
    """For each sub-network: index, rank, units, samples, iterations, cost, status, start, seconds"""
    rank_seconds: Array
    """(ranks,) seconds that each rank's threads computed on sub-networks"""
