"""Columns and derivative columns of a problem at its solution, in the form that the statistics use."""

from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array

if TYPE_CHECKING:
    from varpro.problems.curves import CurveBasis

WeightedColumns = tuple[Array, Array, Array]
"""phi (b, 1 or K, N', I') and d (b, 1 or K, N', M') with weighted rows, the rows of a ridge below, and zeros for
columns that are pinned or on a bound for that right-hand side; free (b, K, I') bool, the amplitudes that are neither"""


def as_real_rows(columns: Array) -> Array:
    """(b, 2 N, 2 I) [Re, -Im; Im, Re] of complex columns (b, N, I): their products with [Re a; Im a] are those of a."""
    above = np.concatenate([columns.real, -columns.imag], axis=2)
    return np.concatenate([above, np.concatenate([columns.imag, columns.real], axis=2)], axis=1)


def shared_columns(basis: "CurveBasis", ridge: float, u: Array, problems: Array, a: Array) -> WeightedColumns:
    """The columns of problems whose right-hand sides share them, every amplitude free."""
    phi, d = basis.basis(u, problems)[:, None], basis.jacobian(u, problems, fine=True)[:, None]
    if ridge > 0:
        rows = np.sqrt(ridge) * np.eye(phi.shape[3])
        phi = np.concatenate([phi, np.broadcast_to(rows, (len(phi), 1, *rows.shape))], axis=2)
        d = np.concatenate([d, np.zeros((len(d), 1, len(rows), d.shape[3]))], axis=2)
    return phi, d, np.ones((len(a), a.shape[2], a.shape[1]), dtype=bool)


CACHED = 1 << 15
"""Numbers of a block that fit a first or second level cache."""


def sums_of_squares(y: Array, phi: Array, a: Array) -> float:
    """||y - phi a||^2 of y (N, K), phi (N, I), a (I, K), a block of rows at a time; sums are never subtracted."""
    total, rows = 0.0, max(1, CACHED // y.shape[1])
    for first in range(0, len(y), rows):
        rest = phi[first : first + rows] @ a
        rest -= y[first : first + rows]
        total += float(np.vdot(rest, rest).real)
    return total
