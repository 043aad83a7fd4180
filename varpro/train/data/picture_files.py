"""Encoded pictures (PNG, JPEG, ...) as bytes of pixels, by Pillow."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from varpro.arrays import Array
from varpro.errors import BackendError, DataError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


def require_pillow() -> None:
    """Raise BackendError if Pillow is missing."""
    try:
        import PIL  # noqa: F401
    except ImportError:
        raise BackendError("pictures need Pillow, not installed here; pip install pillow") from None


def load_picture(source: Path | BinaryIO, what: str) -> Array:
    """One picture as (C, L, R) uint8: a plane of grey, or three of colour.  Raises DataError about `what`."""
    from PIL import Image

    try:
        with Image.open(source) as picture:
            pixels = np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{what}: cannot be read as a picture ({error}); repair or remove it") from None
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
