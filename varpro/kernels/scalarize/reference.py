"""Scalarization from its formulas, which the kernels must reproduce."""

import numpy as np

from varpro.arrays import Array
from varpro.kernels._checks import is_logistic
from varpro.kernels.scalarize.windows import window_offsets


def quadratic_reference(images: Array, index: Array | None, w: Array, *, sigma: str) -> tuple[Array, Array]:
    """Phi and D of `quadratic`, from the formula; D in float64."""
    x = _gathered(images, index, len(w))
    planes, side = x.shape[2], x.shape[3]
    vectors, bias = w[:, :side], w[:, -1:]
    weights = w[:, side:-1] if planes > 1 else np.ones((len(w), 1, w.shape[2]))
    z = np.einsum("bnclk,bki->bncli", x + x.mT, vectors)  # S_c w
    colours = 0.5 * np.einsum("bncli,bli->bnci", z, vectors)
    phi, slope = _sigmoid(np.einsum("bnci,bci->bni", colours, weights) + bias, sigma)
    of_vectors = np.einsum("bncli,bci->bnli", z, weights)
    of_weights = colours if planes > 1 else colours[:, :, :0]
    return phi, _columns([of_vectors, of_weights], slope)


def bilinear_reference(images: Array, index: Array | None, w: Array, *, sigma: str) -> tuple[Array, Array]:
    """Phi and D of `bilinear`, from the formula; D in float64."""
    x = _gathered(images, index, len(w))
    x = x.reshape(*x.shape[:2], x.shape[2] * x.shape[3], x.shape[4])
    height = x.shape[2]
    u, v, bias = w[:, :height], w[:, height:-1], w[:, -1:]
    xv, xu = np.einsum("bnlr,bri->bnli", x, v), np.einsum("bnlr,bli->bnri", x, u)
    phi, slope = _sigmoid(np.einsum("bnli,bli->bni", xv, u) + bias, sigma)
    return phi, _columns([xv, xu], slope)


def activate_reference(q: Array, bias: Array, *, sigma: str) -> None:
    """`activate` in float64, rounded once."""
    units = len(bias)
    q[:, :units] = _sigmoid(q[None, :, :units].astype(np.float64) + bias, sigma)[0][0, :, :units]


def symmetric_pack_reference(images: Array, index: Array | None = None, *, dtype: np.dtype | type) -> Array:
    """`symmetric_pack`, entry by entry."""
    unit = _gathered(images, index, 1)
    row, column = np.triu_indices(images.shape[2])
    packed: Array = np.where(row == column, 0.5, 1.0) * (unit + unit.mT)[..., row, column]
    return packed.reshape(unit.shape[0] * unit.shape[1], images.shape[1] * len(row)).astype(dtype)


def window_forward_reference(x: Array, windows: Array, matrices: Array) -> Array:
    """`window_forward`, one unit after another in float64."""
    offsets, q = window_offsets(windows, x.shape[1]), np.empty((len(x), len(windows)))
    for i, window in enumerate(windows):
        q[:, i] = _cut(x, window).reshape(len(x), -1) @ matrices[offsets[i] : offsets[i + 1]].astype(np.float64)
    return q


def window_adjoint_reference(x: Array, windows: Array, b: Array) -> Array:
    """`window_adjoint`, one unit after another in float64."""
    wide = b.astype(np.float64)
    return np.concatenate(
        [wide[:, i] @ _cut(x, window).reshape(len(x), -1) for i, window in enumerate(windows)] or [np.empty(0)]
    )


def window_jacobian_reference(x: Array, windows: Array, u: Array, v: Array, slope: Array) -> Array:
    """`window_jacobian`, one unit after another in float64."""
    columns, tall, wide = [np.empty((len(x), 0))], 0, 0
    for i, window in enumerate(windows):
        cut = _cut(x, window)  # (N, C, h, w)
        n, planes, h, w = cut.shape
        rows = cut.reshape(n, planes * h, w)
        u_i, v_i = u[tall : tall + planes * h], v[wide : wide + w]
        tall, wide = tall + planes * h, wide + w
        columns.append(np.hstack([rows @ v_i, u_i @ rows, np.ones((n, 1))]) * slope[:, i : i + 1])
    return np.hstack(columns)


def _gathered(images: Array, index: Array | None, n_problems: int) -> Array:
    """(B, n, C, L, R) float64: the images of each problem."""
    chosen = images if index is None else images[index]
    n = len(images) // n_problems if index is None else index.shape[1]
    return _unit(chosen).reshape(n_problems if index is None else len(index), n, *images.shape[1:])


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
