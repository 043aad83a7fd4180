"""Columns and derivative columns of a problem at its solution, as the statistics take them."""

from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array

if TYPE_CHECKING:
    from varpro.problems.curves import CurveBasis

WeightedColumns = tuple[Array, Array, Array]
"""phi (b, 1 or K, N', I') and d (b, 1 or K, N', M'), rows weighted, rows of a ridge below, columns that are pinned or
on a bound for that right-hand side zero; free (b, K, I') bool, the amplitudes that are neither"""


def shared_columns(basis: "CurveBasis", ridge: float, u: Array, problems: Array, a: Array) -> WeightedColumns:
    """Those of problems whose right-hand sides share them, every amplitude free."""
    phi, d = basis.basis(u, problems)[:, None], basis.jacobian(u, problems, fine=True)[:, None]
    if ridge > 0:
        rows = np.sqrt(ridge) * np.eye(phi.shape[3])
        phi = np.concatenate([phi, np.broadcast_to(rows, (len(phi), 1, *rows.shape))], axis=2)
        d = np.concatenate([d, np.zeros((len(d), 1, len(rows), d.shape[3]))], axis=2)
    return phi, d, np.ones((len(a), a.shape[2], a.shape[1]), dtype=bool)


CACHED = 1 << 15
"""Numbers of a block that a first or second level cache keeps."""


def sums_of_squares(y: Array, phi: Array, a: Array) -> float:
    """||y - phi a||^2 of y (N, K), phi (N, I), a (I, K), a block of rows at a time; no difference of sums."""
    total, rows = 0.0, max(1, CACHED // y.shape[1])
    for first in range(0, len(y), rows):
        rest = phi[first : first + rows] @ a
        rest -= y[first : first + rows]
        total += float(np.vdot(rest, rest).real)
    return total
