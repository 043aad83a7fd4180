"""Convolutional units on images that are on a device: many tables side by side, each on its own images."""

import numpy as np

from varpro.arrays import Array, namespace
from varpro.kernels import _launch
from varpro.kernels._launch import dense
from varpro.kernels.convolve.patches import Patches, Sizes


def values(images: Array, index: Array | None, w: Array, patches: Patches) -> Array:
    """phi (B, n, F, G) of tables w (B, rows, F) on the images (rows, C, H, W) of each; index (B, n) or None."""
    return _launched("convolve_values", images, index, w, patches, (w.shape[2], patches.cell_count))


def jacobian(images: Array, index: Array | None, w: Array, patches: Patches) -> Array:
    """D (B, n, G, rows, F) in the dtype of w."""
    return _launched("convolve_jacobian", images, index, w, patches, (patches.cell_count, *w.shape[1:]))


def tangent(images: Array, index: Array | None, w: Array, dw: Array, patches: Patches) -> Array:
    """The derivative of phi along dw (B, rows, F), (B, n, F, G)."""
    along = dense(dw, w.dtype.type)
    return _launched("convolve_tangent", images, index, w, patches, (w.shape[2], patches.cell_count), along=along)


def contract(images: Array, index: Array | None, w: Array, b: Array, patches: Patches) -> Array:
    """sum_n,cell b[n, f, cell] D[n, cell, row, f] of each table, (B, rows, F) float64; b (B, n, F, G)."""
    xp, sizes = namespace(images), _sizes(images, index, w, patches)
    gradient = xp.zeros(w.shape)
    part = {k: sizes[k] for k in ("problems", "n", "planes", "filters", "terms", "mixed")}
    part |= {k: sizes[k] for k in ("patch_height", "patch_width")}
    work = _launch.workspace("convolve", images, **part)
    _run("convolve_contract", images, index, w, gradient, sizes, weights=dense(b, w.dtype.type), workspace=work)
    return gradient


def _launched(
    kernel: str,
    images: Array,
    index: Array | None,
    w: Array,
    patches: Patches,
    shape: tuple[int, ...],
    **more: Array | None,
) -> Array:
    sizes = _sizes(images, index, w, patches)
    out = namespace(images).empty((len(w), sizes["n"], *shape), dtype=w.dtype)
    _run(kernel, images, index, w, out, sizes, **more)
    return out


def _run(
    kernel: str, images: Array, index: Array | None, w: Array, out: Array, sizes: Sizes, **more: Array | None
) -> None:
    _launch.launch(
        kernel, images, images=namespace(images).ascontiguousarray(images), pixel=str(images.dtype),
        index=dense(index, np.int32), w=dense(w, w.dtype.type), out=out, is_float=w.dtype == np.float32, **sizes,
        **more,
    )  # fmt: skip


def _sizes(images: Array, index: Array | None, w: Array, patches: Patches) -> Sizes:
    rows, planes, height, width = images.shape
    n = rows // len(w) if index is None else index.shape[1]
    sizes = {"problems": len(w), "n": n, "planes": planes, "height": height, "width": width, "filters": w.shape[2]}
    return sizes | patches.geometry() | {"squash": patches.sigma}
