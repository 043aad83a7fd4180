"""Units on images that are on a device."""

import numpy as np
import numpy.typing as npt

from varpro.arrays import Array, namespace
from varpro.kernels import vendor
from varpro.kernels._launch import dense, launch


def units(
    kind: str, images: Array, index: Array | None, w: Array, n: int, *, logistic: bool, jacobian: str | None
) -> tuple[Array, Array | None]:
    """Phi (B, n, I + 1) and D (B, n, Q I) or None for quadratic or bilinear units; arguments as in the entry."""
    xp, (count, q, units) = namespace(w), w.shape
    _, planes, height, width = images.shape
    below = planes if kind == "bilinear" else 1
    phi = xp.empty((count, n, units + 1))
    d = None if jacobian is None else xp.empty((count, n, q * units), dtype=jacobian)
    launch(
        kind, w, images=images, pixel=str(images.dtype), index=dense(index, np.int32), w=dense(w, np.float64), phi=phi,
        d=d, problems=count, n=n, planes=planes // below, height=below * height, width=width, units=units,
        w_is_float=False, d_is_float=jacobian == "float32", logistic=logistic, gram=None, workspace=None,
    )  # fmt: skip
    return phi, d


def pack(images: Array, index: Array | None, *, dtype: npt.DTypeLike) -> Array:
    """The packed entries of scalarize.symmetric_pack."""
    xp, (rows, planes, side, _) = namespace(images), images.shape
    count, n = (1, rows) if index is None else index.shape
    out = xp.empty((count * n, planes * side * (side + 1) // 2), dtype=dtype)
    launch(
        "pack", images, images=xp.ascontiguousarray(images), pixel=str(images.dtype), index=dense(index, np.int32),
        out=out, problems=count, n=n, planes=planes, side=side, out_is_float=out.dtype == np.float32,
    )  # fmt: skip
    return out


def packed_quadratic(packed: Array, w: Array, side: int, *, logistic: bool) -> Array:
    """The values of scalarize.packed_quadratic."""
    xp, (count, n, _), units = namespace(w), packed.shape, w.shape[2]
    row, column = (xp.asarray(places) for places in np.triu_indices(side))
    vectors, g = w[:, :side], w[:, side:-1]
    forms = vectors[:, row] * vectors[:, column]
    if g.shape[1]:
        forms = (g[:, :, None] * forms[:, None]).reshape(count, -1, units)
    phi = xp.empty((count, n, units + 1))
    vendor.product_beside(packed, xp.ascontiguousarray(forms), phi)
    activate(phi, xp.ascontiguousarray(w[:, -1]), logistic=logistic)
    return phi


def activate(phi: Array, bias: Array, *, logistic: bool) -> None:
    """phi (B, n, I + 1) in place: sigma(q + bias) in the first I columns, 1 in the last; bias (B, I)."""
    count, n, columns = phi.shape
    there = namespace(phi).asarray(bias, dtype=phi.dtype)
    launch(
        "activate", phi, phi=phi, bias=there, problems=count, n=n, units=columns - 1, is_float=phi.dtype == np.float32,
        logistic=logistic,
    )  # fmt: skip
