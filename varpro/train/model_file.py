"""What every model file offers once it is read, its seal, and the error for a file that holds no model.

HDF5 leaves the first bytes of a file to its user: there stands the SHA-256 of the rest.  A flipped or missing byte is
found before the library that reads HDF5 sees the file, and so is a file that claims more than it holds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError
from varpro.train.calibration import Calibration
from varpro.train.checkpoint.files import replaced
from varpro.train.checkpoint.hdf5 import written_hdf5
from varpro.train.checkpoint.seal import SEAL_BYTES, seal_of

FORMAT = 2
"""1 has no seal."""
MAGIC = b"varpro model, SHA-256 of what follows these 512 bytes: "
UNSEALED = b"\x89HDF\r\n\x1a\n"
"""How HDF5 begins without a block of the user's: files of version 0.1 have no checksum."""


class TrainedModel(Protocol):
    """What can be read from any model.h5."""

    @property
    def class_names(self) -> tuple[str, ...]: ...

    @property
    def dataset(self) -> str: ...

    @property
    def calibration(self) -> Calibration | None: ...

    def scores(self, images: Array) -> Array:
        """Outputs (N, K)."""

    def predict(self, images: Array) -> Array:
        """Labels (N,)."""

    def predict_proba(self, images: Array) -> Array:
        """Calibrated probabilities (N, K)."""


def check_seal(path: str | Path) -> bool:
    """Whether the file has a seal; False for one of version 0.1.  Raises DataError if it does not fit the content."""
    try:
        with Path(path).open("rb") as file:
            first = file.read(SEAL_BYTES)
        if first.startswith(UNSEALED):
            return False
        if not first.startswith(MAGIC):
            raise not_a_model(path, ValueError("it does not begin as one"))
        if first != seal_of(Path(path), MAGIC):
            raise not_a_model(path, ValueError("its SHA-256 does not fit its content"))
    except OSError as error:
        raise not_a_model(path, error) from error
    return True


@contextmanager
def written(path: str | Path, calibration: Calibration | None) -> Iterator[h5py.File]:
    """A model file to write to, as a whole or not at all, with the calibration of its probabilities.  Raises OSError.

    A calibration is the array `calibration` (K + 1, K), its method an attribute of it.
    """
    with replaced(Path(path)) as part, written_hdf5(part, MAGIC) as file:
        file.attrs["format"] = FORMAT
        yield file
        if calibration is not None:
            stored = file.create_dataset("calibration", data=calibration.layer, track_times=False)
            stored.attrs["method"] = calibration.method


@contextmanager
def opened(path: str | Path) -> Iterator[h5py.File]:
    """A model file to read from.  Raises DataError for anything that goes wrong in the block, too."""
    is_sealed = check_seal(path)
    try:
        with h5py.File(path, "r") as file:
            _require_stored(file, is_sealed)
            yield file
    except Exception as error:  # HDF5 may raise anything about a file without a checksum
        raise not_a_model(path, error) from error


def _require_stored(file: h5py.File, is_sealed: bool) -> None:
    """Raise ValueError for a file that has lost its seal, or has an array without the bytes it claims."""
    if int(file.attrs["format"]) > 1 and not is_sealed:
        raise ValueError("its first bytes are missing")

    def check(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if hasattr(node, "shape") and node.id.get_storage_size() < node.nbytes:
            raise ValueError(f"{name} claims {node.nbytes} bytes and has {node.id.get_storage_size()}")

    file.visititems(check)


def not_a_model(path: str | Path, error: Exception) -> DataError:
    """The error to raise for a file that holds no model."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: not a model file of varpro-train, or damaged ({reason}); train again")


def read_calibration(file: h5py.File) -> Calibration | None:
    """The calibration in an open HDF5 file, None if it has none.  Raises ValueError if it is no layer (K + 1, K)."""
    if "calibration" not in file:
        return None
    stored = file["calibration"]
    layer = np.asarray(stored[:], dtype=np.float64)
    if layer.ndim != 2 or layer.shape[0] != layer.shape[1] + 1:
        raise ValueError(f"calibration has shape {layer.shape}")
    return Calibration(str(stored.attrs["method"]), layer)
