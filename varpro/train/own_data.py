"""The user's own images: a .npz or .h5 with arrays images (N, L, R) or (N, C, L, R) and labels (N,).

test_images and test_labels may be there too; without them a sixth of the images is the test part.  Training images are
taken in an order drawn by a fixed seed, so that files sorted by class can be split.
"""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError

NAMES = ("images", "labels", "test_images", "test_labels")


@dataclass(frozen=True, slots=True)
class OwnData:
    """(images, labels) of both parts."""

    train: tuple[Array, Array]
    test: tuple[Array, Array]
    class_names: tuple[str, ...]


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of a .npz or .h5 that are called images, labels, test_images, test_labels.  Raises DataError."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; data.source is a data set's name or the path of a .npz or .h5")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in NAMES if name in file.files}
        with h5py.File(path, "r") as file:
            return {name: np.asarray(file[name][()]) for name in NAMES if isinstance(file.get(name), h5py.Dataset)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = "it holds Python objects" if "pickle" in str(error) else " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read ({reason}); save arrays of numbers with np.savez or h5py") from error


def read_own(path: Path) -> OwnData:
    """The user's data set.  Pixels: uint8, or floats in [0, 1]; labels: whole numbers 0..K-1.  Raises DataError."""
    arrays = read_arrays(path)
    for name in ("images", "labels"):
        if name not in arrays:
            raise DataError(
                f"{path}: holds no array called {name}; it needs images (N, L, R) or (N, C, L, R) and labels (N,)"
            )
    train = _pair(path, arrays["images"], arrays["labels"], "")
    if ("test_images" in arrays) != ("test_labels" in arrays):
        raise DataError(f"{path}: test_images and test_labels belong together; one of them is missing")
    if "test_images" in arrays:
        test = _pair(path, arrays["test_images"], arrays["test_labels"], "test_")
        train = _shuffled(train)
    else:
        train, test = _held_out(_shuffled(train))
    largest = max(int(labels.max(initial=0)) for _, labels in (train, test))
    if len(train[1]) and largest >= len(train[1]):
        raise DataError(
            f"{path}: a label is {largest} among {len(train[1])} training images; "
            "labels must be 0..K-1 with an example of each"
        )
    return OwnData(train, test, tuple(str(k) for k in range(largest + 1)))


def _pair(path: Path, images: Array, labels: Array, prefix: str) -> tuple[Array, Array]:
    if images.dtype.kind not in "uif" or labels.dtype.kind not in "uif":
        raise DataError(f"{path}: {prefix}images are {images.dtype}, {prefix}labels {labels.dtype}; numbers are needed")
    _check_shapes(path, images.shape, labels.shape, prefix)
    if images.dtype != np.uint8:
        images = images.astype(np.float32 if images.dtype.itemsize <= 4 else np.float64, copy=False)
    with np.errstate(invalid="ignore"):
        whole = labels.astype(np.int64)
    if not np.array_equal(whole, labels):
        bad = labels[whole != labels][0]
        raise DataError(f"{path}: a {prefix}label is {bad}; labels must be whole numbers 0..K-1")
    if len(whole) and whole.min() < 0:
        raise DataError(f"{path}: a {prefix}label is {whole.min()}; labels must be whole numbers 0..K-1")
    return images, whole


def _check_shapes(path: Path, images: tuple[int, ...], labels: tuple[int, ...], prefix: str) -> None:
    """Raise DataError for shapes that are wrong, with the remedy for the usual ways to be so."""
    if len(images) not in (3, 4):
        hint = "; reshape each row to its image" if len(images) == 2 else ""
        raise DataError(f"{path}: {prefix}images have shape {images}; (N, L, R) or (N, C, L, R) is needed{hint}")
    if len(images) == 4 and images[1] > 4 >= images[3] and images[1] == images[2]:
        raise DataError(
            f"{path}: {prefix}images have shape {images}, with the {images[3]} colour planes last; "
            "(N, C, L, R) is needed: save np.moveaxis(images, -1, 1)"
        )
    if labels != images[:1]:
        hint = ""
        if len(labels) == 2 and labels[0] == images[0]:
            hint = ": save labels[:, 0]" if labels[1] == 1 else ": save np.argmax(labels, axis=1)"
        raise DataError(
            f"{path}: {images[0]} {prefix}images but {prefix}labels of shape {labels}; each image needs one{hint}"
        )


def _shuffled(pair: tuple[Array, Array]) -> tuple[Array, Array]:
    """Both in one order, the same in every run."""
    order = np.random.default_rng(0).permutation(len(pair[1]))
    return pair[0][order], pair[1][order]


def _held_out(pair: tuple[Array, Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Training part, and the last sixth as test part."""
    images, labels = pair
    first = len(labels) - max(1, len(labels) // 6)
    return (images[:first], labels[:first]), (images[first:], labels[first:])
