"""Standard deviation of the model's value at any t, from the covariance of all parameters."""

from dataclasses import replace

import numpy as np

from varpro.arrays import Array
from varpro.fitting.basis import FitBasis
from varpro.fitting.complex_parts import with_parts
from varpro.fitting.solution import Solution
from varpro.linalg.incidence import jacobian_of_columns
from varpro.statistics import NULL_PART, Uncertainty


def band_width(solution: Solution, u: Uncertainty, t: Array) -> Array:
    """(N', K) sqrt(j^T C j), j the derivative of the value at t by all parameters, C the covariance at weight 1.

    Infinite where j has a component that the data do not determine; parameters on a bound are held there.  For complex
    data: that of the real part + i that of the imaginary part.
    """
    phi, d, basis = _columns(solution, t)
    a = solution.amplitudes[0]
    variance = np.empty((len(phi), a.shape[1]))
    for k in range(a.shape[1]):
        pairs = (basis.columns, basis.parameters, u.at_bound.shape[1])
        jacobian = jacobian_of_columns(d, a[:, k], *pairs)
        size = jacobian_of_columns(np.abs(d), np.abs(a[:, k]), *pairs)
        place = k if len(u.base[0]) > 1 else 0
        rest = jacobian - phi @ u.slopes[0, k]
        size += np.abs(phi) @ np.abs(u.slopes[0, k])
        free = ~u.held[0, k]
        variance[:, k] = np.einsum("ni,ij,nj->n", phi, u.base[0, place], phi)
        variance[:, k] += np.einsum("nf,fg,ng->n", rest, u.nonlinear[0], rest)
        variance[:, k] += 2.0 * np.einsum("ni,if,nf->n", phi, u.cross[0, k], rest)
        lost = _reaches(rest / u.scale[0], size / u.scale[0], u.null[0])
        unit = phi * free / u.amplitude_size[0, place]
        variance[lost | _reaches(unit, np.abs(unit), u.amplitude_null[0, place]), k] = np.inf
    deviation = np.sqrt(np.maximum(variance, 0.0))
    if not solution.spec.complex_data:
        return deviation
    half = len(deviation) // 2
    return with_parts(deviation[:half], deviation[half:])


def _columns(solution: Solution, t: Array) -> tuple[Array, Array, FitBasis]:
    """Phi (N', I'), D (N', M') at t and the basis that they come from."""
    model = solution.spec.model.at(t, len(t))
    basis = replace(solution.spec.basis, model=model, weights=None, extra_rows=None, excluded=None)
    one = np.zeros(1, dtype=int)
    return basis.basis(solution.u, one)[0], basis.jacobian(solution.u, one, fine=True)[0], basis


def _reaches(rows: Array, size: Array, null: Array) -> Array:
    """(N',) bool: rows (N', J) with a part in the null space (J, J), relative to the terms that they are sums of."""
    return (np.abs(rows @ null) > NULL_PART * (size @ np.abs(null))).any(axis=1)
