"""Derivatives of a projection onto truncated singular vectors, where the truncated singular values are not zero.

Phi = U S V^T; i runs over the r triplets kept, l over those left out, c over the complement of the columns' range:

    f      = 1/2 ||Y||^2 - 1/2 ||U_r^T Y||^2,    C = U_r^T Y,    B = U_l^T Y,    R_c = Y - U U^T Y (all of U)
    df     = -<dPhi, W>
    W      = R_c A^T + U_l G^T V_r^T + U_r H V_l^T
    G[i,l] = s_i (C B^T)[i,l] / (s_i^2 - s_l^2),    H[i,l] = s_l (C B^T)[i,l] / (s_i^2 - s_l^2)

from the first-order change of the spectral projector U_r U_r^T of Phi Phi^T,

    d(U_r U_r^T) = sum_il (u_i u_l^T + u_l u_i^T) u_i^T (dPhi Phi^T + Phi dPhi^T) u_l / (s_i^2 - s_l^2).

With s_l = 0 this is Golub and Pereyra's gradient, W = R A^T.  A ridge is sqrt(mu) I below Phi and zeros below Y and
dPhi, with the singular values of the whole.  Where the least s_i meets the largest s_l, the cut moves from one vector
to another: f jumps there and has no derivative, and both formulas grow without limit as the gap closes.

Kato, Perturbation Theory for Linear Operators (1966), II.2; Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973) 413-432.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, namespace

NEGLIGIBLE = 1e-10
"""s_l / s_i up to which the part missing from Golub and Pereyra's gradient, of this relative size, is rounding."""


@dataclass(frozen=True, slots=True)
class Triplets:
    """Singular triplets of one Phi (N, I)."""

    kept: Array
    """The left vectors kept, U_r (N, r)."""
    s: Array
    """The singular values kept, (r,)."""
    v: Array
    """The right vectors kept, V_r (I, r)."""
    left_out: Array
    """The left vectors left out, U_l (N, t)."""
    s_out: Array
    """The singular values left out, (t,)."""
    v_out: Array
    """The right vectors left out, V_l (I, t)."""

    @classmethod
    def of(cls, phi: Array, rank: int) -> "Triplets":
        """The `rank` largest triplets of phi (N, I), and the others."""
        u, s, vt = namespace(phi).linalg.svd(phi.astype(np.float64), full_matrices=False)
        return cls(u[:, :rank], s[:rank], vt[:rank].T, u[:, rank:], s[rank:], vt[rank:].T)

    @property
    def gap(self) -> Array:
        """s_i^2 - s_l^2, (r, t)."""
        s, out = self.s[:, None], self.s_out[None]
        return (s - out) * (s + out)

    def outside(self, y: Array) -> Array:
        """The part of y (N, K) outside the range of the columns."""
        return y - self.kept @ (self.kept.T @ y) - self.left_out @ (self.left_out.T @ y)


def cotangent(parts: Triplets, y: Array) -> Array:
    """W (N, I) in df = -<dPhi, W>, for y (N, K)."""
    inside, out = parts.kept.T @ y, parts.left_out.T @ y
    w = parts.outside(y) @ ((parts.v / parts.s) @ inside).T
    share = (inside @ out.T) / parts.gap
    w = w + parts.left_out @ (parts.s[:, None] * share).T @ parts.v.T
    return w + parts.kept @ (parts.s_out * share) @ parts.v_out.T


def residual_slopes(parts: Triplets, y: Array, d: Array, columns: Array) -> Array:
    """(N, K, M) derivative of the residual Y - U_r U_r^T Y by each pair; d (N, M) is that of column columns[m] of Phi.

    `cotangent` is the gradient of this Jacobian: J^T vec(R) = df.
    """
    inside, out, rest = parts.kept.T @ y, parts.left_out.T @ y, parts.outside(y)
    v, v_out = parts.v[columns].T, parts.v_out[columns].T
    along, across = parts.kept.T @ d, parts.left_out.T @ d
    mixed = along[:, None] * (parts.s_out[:, None] * v_out)[None] + (parts.s[:, None] * v)[:, None] * across[None]
    mixed = mixed / parts.gap[:, :, None]
    a = ((parts.v / parts.s) @ inside)[columns]
    slopes = np.einsum("ni,ilm,lk->nkm", parts.kept, mixed, out, optimize=True)
    slopes += np.einsum("nl,ilm,ik->nkm", parts.left_out, mixed, inside, optimize=True)
    slopes += np.einsum("ni,im,km->nkm", parts.kept, v / parts.s[:, None], rest.T @ d, optimize=True)
    slopes += np.einsum("nm,mk->nkm", parts.outside(d), a)
    return -slopes


def with_ridge_rows(phi: Array, ridge: float, *others: Array) -> tuple[Array, ...]:
    """[phi (N, I); sqrt(mu) I] and the others (N, ...) with zeros below; all unchanged without a ridge."""
    if not ridge:
        return phi, *others
    xp, count = namespace(phi), phi.shape[1]
    below = [xp.zeros((count, *a.shape[1:])) for a in others]
    rows = xp.concatenate([phi, np.sqrt(ridge) * xp.eye(count)])
    return rows, *(xp.concatenate([a, zero]) for a, zero in zip(others, below, strict=True))
