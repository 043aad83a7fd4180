"""CholeskyQR2 of tall, skinny matrices: [Phi; sqrt(mu) I] = Q R in two rounds of Gram matrix and triangular solve."""

import numpy as np

from varpro import _cpu
from varpro.arrays import Array
from varpro.kernels._checks import doubles, require


def cholesky_qr2(phi: Array, ridge: float = 0.0) -> tuple[Array, Array, Array, Array, Array]:
    """q (B, N, I), the top block of Q; r and its inverse (B, I, I) upper; condition (B,), kappa_1 of r; info (B,).

    phi : (B, N, I) float64, not modified.  ridge : mu >= 0.
    info != 0: a Gram matrix was not positive definite; do not use that problem's q, r and inverse.
    """
    require(phi.ndim == 3, f"phi has shape {phi.shape}; it needs (B, N, I)")
    require(ridge >= 0, f"ridge is {ridge}; it needs 0 or more")
    n_problems, _, columns = phi.shape
    q, (r, inverse) = np.empty(phi.shape), np.zeros((2, n_problems, columns, columns))
    condition, info = np.empty(n_problems), np.zeros(n_problems, dtype=np.int64)
    _cpu.cholesky_qr2(doubles(phi), float(ridge), q, r, inverse, condition, info)
    return q, r, inverse, condition, info
