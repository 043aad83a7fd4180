"""Divergences of features on a device."""

import numpy as np

from varpro.arrays import Array, namespace
from varpro.kernels._launch import dense, launch, workspace
from varpro.kernels.class_moments.cuda import class_order


def softmax_divergence(
    f: Array, position: Array, weights: Array | None, n_classes: int, kind: str, *, tau: float, scale: float
) -> tuple[Array, Array, Array]:
    """value (B, C), by_f (B, N, D) and by_weights (B, C, D) of kernels.softmax_divergence; best for weights None."""
    xp, (count, n, d) = namespace(f), f.shape
    there, order, first = class_order(f, position, n_classes)
    value, by_f, third = xp.empty((count, n_classes)), xp.empty(f.shape, dtype=f.dtype), xp.empty((count, n_classes, d))
    sizes = {"problems": count, "n": n, "classes": n_classes}
    scratch = workspace("softmax_divergence", f, **sizes)
    launch(
        "softmax_divergence", f, f=xp.ascontiguousarray(f), position=there, order=order, first=first,
        weights=dense(weights, np.float64), best=third if weights is None else None, value=value, by_f=by_f,
        by_weights=None if weights is None else third, workspace=scratch, features=d, kind=kind,
        f_is_float=f.dtype == np.float32, tau=float(tau), scale=float(scale), **sizes,
    )  # fmt: skip
    return value, by_f, third
