"""Class sums of features on a device."""

import numpy as np

from varpro.arrays import Array, namespace
from varpro.kernels._launch import launch, workspace


def class_moments(
    f: Array, position: Array, n_classes: int, *, centred: bool
) -> tuple[Array, Array, Array, Array | None]:
    """counts (B, C) int64, means (B, C, D), within (B, C) and h (B, N, D) or None, as in kernels.class_moments.

    f : (B, N, D) float32 or float64.  position : (B, N) integers, on the device or the host.
    """
    xp, (count, n, d) = namespace(f), f.shape
    _, order, first = class_order(f, position, n_classes)
    means, within = xp.empty((count, n_classes, d)), xp.empty((count, n_classes))
    h = xp.empty((count, n, d)) if centred else None
    sizes = {"problems": count, "features": d, "classes": n_classes}
    scratch = workspace("class_moments", f, **sizes)
    launch(
        "class_moments", f, f=xp.ascontiguousarray(f), order=order, first=first, means=means, within=within, h=h,
        workspace=scratch, n=n, f_is_float=f.dtype == np.float32, **sizes,
    )  # fmt: skip
    return (first[:, 1:] - first[:, :-1]).astype(np.int64), means, within, h


def class_order(f: Array, position: Array, n_classes: int) -> tuple[Array, Array, Array]:
    """position (B, N), order (B, N) and first (B, C + 1), int32: the samples of each class, on the device of f."""
    xp, (count, n) = namespace(f), position.shape
    there = xp.ascontiguousarray(xp.asarray(position), dtype=np.int32)
    order, first = xp.empty((count, n), dtype=np.int32), xp.empty((count, n_classes + 1), dtype=np.int32)
    launch(
        "class_order", f, position=there, order=order, first=first, problems=count, n=n, classes=n_classes
    )  # fmt: skip
    return there, order, first
