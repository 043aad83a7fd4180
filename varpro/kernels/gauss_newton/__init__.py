"""Hadamard assembly of the Gauss-Newton matrix from the compressed Jacobian, and damped solves with it.

h[m, m'] = aat[j, j'] (D^T D - z^T z)[m, m'] + gram_inverse[j, j'] (g g^T)[m, m'],   j = columns[m]
"""

import numpy as np

from varpro import _cpu
from varpro.arrays import Array, is_device_array, namespace
from varpro.kernels import batched_cholesky, vendor
from varpro.kernels._checks import doubles, require
from varpro.kernels.gauss_newton import cuda


def normal_matrix(
    d: Array, z: Array, aat: Array, gram_inverse: Array | None, g: Array, columns: Array,
    *, u: Array | None = None, tf32: bool = False,
) -> Array:  # fmt: skip
    """h (B, M, M) float64; its lower triangle is valid, the upper one is not set.

    d : (B, N, M) float32 or float64, C-contiguous; D^T D has its dtype.  z : (B, r, M) = U^T D.
    aat, gram_inverse : (B, I, I); None leaves the second term out (Kaufman).  g : (B, M, K) = D^T R.
    columns : (M,) int32.
    On a device, if d is float32 and u (B, N, r) is given, d - u z takes the place of d and no large matrices are
    subtracted from each other; tf32 rounds the factors of its product to ten bits.
    """
    _check(d, z, aat, gram_inverse, g, columns)
    if is_device_array(d):
        return _on_device(d, z, aat, gram_inverse, g, columns, u, tf32)
    h = np.empty((d.shape[0], d.shape[2], d.shape[2]))
    inverse = None if gram_inverse is None else doubles(gram_inverse)
    narrow = np.ascontiguousarray(columns, dtype=np.int32)
    _cpu.normal_matrix(np.ascontiguousarray(d), doubles(z), doubles(aat), inverse, doubles(g), narrow, h)
    return h


def _on_device(
    d: Array, z: Array, aat: Array, gram_inverse: Array | None, g: Array, columns: Array, u: Array | None, tf32: bool
) -> Array:
    xp = namespace(d)
    whole = xp.ascontiguousarray(z)
    if d.dtype == np.float64 or u is None:
        gram = vendor.gram_lower(xp.ascontiguousarray(d), z=whole.astype(d.dtype, copy=False))
    else:
        vendor.subtract_product(d, xp.ascontiguousarray(u, dtype=d.dtype), whole.astype(d.dtype))
        gram = vendor.gram_lower(d, tf32=tf32)
    return cuda.assemble(gram, None, aat, gram_inverse, g, columns)


def damped_solve(h: Array, diagonal: Array, lam: Array, rhs: Array, *, single: bool = False) -> tuple[Array, Array]:
    """Solve (h + lam diag(diagonal)) step = rhs by Cholesky on a copy; returns step (B, P) and info (B,).

    h : (B, P, P) float64, lower triangle.  diagonal, rhs : (B, P).  lam : (B,).
    single : factor in float32 and refine with float64 residuals to 1e-10, or in float64 if that does not converge.
    info > 0: that leading minor is not positive definite, and the problem's step is NaN.
    """
    require(
        h.ndim == 3
        and h.shape[1] == h.shape[2]
        and diagonal.shape == rhs.shape == h.shape[:2]
        and lam.shape == h.shape[:1],
        f"h {h.shape}, diagonal {diagonal.shape}, lam {lam.shape} and rhs {rhs.shape} "
        "need (B, P, P), (B, P), (B,), (B, P)",
    )
    if is_device_array(h):
        return _damped_on_device(h, diagonal, lam, rhs)
    step, info = np.full(rhs.shape, np.nan), np.zeros(len(h), dtype=np.int64)
    _cpu.damped_solve(doubles(h), doubles(diagonal), doubles(lam), doubles(rhs), step, info, single)
    return step, info


def _damped_on_device(h: Array, diagonal: Array, lam: Array, rhs: Array) -> tuple[Array, Array]:
    """The solve in double precision, always: the factorisation is a small part of a device's iteration."""
    xp, (count, size) = namespace(h), rhs.shape
    one, first = xp.ones((count, 1, 1)), xp.zeros(size, dtype=np.int32)
    damped = cuda.assemble(h, None, one, None, None, first, xp.asarray(lam), diagonal)
    info = batched_cholesky.cholesky(damped)
    step = vendor.cholesky_solve(damped, rhs)
    return xp.where((info == 0)[:, None], step, np.nan), info


def _check(d: Array, z: Array, aat: Array, gram_inverse: Array | None, g: Array, columns: Array) -> None:
    require(
        d.ndim == 3 and d.dtype in (np.float32, np.float64),
        f"d has shape {d.shape} and dtype {d.dtype}; it needs (B, N, M), float32 or float64",
    )
    n_problems, _, pairs = d.shape
    require(
        z.ndim == 3 and z.shape[::2] == (n_problems, pairs), f"z has shape {z.shape}, d {d.shape}; z needs (B, r, M)"
    )
    require(
        g.ndim == 3 and g.shape[:2] == (n_problems, pairs), f"g has shape {g.shape}, d {d.shape}; g needs (B, M, K)"
    )
    require(columns.shape == (pairs,), f"columns has shape {columns.shape}; it needs ({pairs},)")
    square = aat.ndim == 3 and aat.shape[0] == n_problems and aat.shape[1] == aat.shape[2]
    require(
        square and (gram_inverse is None or gram_inverse.shape == aat.shape),
        f"aat has shape {aat.shape}; it and gram_inverse need (B, I, I)",
    )
    require(  # on a device whoever binds the columns answers for them: to look would be to wait, in every linearisation
        pairs == 0 or is_device_array(columns) or (columns.min() >= 0 and columns.max() < aat.shape[1]),
        f"columns must lie in 0..{aat.shape[1] - 1}",
    )
