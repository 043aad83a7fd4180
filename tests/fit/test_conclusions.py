"""Criteria, R^2 and F-tests of single fits by their formulas, also where something is missing, weighted or complex."""

import numpy as np
import pytest
import scipy

import varpro

MODEL = varpro.models.Exponentials(1, offset=True)
T = np.linspace(0.0, 8.0, 30)
Y = MODEL(T, np.array([2.0])) @ [3.0, 1.0] + 0.05 * np.random.default_rng(0).standard_normal(30)


def test_r_squared_is_one_less_the_share_that_is_left():
    weights = np.linspace(0.2, 3.0, 30)
    y = Y.copy()
    y[4] = np.nan
    fit = varpro.fit(MODEL, T, y, weights=weights)
    keep = np.arange(30) != 4
    mean = np.average(y[keep], weights=weights[keep] ** 2)
    total = np.sum((weights * (y - mean))[keep] ** 2)
    left = np.sum((weights * (y - fit.fitted))[keep] ** 2)
    assert fit.r_squared == pytest.approx(1.0 - left / total, rel=1e-10)
    assert fit.rss == pytest.approx(left, rel=1e-10)


@pytest.mark.parametrize("share", [1e-9, 1e-12])
def test_r_squared_of_a_small_signal_on_a_large_constant_is_that_of_the_signal(share):
    """Data are constant only if they vary by no more than rounding, 1e-16 of their size."""
    y = 1.0 + share * MODEL(T, np.array([2.0])) @ [3.0, 1.0]
    fit = varpro.fit(MODEL, T, y, w0=[2.1])
    assert fit.r_squared == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("value", [1.0, 0.1, 1e-200, 0.0])
def test_r_squared_of_constant_data_is_none(value):
    assert np.isnan(varpro.fit(MODEL, T, np.full(30, value), w0=[2.0]).r_squared)


@pytest.mark.parametrize("right", [1, 2])
def test_complex_values_count_as_two(right):
    rng = np.random.default_rng(1)
    z = np.exp((-0.3 + 2.0j) * T)[:, None] * np.arange(1.0, right + 1)
    z = z + 0.02 * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape))
    fit = varpro.fit(lambda t, w: np.exp(np.multiply.outer(t, w)), T, z, np.array([-0.3 + 2.1j]))
    n, p = 60 * right, 2 + 2 * right
    assert fit.dof == n - p
    assert fit.aic == pytest.approx(n * np.log(fit.rss / n) + 2 * p)
    assert fit.bic == pytest.approx(n * np.log(fit.rss / n) + p * np.log(n))
    assert fit.reduced_chi2 == pytest.approx(fit.rss / (n - p))
    total = np.sum(np.abs(z - z.mean()) ** 2)
    assert fit.r_squared == pytest.approx(1.0 - fit.rss / total, rel=1e-9)


@pytest.mark.parametrize("n", [3, 4, 5, 6])
def test_aicc_is_finite_from_two_values_more_than_parameters_on(n):
    t = np.arange(float(n))
    fit = varpro.fit(MODEL, t, 2 * np.exp(-t / 2) + 0.01 * np.sin(7 * t), w0=[1.9])
    if n > 4:
        assert fit.aicc == pytest.approx(fit.aic + 24.0 / (n - 4))
    else:
        assert fit.aicc == np.inf


def test_an_f_test_without_degrees_of_freedom_says_nothing():
    t = np.arange(3.0)
    y = 2 * np.exp(-t / 2) + 0.5
    whole, part = varpro.fit(MODEL, t, y, w0=[1.9]), varpro.fit(varpro.models.Exponentials(1), t, y, w0=[1.9])
    assert np.isnan(whole.f_test(part)).all()
    assert np.isnan(whole.reduced_chi2)


def test_an_f_test_of_unequal_parts_takes_their_difference_and_rest():
    """Three parameters more, which neither equals one nor the degrees of freedom."""
    more = varpro.fit(MODEL + varpro.models.Gaussians(1), T, Y, w0=[2.0, 4.0, 1.0])
    fewer = varpro.fit(MODEL, T, Y)
    f, probability = more.f_test(fewer)
    assert f == pytest.approx((fewer.rss - more.rss) / 3 / (more.rss / 24), rel=1e-9)
    assert probability == pytest.approx(scipy.stats.f.sf(f, 3, 24), rel=1e-9)


def test_known_errors_make_the_band_that_of_the_normal_distribution():
    weights = np.full(30, 20.0)
    known, free = (varpro.fit(MODEL, T, Y, weights=weights, absolute_sigma=which) for which in (True, False))
    tau, (a, _) = known.nonlinear[0], known.linear
    jacobian = np.stack([np.exp(-T / tau), np.ones(30), a * T / tau**2 * np.exp(-T / tau)], axis=1)
    width = np.sqrt(np.sum(np.linalg.qr(jacobian)[0] ** 2, axis=1)) / 20.0
    for level in (0.5, 0.95):
        lower, upper = known.confidence_band(T, level=level)
        normal = scipy.stats.norm.ppf(0.5 + level / 2)
        np.testing.assert_allclose(upper - known.fitted, normal * width, rtol=1e-6)
        np.testing.assert_allclose(known.fitted - lower, normal * width, rtol=1e-6)
        lower, upper = free.confidence_band(T, level=level)
        student = scipy.stats.t.ppf(0.5 + level / 2, 27) * free.sigma
        np.testing.assert_allclose(upper - lower, 2 * student * width, rtol=1e-6)
        lower, upper = known.confidence_band(T, level=level, prediction=True)
        np.testing.assert_allclose(upper - lower, 2 * normal * np.hypot(width, 1.0), rtol=1e-6)
