"""The Jacobian of a separable model outside the range of its columns, for statistics, by orthogonal factorisation.

    J_k = sum of D_m a[j(m), k] over the pairs of a parameter,   P_perp J_k = Q R over all right-hand sides k

Only R is kept, at most F x F, so that nothing has N K rows.  Columns of Phi are first divided by their norms, so that
no choice of units decides what the null space is.
"""

from typing import NamedTuple

import numpy as np

from varpro.arrays import Array
from varpro.linalg.incidence import jacobian_of_columns
from varpro.linalg.projector import factor

GATHERED = 64
"""Right-hand sides whose projected Jacobians are reduced to one triangle together."""
LEAST = float(np.finfo(float).max) ** -0.5
"""Norm of a column of J below which it counts as zero: its square underflows, and its variance is no number."""


class ProjectedJacobian(NamedTuple):
    """J_k outside the range of Phi, and what was computed on the way."""

    triangle: Array
    """R of the parts of all J_k outside the range of Phi, (b, <= F, F)."""
    share: Array
    """The norms of J's columns before the projection, for each right-hand side, (b, K, F)."""
    scale: Array
    """The same norms for all right-hand sides together, (b, F)."""
    slopes: Array
    """The change of the amplitudes with each parameter, Phi^+ J_k, (b, K, I, F)."""
    back: Array
    """The way back to coefficients of Phi's columns divided by `size`, (b, 1 or K, I, I)."""
    size: Array
    """What Phi's columns were divided by, (b, 1 or K, I)."""
    norms: Array
    """The norms of Phi's columns, (b, 1 or K, I)."""
    rank: Array
    """The rank of Phi, (b, 1 or K)."""
    null: Array
    """The projector on the null space of Phi's columns divided by `size`, (b, 1 or K, I, I)."""
    ridge_phi: Array
    """The squares of the ridge's rows in an orthonormal basis of Phi, (b, 1 or K)."""
    ridge_moments: Array
    """The products of the ridge's rows of the projected J, (b, F, F)."""


def projected_jacobian(
    phi: Array,
    d: Array,
    a: Array,
    columns: Array,
    parameters: Array,
    n_free: int,
    n_data: int | None,
    rank_tolerance: float | None,
) -> ProjectedJacobian:
    """J_k of every right-hand side and its part outside the range of Phi, reduced to one triangle."""
    b, own, _, n_columns = phi.shape
    k, ridge = a.shape[2], slice(n_data, None) if n_data is not None else slice(0, 0)
    norms = np.linalg.norm(phi, axis=2)
    size = np.where(np.isfinite(norms) & (norms > 0), norms, 1.0)  # unit columns, so that units decide no rank
    if rank_tolerance is not None:
        size = np.ones_like(norms)
    u, back, rank, null = _orthonormal(phi / size[:, :, None, :], rank_tolerance)
    slopes, share = np.zeros((b, k, n_columns, n_free)), np.zeros((b, k, n_free))
    moments, parts = np.zeros((b, n_free, n_free)), list[Array]()
    for q in range(k):
        place = q if own > 1 else 0
        jacobian = jacobian_of_columns(d[:, q if d.shape[1] > 1 else 0], a[:, :, q], columns, parameters, n_free)
        share[:, q] = np.linalg.norm(jacobian, axis=1)
        inside = u[:, place].mT @ jacobian
        slopes[:, q] = (back[:, place] @ inside) / size[:, place, :, None]
        outside = jacobian - u[:, place] @ inside
        outside -= u[:, place] @ (u[:, place].mT @ outside)  # again, for what is left of a column that lies inside
        moments += outside[:, ridge].mT @ outside[:, ridge]
        parts.append(outside)
        if len(parts) == GATHERED:
            parts = [np.asarray(np.linalg.qr(np.concatenate(parts, axis=1), mode="r"))]
    triangle = np.asarray(np.linalg.qr(np.concatenate(parts, axis=1), mode="r"))
    ridge_phi = np.einsum("bkni,bkni->bk", u[:, :, ridge], u[:, :, ridge])
    scale = np.linalg.norm(share, axis=1)
    for problem, f in np.argwhere(scale < LEAST):
        for of_column in (triangle[..., f], slopes[..., f], share[..., f], scale[..., f], moments[..., f]):
            of_column[problem] = 0.0
        moments[problem, f] = 0.0
    return ProjectedJacobian(triangle, share, scale, slopes, back, size, norms, rank, null, ridge_phi, moments)


def _orthonormal(phi: Array, rank_tolerance: float | None) -> tuple[Array, Array, Array, Array]:
    """U (b, k, N, I), back (b, k, I, I), rank (b, k) and the projector on the null space (b, k, I, I).

    Columns that are zero in every problem, such as a pinned one, are not factored.
    """
    b, own, n_rows, n_columns = phi.shape
    flat = phi.reshape(b * own, n_rows, n_columns)
    live = np.flatnonzero((flat != 0).any(axis=(0, 1)))
    u, back, rank = np.zeros(flat.shape), np.zeros((b * own, n_columns, n_columns)), np.zeros(b * own, dtype=int)
    null = np.broadcast_to(np.eye(n_columns), back.shape).copy()
    if len(live):
        fac = factor(flat[:, :, live], rank_tolerance=rank_tolerance)
        u[:, :, live], back[:, live[:, None], live], rank = fac.u, fac.back, fac.rank
        size = np.linalg.norm(fac.back, axis=1, keepdims=True)  # if rank-deficient, back is V S^-1
        v = np.divide(fac.back, size, out=np.zeros_like(fac.back), where=size > 0)
        short = (rank < len(live))[:, None, None]
        null[:, live[:, None], live] = np.where(short, np.eye(len(live)) - v @ v.mT, 0.0)
    wide = (b, own, n_columns, n_columns)
    return u.reshape(phi.shape), back.reshape(wide), rank.reshape(b, own), null.reshape(wide)
