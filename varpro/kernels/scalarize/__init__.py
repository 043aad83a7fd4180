"""Scalarization: images to sigma(q), and the compressed Jacobian in the same pass.

    quadratic  q = 1/2 w^T (sum_c g_c S_c) w + b,  S = X + X^T          bilinear  q = u^T X v + b
    window     q = <X on a window, M>

Column order of D: m = row of w * I + unit, so that w (rows, I) flattened is the vector of parameters.
"""

import numpy as np

from varpro import _cpu
from varpro.arrays import Array, is_device_array
from varpro.kernels._checks import PIXELS, doubles, is_logistic, require
from varpro.kernels.scalarize import cuda
from varpro.kernels.scalarize.windows import window_adjoint, window_forward, window_jacobian, window_offsets


def quadratic(s: Array, w: Array, *, sigma: str, jacobian: str | None = None) -> tuple[Array, Array | None]:
    """Phi (B, N, I + 1) = [sigma(q) | 1] and D (B, N, Q I) of dtype `jacobian`, or None.

    s : (B, N, C, L, L) float64, symmetric.  w : (B, Q, I): L rows of w, C rows of g if C > 1, a row of b.
    """
    require(s.ndim == 5 and s.shape[3] == s.shape[4], f"s has shape {s.shape}; it needs (B, N, C, L, L)")
    n_problems, n, planes, side, _ = s.shape
    rows = side + (planes if planes > 1 else 0) + 1
    require(
        w.ndim == 3 and w.shape[:2] == (n_problems, rows),
        f"w has shape {w.shape}; s {s.shape} needs ({n_problems}, {rows}, I)",
    )
    phi, d = _outputs(n_problems, n, rows, w.shape[2], jacobian)
    _cpu.quadratic(doubles(s), doubles(w), phi, d, is_logistic(sigma))
    return phi, d


def bilinear(x: Array, w: Array, *, sigma: str, jacobian: str | None = None) -> tuple[Array, Array | None]:
    """Phi (B, N, I + 1) and D (B, N, (L + R + 1) I) or None.

    x : (B, N, L, R).  w : (B, L + R + 1, I): L rows of u, R rows of v, a row of b.
    """
    require(x.ndim == 4, f"x has shape {x.shape}; it needs (B, N, L, R)")
    n_problems, n, height, width = x.shape
    rows = height + width + 1
    require(
        w.ndim == 3 and w.shape[:2] == (n_problems, rows),
        f"w has shape {w.shape}; x {x.shape} needs ({n_problems}, {rows}, I)",
    )
    phi, d = _outputs(n_problems, n, rows, w.shape[2], jacobian)
    _cpu.bilinear(doubles(x), doubles(w), phi, d, is_logistic(sigma))
    return phi, d


def activate(q: Array, bias: Array, *, sigma: str) -> None:
    """q[:, :I] = sigma(q[:, :I] + bias) in place; q : (N, stride >= I) C-contiguous float32 or float64, bias : (I,)."""
    require(
        q.ndim == 2 and q.flags.c_contiguous and bias.ndim == 1 and len(bias) <= q.shape[1],
        f"q {q.shape} and bias {bias.shape} need (N, stride) and (I,)",
    )
    require(q.dtype in (np.float32, np.float64), f"q has dtype {q.dtype}; it needs float32 or float64")
    if is_device_array(q):
        cuda.activate(q[None], bias[None], logistic=is_logistic(sigma))
        return
    entry = _cpu.activate_float if q.dtype == np.float32 else _cpu.activate_double
    entry(q, np.ascontiguousarray(bias, dtype=q.dtype), is_logistic(sigma))


def symmetric_pack(x: Array, *, dtype: np.dtype | type) -> Array:
    """(N, L (L + 1) / 2): X_kk and X_kl + X_lk for k < l, row by row, so that w^T X w = pack(X) . pack_outer(w).

    x : (N, L, L) uint8 (read as value / 255), float32 or float64.
    """
    require(
        x.ndim == 3 and x.shape[1] == x.shape[2] and x.dtype in PIXELS,
        f"x has shape {x.shape}, dtype {x.dtype}; it needs (N, L, L), uint8 or float",
    )
    out = np.empty((len(x), x.shape[1] * (x.shape[1] + 1) // 2))
    _cpu.symmetric_pack(np.ascontiguousarray(x), out)
    return out.astype(dtype, copy=False)


def symmetric_pack_outer(w: Array) -> Array:
    """(L (L + 1) / 2, I): w_k w_l for k <= l, in the order of symmetric_pack; w : (L, I)."""
    row, column = np.triu_indices(len(w))
    outer: Array = w[row] * w[column]
    return outer


def _outputs(n_problems: int, n: int, rows: int, units: int, jacobian: str | None) -> tuple[Array, Array | None]:
    require(
        jacobian in (None, "float32", "float64"), f"jacobian is {jacobian!r}; it needs None, 'float32' or 'float64'"
    )
    d = None if jacobian is None else np.empty((n_problems, n, rows * units), dtype=jacobian)
    return np.empty((n_problems, n, units + 1)), d


__all__ = [
    "activate", "bilinear", "quadratic", "symmetric_pack", "symmetric_pack_outer", "window_adjoint", "window_forward",
    "window_jacobian", "window_offsets",
]  # fmt: skip
