"""Images in the form that units read: (N, C, L, R) or tensors (N, d1, .., dk), bytes or floats in [0, 1], never copied
as a whole to float."""

import numpy as np

from varpro.arrays import Array, is_device_array
from varpro.errors import ShapeError


def planes(images: Array) -> Array:
    """Images (N, L, R) as (N, 1, L, R), without a copy; (N, C, L, R) and tensors (N, d1, .., dk) as they are."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim < 3:
        raise ShapeError(f"images have shape {images.shape}; they need (N, L, R), (N, C, L, R) or (N, d1, .., dk)")
    return images


def unit_floats(images: Array, dtype: type[np.floating] = np.float64) -> Array:
    """Pixels as floats in [0, 1]: bytes are divided by 255, floats are unchanged."""
    if images.dtype == np.uint8:
        return np.multiply(images, dtype(1.0 / 255.0), dtype=dtype)
    return images.astype(dtype, copy=False) if is_device_array(images) else np.asarray(images, dtype=dtype)


def flat_images(images: Array, dtype: np.dtype) -> Array:
    """Images (n, C, L, R) as floats (n, C * L * R), tensors alike."""
    return unit_floats(images, dtype.type).reshape(len(images), -1)
