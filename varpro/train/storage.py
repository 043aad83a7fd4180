"""A model file of any sort of network."""

from pathlib import Path
from typing import Protocol

import h5py

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


def load_model(path: str | Path) -> TrainedModel:
    """The model in a file of any kind.  Raises DataError; BackendError where it needs PyTorch, which is not there."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such model file; varpro-train writes model.h5 into its output folder")
    try:
        with h5py.File(path, "r") as file:
            layered = "network" in file.attrs
    except OSError as error:
        raise not_a_model(path, error) from error
    if layered:
        from varpro.train.layered.storage import load_layered

        return load_layered(path)
    from varpro.train.scalarized.storage import load_network

    return load_network(path)


def not_a_model(path: str | Path, error: Exception) -> DataError:
    """The error to raise for a file that holds no model."""
    return DataError(
        f"{path}: not a model file of varpro-train, or damaged ({' '.join(str(error).split())}); train again"
    )
