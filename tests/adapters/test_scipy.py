"""The calls with SciPy's interface return what SciPy returns."""

import numpy as np
import pytest
import scipy.optimize

import varpro
from varpro import models
from varpro.adapters.scipy import curve_fit, least_squares
from varpro.errors import DataError, ShapeError

RNG = np.random.default_rng(5)
T = np.linspace(0.0, 12.0, 83)
Y = 3.0 * np.exp(-T / 2.0) + 0.7 + 0.05 * RNG.standard_normal(T.size)
ERRORS = np.linspace(0.03, 0.08, T.size)


def basis(t, w):
    return np.stack([np.exp(-t / w[0]), np.ones_like(t)], axis=1)


def whole(t, tau, a, b):
    return a * np.exp(-t / tau) + b


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("sigma", [None, 0.05, ERRORS])
def test_curve_fit_gives_scipys_parameters_and_covariance(sigma, absolute):
    errors = np.full(T.size, sigma) if isinstance(sigma, float) else sigma
    expected = scipy.optimize.curve_fit(whole, T, Y, [2, 3, 1], errors, absolute, xtol=1e-12, ftol=1e-14)
    found = curve_fit(basis, T, Y, [1.0], sigma, absolute)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-3, atol=1e-3 * np.abs(expected[1]).max())


def test_a_ready_model_needs_no_start_and_options_pass_through():
    popt, pcov = curve_fit(models.Exponentials(1, offset=True), T, Y, bounds={"tau_1": (0.1, 5.0)})
    assert popt[0] == pytest.approx(2.0, rel=0.1)
    assert pcov.shape == (3, 3)


def test_several_right_hand_sides_are_flattened_amplitude_by_amplitude():
    y = np.stack([Y, 2 * Y], axis=1)
    popt, pcov = curve_fit(basis, T, y, [1.0])
    assert popt.shape == (5,)
    assert pcov.shape == (5, 5)
    np.testing.assert_allclose(popt[[2, 4]], 2 * popt[[1, 3]])


def test_no_degrees_of_freedom_warn_as_scipy_does():
    with pytest.warns(scipy.optimize.OptimizeWarning, match="could not be estimated"):
        _, pcov = curve_fit(basis, T[[0, 20, 60]], whole(T[[0, 20, 60]], 2, 3, 1), [1.5])
    assert np.isinf(pcov).all()


def test_a_search_that_does_not_converge_raises_runtime_error():
    with pytest.raises(RuntimeError, match=r"Optimal parameters not found: .*max_iterations"):
        curve_fit(basis, T, Y, [20.0], max_iterations=1)


def test_mistakes_in_sigma_are_told():
    with pytest.raises(ShapeError, match="covariance matrix is not taken"):
        curve_fit(basis, T, Y, [1.0], np.eye(T.size))
    with pytest.raises(DataError, match="errors must be positive"):
        curve_fit(basis, T, Y, [1.0], np.zeros(T.size))
    with pytest.raises(TypeError, match="sigma or weights"):
        curve_fit(basis, T, Y, [1.0], ERRORS, weights=ERRORS)


def test_least_squares_is_scipys_on_the_projected_problem():
    found = least_squares(basis, T, Y, [1.0], weights=1 / ERRORS)
    functional = varpro.functional(basis, T, Y, [1.0], weights=1 / ERRORS)
    expected = scipy.optimize.least_squares(functional.residual, [1.0], jac=functional.jacobian, xtol=1e-12)
    assert isinstance(found, scipy.optimize.OptimizeResult)
    assert found.success
    assert found.status in (1, 2, 3)
    np.testing.assert_allclose(found.x, expected.x, rtol=1e-6)
    np.testing.assert_allclose(found.cost, expected.cost, rtol=1e-10)
    np.testing.assert_allclose(found.fun, expected.fun, atol=1e-4)
    assert found.cost == pytest.approx(0.5 * np.sum(found.fun**2))
    np.testing.assert_allclose(found.linear, found.fit.linear)


@pytest.mark.parametrize("bounds", [{"tau_1": (0.1, 1.5)}, ([0.1], [1.5]), (0.1, 1.5)])
def test_least_squares_tells_the_active_bound(bounds):
    found = least_squares(models.Exponentials(1, offset=True), T, Y, [1.0], bounds=bounds)
    np.testing.assert_array_equal(found.active_mask, [1])
    free = least_squares(models.Exponentials(1, offset=True), T, Y, [1.0])
    np.testing.assert_array_equal(free.active_mask, [0])


def test_least_squares_reports_the_limit_on_iterations_as_scipy_does():
    found = least_squares(basis, T, Y, [20.0], max_iterations=1)
    assert (found.status, found.success) == (0, False)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e9])
def test_a_parameter_inside_its_bounds_is_not_active_in_any_unit(unit):
    free = least_squares(basis, T * unit, Y, [1.5 * unit], bounds=([0.1 * unit], [9.0 * unit]))
    held = least_squares(basis, T * unit, Y, [1.5 * unit], bounds=([0.1 * unit], [1.6 * unit]))
    assert free.active_mask.tolist() == [0]
    assert held.active_mask.tolist() == [1]


@pytest.mark.parametrize(
    ("option", "words"),
    [({"p0": [1.0]}, "is w0, the start"), ({"maxfev": 9}, "is max_iterations"), ({"full_output": True}, "takes no")],
)
def test_scipys_own_options_are_told_their_names_here(option, words):
    with pytest.raises(TypeError, match=words):
        curve_fit(basis, T, Y, **option)
