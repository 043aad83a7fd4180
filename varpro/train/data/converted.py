"""Data sets in one file made by `varpro-data convert`: bytes in a drawn order, read from the disk where they are used.

The arrays are contiguous in an HDF5 file behind a block that HDF5 leaves to its user, with the SHA-256 of the rest.
Images are mapped, not read: the ranks of a machine share its page cache, and each holds the blocks it computes with.
"""

from pathlib import Path

import h5py
import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError
from varpro.train.checkpoint.seal import SEAL_BYTES, seal_of
from varpro.train.data.parts import DataSet, Part

MAGIC = b"varpro data, SHA-256 of what follows these 512 bytes: "
PARTS = ("train", "test")
ARRAYS = ("images", "labels", "numbers")


def is_converted(path: Path) -> bool:
    """Whether a file begins as `varpro-data convert` writes it."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_converted(path: Path, *, verify: bool = True) -> DataSet:
    """The data set of a file, its images mapped.  Raises DataError.

    verify : whether to compare the checksum, which reads the whole file; one rank of a machine is enough.
    """
    try:
        with path.open("rb") as file:
            first = file.read(SEAL_BYTES)
        if verify and first != seal_of(path, MAGIC):
            raise ValueError("its SHA-256 does not fit its content")
        with h5py.File(path, "r") as file:
            names = tuple(str(name) for name in file.attrs["class_names"])
            found = {part: [_mapped(path, file[f"{part}/{name}"]) for name in ARRAYS] for part in PARTS}
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: not a file of varpro-data, or damaged ({reason}); convert the data again") from error
    (images, labels, numbers), (test_images, test_labels, _) = found["train"], found["test"]
    train, test = Part(images, labels), Part(test_images, test_labels)
    return DataSet(path.stem, train, test, names, len(train) // 6, numbers)


def _mapped(path: Path, node: h5py.Dataset) -> Array:
    """An array where it lies in the file; never more than the file holds."""
    if not node.size:
        return np.empty(node.shape, node.dtype)
    offset = node.id.get_offset()
    if offset is None or offset + node.nbytes > path.stat().st_size:
        raise ValueError(f"{node.name} claims {node.nbytes} bytes that the file does not hold")
    return np.memmap(path, node.dtype, "r", offset=offset, shape=node.shape)
