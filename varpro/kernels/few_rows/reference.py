"""The formula of a few rows times a matrix."""

import numpy as np

from varpro.arrays import Array


def few_rows_reference(left: Array, right: Array) -> Array:
    """The product, from its formula."""
    return left.astype(np.float64) @ right.astype(np.float64)
