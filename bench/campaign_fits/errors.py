"""Standard errors of the reference: those of the full Jacobian by all free parameters and amplitudes.

    covariance = sigma^2 (J^T J)^-1,   sigma^2 = rss / dof, or 1 where the errors of the data are known

What stands on a bound is left out; where rounding alone decides whether it does, the caller may say so.  A ridge adds
its rows to J, and dof = values - trace of the influence of the data.
"""

from dataclasses import dataclass

import numpy as np

from campaign_fits.truth import Reduced

Array = np.ndarray


@dataclass
class Deviations:
    """Standard errors at a point, NaN on a bound."""

    w: Array
    """(P,) real parameters"""
    a: Array
    """(I, K) real amplitudes: of complex ones real, then imaginary parts"""
    covariance: Array
    """of w, then a as (I, K) flattened"""
    condition: float
    """of the Jacobian with columns of unit length"""
    dof: float


def deviations(
    reduced: Reduced, u: Array, b: Array, *, held: Array | None = None, free_a: Array | None = None
) -> Deviations:
    """Standard errors of w and a at a solution.

    held (F,), free_a (I, K) bool : parameters that count as on their bound, amplitudes that count as free beside one.
    """
    phi, _, by_u, f_by_u = reduced.basis(u, True)
    k, n_free, n_b = b.shape[1], len(u), b.shape[0]
    a = reduced.amplitudes(b)
    wide = np.concatenate([reduced.weights] * 2) if reduced.complex_data else reduced.weights
    at = 1e-9 * np.abs(reduced.size)
    on_box = (u <= reduced.lower + at) | (u >= reduced.upper - at)
    on_box |= False if held is None else held
    active = np.zeros((n_b, k), bool)
    if reduced.constrained:
        near = 1e-9 * np.abs(a).max()
        active = (a <= reduced.low[:, None] + near) | (a >= reduced.high[:, None] - near)
        active &= True if free_a is None else ~free_a
    n = len(phi)
    jacobian = np.zeros((n * k, n_free + n_b * k))
    for q in range(k):
        weight = wide[:, [q if wide.shape[1] > 1 else 0]]
        rows = slice(q * n, (q + 1) * n)
        jacobian[rows, :n_free] = weight * ((by_u @ a[:, q]).T + f_by_u.T)
        jacobian[rows, n_free + q :: k] = weight * (phi @ reduced.mixing)
    on_box |= ~(by_u.any(axis=(1, 2)) | f_by_u.any(axis=1))  # a kink, where the model is even: nothing is known of it
    out = np.concatenate([on_box, active.ravel()])
    size = np.linalg.norm(jacobian, axis=0)
    if reduced.ridge:
        out |= size == 0  # a parameter of a column without amplitude
    size = np.where(size > 0, size, 1.0)
    inner = jacobian[:, ~out] / size[~out]
    r = wide * (reduced._split(reduced.y) - (phi @ a) - reduced.basis(u, False)[1][:, None])
    rss, count = float(np.sum(r**2)), int(np.count_nonzero(np.broadcast_to(wide, r.shape)))
    if reduced.ridge:
        penalty = np.concatenate([np.zeros(n_free), np.full(n_b * k, reduced.ridge)])[~out] / size[~out] ** 2
        gram = inner.T @ inner
        inverse = np.linalg.pinv(gram + np.diag(penalty), rcond=1e-14)
        dof = count - float(np.trace(inverse @ gram))
        small, condition = inverse, float(np.linalg.cond(gram)) ** 0.5
    else:
        _, s, right = np.linalg.svd(inner, full_matrices=False)
        condition = float(s[0] / s[-1]) if len(s) and s[-1] > 0 else np.inf
        half = right / np.where(s > 0, s, np.nan)[:, None]
        small, dof = half.T @ half, float(count - inner.shape[1])
    sigma2 = 1.0 if reduced.absolute else rss / dof if dof > 0 else np.nan
    whole = np.zeros((len(out), len(out)))
    whole[np.ix_(~out, ~out)] = sigma2 * small / np.outer(size[~out], size[~out])
    whole[out] = whole[:, out] = np.nan
    move = np.zeros((len(reduced.matrix) + len(a) * k, n_free + n_b * k))
    move[: len(reduced.matrix), :n_free] = reduced.matrix
    move[len(reduced.matrix) :, n_free:] = np.kron(reduced.mixing, np.eye(k))
    covariance = _carried(move, whole)
    deviation = np.sqrt(np.diagonal(covariance))
    p = len(reduced.matrix)
    return Deviations(deviation[:p], deviation[p:].reshape(len(a), k), covariance, condition, dof)


def _carried(move: Array, covariance: Array) -> Array:
    """move C move^T, NaN only where a NaN has a weight."""
    lost = np.isnan(np.diagonal(covariance))
    known = np.where(np.isnan(covariance), 0.0, covariance)
    out = move @ known @ move.T
    touched = (move[:, lost] != 0).any(axis=1)
    out[touched] = out[:, touched] = np.nan
    return out
