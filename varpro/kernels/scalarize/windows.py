"""Units on windows of an image: q = <X on the window, M>."""

import numpy as np

from varpro import _cpu
from varpro.arrays import Array
from varpro.kernels._checks import PIXELS, doubles, require


def window_offsets(windows: Array, planes: int) -> Array:
    """The position in the ragged array at which each unit's matrix begins, (I + 1,) int64."""
    sizes = planes * windows[:, 2].astype(np.int64) * windows[:, 3]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def window_forward(x: Array, windows: Array, matrices: Array) -> Array:
    """q (N, I) = <X_n on window i, M_i> in the dtype of matrices.

    x : (N, C, L, R) uint8 (read as value / 255), float32 or float64.  windows : (I, 4) int32: top, left, height, width.
    matrices : ragged, one unit after another, each (C, h, w) row-major, flat, float32 or float64.
    """
    offsets = _check_windows(x, windows)
    require(
        matrices.shape == (offsets[-1],), f"matrices have shape {matrices.shape}; these windows need ({offsets[-1]},)"
    )
    entry = _cpu.window_forward_float if _is_single(matrices) else _cpu.window_forward_double
    q = np.empty((len(x), len(windows)), dtype=matrices.dtype)
    entry(np.ascontiguousarray(x), np.ascontiguousarray(windows), offsets, np.ascontiguousarray(matrices), q)
    return q


def window_adjoint(x: Array, windows: Array, b: Array) -> Array:
    """Ragged matrices M_i = sum_n b[n, i] X_n on window i, in the dtype of b (N, I); arguments as in window_forward."""
    offsets = _check_windows(x, windows)
    require(b.shape == (len(x), len(windows)), f"b has shape {b.shape}; it needs ({len(x)}, {len(windows)})")
    entry = _cpu.window_adjoint_float if _is_single(b) else _cpu.window_adjoint_double
    matrices = np.empty(offsets[-1], dtype=b.dtype)
    entry(np.ascontiguousarray(x), np.ascontiguousarray(windows), offsets, np.ascontiguousarray(b), matrices)
    return matrices


def window_jacobian(x: Array, windows: Array, u: Array, v: Array, slope: Array, *, dtype: str) -> Array:
    """D (N, M) of bilinear units on windows: for unit i the columns slope_i [X v | X^T u | 1].

    u : flat, C h entries per unit; v : flat, w entries per unit; slope : (N, I), sigma'(q).  M = sum of C h + w + 1.
    """
    _check_windows(x, windows)
    tall, wide = int(x.shape[1] * windows[:, 2].sum()), int(windows[:, 3].sum())
    require(u.shape == (tall,) and v.shape == (wide,), f"u {u.shape} and v {v.shape} need ({tall},) and ({wide},)")
    require(
        slope.shape == (len(x), len(windows)), f"slope has shape {slope.shape}; it needs ({len(x)}, {len(windows)})"
    )
    require(dtype in ("float32", "float64"), f"dtype is {dtype!r}; it needs 'float32' or 'float64'")
    d = np.empty((len(x), tall + wide + len(windows)), dtype=dtype)
    offsets = window_offsets(windows, x.shape[1])
    _cpu.window_jacobian(
        np.ascontiguousarray(x), np.ascontiguousarray(windows), offsets, doubles(u), doubles(v), doubles(slope), d
    )
    return d


def _is_single(a: Array) -> bool:
    require(a.dtype in (np.float32, np.float64), f"dtype {a.dtype}; float32 or float64 is needed")
    return a.dtype == np.float32


def _check_windows(x: Array, windows: Array) -> Array:
    require(
        x.ndim == 4 and x.dtype in PIXELS,
        f"x has shape {x.shape}, dtype {x.dtype}; it needs (N, C, L, R), uint8 or float",
    )
    require(
        windows.ndim == 2 and windows.shape[1] == 4 and windows.dtype == np.int32,
        f"windows have shape {windows.shape}, dtype {windows.dtype}; they need (I, 4) int32",
    )
    ends = windows[:, :2].astype(np.int64) + windows[:, 2:]
    inside = not len(windows) or (
        windows[:, :2].min() >= 0 and windows[:, 2:].min() >= 1 and (ends <= x.shape[2:]).all()
    )
    require(bool(inside), f"a window leaves the image of {x.shape[2]} x {x.shape[3]}")
    return window_offsets(windows, x.shape[1])
