"""Data of B problems in one shape: y (B, N, K), weights that multiply the residual, missing values taken out."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError, ShapeError
from varpro.result import Status


@dataclass(frozen=True)
class Data:
    """What is fitted; missing values are 0 with weight 0."""

    t: Array
    """(N, ...) shared, or (B, N)"""
    own_t: bool
    y: Array
    """(B, N, K) float64 or complex128"""
    weights: Array | None
    """(1 or B, N): rows; (1 or B, N, K): every right-hand side its own; None: all ones"""
    status: Array
    """(B,) RUNNING, or why a problem cannot be fitted"""
    valid: Array
    """(B,) values with a weight above 0"""

    @property
    def separate(self) -> bool:
        """Every right-hand side has its own weights, so Phi is factored for each."""
        return self.weights is not None and self.weights.ndim == 3

    def total_weight(self) -> Array:
        """(B, N, K) weights written out."""
        if self.weights is None:
            return np.ones(self.y.shape)
        wide = self.weights if self.separate else self.weights[:, :, None]
        return np.broadcast_to(wide, self.y.shape)


def make_data(t: Any, y: Any, *, batch: bool, weights: Any = None, mask: Any = None, dtype: Any = None) -> Data:
    """Check and shape the user's arrays; see `varpro.fit` and `varpro.fit_batch` for what they may be.

    Raises ShapeError and, for values of t or weights that cannot be, DataError.
    """
    values = _values(y, batch, dtype)
    n_problems, n_rows, _ = values.shape
    grid, own_t = _grid(t, n_problems, n_rows, batch)
    total = _weights(weights, values.shape, batch)
    if mask is None and np.isfinite(values.sum()):  # nothing missing, nothing infinite: one pass
        return Data(grid, own_t, values, total, np.full(n_problems, Status.RUNNING.value), _count(total, values.shape))
    valid = ~np.isnan(values)
    if mask is not None:
        valid &= np.broadcast_to(_per_value(np.asarray(mask, dtype=bool), values.shape, batch, "mask"), values.shape)
    infinite: Array = np.asarray(np.isinf(values).any(axis=(1, 2)))
    if not valid.all():
        values = np.where(valid, values, 0.0)
        total = _masked(total, valid)
    used = valid if total is None else valid & (np.broadcast_to(_wide(total), valid.shape) > 0)
    status = np.where(infinite, Status.INVALID_DATA.value, Status.RUNNING.value)
    values = np.where(infinite[:, None, None], 0.0, values) if infinite.any() else values
    return Data(grid, own_t, np.ascontiguousarray(values), total, status, used.sum(axis=(1, 2)))


def _count(weights: Array | None, shape: tuple[int, ...]) -> Array:
    """(B,) values with a weight above 0."""
    if weights is None:
        return np.full(shape[0], shape[1] * shape[2])
    each = (_wide(weights) > 0).sum(axis=(1, 2)) * (1 if weights.ndim == 3 else shape[2])
    return np.broadcast_to(each, shape[:1])


def _values(y: Any, batch: bool, dtype: Any) -> Array:
    values = np.asarray(y)
    least = 2 if batch else 1
    if values.ndim not in (least, least + 1) or 0 in values.shape:
        wanted = "(B, N) or (B, N, K)" if batch else "(N,) or (N, K)"
        raise ShapeError(f"y has shape {values.shape}; it needs {wanted}, none of them 0")
    if values.dtype.kind not in "fciub":
        raise ShapeError(f"y has dtype {values.dtype}; it needs real or complex numbers")
    if values.ndim == least:
        values = values[..., None]
    if dtype is not None:
        values = values.astype(np.result_type(dtype, np.complex64) if np.iscomplexobj(values) else dtype)
    wide = values.astype(np.complex128 if np.iscomplexobj(values) else np.float64)
    return wide if batch else wide[None]


def _grid(t: Any, n_problems: int, n_rows: int, batch: bool) -> tuple[Array, bool]:
    grid = np.asarray(t)
    own = batch and grid.ndim == 2 and grid.shape == (n_problems, n_rows)
    if not own and (grid.ndim == 0 or len(grid) != n_rows):
        wanted = f"({n_rows},) or ({n_problems}, {n_rows})" if batch else f"({n_rows},)"
        raise ShapeError(f"t has shape {grid.shape}, y has {n_rows} points; t needs {wanted}")
    if grid.dtype.kind in "iub":
        grid = grid.astype(float)
    if grid.dtype.kind in "fc" and not np.isfinite(grid).all():
        raise DataError("t holds NaN or infinite values; leave those points out of t and y, or mask them with finite t")
    return np.ascontiguousarray(grid), own


def _per_value(array: Array, shape: tuple[int, ...], batch: bool, name: str) -> Array:
    """An array given for rows, for each right-hand side or for each problem, as (1 or B, N) or (1 or B, N, K)."""
    n_problems, n_rows, n_right = shape
    if array.shape == (n_rows,):
        return array[None, :, None]
    if not batch and array.shape == (n_rows, n_right):
        return array[None]
    if batch and array.shape == (n_problems, n_rows):
        return array[:, :, None]
    if batch and array.shape == shape:
        return array
    wanted = f"({n_rows},), ({n_problems}, {n_rows}) or {shape}" if batch else f"({n_rows},) or ({n_rows}, {n_right})"
    raise ShapeError(f"{name} has shape {array.shape}; y {shape if batch else shape[1:]} allows {wanted}")


def _weights(weights: Any, shape: tuple[int, ...], batch: bool) -> Array | None:
    """(1 or B, N) where all right-hand sides share them, else (1 or B, N, K); None for none."""
    if weights is None:
        return None
    array = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(array).all() or (array < 0).any():
        worst = array[~np.isfinite(array) | (array < 0)][0]
        raise DataError(f"weights hold {worst:g}; they multiply the residual and must be finite and not negative")
    wide = _per_value(array, shape, batch, "weights")
    return wide[:, :, 0] if wide.shape[2] == 1 else wide


def _wide(weights: Array) -> Array:
    return weights if weights.ndim == 3 else weights[:, :, None]


def _masked(weights: Array | None, valid: Array) -> Array:
    """Weights with 0 where a value is missing; rows only, where every right-hand side misses the same ones."""
    same = (valid == valid[:, :, :1]).all()
    ones = valid[:, :, :1] if same else valid
    total = ones * (np.ones((1, 1, 1)) if weights is None else _wide(weights))
    return total[:, :, 0] if total.shape[2] == 1 else total
