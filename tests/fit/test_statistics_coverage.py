"""In every kind of fit, 95 % intervals hold the true value in 95 % of the data sets, and sigma^2 is the noise's."""

import numpy as np
import pytest
import scipy.stats

import varpro
from tests.fit.problems import AMPLITUDES, TAU, decays

COUNT, N, NOISE = 500, 61, 0.01
T = np.linspace(0.0, 12.0, N)
CLEAN = decays(T, TAU) @ AMPLITUDES
ALLOWED = 4 * np.sqrt(0.95 * 0.05 / COUNT)
"""Four standard deviations of the share of COUNT data sets, so that 1 of 16,000 such numbers is outside by chance."""


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def inside(values, errors, truth, dof):
    """Share of the finite intervals that hold the truth, for each parameter; complex ones count as two."""
    off = values - truth
    off = np.stack([off.real, off.imag], axis=-1) if np.iscomplexobj(off) else off
    half = np.stack([errors.real, errors.imag], axis=-1) if np.iscomplexobj(errors) else errors
    half = scipy.stats.t.ppf(0.975, dof).reshape(-1, *[1] * (off.ndim - 1)) * half
    assert not (half == 0).any()
    return np.nanmean(np.where(np.isfinite(half), np.abs(off) <= half, np.nan), axis=0)


def assert_covers(many, w, a, noise=NOISE, *, spread=0.0, skew=0.0):
    """skew : what a formula of first order may be off by, where the model is far from linear within its errors."""
    assert many.success.mean() > 0.99
    for share in (
        inside(many.nonlinear, many.stderr_nonlinear, w, many.dof),
        inside(many.linear, many.stderr_linear, a, many.dof),
    ):
        assert np.abs(share - 0.95).max() <= ALLOWED + skew
    if noise:  # the mean of COUNT sigma^2 with dof degrees of freedom each
        relative = np.mean(many.sigma**2) / noise**2 - 1
        assert abs(relative) <= 4 * np.sqrt(2 / np.mean(many.dof) / COUNT) + spread


def draws(seed, clean=CLEAN, noise=NOISE):
    return clean + noise * normal(seed, COUNT, *clean.shape)


CASES = {
    "plain": {},
    "bounds that hold nothing back": {"bounds": ([0.1, 1.0], [10.0, 50.0])},
    "nonnegative": {"linear": "nonnegative"},
    "tied": {"tied": {1: (0, 4.0)}},
    "equality given twice": {"linear_equality": ([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]], [5.0, 10.0])},
    "a light ridge": {"ridge": 1e-5},
}


@pytest.mark.parametrize("name", CASES)
def test_intervals_cover(name):
    assert_covers(varpro.fit_batch(decays, T, draws(1), TAU, **CASES[name]), TAU, AMPLITUDES[:, None])


@pytest.mark.parametrize("absolute", [False, True])
def test_intervals_of_weighted_data_cover(absolute):
    error = NOISE * np.exp(np.random.default_rng(2).uniform(-1, 1, N))
    y = CLEAN + error * normal(3, COUNT, N)
    many = varpro.fit_batch(decays, T, y, TAU, weights=1 / error, absolute_sigma=absolute)
    assert_covers(many, TAU, AMPLITUDES[:, None], noise=1.0)


def test_intervals_with_missing_values_cover():
    y = np.where(np.random.default_rng(4).random((COUNT, N)) < 0.2, np.nan, draws(5))
    many = varpro.fit_batch(decays, T, y, TAU)
    assert_covers(many, TAU, AMPLITUDES[:, None])
    np.testing.assert_array_equal(many.dof, np.isfinite(y).sum(axis=1) - 5)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_intervals_of_right_hand_sides_that_share_w_cover(missing):
    a = AMPLITUDES[:, None] * np.array([1.0, 0.5, 1.5])
    y = draws(6, decays(T, TAU) @ a)
    y[np.random.default_rng(7).random(y.shape) < missing] = np.nan
    assert_covers(varpro.fit_batch(decays, T, y, TAU), TAU, a)


def test_what_a_bound_holds_counts_nothing_and_the_rest_covers():
    """The true value lies on the bound, so that half of the fits end there."""
    many = varpro.fit_batch(decays, T, draws(8), [1.0, 4.2], bounds=([0.1, 4.0], [10.0, 50.0]))
    held = np.isnan(many.stderr_nonlinear[:, 1])
    assert 0.3 < held.mean() < 0.7
    np.testing.assert_array_equal(many.dof, N - 5 + held)
    assert_covers(many, TAU, AMPLITUDES[:, None])


def test_an_amplitude_at_zero_counts_nothing_and_the_rest_covers():
    a = AMPLITUDES * [1.0, 1.0, 0.0]
    many = varpro.fit_batch(decays, T, draws(9, decays(T, TAU) @ a), TAU, linear="nonnegative")
    held = np.isnan(many.stderr_linear[:, 2, 0])
    assert 0.3 < held.mean() < 0.7
    np.testing.assert_array_equal(many.dof, N - 5 + held)
    assert_covers(many, TAU, a[:, None])


@pytest.mark.parametrize("outliers", [0.0, 0.1])
@pytest.mark.parametrize("loss", ["huber", "soft_l1", "cauchy"])
def test_intervals_of_robust_losses_cover(loss, outliers):
    """A tenth of the values has ten times the noise; what is left of it in sigma is no fault of the estimate."""
    spoiled = np.random.default_rng(10).random((COUNT, N)) < outliers
    y = draws(11) + 10 * NOISE * spoiled * normal(12, COUNT, N)
    many = varpro.fit_batch(decays, T, y, TAU, loss=loss)
    assert_covers(many, TAU, AMPLITUDES[:, None], spread=0.15 if not outliers else 0.4)


def test_intervals_of_complex_fits_cover():
    omega, a, t = np.array([-0.2 + 3.0j, -0.7 - 1.1j]), np.array([1.5 - 0.5j, 0.8 + 2j]), np.linspace(0, 4, 50)

    def waves(t, w):
        return np.exp(np.multiply.outer(t, w))

    y = waves(t, omega) @ a + 0.05 * (normal(13, COUNT, 50) + 1j * normal(14, COUNT, 50))
    derivative = ([[0, 0], [1, 1]], lambda t, w: t[:, None] * waves(t, w))
    many = varpro.fit_batch(waves, t, y, omega, derivative=derivative)
    assert_covers(many, omega, a[:, None], noise=0.05)


def humps(t, w):
    return np.exp(-(((t[:, None] - np.linspace(0, 12, 40)) / w[0]) ** 2))


def test_a_ridge_counts_the_trace_of_its_influence():
    """40 columns, amplitudes as the ridge supposes: dof N - 41 would make sigma^2 twice the noise's."""
    mu, noise = 0.3, 0.05
    a = noise / np.sqrt(mu) * normal(15, COUNT, 40)
    y = np.einsum("ni,bi->bn", humps(T, [1.0]), a) + noise * normal(16, COUNT, N)
    phi = humps(T, [1.0])
    trace = np.trace(phi @ np.linalg.solve(phi.T @ phi + mu * np.eye(40), phi.T))
    many = varpro.fit_batch(humps, T, y, [1.0], ridge=mu, bounds=(1 - 1e-9, 1 + 1e-9))
    np.testing.assert_allclose(many.dof, N - trace, atol=1.0)  # w counts up to one
    share = inside(many.linear[:, :, 0], many.stderr_linear[:, :, 0], a, many.dof)
    assert abs(share.mean() - 0.95) <= 0.01  # 40 amplitudes together
    assert abs(np.mean(many.sigma**2) / noise**2 - 1) <= 4 * np.sqrt(2 / (N - trace) / COUNT) + 0.02
