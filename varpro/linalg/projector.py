"""The projector of variable projection, for B bases at once.

    [Phi; sqrt(mu) I] = Q R,   U = top block of Q,   A = R^-1 U^T Y,   P_perp Y = Y - U U^T Y

CholeskyQR2 with a Gram matrix in double precision where kappa_1(R) allows it, else Householder QR and an SVD of R,
truncated at a tolerance relative to the largest singular value.  The same U serves the coefficients, the residual and
both parts of the Gauss-Newton matrix, so they are truncated either all or not at all.

Yamamoto et al., ETNA 44 (2015) 306-326 (CholeskyQR2); Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973) 413-432.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from varpro.arrays import Array, is_device_array, namespace, to_host
from varpro.errors import ShapeError
from varpro.kernels import projector as kernel
from varpro.kernels.projector.cuda import PROJECTOR_COLUMNS
from varpro.kernels.projector.cuda import projector as projector_on_device

CHOLESKY_QR2_LIMIT = 1e7
"""Largest kappa_1(R) at which CholeskyQR2 is orthogonal to rounding: far below 1/sqrt(eps) = 6.7e7."""


@dataclass(frozen=True, slots=True)
class Factor:
    """Orthonormal basis of range(Phi) and the way back to coefficients; u and back are where Phi is."""

    u: Array
    """The basis, (B, N, I) float64; columns beyond the rank are zero.  With a ridge, the top block of Q."""
    back: Array
    """The map in A = back U^T Y, (B, I, I): R^-1, or V S^-1 with zero columns beyond the rank."""
    rank: Array
    """The numerical rank, (B,) int."""
    condition: Array
    """kappa_1(R) if CholeskyQR2 was used, else sigma_1 / sigma_rank, (B,)."""
    finite: Array
    """Whether Phi is finite, (B,) bool; where False, the problem's arrays are NaN and its rank is 0."""
    left_out: Array
    """The largest singular value beyond the rank, relative to the least one kept, (B,); 0 if none is left out.  A CUDA
    kernel that does not report it gives 1 wherever the rank is deficient."""

    @property
    def inverse_gram(self) -> Array:
        """(Phi^T Phi + mu I)^+, (B, I, I)."""
        return self.back @ self.back.mT

    def coefficients(self, y: Array) -> Array:
        """A = Phi^+ Y, (B, I, K), for y (B, N, K)."""
        return self.back @ (self.u.mT @ y)

    def residual(self, y: Array, phi: Array, a: Array, ridge: float = 0.0) -> Array:
        """Y - Phi A, (B, N, K), of its own coefficients, orthogonal to the (augmented) Phi up to its own rounding."""
        rest = y - phi @ a
        inside = self.u.mT @ rest
        if ridge > 0:
            inside -= ridge * (self.back.mT @ a)
        return without(rest, self.u, inside)


def without(residual: Array, u: Array, inside: Array) -> Array:
    """R - U inside, for what rounding has left of the range of orthonormal u (B, N, I) in a residual (B, N, K).

    Y - Phi A is off by eps ||Y||, however small it is itself, and D^T R, with columns of D almost in the range of Phi,
    would mostly see that part of the error.
    """
    residual -= u @ inside
    return residual


def factor(phi: Array, *, ridge: float = 0.0, rank_tolerance: float | None = None) -> Factor:
    """Orthonormal basis of the range of each phi.

    phi : (B, N, I) float32 or float64; not modified.
    ridge : mu >= 0 of the Tikhonov term mu ||A||^2.
    rank_tolerance : relative to sigma_1; default max(N, I) eps of phi's dtype, for columns scaled to unit norm.
    A problem with a value that is not finite is flagged and never passed to LAPACK.  Raises ShapeError.
    """
    if phi.ndim != 3:
        raise ShapeError(f"phi has {phi.ndim} dimensions; it needs 3: (problems, rows, basis functions)")
    n_problems, n_rows, n_columns = phi.shape
    tolerance = max(n_rows, n_columns) * np.finfo(phi.dtype).eps if rank_tolerance is None else rank_tolerance
    if is_device_array(phi):
        return _on_device(phi, ridge, tolerance, rank_tolerance is None)
    phi = np.ascontiguousarray(phi, dtype=np.float64)
    finite = np.isfinite(phi.sum(axis=(1, 2))) if n_problems else np.zeros(0, dtype=bool)
    # kappa_1 may be as small as 1 / I of kappa_2, to which the tolerance refers
    limit = min(CHOLESKY_QR2_LIMIT, 1 / (max(10, n_columns) * tolerance)) if tolerance > 0 else CHOLESKY_QR2_LIMIT
    if n_rows >= n_columns or ridge > 0:
        u, _, back, condition, info = kernel.cholesky_qr2(phi, ridge)
        gated = (info == 0) & (condition < limit) & finite
    else:
        u, back = np.empty_like(phi), np.empty((n_problems, n_columns, n_columns))
        condition, gated = np.full(n_problems, np.inf), np.zeros(n_problems, dtype=bool)
    rank, left_out = np.full(n_problems, n_columns), np.zeros(n_problems)
    for b in np.flatnonzero(~gated):
        if finite[b]:
            u[b], back[b], rank[b], condition[b], left_out[b] = _truncated(
                phi[b], ridge, tolerance, rank_tolerance is None
            )
        else:
            u[b], back[b], rank[b], condition[b] = np.nan, np.nan, 0, np.inf
    return Factor(u, back, rank, condition, finite, left_out)


def _on_device(phi: Array, ridge: float, tolerance: float, rescale: bool) -> Factor:
    """The factors by the CUDA kernel up to its width; beyond that by the vendor's QR and SVD, one problem at a time."""
    if phi.shape[2] <= PROJECTOR_COLUMNS:
        u, back, *small = projector_on_device(phi, ridge=ridge, tolerance=tolerance, rescale=rescale)
        rank, condition, finite = (to_host(a) for a in small)
        short = np.where(finite != 0, rank < min(phi.shape[2], phi.shape[1] if ridge == 0 else phi.shape[2]), False)
        return Factor(u, back, rank.astype(np.int64), condition, finite != 0, short.astype(float))
    xp, (count, _, columns) = namespace(phi), phi.shape
    finite = to_host(xp.isfinite(phi.sum(axis=(1, 2))))
    u, back = xp.full(phi.shape, np.nan), xp.full((count, columns, columns), np.nan)
    rank, condition, left_out = np.zeros(count, dtype=np.int64), np.full(count, np.inf), np.zeros(count)
    for b in np.flatnonzero(finite):
        u[b], back[b], rank[b], condition[b], left_out[b] = _by_svd(
            phi[b].astype(np.float64), ridge, tolerance, rescale
        )
    return Factor(u, back, rank, condition, finite, left_out)


def _by_svd(phi: Array, ridge: float, tolerance: float, rescale: bool) -> tuple[Array, Array, int, float, float]:
    """As _truncated, but always with an SVD of R, since the vendor has no triangular inverse that is worth a call."""
    xp, (n_rows, n_columns) = namespace(phi), phi.shape
    rows = phi if ridge == 0 else xp.concatenate([phi, np.sqrt(ridge) * xp.eye(n_columns)])
    q, r = xp.linalg.qr(rows)
    size = xp.linalg.norm(r, axis=0)
    if rescale and len(r) == n_columns and bool((size > 0).all()):
        left, s, vt = xp.linalg.svd(r / size, full_matrices=False)
        if bool(s[-1] > tolerance * s[0]):
            return q[:n_rows] @ left, (vt.T / s) / size[:, None], n_columns, float(s[0] / s[-1]), 0.0
    left, s, vt = xp.linalg.svd(r, full_matrices=False)
    rank = int((s > tolerance * s[0]).sum()) if bool(s[0] > 0) else 0
    u, back = xp.zeros((n_rows, n_columns)), xp.zeros((n_columns, n_columns))
    u[:, :rank] = q[:n_rows] @ left[:, :rank]
    back[:, :rank] = vt[:rank].T / s[:rank]
    return u, back, rank, *_ratios(s, rank)


def _ratios(s: Array, rank: int) -> tuple[float, float]:
    """sigma_1 / sigma_rank, and sigma_(rank+1) / sigma_rank if there is one."""
    if not rank:
        return np.inf, 0.0
    return float(s[0] / s[rank - 1]), float(s[rank] / s[rank - 1]) if rank < len(s) else 0.0


def _truncated(phi: Array, ridge: float, tolerance: float, rescale: bool) -> tuple[Array, Array, int, float, float]:
    """U, V S^-1, rank, sigma_1 / sigma_rank and sigma_(rank+1) / sigma_rank of one (augmented) Phi, by Householder QR
    and then an SVD of R.

    rescale : columns that are independent once they have unit norm are not truncated, however different their units.
    If they are not independent, Phi itself is truncated, units and all: then the cut, the coefficients of least norm
    and the gradient all belong to the same matrix.
    """
    n_rows, n_columns = phi.shape
    rows = phi if ridge == 0 else np.vstack([phi, np.sqrt(ridge) * np.eye(n_columns)])
    q, r = np.linalg.qr(rows)
    if rescale and n_columns and len(r) == n_columns:
        size = np.linalg.norm(r, axis=0)
        if (size > 0).all():
            s = np.linalg.svd(r / size, compute_uv=False)
            if s[-1] > tolerance * s[0]:
                back = scipy.linalg.solve_triangular(r / size, np.eye(n_columns), check_finite=False) / size[:, None]
                return q[:n_rows], back, n_columns, float(s[0] / s[-1]), 0.0
    left, s, vt = np.linalg.svd(r, full_matrices=False)
    rank = int(np.count_nonzero(s > tolerance * s[0])) if s.size and s[0] > 0 else 0
    u, back = np.zeros((n_rows, n_columns)), np.zeros((n_columns, n_columns))
    u[:, :rank] = q[:n_rows] @ left[:, :rank]
    back[:, :rank] = vt[:rank].T / s[:rank]
    return u, back, rank, *_ratios(s, rank)
