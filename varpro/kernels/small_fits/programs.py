"""Programs: how the columns of a ready model are told to the kernel."""

import numpy as np

from varpro.arrays import Array
from varpro.kernels._checks import require

KINDS = ("power", "decay", "rate", "gaussian", "lorentzian")


def encode(program: tuple[tuple[str, tuple[int, ...], float], ...]) -> Array:
    """(I, 4) int32 from (kind, parameters, constant) of each column."""
    rows = []
    for kind, parameters, constant in program:
        first, second = (*parameters, -1, -1)[:2]
        rows.append([KINDS.index(kind), first, second, int(constant)])
    return np.array(rows, dtype=np.int32).reshape(-1, 4)


def check_program(program: Array, t: Array, y: Array, n_parameters: int, spans: Array | None) -> None:
    """Raise ShapeError unless the kernel may read all that the program names."""
    require(program.ndim == 2 and program.shape[1] == 4, f"program has shape {program.shape}; it needs (I, 4)")
    require(
        t.ndim == 2 and t.shape[0] in (1, len(y)) and t.shape[1] == y.shape[1],
        f"t has shape {t.shape}; y {y.shape} needs (1 or {len(y)}, {y.shape[1]})",
    )
    highest = int(program[:, 1:3].max(initial=-1))
    require(highest < n_parameters, f"the program reads parameter {highest}; w has {n_parameters}")
    if spans is None:
        return
    require(
        spans.shape == (len(program), 2) and spans.dtype == np.int64 and spans.flags.c_contiguous,
        f"spans are {spans.dtype} of shape {spans.shape}; they need int64 in C order and ({len(program)}, 2)",
    )
    inside = (spans[:, 0] >= 0) & (spans[:, 0] <= spans[:, 1]) & (spans[:, 1] <= y.shape[1])
    require(bool(inside.all()), f"spans {spans.tolist()} need first <= end between 0 and {y.shape[1]} rows")
