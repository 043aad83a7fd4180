"""The formulas of the accumulated Gram matrix."""

import numpy as np

from varpro.arrays import Array


def accumulate_reference(phi: Array, y: Array, gram: Array, cross: Array) -> None:
    """The accumulation, from its formulas."""
    gram += np.tril(phi.T @ phi)
    cross += phi.T @ y
