"""Convolutional units: one bilinear form at every place of an image, squashed, and averaged over a grid of cells.

    q_f[s]          = sum_t u_ft^T X_t[s] v_ft + b_f        X_t[s]: the patch of a plane, or of a mix of planes, at s
    phi[n, f, cell] = mean over the places s of a cell of sigma(q_f[s])

A table w (rows, F) holds the parameters of F filters, one column each: for every term t the h entries of u and the w
entries of v, then the C weights of the mix if planes are mixed, then the bias.  Images (N, C, H, W) are bytes, read
as value / 255, or floats.  Computation is in the dtype of w, float32 or float64.  A term's plane is the mix, or plane
t mod C.  The G cells are counted row by row.  csrc/kernels/convolve.hpp is the contract.
"""

import numpy as np

from varpro import _cpu
from varpro.arrays import Array, beside, is_device_array, namespace
from varpro.errors import BackendError
from varpro.kernels._checks import require
from varpro.kernels.convolve import cuda
from varpro.kernels.convolve.patches import SQUASHES, Patches


def values(images: Array, w: Array, patches: Patches) -> Array:
    """phi (N, F, G) in the dtype of w; images (N, C, H, W), w (rows, F)."""
    images, w = _checked(images, w, patches)
    if is_device_array(images):
        return cuda.values(images, None, w[None], patches)[0]
    phi = np.empty((len(images), w.shape[1], patches.cell_count), dtype=w.dtype)
    _cpu.convolve_values(images, w, phi, patches.call())
    return phi


def jacobian(images: Array, w: Array, patches: Patches) -> Array:
    """D (N, G, rows, F): the derivative of phi[n, f, cell] by w[row, f]."""
    images, w = _checked(images, w, patches)
    if is_device_array(images):
        return cuda.jacobian(images, None, w[None], patches)[0]
    d = np.empty((len(images), patches.cell_count, *w.shape), dtype=w.dtype)
    _cpu.convolve_jacobian(images, w, d, patches.call())
    return d


def layer_jacobian(
    images: Array, w: Array, layer: Array, patches: Patches, *, into: tuple[Array, slice] | None = None
) -> Array:
    """J (N, K, rows, F): the derivative of phi A by w, for the linear layer A (F, G, K).  A CPU never holds D.

    into : an array (N, K, P) in the dtype of w and rows F of its P columns, where J is written instead.
    """
    images, w = _checked(images, w, patches)
    wanted = (w.shape[1], patches.cell_count)
    require(
        layer.ndim == 3 and layer.shape[:2] == wanted, f"the layer has shape {layer.shape}; it needs {wanted} + (K,)"
    )
    j, where = into or (namespace(images).empty((len(images), layer.shape[2], w.size), dtype=w.dtype), slice(0, w.size))
    room = len(range(*where.indices(j.shape[2])))
    require(
        j.shape[:2] == (len(images), layer.shape[2]) and j.dtype == w.dtype and room == w.size,
        f"J is to go to columns {where.start} to {where.stop} of an array {j.shape} of {j.dtype}; it needs "
        f"{w.size} columns of ({len(images)}, {layer.shape[2]}, P) of {w.dtype}",
    )
    if is_device_array(images):
        d = cuda.jacobian(images, None, w[None], patches)[0]
        made = namespace(d).einsum("ncrf,fck->nkrf", d, beside(layer, d).astype(w.dtype, copy=False))
        j[..., where] = made.reshape(*j.shape[:2], -1)
    else:
        layer = np.ascontiguousarray(layer, dtype=w.dtype)
        _cpu.convolve_layer_jacobian(images, w, layer, j, where.start, patches.call())
    return j[..., where].reshape(*j.shape[:2], *w.shape) if into is None else j


def tangent(images: Array, w: Array, dw: Array, patches: Patches) -> Array:
    """The derivative of phi along dw (rows, F), (N, F, G)."""
    images, w = _checked(images, w, patches)
    require(dw.shape == w.shape, f"dw has shape {dw.shape}; w has {w.shape}")
    if is_device_array(images):
        return cuda.tangent(images, None, w[None], beside(dw, images)[None], patches)[0]
    slope = np.empty((len(images), w.shape[1], patches.cell_count), dtype=w.dtype)
    _cpu.convolve_tangent(images, w, np.ascontiguousarray(dw, dtype=w.dtype), slope, patches.call())
    return slope


def contract(images: Array, w: Array, b: Array, patches: Patches) -> Array:
    """sum_n,cell b[n, f, cell] D[n, cell, row, f], (rows, F) float64; b (N, F, G)."""
    images, w = _checked(images, w, patches)
    wanted = (len(images), w.shape[1], patches.cell_count)
    require(b.shape == wanted, f"b has shape {b.shape}; it needs {wanted}")
    if is_device_array(images):
        return cuda.contract(images, None, w[None], beside(b, images)[None], patches)[0]
    gradient = np.zeros(w.shape)
    _cpu.convolve_contract(images, w, np.ascontiguousarray(b, dtype=w.dtype), gradient, patches.call())
    return gradient


def gathered(
    images: Array, index: Array, w: Array, patches: Patches, *, jacobian: str | None
) -> tuple[Array, Array | None]:
    """phi (B, n, F, G) float64 and D (B, n, G, rows, F) of dtype `jacobian`, or None, of tables side by side.

    images (rows, C, H, W) and index (B, n) int32 on a device; w (B, rows, F).  Raises BackendError on the host.
    """
    if not is_device_array(images):
        raise BackendError("many tables side by side are computed on a device; on the host, take them one by one")
    _check(images, w[0], patches)
    phi = cuda.values(images, index, w.astype(np.float64, copy=False), patches)
    return phi, None if jacobian is None else cuda.jacobian(images, index, w.astype(jacobian, copy=False), patches)


def multiply_adds(shape: tuple[int, ...], patches: Patches) -> int:
    """Multiply-adds of one filter's values on an image (C, H, W)."""
    down, across = patches.places(shape)
    rows = patches.terms * (shape[-2] * across * patches.width + down * across * patches.height)
    return rows + (shape[0] * shape[1] * shape[2] if patches.mixed else 0)


def derivative_multiply_adds(shape: tuple[int, ...], patches: Patches) -> int:
    """Multiply-adds that the derivatives of one filter on an image (C, H, W) need beyond its values."""
    planes, height, width = shape
    down, across = patches.places(shape)
    padded, places = width + 2 * patches.padding[1], down * across
    one = down * padded * patches.height + places * (patches.height + patches.width)  # u on the image, both sums
    mixes = planes * (height * across * patches.width + places * (patches.height + 1)) if patches.mixed else 0
    return patches.terms * (one + mixes) + places


def _checked(images: Array, w: Array, patches: Patches) -> tuple[Array, Array]:
    """Both contiguous, w where the images are."""
    _check(images, w, patches)
    xp = namespace(images)
    return xp.ascontiguousarray(images), xp.ascontiguousarray(beside(w, images))


def _check(images: Array, w: Array, patches: Patches) -> None:
    require(images.ndim == 4, f"images have shape {images.shape}; they need (N, C, H, W)")
    patches.places(images.shape)
    planes = images.shape[1]
    require(
        w.ndim == 2 and len(w) == patches.rows(planes),
        f"w has shape {w.shape}; these filters on {planes} planes need ({patches.rows(planes)}, F)",
    )
    require(w.dtype in (np.float32, np.float64), f"w has dtype {w.dtype}; it needs float32 or float64")
    require(
        images.dtype in (np.uint8, np.float32, np.float64),
        f"images have dtype {images.dtype}; they need uint8, float32 or float64",
    )


__all__ = [
    "SQUASHES", "Patches", "contract", "derivative_multiply_adds", "gathered", "jacobian", "layer_jacobian",
    "multiply_adds", "tangent", "values",
]  # fmt: skip
