"""Uncertainties of both blocks from the full Jacobian of the separable model.

    residual   r_k = y_k - Phi(w) a_k,    J_k = sum of D_m a[j(m), k] over the pairs of a parameter
    cov(w)     = sigma^2 (sum_k J_k^T P_perp J_k)^-1
    cov(a_k)   = sigma^2 [(Phi^T Phi)^-1 + B_k cov' B_k^T],   cov(w, a_k) = -sigma^2 cov' B_k^T,   B_k = Phi^+ J_k
    sigma^2    = weighted residual sum of squares / degrees of freedom,  or 1 where the weights are known errors

This is sigma^2 (J^T J)^-1 of all parameters by blocks, so it costs no matrix of N K rows and I K columns.
O'Leary and Rust, Comput. Optim. Appl. 54 (2013) 579-593.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.linalg.one_pool import one_blas_pool
from varpro.linalg.projector import factor


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Covariances of b problems before the factor sigma^2."""

    nonlinear: Array
    """(b, F, F)"""
    base: Array
    """(b, 1 or K, I, I) (Phi^T Phi)^+ of the columns that are free"""
    slopes: Array
    """(b, K, I, F) B_k"""
    hidden: Array
    """(b, F) bool: on a bound, or without effect on the fit; no variance can be given"""

    undetermined: Array
    """(b, 1 or K, I) bool: an amplitude with a part in the null space of Phi, which the data do not determine"""

    def nonlinear_variance(self) -> Array:
        """(b, F), NaN where hidden."""
        return np.where(self.hidden, np.nan, np.einsum("bff->bf", self.nonlinear))

    def linear_variance(self) -> Array:
        """(b, I, K), infinite where undetermined."""
        spread = np.einsum("bkif,bfg,bkig->bki", self.slopes, self.nonlinear, self.slopes)
        own = np.einsum("bkii->bki", self.base)
        return np.moveaxis(np.where(self.undetermined, np.inf, own + spread), 1, 2)

    def full(self, problem: int) -> Array:
        """(F + I K, F + I K) of one problem: nonlinear, then linear as (I, K) flattened."""
        k, i, f = self.slopes.shape[1:]
        nonlinear, slopes = self.nonlinear[problem], np.moveaxis(self.slopes[problem], 0, 1).reshape(i * k, f)
        out = np.empty((f + i * k, f + i * k))
        out[:f, :f] = nonlinear
        out[f:, :f] = -slopes @ nonlinear
        out[:f, f:] = out[f:, :f].T
        linear = (slopes @ nonlinear @ slopes.T).reshape(i, k, i, k)
        base = np.broadcast_to(self.base[problem], (k, i, i))
        for q in range(k):
            linear[:, q, :, q] += base[q]
        out[f:, f:] = linear.reshape(i * k, i * k)
        return out


@one_blas_pool()
def uncertainty(phi: Array, d: Array, a: Array, columns: Array, parameters: Array, free: Array) -> Uncertainty:
    """Covariances at a solution; rows are weighted already.

    phi : (b, 1 or K, N, I); columns without freedom are zero.  d : (b, 1 or K, N, M).  a : (b, I, K).
    columns, parameters : (M,).  free : (b, F) bool; a parameter on a bound has NaN.
    """
    b, own, n_rows, n_columns = phi.shape
    k, n_free = a.shape[2], free.shape[1]
    size = np.linalg.norm(phi, axis=2, keepdims=True)
    size = np.where(np.isfinite(size) & (size > 0), size, 1.0)  # unit columns: their units decide no rank
    fac = factor((phi / size).reshape(b * own, n_rows, n_columns))
    u, scaled = fac.u.reshape(b, own, n_rows, n_columns), fac.back.reshape(b, own, n_columns, n_columns)
    back = scaled / size.mT
    slopes = np.zeros((b, k, n_columns, n_free))
    parts: list[Array] = []
    for q in range(k):
        place = q if own > 1 else 0
        slope = d[:, q if d.shape[1] > 1 else 0]
        jacobian = np.zeros((b, n_rows, n_free))
        for m, (j, p) in enumerate(zip(columns, parameters, strict=True)):
            jacobian[:, :, p] += slope[:, :, m] * a[:, j, q, None]
        jacobian *= free[:, None, :]
        inside = u[:, place].mT @ jacobian
        slopes[:, q] = back[:, place] @ inside
        parts.append(jacobian - u[:, place] @ inside)
        if len(parts) == 64:  # triangles of many right-hand sides, a few at a time
            parts = [np.asarray(np.linalg.qr(np.concatenate(parts, axis=1), mode="r"))]
    triangle = np.linalg.qr(np.concatenate(parts, axis=1), mode="r")
    scale = np.linalg.norm(triangle, axis=1)
    scale = np.where(scale > 0, scale, 1.0)
    usable: Array = np.asarray(np.isfinite(triangle).all(axis=(1, 2)))
    half = np.linalg.pinv(
        np.where(usable[:, None, None], triangle / scale[:, None, :], 0.0), rcond=n_rows * np.finfo(float).eps
    )
    gram = (half @ half.mT) / (scale[:, :, None] * scale[:, None, :])
    gram[~usable] = np.nan
    hidden = ~free | (np.linalg.norm(triangle, axis=1) == 0)
    gram[hidden[:, :, None] | hidden[:, None, :]] = 0.0
    base = np.broadcast_to(back @ back.mT, (b, own, n_columns, n_columns))
    return Uncertainty(gram, base, slopes, hidden, _undetermined(phi, scaled))


def _undetermined(phi: Array, back: Array) -> Array:
    """(b, k, I) columns that are not zero, with a part outside the range of V, back = V S^-1 truncated at the rank."""
    size = np.linalg.norm(back, axis=-2, keepdims=True)
    v = np.divide(back, size, out=np.zeros_like(back), where=size > 0)
    full = (size > 0).all(axis=(-1, -2))  # of full rank: the columns of back are no singular vectors
    inside = np.where(full[..., None], 1.0, np.einsum("bkir,bkir->bki", v, v))
    return (inside < 1.0 - 1e-6) & (np.abs(phi).max(axis=2) > 0)
