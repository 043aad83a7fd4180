"""Standard deviation of the model's value at any t, from the covariance of all parameters."""

import numpy as np

from varpro.arrays import Array
from varpro.fitting.model import make_model
from varpro.fitting.solution import Solution


def band_width(solution: Solution, t: Array) -> Array:
    """(N', K) sqrt(j^T C j) with j the derivative of the value at t by all parameters; without sigma.

    Complex data: of the real part + i of the imaginary part.
    """
    spec = solution.spec
    old = spec.model
    derivative = old.derivative if old.columns_function is None else (old.pairs, old.columns_function)
    w = solution.nonlinear[:1]
    model = make_model(old.function, t, w, len(t), own_t=False, derivative=derivative, batch=False)  # type: ignore[arg-type]
    from dataclasses import replace

    if old.columns_function is None:
        model.pairs = old.pairs
    basis = replace(solution.built.basis, model=model, weights=None, extra_rows=None, excluded=None)
    one = np.zeros(1, dtype=int)
    phi, d = basis.basis(solution.outcome.u, one)[0], basis.jacobian(solution.outcome.u, one)[0]
    u, a = solution.uncertainty(one), solution.amplitudes[0]
    variance = np.empty((len(phi), a.shape[1]))
    for k in range(a.shape[1]):
        jacobian = np.zeros((len(phi), u.hidden.shape[1]))
        for m, (j, p) in enumerate(zip(basis.columns, basis.parameters, strict=True)):
            jacobian[:, p] += d[:, m] * a[j, k]
        rest = jacobian - phi @ u.slopes[0, k]
        base = u.base[0, k if len(u.base[0]) > 1 else 0]
        variance[:, k] = np.einsum("ni,ij,nj->n", phi, base, phi) + np.einsum("nf,fg,ng->n", rest, u.nonlinear[0], rest)
    if spec.complex_data:
        half = len(variance) // 2
        deviation = np.sqrt(np.maximum(variance, 0.0))
        return deviation[:half] + 1j * deviation[half:]
    return np.sqrt(np.maximum(variance, 0.0))
