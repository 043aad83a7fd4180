"""Files that `varpro-data convert` reads: IDX, CIFAR-10 batches, .npz and .h5, Parquet, folders of images by class."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError
from varpro.train.data.idx import read_cifar_batches, read_idx
from varpro.train.data.own_data import plain_labels, read_arrays
from varpro.train.data.parquet import ParquetImages, parquet_files
from varpro.train.data.picture_files import PICTURES, load_picture, require_pillow
from varpro.train.data.pixels import as_bytes, check_pixels


@dataclass(frozen=True)
class ImageSource:
    """Images that can be read by rows, and the label of each."""

    shape: tuple[int, int, int]
    """The (planes, rows, columns) of an image."""
    labels: list[str]
    read: Callable[[Array], Array]
    """The images of some rows, (n, C, L, R) uint8."""
    signature: list[object] = field(default_factory=list)
    """Changes with the name, the size or the time of any of the files."""
    unpack: Callable[[Path], Callable[[Array], Array]] | None = None
    """For files that give no single rows: lays the images down in a folder, and returns what reads them there."""


@dataclass(frozen=True)
class Columns:
    """What a table does not say itself."""

    label: str | None = None
    """The column of the labels."""
    shape: tuple[int, ...] | None = None
    """The shape of an image."""


def open_source(path: Path, labels: Path | None = None, columns: Columns = Columns()) -> ImageSource:
    """The images of a file or folder; labels : the IDX file of labels beside one of images.  Raises DataError."""
    if tables := parquet_files(path):
        return _of_tables(tables, columns)
    if path.is_dir():
        batches = sorted(path.glob("*.bin*"))
        return _of_arrays(*read_cifar_batches(batches), path, batches) if batches else _image_folder(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder")
    if path.suffix in (".npz", ".h5", ".hdf5"):
        arrays = read_arrays(path)
        if not {"images", "labels"} <= arrays.keys():
            raise DataError(f"{path}: needs arrays images and labels; it has {', '.join(arrays) or 'neither'}")
        return _of_arrays(arrays["images"], arrays["labels"], path, [path])
    if ".bin" in path.suffixes:
        return _of_arrays(*read_cifar_batches([path]), path, [path])
    if labels is None:
        raise DataError(f"{path}: an IDX file of images needs one of labels; name it with --labels")
    return _of_arrays(read_idx(path), read_idx(labels), path, [path, labels])


def _of_arrays(images: Array, labels: Array, path: Path, files: list[Path]) -> ImageSource:
    texts = plain_labels(labels)
    if images.ndim not in (3, 4) or texts is None or len(texts) != len(images):
        raise DataError(f"{path}: images {images.shape} and labels {labels.shape} are no images with a label each")
    check_pixels(f"{path}:", images)
    whole = images if images.ndim == 4 else images[:, None]

    def read(rows: Array) -> Array:
        return as_bytes(whole[rows])

    return ImageSource(whole.shape[1:], [str(text) for text in texts], read, _signature(files))


def _of_tables(files: list[Path], columns: Columns) -> ImageSource:
    found = ParquetImages(files, columns.label, columns.shape)
    texts = plain_labels(found.labels)
    if texts is None:
        raise DataError(f"{files[0]}: labels are {found.labels.dtype}; text or whole numbers are needed")

    def unpack(folder: Path) -> Callable[[Array], Array]:
        return found.unpack(folder).read

    def read(rows: Array) -> Array:
        raise TypeError("a table is unpacked before rows are read")

    signature = [*_signature(files), found.label_column, *(columns.shape or ())]
    return ImageSource(found.whole_shape, texts.tolist(), read, signature, unpack)


def _image_folder(path: Path) -> ImageSource:
    """FOLDER/<class>/<picture>: the layout that torchvision calls ImageFolder."""
    require_pillow()
    classes = [folder for folder in sorted(path.iterdir()) if folder.is_dir()]
    files = [file for folder in classes for file in sorted(folder.iterdir()) if file.suffix.lower() in PICTURES]
    if not files:
        raise DataError(f"{path}: holds no pictures in folders named after their classes")

    shape = load_picture(files[0], str(files[0])).shape

    def read(rows: Array) -> Array:
        images = np.empty((len(rows), *shape), np.uint8)
        for place, row in enumerate(rows.tolist()):
            image = load_picture(files[row], str(files[row]))
            if image.shape != shape:
                raise DataError(f"{files[row]}: is {image.shape}, {files[0]} is {shape}; all pictures need one size")
            images[place] = image
        return images

    return ImageSource(shape, [file.parent.name for file in files], read, _signature(files))


def _signature(files: list[Path]) -> list[object]:
    digest = hashlib.sha256()
    for file in files:  # each by itself: a picture that was moved to another class changes no sum
        stat = file.stat()
        digest.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return [len(files), digest.hexdigest()]
