"""Data sets by name or by path, checked before anything is computed.

Pixels stay bytes where the files hold bytes; floats must lie in [0, 1].  Nothing else is done to an image.
"""

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError, DataError
from varpro.train.data.idx import read_cifar_batches, read_idx, read_optdigits
from varpro.train.data.own_data import read_own
from varpro.train.data.pixels import check_pixels
from varpro.train.data.sources import FILES, require_file

ALIASES = {"fashion": "fashion-mnist", "fashion_mnist": "fashion-mnist", "cifar-10": "cifar10"}
NAMES = ("mnist", "fashion-mnist", "cifar10", "optdigits", "digits")

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGITS_TEST = 360
"""The last so many of the embedded digits are the test part."""
PUBLISHED_LABELS = {
    "mnist": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "fashion-mnist": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
}
"""SHA-256 of the training labels: both sets have files of the same names, so one may lie in the other's place."""


class Barrier(Protocol):
    """What loading needs of a communicator."""

    @property
    def rank(self) -> int: ...

    @property
    def node_rank(self) -> int: ...

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
    numbers: Array | None = None
    """Of the training images in the user's file, which are in another order here"""

    @property
    def own(self) -> bool:
        """Whether it is the user's file."""
        return self.numbers is not None

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
            raise DataError(f"data.validation is {held}, but the training part has {total} images; set it lower")
        kept = total - held if train is None else min(train, total - held)
        tested = len(self.test) if test is None else min(test, len(self.test))
        missing = np.flatnonzero(np.bincount(self.train.labels[:kept], minlength=self.n_classes) == 0)
        if missing.size:
            raise DataError(
                f"{self.name}: none of the {kept} images left to train on is of class {self.class_names[missing[0]]}"
                f"{self._where_else(int(missing[0]), total - held)}; "
                "raise data.train, or lower data.validation"
            )
        parts = (slice(0, kept), slice(total - held, total))
        trained, validated = (Part(self.train.images[rows], self.train.labels[rows]) for rows in parts)
        return Split(trained, validated, Part(self.test.images[:tested], self.test.labels[:tested]))

    def _where_else(self, label: int, first_held: int) -> str:
        """Where the images of a class are that the training lacks, for a message."""
        held = np.flatnonzero(self.train.labels[first_held:] == label) + first_held
        if not held.size or self.numbers is None:
            return ""
        listed = ", ".join(map(str, np.sort(self.numbers[held])[:3])) + (" ..." if held.size > 3 else "")
        which = (
            f"its only image, number {listed} of the file," if held.size == 1 else f"its images ({listed} of the file)"
        )
        return f": {which} fell into the validation part"


def load_dataset(
    source: str,
    data_dir: Path | None = None,
    *,
    comm: Barrier | None = None,
    classes: Sequence[str] | None = None,
) -> DataSet:
    """A data set by name, or the user's own by the path of a .npz or .h5.  Collective where comm is given.

    classes : labels of the user's own data in the order of the classes; None = all that occur, sorted.
    Rank 0 downloads what is missing, then the first rank of every machine that cannot see it; the others wait.
    Raises DataError; ConfigError for classes of a set by name.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"--data {data_dir}: no such folder; name the one that holds mnist/, cifar10/, ...")
    name = ALIASES.get(source.lower(), source.lower())
    if Path(source).suffix in (".npz", ".h5", ".hdf5"):
        own = read_own(Path(source) if Path(source).is_file() or data_dir is None else data_dir / source, classes)
        train, test = Part(*own.train), Part(*own.test)
        return check_dataset(DataSet(Path(source).stem, train, test, own.class_names, len(train) // 6, own.numbers))
    if classes is not None:
        raise ConfigError(f"data.classes is for your own images, data.source is {source}; remove data.classes")
    if name == "digits":
        dataset = _embedded_digits()
    elif name in FILES:
        dataset = _public(name, _files(name, data_dir, comm))
    else:
        near = difflib.get_close_matches(name, [*NAMES, *ALIASES], n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise DataError(
            f"data.source is {source}: no such data set; {hint}"
            f"names are {', '.join(NAMES)}, or the path of a .npz or .h5"
        )
    return check_dataset(dataset)


def _files(name: str, data_dir: Path | None, comm: Barrier | None) -> list[Path]:
    def require() -> list[Path]:
        return [require_file(name, stem, data_dir) for stem in FILES[name]]

    if comm is None:
        return require()
    for first in ("rank", "node_rank"):  # one rank of all, then one of each machine with a disk of its own
        if getattr(comm, first) == 0:
            require()
        comm.barrier()
    return require()


def _public(name: str, paths: list[Path]) -> DataSet:
    digits = tuple(str(d) for d in range(10))
    if name == "optdigits":
        train, test = (Part(*read_optdigits(path)) for path in paths)
        return DataSet(name, train, test, digits, len(train) // 6)
    if name == "cifar10":
        train, test = (Part(*read_cifar_batches(batches)) for batches in (paths[:-1], paths[-1:]))
        return DataSet(name, train, test, CIFAR, _usual_validation(train))
    train, test = _idx_part(paths[:2]), _idx_part(paths[2:])
    _check_identity(name, train.labels, paths[1])
    return DataSet(name, train, test, FASHION if name == "fashion-mnist" else digits, _usual_validation(train))


def _usual_validation(train: Part) -> int:
    """10,000 images of the published sets, a sixth of smaller files in their places."""
    return 10_000 if len(train) >= 50_000 else len(train) // 6


def _idx_part(paths: list[Path]) -> Part:
    """Images and labels of two IDX files."""
    images, labels = (read_idx(path) for path in paths)
    for array, path, dimensions, belong in ((images, paths[0], 3, "images"), (labels, paths[1], 1, "labels")):
        if array.ndim != dimensions:
            raise DataError(f"{path}: holds no {belong}; two files may have changed places: fetch both again")
    if len(images) != len(labels):
        raise DataError(f"{paths[0]} holds {len(images)} images, but {paths[1]} {len(labels)} labels; fetch both again")
    return Part(images, labels)


def _check_identity(name: str, labels: Array, path: Path) -> None:
    """Raise DataError where one of the two sets lies in the place of the other."""
    digest = hashlib.sha256(labels.tobytes()).hexdigest()
    for other, published in PUBLISHED_LABELS.items():
        if digest == published and other != name:
            raise DataError(
                f"{path}: holds the labels of {other}, but {name} was asked for; "
                f"put the files of {name} into a folder called {name}, or set data.source: {other}"
            )


def _embedded_digits() -> DataSet:
    """The 1,797 digits that scikit-learn ships (the test part of optdigits): the last 360 are the test part."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError(
            "data.source is digits: they come with scikit-learn, which is not installed; pip install 'varpro[train]'"
        ) from None
    bunch = load_digits()
    images, labels = (bunch.images / 16.0).astype(np.float32), bunch.target
    first = len(labels) - DIGITS_TEST
    train, test = Part(images[:first], labels[:first]), Part(images[first:], labels[first:])
    return DataSet("digits", train, test, tuple(str(d) for d in range(10)), first // 6)


def label_values(class_names: Sequence[str], dataset: str, n_classes: int) -> Array:
    """The label of each class as it stands in the files that a model was trained on, (K,) int64 or text.

    The files of the public sets number their classes; a user's labels are numbers where all of them are.
    """
    published = {"fashion-mnist": FASHION, "cifar10": CIFAR}.get(dataset)
    if not class_names or tuple(class_names) == published:
        return np.arange(n_classes)
    try:
        return np.array([int(name) for name in class_names])
    except ValueError:
        return np.array(class_names, dtype=str)


def check_dataset(dataset: DataSet) -> DataSet:
    """The data set with int64 labels, or DataError.

    Refused: pixels that are not finite or outside [0, 1], labels out of range, a class without an example, images that
    are all alike.
    """
    name, n_classes = dataset.name, dataset.n_classes
    train = _checked(name, "training", dataset.train, n_classes)
    test = _checked(name, "test", dataset.test, n_classes)
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"{name}: training images have shape {train.images.shape[1:]}, test images {test.images.shape[1:]}; "
            "they must agree"
        )
    if n_classes < 2:
        raise DataError(
            f"{name}: every label is {dataset.class_names[train.labels[0]]}; there must be two classes or more"
        )
    missing = np.flatnonzero(np.bincount(train.labels, minlength=n_classes) == 0)
    if missing.size:
        hint = "; subtract 1 if they count from 1" if missing[0] == 0 else ""
        raise DataError(
            f"{name}: no training image is of class {missing[0]}, but of class {train.labels.max()}; "
            f"labels must be 0..K-1 with an example of each{hint}"
        )
    if train.images.min() == train.images.max():
        value = train.images.min()
        raise DataError(f"{name}: every pixel of every training image is {value}; there is nothing to learn from")
    return replace(dataset, train=train, test=test)


def _checked(name: str, kind: str, part: Part, n_classes: int) -> Part:
    images, labels = part.images, part.labels
    if not len(images) or 0 in images.shape:
        raise DataError(f"{name}: the {kind} part has no images (shape {images.shape}); add some")
    if len(images) != len(labels):
        raise DataError(f"{name}: {len(images)} {kind} images but {len(labels)} labels; each image needs one")
    check_pixels(f"{name}: {kind}", images)
    if labels.min() < 0 or labels.max() >= n_classes:
        bad = labels[(labels < 0) | (labels >= n_classes)][0]
        raise DataError(f"{name}: a {kind} label is {bad}; labels must lie in 0..{n_classes - 1}")
    return Part(images, labels.astype(np.int64))
