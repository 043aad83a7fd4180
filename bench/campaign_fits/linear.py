"""The linear part of the reference: columns of any size, with or without bounds of their amplitudes."""

from dataclasses import dataclass

import numpy as np
import scipy.optimize

Array = np.ndarray


@dataclass
class Factor:
    """Of weighted columns (m, J), truncated at rounding."""

    left: Array
    """(m, r) orthonormal"""
    pseudoinverse: Array
    """(J, m)"""

    @classmethod
    def of(cls, a: Array) -> "Factor":
        size = np.sqrt(np.einsum("mj,mj->j", a, a))
        size[~(size > 0)] = 1.0
        left, s, right = np.linalg.svd(a / size, full_matrices=False)
        keep = s > 1e-14 * s.max(initial=0.0)
        if not keep.all():
            left, s, right = left[:, keep], s[keep], right[keep]
        return cls(left, ((right / size).T / s) @ left.T)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # a search that runs away meets columns that overflow
def solve(a: Array, rhs: Array, low: Array | None, high: Array | None) -> tuple[Array, Array, Factor]:
    """Amplitudes (J, k) of min ||rhs - a x||, which of them are free (J,), and the factor of their columns.

    low, high : (J,) bounds, then k = 1; None for none.
    """
    if low is None or high is None:
        factor = Factor.of(a)
        return factor.pseudoinverse @ rhs, np.ones(a.shape[1], bool), factor
    size = np.linalg.norm(a, axis=0)
    size = np.where(size > 0, size, 1.0)
    unit = np.linalg.norm(rhs) or 1.0
    low, high = low * size / unit, high * size / unit
    x = _bounded(a / size, rhs[:, 0] / unit, low, high)
    near = 1e-13 * np.abs(x).max(initial=0.0)  # solvers put what is on a bound there, but for rounding
    passive = (x > low + near) & (x < high - near)
    x = np.where(passive, x, np.where(x <= low + near, low, high)) * unit / size
    factor = Factor.of(a[:, passive])
    x[passive] = factor.pseudoinverse @ (rhs[:, 0] - a[:, ~passive] @ x[~passive])
    return x[:, None], passive, factor


def _bounded(a: Array, y: Array, low: Array, high: Array) -> Array:
    q, r = np.linalg.qr(a)
    right = q.T @ y
    if (low == 0).all() and np.isinf(high).all():
        return scipy.optimize.nnls(r, right)[0]
    return scipy.optimize.lsq_linear(r, right, bounds=(low, high), method="bvls", tol=1e-14).x
