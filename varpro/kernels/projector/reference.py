"""What CholeskyQR2 computes, by Householder QR."""

import numpy as np

from varpro.arrays import Array


def cholesky_qr2_reference(phi: Array, ridge: float = 0.0) -> tuple[Array, Array, Array, Array, Array]:
    """Householder QR with a positive diagonal of R, which CholeskyQR2 reproduces where it is valid."""
    n_problems, rows, columns = phi.shape
    eye = np.broadcast_to(np.sqrt(ridge) * np.eye(columns), (n_problems, columns, columns))
    q, r = np.linalg.qr(np.concatenate([phi, eye], axis=1))
    sign = np.where(np.einsum("bii->bi", r) < 0, -1.0, 1.0)
    r = r * sign[:, :, None]
    condition, info = np.atleast_1d(np.linalg.cond(r, 1)), np.zeros(n_problems, dtype=np.int64)
    return q[:, :rows] * sign[:, None], r, np.linalg.inv(r), condition, info
