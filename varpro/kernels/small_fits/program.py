"""A program: how the compiled kernels make the columns of a ready model, and which parameters those read."""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
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
    require(program.ndim == 2 and program.shape[1] == 4, f"program has shape {program.shape}; it needs (I, 4)")
    require(
        t.ndim == 2 and t.shape[0] in (1, len(y)) and t.shape[1] * parts == y.shape[1],
        f"t has shape {t.shape}; y {y.shape} needs (1 or {len(y)}, {y.shape[1] / parts:g})",
    )
    read = program[:, 1:3]
    if links is not None:
        count = len(links.source)
        require(
            links.factor.shape == (count,) and links.offset.shape in ((1, count), (len(y), count)),
            f"links have {count} sources, factors {links.factor.shape} and offsets {links.offset.shape}; they need "
            f"({count},) and (1 or {len(y)}, {count})",
        )
        require(read.max(initial=-1) < count, f"the program reads parameter {read.max()}; {count} are linked")
        require(
            bool(np.array_equal(links.source < 0, links.factor == 0)),
            "a factor is 0 where its source is -1, only there",
        )
        read = np.where(read < 0, -1, links.source[read])
    require(read.max(initial=-1) < n_parameters, f"the program reads parameter {read.max()}; w has {n_parameters}")
    derived = int((read >= 0).sum()) * parts
    require(n_pairs == derived, f"there are {n_pairs} pairs; the program has {derived} derivatives")
    if spans is not None:
        _check_spans(spans, len(program), y.shape[1], parts)


def _check_spans(spans: Array, n_columns: int, n_rows: int, parts: int) -> None:
    """Raise ShapeError unless every column has rows of the data."""
    require(parts == 1, "spans are for real data")
    require(
        spans.shape == (n_columns, 2) and spans.dtype == np.int64 and spans.flags.c_contiguous,
        f"spans are {spans.dtype} of shape {spans.shape}; they need int64 in C order and ({n_columns}, 2)",
    )
    inside = (spans[:, 0] >= 0) & (spans[:, 0] <= spans[:, 1]) & (spans[:, 1] <= n_rows)
    require(bool(inside.all()), f"spans {spans.tolist()} need first <= end between 0 and {n_rows} rows")
