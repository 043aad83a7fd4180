"""One large positive definite system, on the host or a device: factor it, solve it, and estimate its condition."""

from typing import Protocol

import numpy as np
import scipy.linalg

from varpro.arrays import Array, beside, is_device_array, namespace, to_host
from varpro.kernels import vendor


class Factored(Protocol):
    """A factorisation of a symmetric positive definite matrix (n, n)."""

    @property
    def norm(self) -> float:
        """kappa_1 / ||inverse||_1, the norm of the matrix; NaN if it was not requested."""

    @property
    def condition(self) -> float:
        """An estimate of kappa_1; NaN if it was not requested."""

    @property
    def pivots(self) -> Array:
        """The diagonal of the triangular factor, (n,), on the host."""

    def solve(self, rhs: Array) -> Array:
        """x (n, k) for rhs (n, k); x is where rhs is."""

    def inverse_product(self, rhs: Array) -> Array:
        """rhs^T A^-1 rhs (k, k) for rhs (n, k), both triangles, where rhs is."""

    def solve_rows(self, rhs: Array) -> Array:
        """The same for rows: x (k, n) with x A = rhs (k, n), where A is."""


def factor(lower: Array, ridge: float, *, overwrite: bool = False, conditioned: bool = True) -> Factored | None:
    """Cholesky of the symmetric matrix given by the lower triangle of `lower` (n, n) plus ridge I; None on breakdown.

    overwrite : `lower`, C-contiguous, may be overwritten.  conditioned : estimate the condition.
    """
    if is_device_array(lower):
        return _Device.make(lower, ridge, overwrite=overwrite, conditioned=conditioned)
    return _Host.make(lower, ridge, overwrite=overwrite, conditioned=conditioned)


class _Host:
    """A factorisation by LAPACK."""

    def __init__(self, factor: Array, norm: float, condition: float) -> None:
        self.factor, self.norm, self.condition = factor, norm, condition

    @classmethod
    def make(cls, lower: Array, ridge: float, *, overwrite: bool, conditioned: bool) -> "_Host | None":
        # a C-ordered lower triangle is a Fortran-ordered upper triangle, which is how LAPACK gets it
        norm = _symmetric_norm(lower) + ridge if conditioned else np.nan
        work = (lower if overwrite else lower.copy()).T
        np.einsum("ii->i", work)[:] += ridge
        upper, info = scipy.linalg.lapack.dpotrf(work, lower=False, overwrite_a=True, clean=False)
        if info != 0:
            return None
        if not conditioned:
            return cls(upper, norm, np.nan)
        reciprocal, _ = scipy.linalg.lapack.dpocon(upper, norm, uplo="U")
        return cls(upper, norm, 1.0 / float(reciprocal) if reciprocal > 0 else np.inf)

    @property
    def pivots(self) -> Array:
        return np.diagonal(self.factor)

    def solve(self, rhs: Array) -> Array:
        return np.ascontiguousarray(scipy.linalg.lapack.dpotrs(self.factor, rhs, lower=False)[0])

    def inverse_product(self, rhs: Array) -> Array:
        half = scipy.linalg.solve_triangular(self.factor, rhs, trans="T", check_finite=False)
        product: Array = half.T @ half  # which no rounding makes indefinite
        return product

    def solve_rows(self, rhs: Array) -> Array:
        x: Array = scipy.linalg.lapack.dpotrs(self.factor, rhs.T, lower=False)[0].T
        return x


class _Device:
    """A factorisation by cuSOLVER; its condition from Hager's estimate of the norm of the inverse, SIAM J. Sci. Stat.
    Comput. 5 (1984)."""

    def __init__(self, factor: Array, norm: float) -> None:
        self.factor, self.norm = factor, norm
        self.condition = norm * self._inverse_norm() if np.isfinite(norm) else np.nan

    @classmethod
    def make(cls, lower: Array, ridge: float, *, overwrite: bool, conditioned: bool) -> "_Device | None":
        norm = np.nan
        if conditioned:
            half = abs(namespace(lower).tril(lower))
            norm = float((half.sum(axis=0) + half.sum(axis=1) - namespace(lower).diagonal(half)).max()) + ridge
        work = lower if overwrite else lower.copy()
        work.reshape(-1)[:: len(lower) + 1] += ridge
        return cls(work, norm) if vendor.cholesky_large(work) == 0 else None

    @property
    def pivots(self) -> Array:
        return to_host(namespace(self.factor).diagonal(self.factor))

    def solve(self, rhs: Array) -> Array:
        there = beside(rhs, self.factor)
        x = self.solve_rows(there.T)
        return beside(namespace(x).ascontiguousarray(x.T), rhs)

    def inverse_product(self, rhs: Array) -> Array:
        product: Array = rhs.T @ self.solve(rhs)
        return product

    def solve_rows(self, rhs: Array) -> Array:
        x = namespace(self.factor).array(rhs, dtype=np.float64, order="C")
        vendor.cholesky_large_solve(self.factor, x)
        return x

    def _inverse_norm(self) -> float:
        n = len(self.factor)
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
    """1-norm of the symmetric matrix given by the lower triangle of a C-ordered array, without copying it."""
    sums = np.zeros(len(lower))
    for first in range(0, len(lower), 512):
        band = np.abs(np.tril(lower[first : first + 512], first))
        sums += band.sum(axis=0)
        sums[first : first + 512] += band.sum(axis=1) - np.abs(np.diagonal(lower)[first : first + 512])
    return float(sums.max(initial=0.0))
