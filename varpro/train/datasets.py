"""Data sets by name or by path, checked before anything is computed.

Pixels stay bytes where the files hold bytes; floats must lie in [0, 1].  Nothing else is done to an image.
"""

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError
from varpro.train.idx import read_cifar_batch, read_idx, read_optdigits
from varpro.train.own_data import read_own
from varpro.train.sources import fetch_file, find_file

MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CIFAR_FILES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
OPTDIGITS_FILES = ("optdigits.tra", "optdigits.tes")
FILES = {"mnist": MNIST_FILES, "fashion-mnist": MNIST_FILES, "cifar10": CIFAR_FILES, "optdigits": OPTDIGITS_FILES}
ALIASES = {"fashion": "fashion-mnist", "fashion_mnist": "fashion-mnist", "cifar-10": "cifar10"}
NAMES = ("mnist", "fashion-mnist", "cifar10", "optdigits", "digits")

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGITS_TEST = 360
"""The last so many of the embedded digits are the test part."""


class Barrier(Protocol):
    """What loading needs of a communicator."""

    @property
    def rank(self) -> int: ...

    def barrier(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Part:
    """Images (N, L, R) or (N, C, L, R) with labels (N,) int64."""

    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Split:
    """Disjoint parts."""

    train: Part
    validation: Part
    test: Part


@dataclass(frozen=True)
class DataSet:
    """Images and labels as published: a training and a test part."""

    name: str
    train: Part
    test: Part
    class_names: tuple[str, ...]
    n_validation: int = field(default=0)
    """Held out from the end of the training part unless a config says otherwise"""

    @property
    def n_classes(self) -> int:
        """K"""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(planes, rows, columns) of an image"""
        shape = self.train.images.shape
        return (1, *shape[1:]) if len(shape) == 3 else shape[1:]

    def split(self, validation: int | None, train: int | None, test: int | None) -> Split:
        """Training, validation and test parts.  validation : images from the end; train, test : limits."""
        held = self.n_validation if validation is None else validation
        total = len(self.train)
        if held >= total:
            raise DataError(f"data.validation is {held}, but the training part has {total} images; set it below {total}")
        kept = total - held if train is None else min(train, total - held)
        tested = len(self.test) if test is None else min(test, len(self.test))
        parts = (slice(0, kept), slice(total - held, total))
        return Split(
            *(Part(self.train.images[rows], self.train.labels[rows]) for rows in parts),
            Part(self.test.images[:tested], self.test.labels[:tested]),
        )


def load_dataset(source: str, data_dir: Path | None = None, *, comm: Barrier | None = None) -> DataSet:
    """A data set by name, or the user's own by the path of a .npz or .h5.  Collective where comm is given.

    Rank 0 downloads what is missing, the others wait for it.  Raises DataError.
    """
    name = ALIASES.get(source.lower(), source.lower())
    if Path(source).suffix in (".npz", ".h5", ".hdf5"):
        own = read_own(Path(source) if Path(source).is_file() or data_dir is None else data_dir / source)
        dataset = DataSet(Path(source).stem, Part(*own.train), Part(*own.test), own.class_names, len(own.train[1]) // 6)
    elif name == "digits":
        dataset = _embedded_digits()
    elif name in FILES:
        dataset = _public(name, _files(name, data_dir, comm))
    else:
        near = difflib.get_close_matches(name, [*NAMES, *ALIASES], n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise DataError(f"data.source is {source}: no such data set; {hint}names are {', '.join(NAMES)}, or the path of a .npz or .h5")
    return check_dataset(dataset)


def _files(name: str, data_dir: Path | None, comm: Barrier | None) -> list[Path]:
    if comm is None or comm.rank == 0:
        paths = [find_file(name, stem, data_dir) or fetch_file(name, stem, data_dir) for stem in FILES[name]]
    if comm is not None:
        comm.barrier()
        if comm.rank != 0:
            paths = [find_file(name, stem, data_dir) or fetch_file(name, stem, data_dir) for stem in FILES[name]]
    return paths


def _public(name: str, paths: list[Path]) -> DataSet:
    digits = tuple(str(d) for d in range(10))
    if name == "optdigits":
        train, test = (read_optdigits(path) for path in paths)
        return DataSet(name, Part(*train), Part(*test), digits, len(train[1]) // 6)
    if name == "cifar10":
        batches = [read_cifar_batch(path) for path in paths]
        train = tuple(np.concatenate(part) for part in zip(*batches[:-1], strict=True))
        return DataSet(name, Part(*train), Part(*batches[-1]), CIFAR, 10_000)
    arrays = [read_idx(path) for path in paths]
    for array, path, dimensions in zip(arrays, paths, (3, 1, 3, 1), strict=True):
        if array.ndim != dimensions:
            raise DataError(f"{path}: holds {array.ndim} dimensions, {dimensions} were expected: is it the right file?")
    names = FASHION if name == "fashion-mnist" else digits
    return DataSet(name, Part(arrays[0], arrays[1]), Part(arrays[2], arrays[3]), names, min(10_000, len(arrays[0]) // 6))


def _embedded_digits() -> DataSet:
    """The 1,797 digits of 8 x 8 that scikit-learn ships (the test part of optdigits): the last 360 are the test part."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("the embedded digits come with scikit-learn, which is not installed; pip install varpro[train]") from None
    bunch = load_digits()
    images, labels = (bunch.images / 16.0).astype(np.float32), bunch.target
    first = len(labels) - DIGITS_TEST
    names = tuple(str(d) for d in range(10))
    return DataSet("digits", Part(images[:first], labels[:first]), Part(images[first:], labels[first:]), names, first // 6)


def check_dataset(dataset: DataSet) -> DataSet:
    """The data set with int64 labels, or DataError: pixels that are not finite or outside [0, 1], labels out of range,
    a class without an example, images that are all alike."""
    parts = [_checked(dataset.name, kind, part, dataset.n_classes) for kind, part in (("training", dataset.train), ("test", dataset.test))]
    train = parts[0]
    if parts[0].images.shape[1:] != parts[1].images.shape[1:]:
        raise DataError(f"{dataset.name}: training images have shape {train.images.shape[1:]}, test images {parts[1].images.shape[1:]}; they must agree")
    missing = np.flatnonzero(np.bincount(train.labels, minlength=dataset.n_classes) == 0)
    if missing.size:
        raise DataError(f"{dataset.name}: no training image is of class {missing[0]}; labels must be 0..{dataset.n_classes - 1} with an example of each")
    if train.images.min() == train.images.max():
        raise DataError(f"{dataset.name}: every pixel of every training image is {train.images.min()}; there is nothing to learn from")
    return DataSet(dataset.name, *parts, dataset.class_names, dataset.n_validation)


def _checked(name: str, kind: str, part: Part, n_classes: int) -> Part:
    images, labels = part.images, part.labels
    if not len(images) or 0 in images.shape:
        raise DataError(f"{name}: the {kind} part has no images (shape {images.shape})")
    if len(images) != len(labels):
        raise DataError(f"{name}: {len(images)} {kind} images but {len(labels)} labels; each image needs one")
    if images.dtype != np.uint8:
        low, high = float(images.min()), float(images.max())  # a NaN anywhere makes both NaN
        if not (np.isfinite(low) and np.isfinite(high)):
            bad = int(np.argmin(np.isfinite(images).reshape(len(images), -1).all(axis=1)))
            raise DataError(f"{name}: {kind} image {bad} has a pixel that is NaN or infinite; repair or remove it")
        if low < 0 or high > 1:
            raise DataError(f"{name}: {kind} pixels lie in [{low:g}, {high:g}], they must lie in [0, 1]; divide by {max(high, 1):g} (bytes may stay uint8)")
    if labels.min() < 0 or labels.max() >= n_classes:
        bad = labels[(labels < 0) | (labels >= n_classes)][0]
        raise DataError(f"{name}: a {kind} label is {bad}, labels must lie in 0..{n_classes - 1}")
    return Part(images, labels.astype(np.int64))
