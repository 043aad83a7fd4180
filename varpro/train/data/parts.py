"""Images and labels in parts, checked before anything is computed."""

from dataclasses import dataclass, field, replace

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError
from varpro.train.data.pixels import check_pixels


@dataclass(frozen=True, slots=True)
class Part:
    """Images (N, L, R), (N, C, L, R) or tensors (N, d1, .., dk), with labels (N,) int64."""

    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Split:
    """Disjoint parts of a data set."""

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
    """The number of images held out from the end of the training part, unless a config says otherwise."""
    numbers: Array | None = None
    """The numbers of the training images in the user's file, where their order is different."""

    @property
    def own(self) -> bool:
        """Whether it is the user's own file."""
        return self.numbers is not None

    @property
    def n_classes(self) -> int:
        """The number K of classes."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, ...]:
        """The (planes, rows, columns) of an image, or the sides of a tensor of higher order."""
        shape = self.train.images.shape
        return (1, *shape[1:]) if len(shape) == 3 else shape[1:]

    def split(self, validation: int | None, train: int | None, test: int | None) -> Split:
        """Training, validation and test parts.  validation : images taken from the end; train, test : limits."""
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
        """Where the images of a class missing from the training part are, for a message."""
        held = np.flatnonzero(self.train.labels[first_held:] == label) + first_held
        if not held.size or self.numbers is None:
            return ""
        listed = ", ".join(map(str, np.sort(self.numbers[held])[:3])) + (" ..." if held.size > 3 else "")
        which = (
            f"its only image, number {listed} of the file," if held.size == 1 else f"its images ({listed} of the file)"
        )
        return f": {which} fell into the validation part"


def check_dataset(dataset: DataSet) -> DataSet:
    """The data set with int64 labels, or DataError.

    Rejected: pixels that are not finite or outside [0, 1], labels out of range, a class without an example, images that
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
