"""What images must contain: bytes, or finite floats in [0, 1]."""

import numpy as np

from varpro.arrays import Array, ArrayLike
from varpro.errors import DataError, ShapeError
from varpro.models.units.images import planes


def check_pixels(what: str, images: Array) -> None:
    """Raise DataError unless images (N, ...) are bytes, or finite floats in [0, 1]; `what` begins the message."""
    if images.dtype == np.uint8 or not images.size:
        return
    low, high = float(images.min()), float(images.max())  # a NaN anywhere makes both NaN
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = np.flatnonzero([not np.isfinite(image).all() for image in images])
        raise DataError(
            f"{what} image {bad[0]} has a pixel that is NaN or infinite ({len(bad)} of {len(images)} images have one); "
            "repair or remove them"
        )
    if low < 0 or high > 1:
        remedy = f"divide by {255 if 16 < high <= 255 else high:g}" if low >= 0 else "shift and scale them"
        raise DataError(
            f"{what} pixels lie in [{low:g}, {high:g}], they must lie in [0, 1]; {remedy} "
            "(pixels saved as uint8 are divided by 255)"
        )


def as_bytes(images: Array) -> Array:
    """Bytes as they are, floats in [0, 1] and truth values rounded to 255 steps."""
    return images if images.dtype == np.uint8 else np.round(255.0 * images).astype(np.uint8)


def readable_images(images: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Images (N, L, R), (N, C, L, R) or tensors (N, d1, .., dk) as (N, *shape), for a network that reads `shape`.

    Raises ShapeError for another shape, DataError if a pixel lies outside [0, 1] or is not finite.
    """
    x = planes(np.asarray(images))
    if x.shape[1:] != shape:
        raise ShapeError(f"images have shape {x.shape[1:]} (planes, rows, columns); this network reads {shape}")
    if x.dtype != np.uint8 and x.size and not (x.min() >= 0 and x.max() <= 1):
        raise DataError(
            f"pixels lie in [{x.min():g}, {x.max():g}]; the network reads [0, 1]: divide by the largest value"
        )
    return x
