"""Standard errors, covariance, correlations and bands: published values, the dense formula, and coverage."""

import numpy as np
import pytest
import scipy.stats

import varpro
from tests.fit.problems import TAU, central_differences, decay_data, decays
from varpro.errors import ConfigError

T = np.array([0, 0.1, 0.22, 0.31, 0.46, 0.50, 0.63, 0.78, 0.85, 0.97])
Y = np.array([6.9842, 5.1851, 2.8907, 1.4199, -0.2473, -0.5243, -1.0156, -1.0260, -0.9165, -0.6805])
WEIGHTS = np.array([1, 1, 1, 0.5, 0.5, 1, 0.5, 1, 0.5, 0.5])


def oleary_rust(t, w):
    return np.stack([np.exp(-w[1] * t) * np.cos(w[2] * t), np.exp(-w[0] * t) * np.cos(w[1] * t)], axis=-1)


@pytest.fixture(scope="module")
def published():
    """The example of O'Leary and Rust, Comput. Optim. Appl. 54 (2013) 579-593."""
    return varpro.fit(oleary_rust, T, Y, [0.5, 2.0, 3.0], weights=WEIGHTS)


def test_oleary_and_rust_parameters(published):
    # the published digits belong to a point 1e-5 off the minimum, which is given below to 11 digits
    np.testing.assert_allclose(published.linear, [5.8416357, 1.1436854], rtol=1e-5)
    np.testing.assert_allclose(published.nonlinear, [1.0132255, 2.4968675, 4.0625148], rtol=1e-5)
    np.testing.assert_allclose(published.linear, [5.8416452175, 1.1436758927], rtol=1e-8)
    np.testing.assert_allclose(published.nonlinear, [1.0132264428, 2.4968659528, 4.0625105280], rtol=1e-8)
    assert published.rss == pytest.approx(3.79208033794634e-5, rel=1e-12)
    assert published.sigma == pytest.approx(2.753935489e-3, rel=1e-9)
    assert published.dof == 5
    assert published.r_squared == pytest.approx(0.99999935492, abs=2e-11)  # the mean weighted with w^2


def test_oleary_and_rust_covariance_and_correlations(published):
    """Their order is linear, then nonlinear; five digits are printed."""
    order = [3, 4, 0, 1, 2]
    cov, corr = published.covariance[np.ix_(order, order)], published.correlation[np.ix_(order, order)]
    np.testing.assert_allclose(cov[0], [4.4887e-3, -4.4309e-3, -2.1613e-4, -4.6980e-4, -1.9052e-3], rtol=2e-4)
    np.testing.assert_allclose(np.diag(cov), [4.4887e-3, 4.3803e-3, 2.6925e-4, 8.5784e-5, 8.2272e-4], rtol=2e-4)
    np.testing.assert_allclose([corr[0, 1], corr[0, 4], corr[3, 4]], [-0.9993, -0.9914, 0.7729], atol=1e-4)
    errors = [0.066997422, 0.066184155, 0.016408781, 0.0092619612, 0.028683142]
    np.testing.assert_allclose(np.sqrt(np.diag(cov)), errors, rtol=1e-6)
    np.testing.assert_allclose(published.stderr_linear, errors[:2], rtol=1e-6)
    np.testing.assert_allclose(published.stderr_nonlinear, errors[2:], rtol=1e-6)
    np.testing.assert_allclose(np.diag(corr), 1.0, rtol=1e-12)


def test_oleary_and_rust_residuals(published):
    given = [-1.1211, 3.1751, -2.7656, -1.4600, 1.2081, 2.2586, -1.1101, -2.2554, 1.3257, 1.4716]
    np.testing.assert_allclose(1e3 * WEIGHTS * published.residual, given, atol=2e-4)


def dense(fit, t, model, weights=1.0):
    """sigma^2 (J^T J)^-1 with J by central differences, over (w, a (I, K) flattened); for real w and a."""
    count, shape = len(fit.nonlinear), fit.linear.shape

    def curve(x):
        return (weights * (model(t, x[:count]) @ x[count:].reshape(shape)).T).ravel()

    at = np.concatenate([fit.nonlinear, fit.linear.ravel()])
    jacobian = central_differences(curve, at, 1e-5)
    scale = np.linalg.norm(jacobian, axis=0)
    return fit.sigma**2 * np.linalg.inv((jacobian / scale).T @ (jacobian / scale)) / np.outer(scale, scale)


@pytest.mark.parametrize("right", [None, 1, 4, 70])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_covariance_is_that_of_the_whole_problem(right, weighted):
    """70 right-hand sides pass the block in which triangles are gathered."""
    t, y = decay_data(n=40, right=right)
    weights = np.random.default_rng(0).uniform(0.5, 2, 40) if weighted else np.ones(40)
    fit = varpro.fit(decays, t, y, [2.0, 6.5], weights=weights if weighted else None)
    expected = dense(fit, t, decays, weights)
    size = np.sqrt(np.diag(expected))
    # differences with a relative step of 1e-5 are good to 1e-10, times the condition of J^T J
    np.testing.assert_allclose(fit.covariance / np.outer(size, size), expected / np.outer(size, size), atol=1e-5)
    np.testing.assert_allclose(fit.stderr_nonlinear, size[:2], rtol=1e-5)
    np.testing.assert_allclose(fit.stderr_linear.ravel(), size[2:], rtol=1e-5)
    assert fit.dof == y.size - 2 - 3 * (right or 1)
    assert fit.reduced_chi2 == pytest.approx(fit.rss / fit.dof)


def test_weights_that_differ_between_right_hand_sides():
    t, y = decay_data(n=40, right=3)
    weights = np.random.default_rng(1).uniform(0.5, 2, (40, 3))
    fit = varpro.fit(decays, t, y, [2.0, 6.5], weights=weights)
    expected = dense(fit, t, decays, weights.T)
    size = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(fit.covariance / np.outer(size, size), expected / np.outer(size, size), atol=1e-5)
    np.testing.assert_allclose(fit.stderr_linear.ravel(), size[2:], rtol=1e-5)


def test_known_errors_are_not_scaled():
    t, y = decay_data(noise=0.02)
    scaled = varpro.fit(decays, t, y, [2.0, 6.5], weights=np.full(61, 50.0))
    known = varpro.fit(decays, t, y, [2.0, 6.5], weights=np.full(61, 50.0), absolute_sigma=True)
    plain = varpro.fit(decays, t, y, [2.0, 6.5])
    np.testing.assert_allclose(scaled.stderr_nonlinear, plain.stderr_nonlinear, rtol=1e-7)
    np.testing.assert_allclose(known.stderr_nonlinear * scaled.sigma, scaled.stderr_nonlinear, rtol=1e-12)
    assert known.sigma == 1.0
    half = varpro.fit(decays, t, y, [2.0, 6.5], weights=np.full(61, 25.0), absolute_sigma=True)
    np.testing.assert_allclose(half.stderr_linear, 2 * known.stderr_linear, rtol=1e-6)


def test_fixed_and_tied_parameters():
    t, y = decay_data()
    fixed = varpro.fit(decays, t, y, [2.0, 4.0], fixed=[1])
    alone = varpro.fit(lambda t, w: decays(t, [w[0], 4.0]), t, y, [2.0])
    assert fixed.stderr_nonlinear[1] == 0
    assert fixed.dof == alone.dof == 57
    np.testing.assert_allclose(fixed.stderr_nonlinear[0], alone.stderr_nonlinear[0], rtol=1e-7)
    np.testing.assert_array_equal(fixed.covariance[1], 0.0)
    tied = varpro.fit(decays, t, y, [2.0, 8.0], tied={1: (0, 4.0, 0.5)})
    assert tied.nonlinear[1] == pytest.approx(4 * tied.nonlinear[0] + 0.5, rel=1e-14)
    assert tied.stderr_nonlinear[1] == pytest.approx(4 * tied.stderr_nonlinear[0], rel=1e-12)
    assert tied.correlation[0, 1] == pytest.approx(1.0, abs=1e-12)


def by_differences(fit, t, model):
    """The standard deviation of the curve at each t, without Student's factor."""

    def curve(x):
        return model(t, x[:2]) @ x[2:]

    slope = central_differences(curve, np.concatenate([fit.nonlinear, fit.linear]), 1e-5)
    return np.sqrt(np.einsum("ni,ij,nj->n", slope, fit.covariance, slope))


def test_the_band_is_the_delta_method():
    t, y = decay_data()
    fit = varpro.fit(decays, t, y, [2.0, 6.5])
    new = np.linspace(-0.5, 20, 17)
    lower, upper = fit.confidence_band(new, level=0.9)
    width = scipy.stats.t.ppf(0.95, fit.dof) * by_differences(fit, new, decays)
    np.testing.assert_allclose(upper - lower, 2 * width, rtol=1e-5)
    np.testing.assert_allclose(0.5 * (upper + lower), fit.predict(new), rtol=1e-12)
    wide = fit.confidence_band(new, level=0.9, prediction=True)
    width = np.sqrt(width**2 + (scipy.stats.t.ppf(0.95, fit.dof) * fit.sigma) ** 2)
    np.testing.assert_allclose(wide[1] - wide[0], 2 * width, rtol=1e-5)
    for level in (0, 1, 1.5, np.nan):
        with pytest.raises(ConfigError, match=f"level is {level}"):
            fit.confidence_band(new, level=level)


def test_intervals_cover_as_often_as_they_say():
    """1000 draws at 80 %: the count's standard deviation is 1.3 %, and 5 % are four of them."""
    rng = np.random.default_rng(4)
    t = np.linspace(0, 12, 60)
    clean = decays(t, TAU) @ [2.0, 3.0, 0.5]
    many = varpro.fit_batch(decays, t, clean + 0.01 * rng.standard_normal((1000, 60)), TAU)
    assert many.success.mean() > 0.99
    quantile = scipy.stats.t.ppf(0.9, many.dof[0])
    inside = np.abs(many.nonlinear - TAU) <= quantile * many.stderr_nonlinear
    np.testing.assert_allclose(inside.mean(axis=0), 0.8, atol=0.05)
    inside = np.abs(many.linear[:, :, 0] - [2.0, 3.0, 0.5]) <= quantile * many.stderr_linear[:, :, 0]
    np.testing.assert_allclose(inside.mean(axis=0), 0.8, atol=0.05)
    hits = []
    for b in range(200):
        lower, upper = many[b].confidence_band(t[[3, 20, 50]], level=0.8)
        hits.append((lower <= clean[[3, 20, 50]]) & (clean[[3, 20, 50]] <= upper))
    np.testing.assert_allclose(np.mean(hits, axis=0), 0.8, atol=0.12)  # 200 draws: 2.8 % each


def test_information_criteria_count_every_fitted_number():
    t, y = decay_data(n=50, right=2)
    fit = varpro.fit(decays, t, y, [2.0, 6.5])
    assert fit.aic == pytest.approx(100 * np.log(fit.rss / 100) + 2 * 8)
    assert fit.bic == pytest.approx(100 * np.log(fit.rss / 100) + np.log(100) * 8)


def test_as_many_values_as_parameters_leave_no_error_to_estimate():
    t, y = decay_data(n=5)
    fit = varpro.fit(decays, t, y, [2.0, 6.5])
    assert fit.dof == 0
    assert np.isnan(fit.stderr_nonlinear).all()
    assert np.isnan(fit.reduced_chi2)


def test_the_covariance_that_would_not_fit_is_refused_with_its_size():
    t, y = decay_data(n=30, right=1400)
    fit = varpro.fit(decays, t, y, [2.0, 6.5])
    with pytest.raises(ConfigError, match="4202"):
        fit.covariance.shape  # noqa: B018
    assert fit.stderr_linear.shape == (3, 1400)
