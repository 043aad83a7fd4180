"""What a run of a network hands to its report: numbers and small arrays, nothing that needs PyTorch."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class NetworkRecord:
    """Everything that the files, the page and the screen show of a run."""

    metrics: dict[str, Any]
    """As it stands in metrics.json"""
    config: dict[str, Any]
    """The resolved config"""
    history: list[dict[str, Any]]
    """A line an epoch of the training, then of the control"""
