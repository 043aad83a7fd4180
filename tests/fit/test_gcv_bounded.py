"""The sums of cross-validation against the formula: free amplitudes, amplitudes within bounds, and a fixed term."""

from dataclasses import replace

import numpy as np
import pytest
import scipy

import varpro
from varpro.fitting.cross_validation import _System, gcv_ridge
from varpro.fitting.data import make_data
from varpro.fitting.options import FitOptions
from varpro.fitting.specify import specify

T, CENTRES = np.linspace(0, 6, 61), np.linspace(0, 6, 14)


def humps(t, w):
    return np.exp(-(((t[:, None] - CENTRES) / w[0]) ** 2))


def data(right=2, seed=7):
    rng = np.random.default_rng(seed)
    return np.exp(-((T[:, None] - 2.5) ** 2)) * rng.uniform(0.5, 2, right) + 0.05 * rng.standard_normal((61, right))


def ridge_of(options, y, w=0.9):
    spec, u = specify(options, humps, make_data(T, y, batch=False), np.array([[w]]), batch=False)
    return gcv_ridge(replace(spec, linear=replace(spec.linear, ridge=0.0)), u)


@pytest.mark.parametrize("mu", [1e-6, 1e-2, 3.0])
def test_the_misfit_and_what_is_left_are_those_of_the_formula(mu):
    phi, y = humps(T, [0.9]), data()
    hat = phi @ np.linalg.solve(phi.T @ phi + mu * np.eye(14), phi.T)
    squares, left = _System.of(phi, y).misfit(mu)
    assert squares == pytest.approx(np.sum((y - hat @ y) ** 2), rel=1e-8)
    assert left == pytest.approx(2 * (61 - np.trace(hat)), rel=1e-8)


@pytest.mark.parametrize("mu", [1e-6, 1e-2, 3.0])
def test_within_bounds_only_the_columns_inside_count(mu):
    """Non-negative least squares by SciPy of the rows with sqrt(mu) I below them, one right-hand side after another."""
    phi, y = humps(T, [0.9]), data()
    squares, left = _System.of(phi, y).bounded_misfit(mu, np.zeros(14), np.full(14, np.inf))
    expected, rows = [0.0, 0.0], np.vstack([phi, np.sqrt(mu) * np.eye(14)])
    for k in range(2):
        a = scipy.optimize.nnls(rows, np.append(y[:, k], np.zeros(14)))[0]
        own = phi[:, a > 0]
        assert 0 < own.shape[1] < 14
        hat = own @ np.linalg.solve(own.T @ own + mu * np.eye(own.shape[1]), own.T)
        expected[0] += np.sum((y[:, k] - phi @ a) ** 2)
        expected[1] += 61 - np.trace(hat)
    np.testing.assert_allclose([squares, left], expected, rtol=1e-8)


def test_where_every_amplitude_is_on_its_bound_all_values_are_left():
    phi, y = humps(T, [0.9]), -np.ones((61, 1))
    squares, left = _System.of(phi, y).bounded_misfit(0.1, np.zeros(14), np.full(14, np.inf))
    assert left == 61
    assert squares == pytest.approx(61.0)


def test_the_ridge_within_bounds_has_a_lower_score_than_those_beside_it():
    y = data()
    mu, one = ridge_of(FitOptions(linear="nonnegative"), y), _System.of(humps(T, [0.9]), y)

    def score(value):
        squares, left = one.bounded_misfit(value, np.zeros(14), np.full(14, np.inf))
        return squares / left**2

    grid = mu * np.geomspace(1e-4, 1e4, 41)
    assert score(mu) <= min(score(v) for v in grid) * (1 + 1e-3)
    assert mu != pytest.approx(ridge_of(FitOptions(), y), rel=1e-3)


def test_bounds_that_hold_nothing_back_leave_the_free_ridge():
    y = data()
    free = ridge_of(FitOptions(), y)
    assert ridge_of(FitOptions(linear=(-1e6, 1e6)), y) == pytest.approx(free, rel=1e-4)


def test_a_fixed_term_is_taken_off_the_data_first():
    y, drift = data(right=1), 0.3 * T + 0.5
    expected = ridge_of(FitOptions(), y)
    assert ridge_of(FitOptions(fixed_term=lambda t, w: drift), y + drift[:, None]) == pytest.approx(expected, rel=1e-6)


def test_columns_that_are_not_finite_have_no_ridge():
    spec, _ = specify(FitOptions(), humps, make_data(T, data(), batch=False), np.array([[0.9]]), batch=False)
    assert gcv_ridge(spec, np.array([[np.nan]])) == 0.0


def test_the_ridge_of_a_fit_is_that_at_its_own_parameters():
    """Ridge and parameters have settled together: a last choice at the end finds the ridge that the fit has."""
    y = data(right=1)[:, 0]
    fit = varpro.fit(humps, T, y, [0.7], ridge="gcv", bounds=(0.3, 1.5))
    assert ridge_of(FitOptions(), y[:, None], fit.nonlinear[0]) == pytest.approx(fit.ridge, rel=5e-3)
    given = varpro.fit(humps, T, y, [0.7], ridge=fit.ridge, bounds=(0.3, 1.5))
    np.testing.assert_allclose(given.nonlinear, fit.nonlinear, rtol=1e-6)
