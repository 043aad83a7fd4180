"""Checks of arrays that all kernels share."""

import numpy as np

from varpro.arrays import Array
from varpro.errors import ShapeError

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
PIXELS = (np.dtype(np.uint8), *FLOATS)
"""Dtypes of images in memory; bytes are read as value / 255."""


def doubles(a: Array) -> Array:
    """a as C-contiguous float64, not copied if it is already."""
    return np.ascontiguousarray(a, dtype=np.float64)


def require(condition: bool, message: str) -> None:
    """Raise ShapeError(message) unless condition holds."""
    if not condition:
        raise ShapeError(message)


def is_logistic(sigma: str) -> bool:
    """True for "logistic", False for "tanh"; raises ShapeError for anything else."""
    require(sigma in ("tanh", "logistic"), f"sigma is {sigma!r}; it needs 'tanh' or 'logistic'")
    return sigma == "logistic"
