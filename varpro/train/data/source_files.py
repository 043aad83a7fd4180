"""Files that `varpro-data convert` reads: IDX, CIFAR-10 batches, .npz and .h5, folders of images by class."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from varpro.arrays import Array
from varpro.errors import BackendError, DataError
from varpro.train.data.idx import read_cifar_batches, read_idx
from varpro.train.data.own_data import plain_labels, read_arrays
from varpro.train.data.pixels import check_pixels

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


@dataclass(frozen=True)
class ImageSource:
    """Images that can be read by rows, and the label of each."""

    shape: tuple[int, int, int]
    """The (planes, rows, columns) of an image."""
    labels: list[str]
    read: Callable[[Array], Array]
    """The images of some rows, (n, C, L, R) uint8."""
    signature: list[object] = field(default_factory=list)
    """Names, sizes and times of the files."""


def open_source(path: Path, labels: Path | None = None) -> ImageSource:
    """The images of a file or folder; labels : the IDX file of labels beside one of images.  Raises DataError."""
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
        return _as_bytes(whole[rows])

    return ImageSource(whole.shape[1:], [str(text) for text in texts], read, _signature(files))


def _as_bytes(images: Array) -> Array:
    """Floats in [0, 1] rounded to 255 steps."""
    return images if images.dtype == np.uint8 else np.round(255.0 * images).astype(np.uint8)


def _image_folder(path: Path) -> ImageSource:
    """FOLDER/<class>/<picture>: the layout that torchvision calls ImageFolder."""
    try:
        from PIL import Image
    except ImportError:
        raise BackendError("folders of pictures need Pillow, not installed here; pip install pillow") from None
    classes = [folder for folder in sorted(path.iterdir()) if folder.is_dir()]
    files = [file for folder in classes for file in sorted(folder.iterdir()) if file.suffix.lower() in PICTURES]
    if not files:
        raise DataError(f"{path}: holds no pictures in folders named after their classes")

    def load(file: Path) -> Array:
        try:
            with Image.open(file) as picture:
                pixels = np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{file}: cannot be read as a picture ({error}); repair or remove it") from None
        return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)

    shape = load(files[0]).shape

    def read(rows: Array) -> Array:
        images = np.empty((len(rows), *shape), np.uint8)
        for place, row in enumerate(rows.tolist()):
            image = load(files[row])
            if image.shape != shape:
                raise DataError(f"{files[row]}: is {image.shape}, {files[0]} is {shape}; all pictures need one size")
            images[place] = image
        return images

    return ImageSource(shape, [file.parent.name for file in files], read, _signature(files))


def _signature(files: list[Path]) -> list[object]:
    stats = [file.stat() for file in files]
    return [len(files), str(files[0]), sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)]
