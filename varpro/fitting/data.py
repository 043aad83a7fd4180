"""Data of B problems of one shape: y (B, N, K), weights that multiply the residual, and no excluded values.

A value is excluded by NaN, None or a masked entry in y, t or weights, by mask=, or by a weight of 0; all mean the same.
Whatever stands there in y, t or weights, or comes out of the model, has no effect on the fit.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from varpro.arrays import Array, ArrayLike
from varpro.errors import DataError, ShapeError
from varpro.fitting.axis import Clock, filled, make_axis, on_axis
from varpro.fitting.containers import plain_array
from varpro.result import Status

LARGE = 2.0**150
"""Weights from the reciprocal of this up to this are used unchanged."""


@dataclass(frozen=True)
class Data:
    """What is fitted; excluded values are 0 and have weight 0.  No array is the caller's own."""

    t: Array
    """The points, finite: (N, ...) shared, or (B, N)."""
    own_t: bool
    y: Array
    """The data, (B, N, K) float64 or complex128."""
    weights: Array | None
    """The weights: (1 or B, N) per row, or (1 or B, N, K) if right-hand sides have their own; None means all 1."""
    status: Array
    """RUNNING, or why a problem cannot be fitted, (B,)."""
    valid: Array
    """The number of values with a weight above 0, (B,)."""
    flat: bool = False
    """Whether y was given without an axis of right-hand sides."""
    clock: Clock | None = None
    """How t was made from times; None if it was given as numbers."""
    weight_unit: float = 1.0
    """The factor that turns `weights` into the user's: a power of two, other than 1 only if their fourth powers would
    leave the range of double precision."""

    @property
    def separate(self) -> bool:
        """Whether each right-hand side has its own weights, so that Phi is factored for each of them."""
        return self.weights is not None and self.weights.ndim == 3

    def total_weight(self) -> Array:
        """(B, N, K) weights written out."""
        if self.weights is None:
            return np.ones(self.y.shape)
        wide = self.weights if self.separate else self.weights[:, :, None]
        return np.broadcast_to(wide, self.y.shape)

    @cached_property
    def excluded(self) -> Array | None:
        """(1 or B, N) rows that no right-hand side uses; None if there are none."""
        if self.weights is None:
            return None
        none: Array = np.asarray(self.weights == 0)
        none = np.asarray(none.all(axis=2)) if self.separate else none
        return none if none.any() else None

    def of(self, problems: Array) -> "Data":
        """The data of some problems, (b,)."""
        t = self.t[problems] if self.own_t else self.t
        weights = self.weights if self.weights is None or len(self.weights) == 1 else self.weights[problems]
        status, valid = self.status[problems], self.valid[problems]
        return replace(self, t=t, y=self.y[problems], weights=weights, status=status, valid=valid)

    def with_weights(self, weights: Array) -> "Data":
        """The same values with other weights (B, N, K)."""
        return replace(self, weights=weights[:, :, 0] if weights.shape[2] == 1 else weights)

    def used(self, problem: int) -> Array:
        """(N, K) whether each value counts."""
        if self.weights is None:
            return np.ones(self.y.shape[1:], dtype=bool)
        own = self.weights[problem if len(self.weights) > 1 else 0] > 0
        return np.broadcast_to(own if self.separate else own[:, None], self.y.shape[1:])

    def misfit(self, fitted: Array) -> Array:
        """(B, N, K) weight (y - fitted); 0 where a value is excluded, whatever the model gives there."""
        weight = self.total_weight()
        with np.errstate(invalid="ignore", over="ignore"):
            return np.where(weight > 0, weight * (self.y - fitted), 0.0)

    @property
    def t_unit(self) -> str | None:
        """ "s since 2024-03-01T10:00:00" or "s" where t was made from times; None where it was given as numbers."""
        if self.clock is None:
            return None
        return "s" if self.clock.origin is None else f"s since {self.clock.origin}"

    def on_axis(self, t: ArrayLike) -> Array:
        """Other points as numbers on the axis of this t, with times in seconds.  Raises DataError."""
        return on_axis(t, self.clock)


def make_data(
    t: ArrayLike,
    y: ArrayLike,
    *,
    batch: bool,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    dtype: type | str | None = None,
) -> Data:
    """Check, shape and copy the user's arrays; `varpro.fit` and `varpro.fit_batch` say what they may be.

    Raises ShapeError and, for values that are not allowed, DataError.
    """
    values, valid, flat = _values(y, batch, dtype)
    n_problems, n_rows, _ = values.shape
    grid, own_t, known, masked, clock = _grid(t, n_problems, n_rows, batch)
    total, weighted = _weights(weights, values.shape, batch)
    asked = None if mask is None else _mask(mask, values.shape, batch)
    given = [use for use in (valid, masked, weighted, asked) if use is not None]
    running = np.full(n_problems, Status.RUNNING.value)
    if not given and known is None and np.isfinite(values.sum()):  # nothing excluded, nothing infinite: one pass
        total, unit = _in_range(total)
        return Data(grid, own_t, values, total, running, _count(total, values.shape), flat, clock, unit)
    valid = ~np.isnan(values)
    for use in given:
        valid &= use
    if known is not None:
        grid, running = _without_holes(grid, own_t, known, valid, running)
        valid &= known[:, :, None]
    if total is not None and weighted is not None:
        total = _checked_weights(total, valid)
    infinite: Array = np.asarray((np.isinf(values) & valid).any(axis=(1, 2)))
    running[infinite] = Status.INVALID_DATA.value
    if infinite.any():
        values[infinite] = 0.0
    if not valid.all():
        values[~valid] = 0.0
        total = _without(total, valid)
    if not batch and not valid.any():
        raise DataError(
            f"y holds no value to fit: each of its {valid.size} is NaN, masked or of weight 0; give data, or mend mask"
        )
    total, unit = _in_range(total)
    return Data(grid, own_t, values, total, running, valid.sum(axis=(1, 2)), flat, clock, unit)


def _in_range(weights: Array | None) -> tuple[Array | None, float]:
    """Weights whose fourth powers, which enter H, fit into double precision, and what they were divided by: a power of
    two, so that no digit changes."""
    if weights is None:
        return None, 1.0
    largest = float(weights.max(initial=0.0))
    if largest == 0 or 1 / LARGE <= largest <= LARGE:
        return weights, 1.0
    unit = float(np.exp2(np.floor(np.log2(largest))))
    return weights / unit, unit


def _count(weights: Array | None, shape: tuple[int, ...]) -> Array:
    """(B,) values with a weight above 0."""
    if weights is None:
        return np.full(shape[0], shape[1] * shape[2])
    each = (_wide(weights) > 0).sum(axis=(1, 2)) * (1 if weights.ndim == 3 else shape[2])
    return np.broadcast_to(each, shape[:1])


def _values(y: ArrayLike, batch: bool, dtype: type | str | None) -> tuple[Array, Array | None, bool]:
    """y (B, N, K) float64 or complex128, a copy; where it is given (None: where it is not NaN); whether K was added."""
    values, absent = plain_array(y, "y")
    least = 2 if batch else 1
    if values.ndim not in (least, least + 1) or 0 in values.shape:
        wanted = "(B, N) or (B, N, K)" if batch else "(N,) or (N, K)"
        raise ShapeError(f"y has shape {values.shape}; it needs {wanted}, none of them 0")
    if values.dtype.kind not in "fciub":
        raise ShapeError(f"y has dtype {values.dtype}; it needs real or complex numbers")

    def shaped(array: Array) -> Array:
        array = array[..., None] if array.ndim == least else array
        return array if batch else array[None]

    if dtype is not None:
        values = values.astype(np.result_type(dtype, np.complex64) if np.iscomplexobj(values) else dtype)
    wide = np.array(shaped(values), dtype=np.complex128 if np.iscomplexobj(values) else np.float64, order="C")
    return wide, None if absent is None else ~shaped(absent), values.ndim == least


def _grid(
    t: ArrayLike, n_problems: int, n_rows: int, batch: bool
) -> tuple[Array, bool, Array | None, Array | None, Clock | None]:
    """t, whether each problem has its own, where t is finite, where it is not masked, and the clock of times.

    The third is (1 or B, N), the fourth (1 or B, N, 1); None stands for everywhere.
    """
    grid, absent, clock = make_axis(t)
    own = batch and grid.ndim == 2 and grid.shape == (n_problems, n_rows)
    if not own and (grid.ndim == 0 or len(grid) != n_rows):
        wanted = f"({n_rows},) or ({n_problems}, {n_rows})" if batch else f"({n_rows},)"
        raise ShapeError(f"t has shape {grid.shape}, y has {n_rows} points; t needs {wanted}")
    if grid.dtype.kind not in "fc" or (absent is None and np.isfinite(grid).all()):
        return grid, own, None, None, clock

    def by_row(flags: Array) -> Array:
        return flags if own else np.asarray(flags.reshape(1, n_rows, -1).all(axis=2))

    known = by_row(np.isfinite(grid) if absent is None else np.isfinite(grid) & ~absent)
    return grid, own, known, None if absent is None else by_row(~absent)[:, :, None], clock


def _without_holes(grid: Array, own_t: bool, known: Array, valid: Array, status: Array) -> tuple[Array, Array]:
    """t with finite values in the rows left out, and the status, which flags problems that need a missing t."""
    lacking = (valid.any(axis=2) & ~known).any(axis=1)
    if lacking.any() and not own_t:
        row = int(np.flatnonzero(valid.any(axis=(0, 2)) & ~known[0])[0])
        raise DataError(f"t holds NaN or infinite values, at row {row} for one, where y has a value; mask those rows")
    if not own_t:
        return filled(grid[None], known)[0], status
    if lacking.all():
        raise DataError("t holds NaN or infinite values in every problem where y has a value; mask those rows")
    return filled(grid, known), np.where(lacking, Status.INVALID_DATA.value, status)


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


def _mask(mask: ArrayLike, shape: tuple[int, ...], batch: bool) -> Array:
    """Which values may be used, broadcastable with y: True or 1 uses a value; a masked entry of the mask does not.

    Raises DataError for other numbers, such as the indices of rows.
    """
    array, absent = plain_array(mask, "mask")
    known = array if absent is None else array[~absent]
    if array.dtype.kind not in "biuf" or not ((known == 0) | (known == 1)).all():
        raise DataError(
            f"mask has dtype {array.dtype} and other values than True (use) and False (leave out); "
            "from indices of rows, make mask = numpy.ones(len(t), bool); mask[rows] = False"
        )
    use = array == 1 if absent is None else (array == 1) & ~absent
    return _per_value(use, shape, batch, "mask")


def _weights(weights: ArrayLike | None, shape: tuple[int, ...], batch: bool) -> tuple[Array | None, Array | None]:
    """A copy, (1 or B, N) if all right-hand sides share them, else (1 or B, N, K); and which of them are used.

    No weights give None and None; the second is also None where all are finite and above 0.
    """
    if weights is None:
        return None, None
    given, absent = plain_array(weights, "weights")
    if given.dtype.kind not in "fiub":
        raise DataError(f"weights have dtype {given.dtype}; they need real numbers")
    array = _per_value(np.array(given, dtype=np.float64, order="C"), shape, batch, "weights")
    use = (array != 0) & ~np.isnan(array)
    if absent is not None:
        use &= ~_per_value(absent, shape, batch, "weights")
    total = array[:, :, 0] if array.shape[2] == 1 else array
    plain = absent is None and use.all() and np.isfinite(total).all() and (total > 0).all()
    return total, None if plain else use


def _checked_weights(weights: Array, valid: Array) -> Array:
    """Weights, 0 where they belong to no value; raises DataError for any other that is negative or not finite."""
    wide = _wide(weights)
    needed = valid if wide.shape[2] == valid.shape[2] else valid.any(axis=2, keepdims=True)
    needed = needed if len(wide) == len(valid) else needed.any(axis=0, keepdims=True)
    wrong = needed & (~np.isfinite(wide) | (wide < 0))
    if wrong.any():
        worst = np.broadcast_to(wide, wrong.shape)[wrong][0]
        raise DataError(f"weights hold {worst:g}; they multiply the residual and must be finite and not negative")
    wide = np.where(needed, wide, 0.0)
    return wide if weights.ndim == 3 else wide[:, :, 0]


def _wide(weights: Array) -> Array:
    return weights if weights.ndim == 3 else weights[:, :, None]


def _without(weights: Array | None, valid: Array) -> Array:
    """Weights with 0 where a value is excluded, in the smallest shape: by row if all right-hand sides share them."""
    ones = valid[:1] if (valid == valid[:1]).all() else valid
    ones = ones[:, :, :1] if (ones == ones[:, :, :1]).all() else ones
    total = ones * (np.ones((1, 1, 1)) if weights is None else _wide(weights))
    return np.ascontiguousarray(total[:, :, 0] if total.shape[2] == 1 else total)
