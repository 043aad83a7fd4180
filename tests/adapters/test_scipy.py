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


def test_the_mask_is_that_of_the_search_for_bounds_in_any_form_and_for_tied_parameters():
    model = models.Exponentials(1, offset=True)
    assert least_squares(model, T, Y, bounds={"tau_1": np.array([0.1, 1.5])}).active_mask.tolist() == [1]
    two = least_squares(models.Exponentials(2), T, Y, [1.0, 3.0], tied={"tau_2": ("tau_1", 3.0)},
                        bounds={"tau_2": (0.1, 4.0)})  # fmt: skip
    assert two.active_mask.tolist() == [1, 1]
    opposite = least_squares(lambda t, w: np.exp(t[:, None] * (w[1] - w[0]) / 2), T, Y - 0.7, [1.0, -1.0],
                             tied={1: (0, -1.0)}, bounds=([0.8, -np.inf], np.inf))  # fmt: skip
    assert opposite.active_mask.tolist() == [-1, 1]


@pytest.mark.parametrize("fit", [curve_fit, least_squares])
@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"x0": [1.0]}, "here it is w0, the start"),
        ({"maxfev": 9}, "here it is max_iterations"),
        ({"jac": "cs"}, "here it is derivative"),
        ({"xtol": 1e-9}, "here it is step_tolerance"),
        ({"method": "trf"}, "the search is Levenberg-Marquardt"),
        ({"nan_policy": "omit"}, "NaN in y is a missing value"),
        ({"col_deriv": 1}, r"takes no col_deriv; its options are those of varpro\.fit"),
    ],
)
def test_scipys_own_options_are_told_their_names_here(fit, option, words):
    with pytest.raises(TypeError, match=words) as error:
        fit(basis, T, Y, [1.0], **option)
    assert "\n" not in str(error.value)


def test_p0_is_another_name_of_the_start():
    for found, expected in zip(curve_fit(basis, T, Y, p0=[1.0]), curve_fit(basis, T, Y, [1.0]), strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(TypeError, match="give w0 or p0, not both"):
        curve_fit(basis, T, Y, [1.0], p0=[1.0])


def test_full_output_is_scipys():
    expected = scipy.optimize.curve_fit(whole, T, Y, [2, 3, 1], ERRORS, full_output=True, xtol=1e-12)
    popt, pcov, about, message, ier = curve_fit(basis, T, Y, [1.0], ERRORS, full_output=True)
    np.testing.assert_allclose(popt, expected[0], rtol=1e-6)
    scale = np.abs(expected[2]["fvec"]).max()
    np.testing.assert_allclose(about["fvec"], expected[2]["fvec"], rtol=0, atol=1e-5 * scale)
    assert pcov.shape == (3, 3)
    assert about["nfev"] > 0
    assert isinstance(message, str)
    assert ier in (1, 2, 3)


def test_missing_values_are_left_out_unless_they_are_to_be_refused():
    lacking = np.where(np.arange(T.size) == 4, np.nan, Y)
    np.testing.assert_allclose(
        curve_fit(basis, T, lacking, [1.0])[0], curve_fit(basis, np.delete(T, 4), np.delete(Y, 4), [1.0])[0], rtol=1e-8
    )
    with pytest.raises(DataError, match="check_finite=False takes NaN as missing"):
        curve_fit(basis, T, lacking, [1.0], check_finite=True)


def test_scipys_bounds_are_taken():
    bounds = scipy.optimize.Bounds([0.1], [1.5])
    assert curve_fit(basis, T, Y, [1.0], bounds=bounds)[0][0] == 1.5
    assert least_squares(basis, T, Y, [1.0], bounds=bounds).active_mask.tolist() == [1]


@pytest.mark.parametrize("model", [whole, lambda x, *p: p[0] * np.exp(-x / p[1])], ids=["f(x, a, b)", "f(x, *p)"])
def test_a_model_in_scipys_form_is_told_what_a_model_is_here(model):
    for call in (lambda: curve_fit(model, T, Y), lambda: least_squares(model, T, Y, [2.0, 3.0, 1.0])):
        with pytest.raises(TypeError, match=r"here it takes \(t, w\) and returns columns \(N, I\)") as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sigma": [1.0, 2.0]}, r"sigma has shape \(2,\), ydata \(83,\); it needs one number or \(83,\)"),
        ({"sigma": 1j * ERRORS}, "sigma has dtype complex128"),
        ({"xdata": np.stack([T, T])}, "give the transpose of xdata"),
    ],
)
def test_shapes_are_told_in_scipys_names(change, words):
    with pytest.raises(ShapeError, match=words):
        curve_fit(**{"model": basis, "xdata": T, "ydata": Y, "w0": [1.0], **change})
