"""Class sums of a batch of features: counts, means, centred features, and their squares.

mu_c = (1 / n_c) sum f_j,   h_j = f_j - mu_y,   w_c = sum ||h_j||^2,   j over the samples of class c
"""

from typing import NamedTuple

import numpy as np

from varpro import _cpu
from varpro.arrays import Array, is_device_array
from varpro.errors import ShapeError
from varpro.kernels._checks import FLOATS
from varpro.kernels.class_moments import cuda


class Moments(NamedTuple):
    """The moments of B batches; those of two batches are combined by `merge`."""

    counts: Array
    """The number of samples, (B, C) int64."""
    means: Array
    """The class means, (B, C, D) float64; zeros for a class without samples."""
    within: Array
    """The sums w_c, (B, C) float64; not finite if a feature of the class is not, or if the squares overflow."""
    h: Array | None
    """The centred features, (B, N, D) float64, or None."""


def class_moments(f: Array, position: Array, n_classes: int, *, centred: bool = True) -> Moments:
    """Moments of f (B, N, D) float32 or float64 with position (B, N), integers in 0 .. n_classes - 1.

    centred : whether to compute h.  For f on a device the moments are there; position may be on either side.
    """
    check_batches(f, position, n_classes)
    if is_device_array(f):
        return Moments(*cuda.class_moments(f, position, n_classes, centred=centred))
    n_batches, n, d = f.shape
    counts = np.empty((n_batches, n_classes), dtype=np.int64)
    means, within = np.empty((n_batches, n_classes, d)), np.empty((n_batches, n_classes))
    h = np.empty((n_batches, n, d)) if centred else None
    _cpu.class_moments(np.ascontiguousarray(f), positions(position), counts, means, within, h)
    return Moments(counts, means, within, h)


def merge(one: Moments, other: Moments) -> Moments:
    """Counts, means and squares of both batches together, for the same classes, without h."""
    total = one.counts + other.counts
    share = other.counts / np.maximum(total, 1)
    gap = other.means - one.means
    between = one.counts * share * (gap**2).sum(axis=2)
    return Moments(total, one.means + share[:, :, None] * gap, one.within + other.within + between, None)


def check_batches(f: Array, position: Array, n_classes: int) -> None:
    """Raise ShapeError unless f (B, N, D), position (B, N) and n_classes fit together."""
    if f.ndim != 3 or f.dtype not in FLOATS:
        raise ShapeError(f"f has shape {f.shape} and dtype {f.dtype}; it needs (B, N, D), float32 or float64")
    if position.shape != f.shape[:2] or position.dtype.kind not in "iu":
        raise ShapeError(
            f"position has shape {position.shape} and dtype {position.dtype}; f {f.shape} needs {f.shape[:2]} integers"
        )
    if n_classes < 1:
        raise ShapeError(f"n_classes is {n_classes}; it needs 1 or more")
    if position.size and not 0 <= position.min() <= position.max() < n_classes:
        raise ShapeError(f"positions run from {position.min()} to {position.max()}; they need 0 to {n_classes - 1}")


def positions(position: Array) -> Array:
    """Positions in the form that kernels read, not copied if they are C-contiguous int64."""
    return np.ascontiguousarray(position, dtype=np.int64)
