"""Searches of small problems whose data are on a device."""

import numpy as np

from varpro.arrays import Array
from varpro.kernels._launch import dense, launch
from varpro.kernels.small_fits import Bounds, Links


def small_searches(
    program: Array, t: Array, y: Array, weights: Array | None, columns: Array, parameters: Array, states: Array,
    rules: dict[str, float], n_parameters: int, *, ridge: float, kaufman: bool, box: Bounds | None,
    links: Links | None, parts: int, arithmetic: str,
) -> None:  # fmt: skip
    """The searches of kernels.small_fits.search_program, in place in `states` (B, stride).

    t (1 or B, N) float64; y (B, N, K) and weights (1 or B, N) of one dtype; program (I, 4), columns and parameters (M,)
    int32; box (P,) twice, float64.  arithmetic : double, single, or polished, which is single and then double.
    """
    count, n, k = y.shape
    lower, upper = box or (None, None)
    source, factor, offset = (None, None, None) if links is None else links.arrays
    launch(
        "small_searches", y, program=program, t=dense(t, np.float64), y=y, weights=dense(weights, y.dtype.type),
        problems=None, columns=columns, parameters=parameters, states=states, rows=None, count=count, n=n,
        n_columns=len(program) * parts, n_right=k, n_pairs=len(columns), n_parameters=n_parameters,
        stride=states.shape[1], rules=rules, ridge=ridge, kaufman=kaufman, own_t=len(t) > 1,
        own_weights=weights is not None and len(weights) > 1, y_is_float=y.dtype == np.float32, arithmetic=arithmetic,
        lower=lower, upper=upper, parts=parts, source=source, factor=factor, offset=offset,
        offset_stride=0 if offset is None or len(offset) == 1 else offset.shape[1],
    )  # fmt: skip


def small_advance(
    phi: Array, d: Array, y: Array, problems: Array, columns: Array, parameters: Array, states: Array,
    rules: dict[str, float], n_parameters: int, *, ridge: float, kaufman: bool, box: Bounds | None,
) -> None:  # fmt: skip
    """One trial step of kernels.small_fits.advance, in place; problems (b,) int64 are rows of y and of the states."""
    count, n, n_columns = phi.shape
    lower, upper = box or (None, None)
    launch(
        "small_advance", phi, phi=phi, d=d, y=y, weights=None, problems=problems, columns=columns,
        parameters=parameters, states=states, rows=problems, count=count, n=n, n_columns=n_columns,
        n_right=y.shape[2], n_pairs=len(columns), n_parameters=n_parameters, stride=states.shape[1], rules=rules,
        ridge=ridge, kaufman=kaufman, own_weights=False, y_is_float=False, phi_is_float=False,
        lower=lower, upper=upper,
    )  # fmt: skip
