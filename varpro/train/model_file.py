"""What every model file offers once it is read, and the error for a file that holds no model."""

from pathlib import Path
from typing import Protocol

from varpro.arrays import Array
from varpro.errors import DataError


class TrainedModel(Protocol):
    """What can be read from any model.h5."""

    @property
    def class_names(self) -> tuple[str, ...]: ...

    @property
    def dataset(self) -> str: ...

    def scores(self, images: Array) -> Array:
        """Outputs (N, K)."""

    def predict(self, images: Array) -> Array:
        """Labels (N,)."""


def not_a_model(path: str | Path, error: Exception) -> DataError:
    """The error to raise for a file that holds no model."""
    reason = " ".join(str(error).split())
    return DataError(f"{path}: not a model file of varpro-train, or damaged ({reason}); train again")
