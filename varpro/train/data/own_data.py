"""The user's own images: a .npz or .h5 with arrays images and labels (N,).

Images are (N, L, R), (N, C, L, R), or tensors (N, d1, .., dk) such as videos, volumes and hyperspectral images.

It may also hold test_images and test_labels; without them a sixth of the images becomes the test part.  Training images
are taken in an order drawn from a fixed seed, so that files sorted by class can be split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError
from varpro.tables.named_arrays import read_named_arrays
from varpro.train.data.pixels import check_pixels

SHOWN = 8
NAMES = ("images", "labels", "test_images", "test_labels")


@dataclass(frozen=True, slots=True)
class OwnData:
    """The (images, labels) of both parts."""

    train: tuple[Array, Array]
    test: tuple[Array, Array]
    class_names: tuple[str, ...]
    """The labels as written in the file, in the order of the classes."""
    numbers: Array
    """The numbers in the file of the training images, (N,) int64."""


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of a .npz or .h5 named images, labels, test_images, test_labels.  Raises DataError."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; data.source is a data set's name or the path of a .npz or .h5")
    return read_named_arrays(path, NAMES, as_stored=True).found


def read_own(path: Path, classes: Sequence[str] | None = None) -> OwnData:
    """The user's data set.  Pixels: uint8, booleans, or floats in [0, 1]; labels: text or whole numbers.

    classes : the labels in the order of the classes; None = all that occur, numbers by size, text alphabetically.
    Raises DataError, which identifies an image by its number in the file, from 0.
    """
    arrays = read_arrays(path)
    for name in ("images", "labels"):
        if name not in arrays:
            raise DataError(
                f"{path}: holds no array called {name}; it needs images (N, L, R), (N, C, L, R) or "
                "(N, d1, .., dk) and labels (N,)"
            )
    images, labels = _pair(path, arrays["images"], arrays["labels"], "")
    if ("test_images" in arrays) != ("test_labels" in arrays):
        raise DataError(f"{path}: test_images and test_labels belong together; one of them is missing")
    order = np.random.default_rng(0).permutation(len(labels))  # the same in every run
    if "test_images" in arrays:
        tested, test_labels = _pair(path, arrays["test_images"], arrays["test_labels"], "test_")
        names = _class_names(path, labels, test_labels, classes)
        test = tested, _numbered(path, test_labels, names, "test_")
        kept, held = order, order[:0]
    else:
        names = _class_names(path, labels, labels[:0], classes)
        first = len(labels) - max(1, len(labels) // 6)
        kept, held = order[:first], order[first:]
        test = images[held], _numbered(path, labels, names, "")[held]
    numbered = _numbered(path, labels, names, "")
    _require_examples(path, numbered, kept, held, names, test[1])
    return OwnData((images[kept], numbered[kept]), test, names, kept)


def plain_labels(labels: Array) -> Array | None:
    """Labels (N,) of any kind as text, with 3, 3.0 and '3' alike; None if they are neither text nor numbers."""
    if labels.dtype.kind == "O":
        if not all(isinstance(v, str | bytes) for v in labels.ravel().tolist()):
            return None
        labels = np.array([_decoded(v) for v in labels.ravel().tolist()], dtype=str).reshape(labels.shape)
    if labels.dtype.kind == "S":
        labels = np.array([_decoded(v) for v in labels.ravel().tolist()], dtype=str).reshape(labels.shape)
    if labels.dtype.kind == "U":
        return np.char.strip(labels)
    if labels.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            whole = labels.astype(np.int64)
        return np.where(whole == labels, whole.astype(str), labels.astype(str))
    return labels.astype(str) if labels.dtype.kind in "uib" else None


def _decoded(value: str | bytes) -> str:
    if isinstance(value, str):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _pair(path: Path, images: Array, labels: Array, prefix: str) -> tuple[Array, Array]:
    """Images as bytes or floats, checked, and labels as text."""
    if images.dtype.kind not in "uifb":
        raise DataError(
            f"{path}: {prefix}images are {images.dtype}; numbers are needed, in one array of tensors of equal shape"
        )
    texts = plain_labels(labels)
    if texts is None:
        raise DataError(f"{path}: {prefix}labels are {labels.dtype}; text or whole numbers are needed")
    _check_shapes(path, images.shape, labels.shape, prefix)
    if labels.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(labels) | (labels != np.round(labels)))
        if bad.size:
            raise DataError(
                f"{path}: the {prefix}label of image {bad[0]} is {labels[bad[0]]}; labels must be text or whole numbers"
            )
    empty = np.flatnonzero(np.isin(np.char.lower(texts), ("", "nan")))
    if empty.size:
        raise DataError(
            f"{path}: the {prefix}label of image {empty[0]} is {str(texts[empty[0]])!r} ({len(empty)} such); give it "
            "a label or leave the image out"
        )
    if images.dtype.kind == "b":
        images = images.astype(np.float32)
    elif images.dtype != np.uint8:
        images = images.astype(np.float32 if images.dtype.itemsize <= 4 else np.float64, copy=False)
    check_pixels(f"{path}: test" if prefix else f"{path}:", images)
    return images, texts


def _class_names(path: Path, labels: Array, test_labels: Array, classes: Sequence[str] | None) -> tuple[str, ...]:
    """The labels in the order of the classes.  Raises DataError if they do not look like labels."""
    found = [str(name) for name in np.unique(np.concatenate([labels, test_labels]))]
    numbers = all(_is_whole(name) for name in found)
    if classes is not None:
        odd = next((name for name in found if name not in classes), None)
        if odd is not None or len(set(classes)) < len(classes):
            what = (
                f"{odd!r} is a label, but not in data.classes"
                if odd is not None
                else "data.classes names a class twice"
            )
            raise DataError(f"{path}: {what} ({_listed(classes)}); mend data.classes, or leave it out")
        return tuple(classes)
    found.sort(key=(lambda name: (int(name), name)) if numbers else None)
    if numbers and len(found) > 2 and int(found[0]) < 0:
        number = int(np.flatnonzero(labels == found[0])[0]) if found[0] in labels else 0
        raise DataError(
            f"{path}: a label is {found[0]} (image {number}), as images without a label often have; leave them out, or "
            "give the class another number or a name"
        )
    if len(found) > max(2, len(labels) // 2):
        raise DataError(
            f"{path}: {len(labels)} images have {len(found)} different labels ({_listed(found)}); a class needs an "
            "example for training and more to test"
        )
    return tuple(found)


def _is_whole(name: str) -> bool:
    return name.removeprefix("-").isdecimal() and name.isascii()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")


def _numbered(path: Path, labels: Array, names: tuple[str, ...], prefix: str) -> Array:
    """The number of each label's class, (N,) int64."""
    places = {name: k for k, name in enumerate(names)}
    return np.array([places[str(label)] for label in labels], dtype=np.int64)


def _require_examples(
    path: Path, labels: Array, kept: Array, held: Array, names: tuple[str, ...], tested: Array
) -> None:
    """Raise DataError for a class without a training image, giving the numbers of its images in the file."""
    missing = np.flatnonzero(np.bincount(labels[kept], minlength=len(names)) == 0)
    if not missing.size or not len(kept):
        return
    label = missing[0]
    places = np.sort(held[labels[held] == label])
    if places.size:
        images = (
            f"its only image, number {places[0]},"
            if places.size == 1
            else f"all its {places.size} images ({_listed([str(n) for n in places])})"
        )
        raise DataError(
            f"{path}: class {names[label]}: {images} fell into the sixth that is held out for the test; add images "
            "of the class, leave it out, or save a test part of your own as test_images and test_labels"
        )
    where = np.flatnonzero(tested == label)
    said = f"test image {where[0]} is of it" if where.size else "it stands in data.classes"
    raise DataError(f"{path}: no training image is of class {names[label]}, but {said}; add examples or leave it out")


def _check_shapes(path: Path, images: tuple[int, ...], labels: tuple[int, ...], prefix: str) -> None:
    """Raise DataError for wrong shapes, with the remedy for the usual mistakes."""
    if len(images) < 3:
        hint = "; reshape each row to its image" if len(images) == 2 else ""
        raise DataError(
            f"{path}: {prefix}images have shape {images}; (N, L, R) or (N, C, L, R) is needed, or "
            f"(N, d1, .., dk) for tensors{hint}"
        )
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
