"""Units on images that lie on a device."""

from typing import Any

import numpy as np

from varpro.arrays import Array, namespace
from varpro.kernels._checks import is_logistic
from varpro.kernels._launch import dense, launch


def quadratic(
    images: Array, index: Array | None, w: Array, *, sigma: str, jacobian: str | None
) -> tuple[Array, Array | None]:
    """Phi (B, n, I + 1) and D (B, n, Q I) or None of quadratic units, from images gathered by index.

    images : (rows, C, L, L) uint8, float32 or float64.  index : (B, n) int32, or None: problem after problem.
    w : (B, Q, I) float64.
    """
    xp, (count, q, units) = namespace(w), w.shape
    rows, planes, side, _ = images.shape
    n = index.shape[1] if index is not None else rows // count
    phi = xp.empty((count, n, units + 1))
    d = None if jacobian is None else xp.empty((count, n, q * units), dtype=jacobian)
    launch(
        "quadratic", w, images=images, pixel=str(images.dtype), index=dense(index, np.int32), w=dense(w, np.float64),
        phi=phi, d=d, problems=count, n=n, planes=planes, side=side, units=units, w_is_float=False,
        d_is_float=jacobian == "float32", logistic=is_logistic(sigma), gram=None, workspace=None,
    )  # fmt: skip
    return phi, d


def bilinear(
    images: Array, index: Array | None, w: Array, *, sigma: str, jacobian: str | None
) -> tuple[Array, Array | None]:
    """As `quadratic` for bilinear units; images (rows, L, R), planes stacked in the rows; w (B, L + R + 1, I)."""
    xp, (count, q, units) = namespace(w), w.shape
    rows, height, width = images.shape
    n = index.shape[1] if index is not None else rows // count
    phi = xp.empty((count, n, units + 1))
    d = None if jacobian is None else xp.empty((count, n, q * units), dtype=jacobian)
    launch(
        "bilinear", w, images=images, pixel=str(images.dtype), index=dense(index, np.int32), w=dense(w, np.float64),
        phi=phi, d=d, problems=count, n=n, height=height, width=width, units=units, w_is_float=False,
        d_is_float=jacobian == "float32", logistic=is_logistic(sigma), gram=None, workspace=None,
    )  # fmt: skip
    return phi, d


def packed(images: Array, index: Array | None, *, dtype: Any) -> Array:
    """(B n, C L (L + 1) / 2) of dtype: the images' packed symmetric entries, plane after plane.

    images : (rows, C, L, L).  index : (B, n) int32, or None for all rows.
    """
    xp, (rows, planes, side, _) = namespace(images), images.shape
    count, n = (1, rows) if index is None else index.shape
    out = xp.empty((count * n, planes * side * (side + 1) // 2), dtype=dtype)
    launch(
        "packed", images, images=xp.ascontiguousarray(images), pixel=str(images.dtype), index=dense(index, np.int32),
        out=out, problems=count, n=n, planes=planes, side=side, out_is_float=out.dtype == np.float32,
    )  # fmt: skip
    return out


def activate(phi: Array, bias: Array, *, logistic: bool) -> None:
    """phi (B, n, I + 1) in place: sigma(q + bias) in the first I columns, 1 in the last; bias (B, I)."""
    count, n, columns = phi.shape
    there = namespace(phi).asarray(bias, dtype=phi.dtype)
    launch(
        "activate", phi, phi=phi, bias=there, problems=count, n=n, units=columns - 1, is_float=phi.dtype == np.float32,
        logistic=logistic,
    )  # fmt: skip
