"""t, y and weights of varpro-fit from the arrays of a .npz or .h5."""

from pathlib import Path

import numpy as np

from varpro.arrays import Array
from varpro.cli._fit_check import check_t
from varpro.cli._fit_text import Found
from varpro.config.fit import FitConfig
from varpro.errors import DataError
from varpro.tables.named_arrays import read_named_arrays
from varpro.tables.notation import Cell
from varpro.tables.stamps import is_stamp, seconds_from_first

SHOWN_NAMES = 12


def read_arrays(path: Path, config: FitConfig) -> Found:
    """The arrays that the config names, with t reshaped to (N,) or (..., N).  Raises DataError."""
    t, y, weights, notes = _named(path, config)
    t, told = _times(path, t)
    notes += told
    for name, array in (("t", t), ("y", y), ("the weights", weights)):
        if array is not None and array.dtype.kind not in ("fiub" if name == "t" else "fciub"):
            raise DataError(
                f"{path}: {name} has dtype {array.dtype}; {'real ' if name == 't' else ''}numbers are needed"
            )
    t, y = _numbers(t), _numbers(y)
    marks = [float(mark) for mark in config.missing or () if not isinstance(mark, str)]
    if marks:
        y = np.where(np.isin(y, marks), np.nan, y)
    if weights is not None:
        weights = _numbers(weights)
        _check_weights(path, weights, y)
    t, y = _aligned(path, t, y, config)
    return _with_t(path, t, y, weights, config, notes)


def _named(path: Path, config: FitConfig) -> tuple[Array, Array, Array | None, list[str]]:
    if config.columns.y is not None and len(config.columns.y) > 1:
        raise DataError(
            f"{path}: columns.y names {len(config.columns.y)} arrays; put all curves into one, such as (B, N)"
        )
    if isinstance(config.weights, list) or isinstance(config.columns.t, list):
        key = "weights" if isinstance(config.weights, list) else "columns.t"
        raise DataError(f"{path}: {key} is a list; name one array")
    y = "y" if config.columns.y is None else str(config.columns.y[0])
    t = "t" if config.columns.t is None else str(config.columns.t)
    wanted = {"columns.t": t, "columns.y": y} | ({} if config.weights is None else {"weights": str(config.weights)})
    read = read_named_arrays(path, tuple(wanted.values()))
    found = read.found
    for key, name in wanted.items():
        if name not in found:
            listed = ", ".join(read.held[:SHOWN_NAMES]) or "none"
            raise DataError(f"{path}: holds no array called {name}; it holds {listed}; set {key}")
    return found[t], found[y], None if config.weights is None else found[str(config.weights)], read.notes


def _numbers(values: Array) -> Array:
    """Whole numbers, booleans and half precision as float64; others unchanged."""
    return values.astype(np.float64) if values.dtype.kind in "iub" or values.dtype.itemsize < 4 else values


def _times(path: Path, t: Array) -> tuple[Array, list[str]]:
    """datetime64, timedelta64 and text as seconds from the first value, with a note."""
    if t.dtype.kind in "mM":
        given = t[~np.isnat(t)]
        if not given.size:
            raise DataError(f"{path}: t has no value at all; name another array with columns.t")
        first = given.ravel()[0]
        zero = first if t.dtype.kind == "M" else np.timedelta64(0, "ns").astype(t.dtype)
        with np.errstate(invalid="ignore"):
            seconds = (t - zero) / np.timedelta64(1, "s")
        seconds = np.where(np.isnat(t), np.nan, seconds)
        return seconds, [f"t in seconds{f' since {first}' if t.dtype.kind == 'M' else ''} (it is {t.dtype})"]
    if t.dtype.kind in "SUO":
        texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in t.ravel().tolist()]
        bad = next((text for text in texts if text and not is_stamp(text.strip(), None)), None)
        if t.ndim != 1 or bad is not None or not any(texts):
            raise DataError(
                f"{path}: t holds text ({bad!r}); save it as numbers, datetime64, or time stamps in ISO form"
            )
        cells = [Cell(i, 0, text.strip()) if text else None for i, text in enumerate(texts)]
        stamps = seconds_from_first(f"{path}, t", cells, None)
        return stamps.seconds, [f"t in seconds since {stamps.origin}", *stamps.notes]
    return t, []


def _aligned(path: Path, t: Array, y: Array, config: FitConfig) -> tuple[Array, Array]:
    """t and y without dimensions of one, which MATLAB adds to vectors; DataError if axes are in another order."""
    axis = -2 if config.shared else -1
    if t.ndim == 0:
        raise DataError(f"{path}: t is a single number, y has shape {y.shape}; t needs (N,)")
    if t.ndim == 2 and 1 in t.shape and (t.shape != y.shape[: t.ndim] or t.shape[0] > 1):
        t = t.ravel()
    if y.ndim == 2 and y.shape[1] == 1 and not config.shared and t.shape == (len(y),) and len(t) > 1:
        y = y.ravel()
    if t.ndim == 1 and y.ndim >= -axis and y.shape[axis] != len(t):
        where = [i for i, n in enumerate(y.shape) if n == len(t)]
        hint = f"set the lengths right: t has {len(t)} values"
        if where:
            hint = f"axis {where[0]} has the length of t: save np.moveaxis(y, {where[0]}, {axis})"
            hint += ", or set shared: true for one fit of all columns" if y.ndim == 2 and not config.shared else ""
        raise DataError(
            f"{path}: y has shape {y.shape}, t {t.shape}; the {'last' if axis == -1 else 'second last'} axis of y "
            f"must be that of t; {hint}"
        )
    return t, y


def _with_t(path: Path, t: Array, y: Array, weights: Array | None, config: FitConfig, notes: list[str]) -> Found:
    """Leave out points without t if y has no value there in any problem; reject an infinite y of a single fit."""
    axis = y.ndim - (2 if config.shared else 1)
    if t.ndim == 1 and not np.isfinite(t).all():
        others = tuple(i for i in range(y.ndim) if i != axis)
        kept, dropped = check_t(t, np.asarray(np.isnan(y).all(axis=others)), lambda i: f"{path}: t[{i}]")
        notes.append(f"{len(dropped)} points without t and y left out, the first is number {dropped[0]}")
        if weights is not None and weights.ndim:
            place = weights.ndim - 1 if weights.shape[-1] == len(t) else weights.ndim - 2
            weights = np.compress(kept, weights, axis=place)
        t, y = t[kept], np.compress(kept, y, axis=axis)
    elif not np.isfinite(t).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(t))[0])
        raise DataError(f"{path}: t[{', '.join(map(str, at))}] is {t[at]:g}; give every point a t, and y NaN there")
    if not np.isfinite(y).any():
        raise DataError(
            f"{path}: y holds no value, all {y.size} are NaN or infinite; name another array with columns.y"
        )
    if axis == 0:
        bad = np.argwhere(np.isinf(y))
        if len(bad):
            where = ", ".join(map(str, bad[0]))
            more = f" ({len(bad)} such values)" if len(bad) > 1 else ""
            raise DataError(f"{path}: y[{where}] is infinite{more}; set it to NaN to leave it out")
        if y.ndim == 2:
            empty = np.flatnonzero(np.isnan(y).all(axis=0))
            if empty.size:
                raise DataError(f"{path}: column {empty[0]} of y holds no value, all are NaN; leave it out")
    return Found(t, y, weights, notes)


def _check_weights(path: Path, weights: Array, y: Array) -> None:
    bad = ~(weights.real >= 0) | ~np.isfinite(weights)
    if weights.shape == y.shape:
        bad &= ~np.isnan(y)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{path}: the weight [{', '.join(map(str, place))}] is {weights[place]:g}; weights are 1 / error, 0 to "
            "leave a value out"
        )
