"""Scalarization: images to sigma(q), and the compressed Jacobian in the same pass.

    quadratic  q = 1/2 w^T (sum_c g_c S_c) w + b,  S = X + X^T          bilinear  q = u^T X v + b
    window     q = <X on a window, M>

Images are (rows, C, L, R): bytes, read as value / 255, float32 or float64.  An index (B, n) int32 says which rows each
problem reads; without one they are consecutive, problem after problem.
Column order of D: m = row of w * I + unit, so that w (rows, I) flattened is the vector of parameters.
"""

import numpy as np

from varpro import _cpu
from varpro.arrays import Array, is_device_array, namespace
from varpro.kernels._checks import FLOATS, PIXELS, doubles, is_logistic, require
from varpro.kernels.scalarize import cuda
from varpro.kernels.scalarize.windows import window_adjoint, window_forward, window_jacobian, window_offsets


def quadratic(
    images: Array, index: Array | None, w: Array, *, sigma: str, jacobian: str | None = None, symmetric: bool = False
) -> tuple[Array, Array | None]:
    """Phi (B, n, I + 1) = [sigma(q) | 1] and D (B, n, Q I) of dtype `jacobian`, or None, where the images are.

    images : (rows, C, L, L).  w : (B, Q, I): L rows of w, C rows of g if C > 1, a row of b.
    symmetric : the images are symmetric, made so by `symmetrised` once for many calls; a CPU then forms no sums.
    """
    _check_images(images, square=True)
    planes, side = images.shape[1:3]
    rows = side + (planes if planes > 1 else 0) + 1
    return _units("quadratic", images, index, w, rows, sigma, jacobian, symmetric)


def symmetrised(images: Array) -> Array:
    """(X + X^T) / 2 of images (rows, C, L, L) with float pixels, which look the same to the units; C-contiguous, as a
    kernel reads them, whatever the images are."""
    x: Array = namespace(images).ascontiguousarray(0.5 * (images + images.mT))
    return x


def bilinear(
    images: Array, index: Array | None, w: Array, *, sigma: str, jacobian: str | None = None
) -> tuple[Array, Array | None]:
    """The same for bilinear units; D is (B, n, (C L + R + 1) I), since planes are stacked vertically in X.

    images : (rows, C, L, R).  w : (B, C L + R + 1, I): C L rows of u, R rows of v, a row of b.
    """
    _check_images(images, square=False)
    _, planes, height, width = images.shape
    return _units("bilinear", images, index, w, planes * height + width + 1, sigma, jacobian)


def _units(
    kind: str, images: Array, index: Array | None, w: Array, rows: int, sigma: str, jacobian: str | None,
    symmetric: bool = False,
) -> tuple[Array, Array | None]:  # fmt: skip
    require(w.ndim == 3 and w.shape[1] == rows, f"w has shape {w.shape}; images {images.shape} need (B, {rows}, I)")
    require(
        jacobian in (None, "float32", "float64"), f"jacobian is {jacobian!r}; it needs None, 'float32' or 'float64'"
    )
    n_problems, n = len(w), _images_each(images, index, len(w))
    logistic = is_logistic(sigma)
    if is_device_array(images):
        return cuda.units(kind, images, index, w, n, logistic=logistic, jacobian=jacobian)
    phi = np.empty((n_problems, n, w.shape[2] + 1))
    d = None if jacobian is None else np.empty((n_problems, n, rows * w.shape[2]), dtype=jacobian)
    given = np.ascontiguousarray(images), _narrow(index, len(images)), doubles(w), phi, d, logistic
    if kind == "quadratic":
        _cpu.quadratic(*given, symmetric)
    else:
        _cpu.bilinear(*given)
    return phi, d


def activate(q: Array, bias: Array, *, sigma: str) -> None:
    """q[:, :I] = sigma(q[:, :I] + bias) in place; q : (N, stride >= I) C-contiguous float32 or float64, bias : (I,).

    On a device q is (N, I + 1), and its last column is set to 1.
    """
    require(
        q.ndim == 2 and q.flags.c_contiguous and bias.ndim == 1 and len(bias) <= q.shape[1],
        f"q {q.shape} and bias {bias.shape} need (N, stride) and (I,)",
    )
    require(q.dtype in FLOATS, f"q has dtype {q.dtype}; it needs float32 or float64")
    if is_device_array(q):
        cuda.activate(q[None], bias[None], logistic=is_logistic(sigma))
        return
    entry = _cpu.activate_float if q.dtype == np.float32 else _cpu.activate_double
    entry(q, np.ascontiguousarray(bias, dtype=q.dtype), is_logistic(sigma))


def symmetric_pack(images: Array, index: Array | None = None, *, dtype: np.dtype | type) -> Array:
    """(N, C L (L + 1) / 2) of dtype: X_kk and X_kl + X_lk for k < l, row by row and plane after plane.

    So w^T X w = pack(X) . pack_outer(w).  images : (rows, C, L, L).  N = B n for an index (B, n), else the rows.
    """
    _check_images(images, square=True)
    planes, side = images.shape[1:3]
    count = len(images) if index is None else index.size
    if is_device_array(images):
        return cuda.pack(images, index, dtype=dtype)
    out = np.empty((count, planes * side * (side + 1) // 2), dtype=dtype)
    _cpu.pack(np.ascontiguousarray(images), _narrow(index, len(images)), out)
    return out


def packed_quadratic(packed: Array, w: Array, colours: int, *, sigma: str) -> Array:
    """Phi (B, n, I + 1) = [sigma(q) | 1] of quadratic units on a device, from images that are packed already.

    packed : (B, n, E) float64 of symmetric_pack.  w : (B, Q, I), the table of `quadratic`, with `colours` rows of g.
    One product with half the multiplications of `quadratic`, whose values it gives.
    """
    entries, side = packed.shape[2], w.shape[1] - 1 - colours
    require(
        packed.ndim == w.ndim == 3 and len(packed) == len(w) and entries == max(colours, 1) * side * (side + 1) // 2,
        f"packed {packed.shape} and w {w.shape} with {colours} colours do not fit together; see symmetric_pack",
    )
    return cuda.packed_quadratic(packed, w, side, logistic=is_logistic(sigma))


def symmetric_pack_outer(w: Array) -> Array:
    """(L (L + 1) / 2, I): w_k w_l for k <= l, in the order of symmetric_pack; w : (L, I)."""
    row, column = np.triu_indices(len(w))
    outer: Array = w[row] * w[column]
    return outer


def _check_images(images: Array, *, square: bool) -> None:
    require(
        images.ndim == 4 and images.dtype in PIXELS and (not square or images.shape[2] == images.shape[3]),
        f"images have shape {images.shape}, dtype {images.dtype}; they need (rows, C, L, {'L' if square else 'R'}), "
        "uint8, float32 or float64",
    )


def _images_each(images: Array, index: Array | None, n_problems: int) -> int:
    """The number of images of each problem."""
    if index is not None:
        require(
            index.ndim == 2 and len(index) == n_problems,
            f"index has shape {index.shape}, w is of {n_problems} problems; it needs ({n_problems}, n)",
        )
        return index.shape[1]
    require(
        n_problems > 0 and len(images) % n_problems == 0,
        f"{len(images)} images do not part into {n_problems} problems of equal size; give an index",
    )
    return len(images) // n_problems


def _narrow(index: Array | None, rows: int) -> Array | None:
    """The index in the form that kernels read.  Raises ShapeError for a row that does not exist."""
    if index is None:
        return None
    require(
        not index.size or 0 <= index.min() <= index.max() < rows,
        f"index runs from {index.min(initial=0)} to {index.max(initial=0)}; there are {rows} images",
    )
    return np.ascontiguousarray(index, dtype=np.int32)


__all__ = [
    "activate", "bilinear", "packed_quadratic", "quadratic", "symmetric_pack", "symmetric_pack_outer", "symmetrised",
    "window_adjoint", "window_forward", "window_jacobian", "window_offsets",
]  # fmt: skip
