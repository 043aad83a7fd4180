"""The functional for other optimisers: value, gradient, residual and Jacobian agree with each other and with scipy."""

import numpy as np
import pytest
import scipy.optimize

import varpro
from tests.fit.problems import DECAY_DERIVATIVE, TAU, assert_same_minimum, central_differences, decay_data, decays
from varpro.errors import ShapeError

W = np.array([1.7, 5.1])


def options(name):
    rng = np.random.default_rng(5)
    weights = rng.uniform(0.5, 2.0, (41, 3))
    return {
        "plain": {},
        "ridge": {"ridge": 0.7},
        "ridge matrix": {"ridge": np.array([[1.0, -1.0, 0.0], [0.0, 0.3, 0.0]])},
        "row weights": {"weights": weights[:, 0]},
        "weights of each": {"weights": weights},
        "nonnegative": {"linear": "nonnegative"},
        "boxed": {"linear": ([0.0, 0.0, 0.0], [2.0, 9.0, 9.0])},
        "fixed term": {"fixed_term": lambda t, w: np.sin(w[0] * t)},
        "mask": {"mask": np.arange(41) % 4 != 1},
    }[name]


NAMES = [
    "plain",
    "ridge",
    "ridge matrix",
    "row weights",
    "weights of each",
    "nonnegative",
    "boxed",
    "fixed term",
    "mask",
]


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_value_gradient_residual_and_jacobian_belong_together(name, k):
    t, y = decay_data(n=41, right=3)
    chosen = options(name)
    if k == 1:
        y = y[:, :1]
        chosen = {key: v[:, :1] if name == "weights of each" else v for key, v in chosen.items()}
    f = varpro.functional(decays, t, y, W, **chosen)
    value, gradient = f.value_and_gradient(W)
    assert value == f(W)
    np.testing.assert_array_equal(gradient, f.gradient(W))
    np.testing.assert_allclose(0.5 * np.sum(f.residual(W) ** 2), value, rtol=1e-12)
    slope = central_differences(lambda w: [f(w)], W)[0]
    # differences of f with a relative step h = 1e-6: eps f / h
    np.testing.assert_allclose(gradient, slope, rtol=1e-7, atol=1e-9 * value)
    if name != "ridge":
        np.testing.assert_allclose(f.jacobian(W).T @ f.residual(W), gradient, rtol=1e-9, atol=1e-11 * value)
        jacobian = central_differences(f.residual, W)
        np.testing.assert_allclose(f.jacobian(W), jacobian, atol=1e-7 * np.abs(jacobian).max())


def test_scipy_finds_the_same_minimum_in_every_way():
    t, y = decay_data(n=55, right=2)
    fit = varpro.fit(decays, t, y, W)
    f = varpro.functional(decays, t, y, W, derivative=DECAY_DERIVATIVE)
    minimize = scipy.optimize.minimize
    found = [
        minimize(f, W, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 2000}),
        minimize(f, W, jac=f.gradient, options={"gtol": 1e-9}),
        minimize(f.value_and_gradient, W, jac=True, options={"gtol": 1e-9}),
        scipy.optimize.least_squares(f.residual, W, jac=f.jacobian, xtol=1e-14, ftol=1e-15, gtol=1e-14),
        scipy.optimize.differential_evolution(f, [(0.2, 2.5), (2.5, 20.0)], seed=1, tol=1e-12),
    ]
    for result in found:
        np.testing.assert_allclose(result.x, fit.nonlinear, rtol=1e-6)  # a flat minimum: sqrt(eps) at best without J
        np.testing.assert_allclose(f.coefficients(result.x), fit.linear, rtol=1e-5)


def test_complex_parameters_come_as_real_and_imaginary_parts():
    t = np.linspace(0, 3, 40)
    y = np.exp((-0.3 + 2.0j) * t) * (1 - 0.5j)
    f = varpro.functional(lambda t, w: np.exp(np.multiply.outer(t, w)), t, y, np.array([-0.2 + 1.8j]))
    at = np.array([-0.25, 1.9])
    np.testing.assert_allclose(f.gradient(at), central_differences(lambda w: [f(w)], at)[0], rtol=1e-7)
    assert f([-0.3, 2.0]) < 1e-28  # 80 squares of roundings of numbers near 1
    with pytest.raises(ShapeError, match=r"\(1,\).*\(2,\)"):
        f([1.0])


def test_where_the_model_is_not_finite_the_value_is_infinite():
    t, y = decay_data()
    f = varpro.functional(decays, t, y, W)
    with np.errstate(all="ignore"):
        value, gradient = f.value_and_gradient([-1e-3, 4.0])
    assert value == np.inf
    assert np.isnan(gradient).all()


def test_the_minimum_of_fit_has_no_gradient():
    t, y = decay_data()
    fit = varpro.fit(decays, t, y, W)
    f = varpro.functional(decays, t, y, W)
    size = np.linalg.norm(f.jacobian(fit.nonlinear), axis=0) * np.sqrt(fit.rss)
    assert (np.abs(f.gradient(fit.nonlinear)) <= 1e-8 * size).all()
    assert f(fit.nonlinear) == pytest.approx(fit.cost, rel=1e-12)
    assert f(TAU) > fit.cost
    assert_same_minimum(varpro.fit(decays, t, y, fit.nonlinear), fit)
