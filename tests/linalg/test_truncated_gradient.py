"""Gradient and Jacobian of the functional when nonzero singular values are truncated."""

import numpy as np
import pytest

import varpro
from varpro.problems.separable import SeparableProblem


def curves(t, w):
    return np.stack([np.exp(-w[0] * t), np.exp(-w[1] * t), np.sin(w[2] * t), np.cos(w[2] * t) * np.exp(-w[0] * t)], -1)


class Curves:
    columns = np.array([0, 1, 2, 3, 3], dtype=np.int32)
    parameters = np.array([0, 1, 2, 0, 2], dtype=np.int32)

    def __init__(self, n, unit):
        self.t, self.unit = np.linspace(0, 5, n), unit

    def basis(self, w, problems):
        return self.unit * np.stack([curves(self.t, v) for v in w])

    def jacobian(self, w, problems, dtype):
        moved = [[curves(self.t, v + 1j * 1e-30 * e).imag / 1e-30 for e in np.eye(3)] for v in w]
        pairs = list(zip(self.columns, self.parameters, strict=True))
        return self.unit * np.stack([np.stack([one[p][:, j] for j, p in pairs], -1) for one in moved])


@pytest.mark.parametrize("tolerance", [None, 0.05, 0.2, 0.5])
@pytest.mark.parametrize("ridge", [0.0, 0.03])
@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_the_gradient_is_that_of_the_truncated_functional(tolerance, ridge, unit):
    y = np.random.default_rng(0).standard_normal((2, 23, 3))
    problem = SeparableProblem(model=Curves(23, unit), y=y, ridge=ridge * unit**2, rank_tolerance=tolerance)
    w, every = np.array([[0.5, 0.7, 1.1], [0.4, 1.9, 0.6]]), np.arange(2)
    current = problem.evaluate(w, every)
    assert tolerance is None or (current.rank < 4).any()
    found = problem.linearise(current).gradient
    for p, e in enumerate(1e-5 * np.eye(3)):
        slope = (problem.evaluate(w + e, every).cost - problem.evaluate(w - e, every).cost) / 2e-5
        np.testing.assert_allclose(found[:, p], slope, rtol=0, atol=1e-8 * np.abs(found).max())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 0.03])
def test_the_jacobian_of_the_functional_is_that_of_the_truncated_residual(weighted, ridge):
    rng = np.random.default_rng(1)
    t, y = np.linspace(0, 5, 23), rng.standard_normal((23, 9))
    weights = rng.uniform(0.5, 1.5, y.shape) if weighted else None
    w = np.array([0.5, 0.7, 1.1])
    f = varpro.functional(curves, t, y, w, weights=weights, ridge=ridge, rank_tolerance=0.2)
    jacobian = f.jacobian(w)
    for p, e in enumerate(1e-5 * np.eye(3)):
        slope = (f.residual(w + e) - f.residual(w - e)) / 2e-5
        np.testing.assert_allclose(jacobian[:, p], slope, rtol=0, atol=1e-8 * np.abs(jacobian).max())
    np.testing.assert_allclose(f.gradient(w), jacobian.T @ f.residual(w), rtol=1e-9, atol=1e-9 * np.abs(jacobian).max())
    plain = varpro.functional(curves, t, y, w, weights=weights, ridge=ridge)
    assert np.abs(plain.gradient(w) - f.gradient(w)).max() > 1e-3 * np.abs(f.gradient(w)).max()
