"""A program: how the compiled kernels make the columns of a ready model, and which parameters those read."""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.errors import ShapeError
from varpro.kernels._checks import require

KINDS = ("power", "decay", "rate", "gaussian", "lorentzian")


@dataclass(frozen=True, slots=True)
class Links:
    """How the Q parameters that a program reads follow the searched ones: w_q = factor_q u_source(q) + offset_q.

    The pairs of such a program leave out derivatives by parameters that are held.
    """

    source: Array
    """The searched parameter that each follows, (Q,) int32; -1 where it is held at its offset."""
    factor: Array
    """(Q,) float64, 0 where the parameter is held."""
    offset: Array
    """(1 or B, Q) float64."""

    @property
    def arrays(self) -> tuple[Array, Array, Array]:
        """The three as the compiled code reads them."""
        return self.source, self.factor, self.offset


def encode(program: tuple[tuple[str, tuple[int, ...], float], ...]) -> Array:
    """(I, 4) int32 from (kind, parameters, constant) of each column."""
    rows = []
    for kind, parameters, constant in program:
        first, second = (*parameters, -1, -1)[:2]
        rows.append([KINDS.index(kind), first, second, int(constant)])
    return np.array(rows, dtype=np.int32).reshape(-1, 4)


def check_program(
    program: Array, links: Links | None, t: Array, y: Array, n_parameters: int, n_pairs: int, parts: int,
    spans: Array | None = None,
) -> None:  # fmt: skip
    """Raise ShapeError unless these belong together; n_parameters are searched, and parts is 2 for complex data."""
    # not by `require`, which is given its text ready-made: every fit comes by here, and a short one feels the texts
    if program.ndim != 2 or program.shape[1] != 4:
        raise ShapeError(f"program has shape {program.shape}; it needs (I, 4)")
    if t.ndim != 2 or t.shape[0] not in (1, len(y)) or t.shape[1] * parts != y.shape[1]:
        raise ShapeError(f"t has shape {t.shape}; y {y.shape} needs (1 or {len(y)}, {y.shape[1] / parts:g})")
    read = program[:, 1:3] if links is None else _searched(program[:, 1:3], links, len(y))
    highest, derived = int(read.max(initial=-1)), int(np.count_nonzero(read >= 0)) * parts
    if highest >= n_parameters:
        raise ShapeError(f"the program reads parameter {highest}; w has {n_parameters}")
    if n_pairs != derived:
        raise ShapeError(f"there are {n_pairs} pairs; the program has {derived} derivatives")
    if spans is not None:
        _check_spans(spans, len(program), y.shape[1], parts)


def _searched(read: Array, links: Links, n_problems: int) -> Array:
    """The searched parameter that each one of a program follows; -1 for none.  Raises ShapeError."""
    count = len(links.source)
    require(
        links.factor.shape == (count,) and links.offset.shape in ((1, count), (n_problems, count)),
        f"links have {count} sources, factors {links.factor.shape} and offsets {links.offset.shape}; they need "
        f"({count},) and (1 or {n_problems}, {count})",
    )
    require(read.max(initial=-1) < count, f"the program reads parameter {read.max()}; {count} are linked")
    require(
        bool(np.array_equal(links.source < 0, links.factor == 0)), "a factor is 0 where its source is -1, only there"
    )
    return np.where(read < 0, -1, links.source[read])


def _check_spans(spans: Array, n_columns: int, n_rows: int, parts: int) -> None:
    """Raise ShapeError unless every column has rows of the data."""
    require(parts == 1, "spans are for real data")
    require(
        spans.shape == (n_columns, 2) and spans.dtype == np.int64 and spans.flags.c_contiguous,
        f"spans are {spans.dtype} of shape {spans.shape}; they need int64 in C order and ({n_columns}, 2)",
    )
    inside = (spans[:, 0] >= 0) & (spans[:, 0] <= spans[:, 1]) & (spans[:, 1] <= n_rows)
    require(bool(inside.all()), f"spans {spans.tolist()} need first <= end between 0 and {n_rows} rows")
