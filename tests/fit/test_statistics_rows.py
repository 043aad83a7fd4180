"""One function for the statistics of a batch and of a fit; degrees of freedom; residual sums without lost digits."""

import numpy as np
import pytest
import scipy.stats

import varpro
from tests.fit.problems import AMPLITUDES, TAU, decay_data, decays

W0 = np.array([2.0, 6.5])


def ringing(t, w):
    return np.exp(np.multiply.outer(t, w))


def real_batch(right=None, n=61, count=5):
    return np.stack([decay_data(n=n, seed=s, right=right)[1] for s in range(count)])


ROWS = {
    "plain": {},
    "right-hand sides": {"right": 3},
    "fixed": {"fixed": {1: 4.1}},
    "tied": {"tied": {1: (0, 4.0)}},
    "bounds": {"bounds": ([0.1, 4.0], [0.95, 20.0])},
    "nonnegative": {"linear": (0.0, 2.9)},
    "fixed term": {"fixed_term": lambda t, w: 0.1 * np.sin(t)},
    "equality": {"linear_equality": ([[1.0, -1.0, 0.0]], [0.0])},
    "equality and fixed term": {
        "linear_equality": ([[1.0, -1.0, 0.0]], [0.0]),
        "fixed_term": lambda t, w: 0.1 * np.sin(t),
    },
    "an amplitude given": {"linear_equality": ([[0.0, 0.0, 2.0]], [1.0])},
    "ridge": {"ridge": 0.02},
    "ridge matrix": {"ridge": np.array([[1.0, -1.0, 0.0]]), "right": 2},
    "huber": {"loss": "huber"},
    "known errors": {"weights": np.linspace(30, 60, 61), "absolute_sigma": True},
    "missing": {"mask": np.random.default_rng(0).random((5, 61, 2)) < 0.8, "right": 2},
}


@pytest.mark.parametrize("name", ROWS)
def test_one_of_many_is_a_row_of_them_to_the_bit(name):
    options = dict(ROWS[name])
    y = real_batch(options.pop("right", None))
    y[3] = np.nan
    many = varpro.fit_batch(decays, decay_data()[0], y, [0.9, 6.5], **options)
    for b in range(5):
        one = many[b]
        np.testing.assert_array_equal(many.stderr_nonlinear[b], one.stderr_nonlinear)
        np.testing.assert_array_equal(many.stderr_linear[b].reshape(one.stderr_linear.shape), one.stderr_linear)
        for attribute in ("dof", "sigma", "rss"):
            np.testing.assert_array_equal(getattr(many, attribute)[b], getattr(one, attribute))
        variance = np.diagonal(one.covariance)
        errors = np.concatenate([one.stderr_nonlinear, one.stderr_linear.ravel()])
        np.testing.assert_allclose(np.sqrt(variance), errors, rtol=1e-9)
        assert np.isnan(errors).all() == (b == 3)
    used = np.isfinite(many.stderr_linear)
    free = np.ones(3, dtype=bool) if name != "an amplitude given" else np.array([True, True, False])
    assert (many.stderr_linear[:, free][used[:, free]] > 0).all()


def test_complex_errors_of_many_are_those_of_one():
    omega, t = np.array([-0.2 + 3.0j]), np.linspace(0, 4, 50)
    rng = np.random.default_rng(0)
    y = ringing(t, omega) @ [1 - 0.5j] + 0.1 * (rng.standard_normal((4, 50)) + 1j * rng.standard_normal((4, 50)))
    many = varpro.fit_batch(ringing, t, y, omega)
    assert many.stderr_linear.shape == many.linear.shape
    assert many.stderr_nonlinear.shape == many.nonlinear.shape
    for b in range(4):
        np.testing.assert_array_equal(many.stderr_linear[b, :, 0], many[b].stderr_linear)
        np.testing.assert_array_equal(many.stderr_nonlinear[b], many[b].stderr_nonlinear)


def test_rows_beyond_one_chunk_are_their_own(monkeypatch):
    monkeypatch.setattr("varpro.fitting.batch.STATISTICS_CHUNK", 3)
    t, y = decay_data()[0], real_batch(count=8)
    many = varpro.fit_batch(decays, t, y, W0)
    for b in (7, 0, 3, 2):
        np.testing.assert_array_equal(many[b].stderr_linear, many.stderr_linear[b, :, 0])
        alone = varpro.fit(decays, t, y[b], many.nonlinear[b], max_iterations=0)
        np.testing.assert_allclose(many.stderr_nonlinear[b], alone.stderr_nonlinear, rtol=1e-6)


def test_equations_given_twice_count_once_in_any_unit():
    t, y = decay_data()
    once = varpro.fit(decays, t, y, W0, linear_equality=([[1.0, -1.0, 0.0]], [0.0]))
    twice = varpro.fit(decays, t, y, W0, linear_equality=([[1.0, -1.0, 0.0], [1e6, -1e6, 0.0]], [0.0, 0.0]))
    assert once.dof == twice.dof == 61 - 2 - 2
    np.testing.assert_allclose(once.stderr_linear, twice.stderr_linear, rtol=1e-6)


def test_a_right_hand_side_without_values_costs_nothing():
    t, y = decay_data(right=2)
    empty = varpro.fit(decays, t, np.column_stack([y, np.full(61, np.nan)]), W0)
    plain = varpro.fit(decays, t, y, W0)
    assert empty.dof == plain.dof == 122 - 2 - 6
    assert empty.rank == plain.rank == 3
    assert empty.sigma == pytest.approx(plain.sigma, rel=1e-7)
    np.testing.assert_allclose(empty.stderr_linear[:, :2], plain.stderr_linear, rtol=1e-6)
    assert np.isposinf(empty.stderr_linear[:, 2]).all()


def test_the_influence_of_a_ridge_is_the_trace_over_all_parameters():
    """Against the dense hat matrix of the Jacobian by w and A with the ridge's rows."""
    t, y = decay_data(right=2)
    for rows in (np.sqrt(0.3) * np.eye(3), np.array([[1.0, -1.0, 0.0], [0.0, 0.3, 0.0]])):
        ridge = 0.3 if rows.shape == (3, 3) else rows
        fit = varpro.fit(decays, t, y, W0, ridge=ridge)
        phi, (v, s) = decays(t, fit.nonlinear), fit.nonlinear
        slopes = np.stack([t / v**2 * np.exp(-t / v), t / s**2 * np.exp(-t / s)], axis=1)
        blocks = zip(fit.linear.T, np.eye(2), strict=True)
        j = np.concatenate([np.hstack([slopes * a[:2], np.kron(e, phi)]) for a, e in blocks])
        prior = np.hstack([np.zeros((2 * len(rows), 2)), np.kron(np.eye(2), rows)])
        inverse = np.linalg.inv(j.T @ j + prior.T @ prior)
        assert fit.dof == pytest.approx(122 - np.trace(j @ inverse @ j.T), rel=1e-9)
        assert fit.sigma == pytest.approx(np.sqrt(fit.rss / fit.dof), rel=1e-12)
        by_right = fit.sigma * np.sqrt(np.diag(inverse))
        np.testing.assert_allclose(fit.stderr_nonlinear, by_right[:2], rtol=1e-7)
        np.testing.assert_allclose(fit.stderr_linear, by_right[2:].reshape(2, 3).T, rtol=1e-7)
        assert fit.aic == pytest.approx(122 * np.log(fit.rss / 122) + 2 * (122 - fit.dof))


@pytest.mark.parametrize("noise", [1e-2, 1e-3, 3e-4, 1e-4, 1e-6, 1e-8, 1e-10])
def test_many_right_hand_sides_tell_small_noise(noise):
    """The sums of the search differ by eps ||Y||^2, which is 1e4 times the squares of noise of 1e-10."""
    rng = np.random.default_rng(1)
    t, a = np.linspace(0, 12, 200), AMPLITUDES[:, None] * rng.uniform(0.5, 1.5, (3, 300))
    fit = varpro.fit(decays, t, decays(t, TAU) @ a + noise * rng.standard_normal((200, 300)), W0)
    assert fit.form == "compressed"
    residual = fit.residual
    assert fit.rss == pytest.approx(np.sum(residual**2), rel=1e-6)
    assert fit.cost == 0.5 * fit.rss
    assert fit.sigma / noise == pytest.approx(1.0, abs=4 / np.sqrt(2 * fit.dof))
    assert (np.abs(fit.nonlinear - TAU) < 5 * fit.stderr_nonlinear).all()


def test_a_robust_band_is_the_delta_method_of_its_covariance():
    t, y = decay_data()
    fit = varpro.fit(decays, t, y, W0, loss="soft_l1")
    new = np.linspace(-0.5, 20, 17)
    (v, s), a = fit.nonlinear, fit.linear
    slopes = np.stack([a[0] * new / v**2 * np.exp(-new / v), a[1] * new / s**2 * np.exp(-new / s)], axis=1)
    j = np.hstack([slopes, decays(new, fit.nonlinear)])
    width = np.sqrt(np.einsum("ni,ij,nj->n", j, fit.covariance, j))
    lower, upper = fit.confidence_band(new, level=0.9)
    np.testing.assert_allclose(upper - lower, 2 * scipy.stats.t.ppf(0.95, fit.dof) * width, rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(np.diagonal(fit.covariance))[2:], fit.stderr_linear, rtol=1e-9)


@pytest.mark.parametrize("unit", [1e-15, 1e-6, 1e15])
def test_statistics_of_a_fit_scale_with_y(unit):
    t, y = decay_data()
    mask = np.arange(61) % 7 != 3
    plain, scaled = (varpro.fit(decays, t, u * y, W0, mask=mask) for u in (1.0, unit))
    assert scaled.r_squared == pytest.approx(plain.r_squared, rel=1e-12)
    assert scaled.sigma == pytest.approx(unit * plain.sigma, rel=1e-7)
    np.testing.assert_allclose(scaled.stderr_nonlinear, plain.stderr_nonlinear, rtol=1e-5)
    np.testing.assert_allclose(scaled.stderr_linear, unit * plain.stderr_linear, rtol=1e-5)


def test_r_squared_of_complex_and_masked_data_counts_what_is_used():
    t = np.linspace(0, 4, 50)
    rng = np.random.default_rng(2)
    noise = 0.1 * (rng.standard_normal(50) + 1j * rng.standard_normal(50))
    y = ringing(t, np.array([-0.2 + 3.0j])) @ [1 - 0.5j] + noise
    mask = np.arange(50) % 5 != 2
    wild = np.where(mask, y, 1e6)
    fit = varpro.fit(ringing, t, wild, np.array([-0.3 + 3.1j]), mask=mask)
    total = np.sum(np.abs(y[mask] - y[mask].mean()) ** 2)
    assert fit.r_squared == pytest.approx(1 - fit.rss / total, rel=1e-12)
    constant = varpro.fit(decays, decay_data()[0], np.full(61, 0.1), W0)
    assert np.isnan(constant.r_squared)
