"""Scalarization: images to sigma(q), and the compressed Jacobian in the same pass.

    quadratic  q = 1/2 w^T (sum_c g_c S_c) w + b,  S = X + X^T          bilinear  q = u^T X v + b
    window     q = <X on a window, M>

Column order of D: m = row of w * I + unit, so that w (rows, I) flattened is the vector of parameters.
"""

import numpy as np

from varpro import _cpu
from varpro.arrays import Array, is_device_array
from varpro.kernels import on_device
from varpro.kernels._checks import doubles, is_logistic, require

PIXELS = (np.uint8, np.float32, np.float64)


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


def quadratic_reference(s: Array, w: Array, *, sigma: str) -> tuple[Array, Array]:
    """Phi and D as `quadratic`, the formula written out; D in float64."""
    planes, side = s.shape[2], s.shape[3]
    vectors, bias = w[:, :side], w[:, -1:]
    weights = w[:, side:-1] if planes > 1 else np.ones((len(w), 1, w.shape[2]))
    z = np.einsum("bnclk,bki->bncli", s, vectors)  # S_c w
    colours = 0.5 * np.einsum("bncli,bli->bnci", z, vectors)
    phi, slope = _sigmoid(np.einsum("bnci,bci->bni", colours, weights) + bias, sigma)
    of_vectors = np.einsum("bncli,bci->bnli", z, weights)
    of_weights = colours if planes > 1 else colours[:, :, :0]
    return phi, _columns([of_vectors, of_weights], slope)


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


def bilinear_reference(x: Array, w: Array, *, sigma: str) -> tuple[Array, Array]:
    """Phi and D as `bilinear`, the formula written out; D in float64."""
    height = x.shape[2]
    u, v, bias = w[:, :height], w[:, height:-1], w[:, -1:]
    xv, xu = np.einsum("bnlr,bri->bnli", x, v), np.einsum("bnlr,bli->bnri", x, u)
    phi, slope = _sigmoid(np.einsum("bnli,bli->bni", xv, u) + bias, sigma)
    return phi, _columns([xv, xu], slope)


def activate(q: Array, bias: Array, *, sigma: str) -> None:
    """q[:, :I] = sigma(q[:, :I] + bias) in place; q : (N, stride >= I) C-contiguous float32 or float64, bias : (I,)."""
    require(
        q.ndim == 2 and q.flags.c_contiguous and bias.ndim == 1 and len(bias) <= q.shape[1],
        f"q {q.shape} and bias {bias.shape} need (N, stride) and (I,)",
    )
    require(q.dtype in (np.float32, np.float64), f"q has dtype {q.dtype}; it needs float32 or float64")
    if is_device_array(q):
        on_device.activate(q[None], bias[None], logistic=is_logistic(sigma))
        return
    entry = _cpu.activate_float if q.dtype == np.float32 else _cpu.activate_double
    entry(q, np.ascontiguousarray(bias, dtype=q.dtype), is_logistic(sigma))


def activate_reference(q: Array, bias: Array, *, sigma: str) -> None:
    """As `activate`, in float64 and rounded once."""
    units = len(bias)
    q[:, :units] = _sigmoid(q[None, :, :units].astype(np.float64) + bias, sigma)[0][0, :, :units]


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


def symmetric_pack_reference(x: Array, *, dtype: np.dtype | type) -> Array:
    """As `symmetric_pack`, entry by entry."""
    unit = _unit(x)
    row, column = np.triu_indices(x.shape[1])
    both = unit + unit.mT
    packed: Array = np.where(row == column, 0.5, 1.0) * both[:, row, column]
    return packed.astype(dtype)


def symmetric_pack_outer(w: Array) -> Array:
    """(L (L + 1) / 2, I): w_k w_l for k <= l, in the order of symmetric_pack; w : (L, I)."""
    row, column = np.triu_indices(len(w))
    outer: Array = w[row] * w[column]
    return outer


def window_offsets(windows: Array, planes: int) -> Array:
    """Where each unit's matrix begins in the ragged array, (I + 1,) int64."""
    sizes = planes * windows[:, 2].astype(np.int64) * windows[:, 3]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def window_forward(x: Array, windows: Array, matrices: Array) -> Array:
    """q (N, I) = <X_n on window i, M_i> in the dtype of matrices.

    x : (N, C, L, R) uint8 (read as value / 255), float32 or float64.  windows : (I, 4) int32: top, left, height, width.
    matrices : ragged (C, h, w) row-major, unit after unit, flat, float32 or float64.
    """
    offsets = _check_windows(x, windows)
    require(
        matrices.shape == (offsets[-1],), f"matrices have shape {matrices.shape}; these windows need ({offsets[-1]},)"
    )
    entry = _cpu.window_forward_float if _is_single(matrices) else _cpu.window_forward_double
    q = np.empty((len(x), len(windows)), dtype=matrices.dtype)
    entry(np.ascontiguousarray(x), np.ascontiguousarray(windows), offsets, np.ascontiguousarray(matrices), q)
    return q


def window_forward_reference(x: Array, windows: Array, matrices: Array) -> Array:
    """As `window_forward`, one unit after another in float64."""
    offsets, q = window_offsets(windows, x.shape[1]), np.empty((len(x), len(windows)))
    for i, window in enumerate(windows):
        q[:, i] = _cut(x, window).reshape(len(x), -1) @ matrices[offsets[i] : offsets[i + 1]].astype(np.float64)
    return q


def window_adjoint(x: Array, windows: Array, b: Array) -> Array:
    """Ragged matrices M_i = sum_n b[n, i] X_n on window i, in the dtype of b (N, I); arguments as window_forward."""
    offsets = _check_windows(x, windows)
    require(b.shape == (len(x), len(windows)), f"b has shape {b.shape}; it needs ({len(x)}, {len(windows)})")
    entry = _cpu.window_adjoint_float if _is_single(b) else _cpu.window_adjoint_double
    matrices = np.empty(offsets[-1], dtype=b.dtype)
    entry(np.ascontiguousarray(x), np.ascontiguousarray(windows), offsets, np.ascontiguousarray(b), matrices)
    return matrices


def window_adjoint_reference(x: Array, windows: Array, b: Array) -> Array:
    """As `window_adjoint`, one unit after another in float64."""
    wide = b.astype(np.float64)
    return np.concatenate(
        [wide[:, i] @ _cut(x, window).reshape(len(x), -1) for i, window in enumerate(windows)] or [np.empty(0)]
    )


def window_jacobian(x: Array, windows: Array, u: Array, v: Array, slope: Array, *, dtype: str) -> Array:
    """D (N, M) of bilinear units on windows: for unit i the columns slope_i [X v | X^T u | 1].

    u : flat, C h entries a unit; v : flat, w entries a unit; slope : (N, I), sigma'(q).  M = sum of C h + w + 1.
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


def window_jacobian_reference(x: Array, windows: Array, u: Array, v: Array, slope: Array) -> Array:
    """As `window_jacobian`, one unit after another in float64."""
    columns, tall, wide = [np.empty((len(x), 0))], 0, 0
    for i, window in enumerate(windows):
        cut = _cut(x, window)  # (N, C, h, w)
        n, planes, h, w = cut.shape
        rows = cut.reshape(n, planes * h, w)
        u_i, v_i = u[tall : tall + planes * h], v[wide : wide + w]
        tall, wide = tall + planes * h, wide + w
        columns.append(np.hstack([rows @ v_i, u_i @ rows, np.ones((n, 1))]) * slope[:, i : i + 1])
    return np.hstack(columns)


def _unit(x: Array) -> Array:
    """Pixels in float64, bytes as value / 255."""
    return x / 255.0 if x.dtype == np.uint8 else x.astype(np.float64)


def _cut(x: Array, window: Array) -> Array:
    top, left, height, width = window
    return _unit(x[:, :, top : top + height, left : left + width])


def _sigmoid(q: Array, sigma: str) -> tuple[Array, Array]:
    """Phi = [sigma(q) | 1] and sigma'(q) for q (B, N, I)."""
    value = 0.5 + 0.5 * np.tanh(0.5 * q) if is_logistic(sigma) else np.tanh(q)
    slope = value * (1 - value) if is_logistic(sigma) else 1 - value * value
    return np.concatenate([value, np.ones((*q.shape[:2], 1))], axis=2), slope


def _columns(parts: list[Array], slope: Array) -> Array:
    """The rows of w and then the bias, each column times sigma'(q), as D (B, N, Q I)."""
    rows = np.concatenate([*parts, np.ones_like(slope)[:, :, None]], axis=2) * slope[:, :, None]
    return rows.reshape(*rows.shape[:2], -1)


def _outputs(n_problems: int, n: int, rows: int, units: int, jacobian: str | None) -> tuple[Array, Array | None]:
    require(
        jacobian in (None, "float32", "float64"), f"jacobian is {jacobian!r}; it needs None, 'float32' or 'float64'"
    )
    d = None if jacobian is None else np.empty((n_problems, n, rows * units), dtype=jacobian)
    return np.empty((n_problems, n, units + 1)), d


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
