"""The formulas of the class moments."""

import numpy as np

from varpro.arrays import Array
from varpro.kernels.class_moments import Moments


def class_moments_reference(f: Array, position: Array, n_classes: int, *, centred: bool = True) -> Moments:
    """The moments, from their formulas."""
    member = position[:, None, :] == np.arange(n_classes)[:, None]
    counts = member.sum(axis=2)
    wide = f.astype(np.float64)
    means = (member @ wide) / np.maximum(counts, 1)[:, :, None]
    h = wide - np.take_along_axis(means, position[:, :, None], axis=1)
    within = (member @ (h**2).sum(axis=2, keepdims=True))[:, :, 0]
    return Moments(counts, means, within, h if centred else None)
