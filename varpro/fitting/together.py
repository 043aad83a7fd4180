"""Whether a user's function can be called for many problems at once: tested against single calls, before any fit."""

from dataclasses import replace

import numpy as np

from varpro.arrays import Array
from varpro.fitting.model import Function, UserModel
from varpro.fitting.scales import Scales
from varpro.fitting.stencil import STACKED


def takes_many(model: UserModel, w0: Array, n_given: int) -> bool:
    """Whether all functions of the model take the problems that start at w0 (B, P) in one call.

    n_given : the number of derivatives that the user's own function computes.
    """
    if len(w0) < 2 or not (model.own_t or model.t.ndim == 1):
        return False
    rows = model.shape[0]
    functions = (
        (model.function, model.shape),
        (model.columns_function, (rows, n_given)),
        (model.numeric_function, (rows, model.numeric_columns)),
    )
    return all(_takes_many(model, function, w0, shape) for function, shape in functions if function is not None)


def searched_side_by_side(model: UserModel, w: Array) -> UserModel:
    """The model of one problem for searches from many w (B, P): each has scales of its own for its differences, and all
    are evaluated in one call where the functions allow that."""
    if model.program is not None:
        return model
    numeric, size = model.numeric, model.shape[0] * model.shape[1]
    n_numeric = 0 if numeric is None else len(numeric.plan.pairs)
    many = replace(model, tried=None, _last=None)
    many.together = takes_many(many, w, len(model.pairs) - n_numeric)
    if numeric is not None:
        stacked = max(1, STACKED // size) if many.together else 0
        scales = Scales(np.repeat(numeric.scales.table[:1], len(w), axis=0))
        many.numeric = replace(numeric, scales=scales, stacked=stacked)
    return many


def _takes_many(model: UserModel, function: Function, w0: Array, shape: tuple[int, int]) -> bool:
    """Whether one call for a few problems gives the results of single calls, whatever else is in the call.

    A row of NaN stands for a problem whose parameters have diverged: it must not affect the others.  Two different
    numbers of problems are tried, so that no coincidence of shapes passes.
    """
    rows = _unlike(model, w0)
    w = w0[rows] * (1.0 + 1e-3 * np.arange(len(rows))[:, None]) + 1e-3 * (w0[rows] == 0) * np.arange(len(rows))[:, None]
    astray = np.concatenate([w[:2], np.full((1, w.shape[1]), np.nan)])
    trials = ((w, rows), (w[::-1], rows[::-1]), (w[:2], rows[:2]), (astray, np.append(rows[:2], rows[-1])))
    try:
        with np.errstate(all="ignore"):
            single = {int(b): np.array(model._call_one(function, v, int(b))) for v, b in zip(w, rows, strict=True)}
            results: list[Array] = []
            for some, which in trials:
                if len(some) < 2:
                    continue
                result = np.asarray(model._call_together(function, some, which))
                if result.shape != (len(some), *shape):
                    return False
                model.copies |= any(np.may_share_memory(result, other) for other in results)
                results.append(result)
                if not _same(result, single, which, np.isfinite(some).all(axis=1)):
                    return False
    except Exception:  # a function that cannot take arrays may fail in any way; it is then called one by one
        return False
    return True


def _unlike(model: UserModel, w0: Array) -> Array:
    """Up to four problems that differ: the first, the last, and those with the least and the largest t or start."""
    key = np.abs(model.t).max(axis=1) if model.own_t else np.abs(w0).sum(axis=1)
    found = dict.fromkeys([0, len(w0) - 1, int(np.argmin(key)), int(np.argmax(key)), len(w0) // 2, min(1, len(w0) - 1)])
    return np.array(list(found)[:4])


def _same(result: Array, single: dict[int, Array], problems: Array, fine: Array) -> bool:
    """Whether the rows of problems that have not diverged equal single calls up to rounding of a column."""
    for row in np.flatnonzero(fine):
        one = single[int(problems[row])]
        if one.shape != result[row].shape or not np.array_equal(np.isfinite(one), np.isfinite(result[row])):
            return False
        good = np.isfinite(one)
        size = np.abs(np.where(good, one, 0.0)).max(axis=0, initial=0.0)
        off = np.abs(np.where(good, result[row], 0.0) - np.where(good, one, 0.0))
        if not (off <= 1e-12 * np.abs(np.where(good, one, 0.0)) + 64 * np.finfo(one.dtype).eps * size).all():
            return False
    return True
