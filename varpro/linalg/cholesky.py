"""One large positive definite system: factor, solve, and how ill-conditioned it is; on the host or on a device."""

from typing import Protocol

import numpy as np
import scipy.linalg

from varpro.arrays import Array, beside, is_device_array, namespace, to_host
from varpro.kernels import vendor


class Factored(Protocol):
    """A factorisation of a symmetric positive definite matrix (n, n)."""

    @property
    def condition(self) -> float:
        """Estimate of kappa_1."""

    def solve(self, rhs: Array) -> Array:
        """x (n, k) on the host for rhs (n, k) on the host."""


def factor(lower: Array, ridge: float) -> Factored | None:
    """Cholesky of the symmetric matrix given by the lower triangle of `lower` (n, n) plus ridge I; None on breakdown.

    lower is not modified.
    """
    return _Device.make(lower, ridge) if is_device_array(lower) else _Host.make(lower, ridge)


class _Host:
    """LAPACK."""

    def __init__(self, factor: Array, condition: float) -> None:
        self.factor, self.condition = factor, condition

    @classmethod
    def make(cls, lower: Array, ridge: float) -> "_Host | None":
        # C-ordered lower triangle = Fortran-ordered upper triangle, which is what LAPACK is shown
        work = lower.copy().T
        np.einsum("ii->i", work)[:] += ridge
        norm = _symmetric_norm(lower) + ridge
        upper, info = scipy.linalg.lapack.dpotrf(work, lower=False, overwrite_a=True, clean=False)
        if info != 0:
            return None
        reciprocal, _ = scipy.linalg.lapack.dpocon(upper, norm, uplo="U")
        return cls(upper, 1.0 / float(reciprocal) if reciprocal > 0 else np.inf)

    def solve(self, rhs: Array) -> Array:
        return np.ascontiguousarray(scipy.linalg.lapack.dpotrs(self.factor, rhs, lower=False)[0])


class _Device:
    """cuSOLVER; the condition by Hager's estimate of the norm of the inverse, SIAM J. Sci. Stat. Comput. 5 (1984)."""

    def __init__(self, factor: Array, norm: float) -> None:
        self.factor = factor
        self.condition = norm * self._inverse_norm()

    @classmethod
    def make(cls, lower: Array, ridge: float) -> "_Device | None":
        xp, n = namespace(lower), len(lower)
        work = lower.copy()
        work.reshape(-1)[:: n + 1] += ridge
        info = vendor.cholesky(work[None])
        if int(info[0]) != 0:
            return None
        half = abs(xp.tril(lower))
        sums = half.sum(axis=0) + half.sum(axis=1) - xp.diagonal(half)
        return cls(work[None], float(sums.max()) + ridge)

    def solve(self, rhs: Array) -> Array:
        columns = (beside(c[None], self.factor) for c in np.ascontiguousarray(rhs.T))
        return np.stack([to_host(vendor.cholesky_solve(self.factor, c))[0] for c in columns], axis=1)

    def _inverse_norm(self) -> float:
        n = self.factor.shape[1]
        x = np.full(n, 1.0 / n)
        estimate = 0.0
        for _ in range(5):
            y = self.solve(x[:, None])[:, 0]
            estimate = max(estimate, float(np.abs(y).sum()))
            z = self.solve(np.where(y >= 0, 1.0, -1.0)[:, None])[:, 0]
            steepest = int(np.argmax(np.abs(z)))
            if np.abs(z[steepest]) <= z @ x:
                break
            x = np.zeros(n)
            x[steepest] = 1.0
        return estimate


def _symmetric_norm(lower: Array) -> float:
    """1-norm of the symmetric matrix given by the lower triangle of a C-ordered array, without a copy of it."""
    sums = np.zeros(len(lower))
    for first in range(0, len(lower), 512):
        band = np.abs(np.tril(lower[first : first + 512], first))
        sums += band.sum(axis=0)
        sums[first : first + 512] += band.sum(axis=1) - np.abs(np.diagonal(lower)[first : first + 512])
    return float(sums.max(initial=0.0))
