"""What images must hold: bytes, or finite floats in [0, 1]."""

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError


def check_pixels(what: str, images: Array) -> None:
    """Raise DataError unless images (N, ...) are bytes, or finite floats in [0, 1]; `what` heads the message."""
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
