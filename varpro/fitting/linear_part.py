"""What the amplitudes must satisfy besides least squares: bounds, equalities, a ridge, a term without an amplitude."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from varpro.arrays import Array
from varpro.errors import ConfigError, ShapeError

MEETS = 1e-9
"""Share of its terms by which an equation may be missed: generous for the rounding of an orthogonal factorisation."""
BALANCING = 10
"""Rounds that bring the largest values of rows and columns near 1: each takes the square root of what remains."""


@dataclass(frozen=True, kw_only=True)
class Linear:
    """What is required of the amplitudes a (I, K)."""

    lower: Array | None = None
    """Lower bounds on the amplitudes, (I,); None leaves them free.  `upper` likewise."""
    upper: Array | None = None
    equality: tuple[Array, Array] | None = None
    """The equations C a = d, as C (Q, I) and d (Q,)."""
    ridge: float = 0.0
    """The factor mu of mu ||A||^2."""
    ridge_matrix: Array | None = None
    """The matrix L of ||L A||^2."""
    smoothness: float = 0.0
    """The mu with which the ridge matrix was made, where it is one of second differences."""
    pinned: bool = False
    """Whether the model's last column is a term without a coefficient."""


def mixing_of(linear: Linear, n_columns: int, *, split: bool) -> Array | None:
    """(I, I') a = mixing a', [Z | a0 + the pinned column] for C a = d, or None.  split : complex columns as real ones.

    For complex data a term has the coefficient 1 + 0i: its real part comes last, its imaginary part is left out.
    """
    if linear.equality is None:
        if not (split and linear.pinned):
            return None
        each = n_columns // 2
        keep = [j for j in range(n_columns) if j not in (each - 1, n_columns - 1)]
        return np.eye(n_columns)[:, [*keep, each - 1]]
    if split:
        raise ConfigError("linear_equality needs real amplitudes; y or the model is complex")
    if linear.lower is not None:
        raise ConfigError("linear_equality and bounds on amplitudes exclude each other; choose one")
    c, d = linear.equality
    free = n_columns - linear.pinned
    if c.shape[1] != free or d.shape != (len(c),):
        raise ShapeError(
            f"linear_equality: C has shape {c.shape}, d {d.shape}; "
            f"C a = d with {free} amplitudes needs (Q, {free}) and (Q,)"
        )
    row, column = balanced(c)
    unit, right = row[:, None] * c * column, row * d
    a0 = np.linalg.lstsq(unit, right, rcond=None)[0]
    missed = np.abs(unit @ a0 - right)
    if not (missed <= MEETS * (np.abs(unit) @ np.abs(a0) + np.abs(right))).all():
        raise ConfigError(f"linear_equality: no amplitudes meet C a = d (off by {np.abs(missed / row).max():.2g})")
    a0, null = column * a0, column[:, None] * scipy.linalg.null_space(unit)
    if not null.shape[1]:
        raise ConfigError("linear_equality leaves no amplitude free; use fixed_term for a model without any")
    pinned = int(linear.pinned)
    last = np.concatenate([a0, np.ones(pinned)])[:, None]
    return np.hstack([np.vstack([null, np.zeros((pinned, null.shape[1]))]), last])


def balanced(c: Array) -> tuple[Array, Array]:
    """Factors (Q,) for the rows and (I,) for the columns of C (Q, I) that bring the largest values of both near 1, so
    that no choice of units decides the null space.  Ruiz, report RAL-TR-2001-034, Rutherford Appleton Laboratory
    (2001)."""
    row, column = np.ones(c.shape[0]), np.ones(c.shape[1])
    for _ in range(BALANCING):
        for axis, factor in ((1, row), (0, column)):
            most = np.abs(row[:, None] * c * column).max(axis=axis)
            factor /= np.sqrt(np.where(most > 0, most, 1.0))
    return row, column


def independent_rows(c: Array) -> int:
    """Rank of C (Q, I), whose rows and columns may be in different units."""
    row, column = balanced(c)
    return int(np.linalg.matrix_rank(row[:, None] * c * column))


def ridge_rows(linear: Linear, n_columns: int, *, split: bool, always: bool) -> Array | None:
    """Rows below Phi: L, or sqrt(mu) I where the projector's own ridge does not apply; 0 below a pinned column."""
    each = n_columns // (2 if split else 1) - linear.pinned
    rows = linear.ridge_matrix
    if rows is not None:
        if rows.shape[1] != each:
            raise ShapeError(
                f"ridge has shape {rows.shape}; a matrix needs one column for each of the {each} amplitudes"
            )
        rows = scipy.linalg.block_diag(rows, rows) if split else rows
    elif always and linear.ridge > 0:
        rows = np.sqrt(linear.ridge) * np.eye(2 * each if split else each)
    if rows is None or not linear.pinned:
        return rows
    pinned: Array = np.insert(rows, [each, 2 * each] if split else [each], 0.0, axis=1)
    return pinned
