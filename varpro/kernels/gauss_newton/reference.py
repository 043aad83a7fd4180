"""The Gauss-Newton matrix by its formula, and damped solves by LAPACK's driver."""

import numpy as np
import scipy.linalg

from varpro.arrays import Array


def normal_matrix_reference(
    d: Array, z: Array, aat: Array, gram_inverse: Array | None, g: Array, columns: Array
) -> Array:
    """The formula, all entries, in float64."""
    wide = d.astype(np.float64)
    h = aat[:, columns][:, :, columns] * (wide.mT @ wide - z.mT @ z)
    if gram_inverse is not None:
        h = h + gram_inverse[:, columns][:, :, columns] * (g @ g.mT)
    return h


def damped_solve_reference(h: Array, diagonal: Array, lam: Array, rhs: Array) -> tuple[Array, Array]:
    """damped_solve, one problem after another with LAPACK's driver."""
    step, info = np.full(rhs.shape, np.nan), np.zeros(len(h), dtype=np.int64)
    for b in range(len(h)):
        damped = np.tril(h[b]) + np.tril(h[b], -1).T + np.diag(lam[b] * diagonal[b])
        try:
            step[b] = scipy.linalg.solve(damped, rhs[b], assume_a="pos")
        except np.linalg.LinAlgError:
            info[b] = 1
    return step, info
