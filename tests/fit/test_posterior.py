"""The posterior of separable models: its density against sums over grids, and draws by emcee where installed."""

import importlib.util

import numpy as np
import pytest
import scipy

import varpro
from varpro.errors import BackendError, ConfigError
from varpro.fitting.posterior import LogPosterior

T = np.linspace(0.0, 4.0, 12)
Y = 2.0 * np.exp(-T / 1.3) + 0.5 + 0.1 * np.sin(1e4 * np.sin(1.0 + np.arange(12.0)))
MODEL = varpro.models.Exponentials(1, offset=True)


def log_density(fit, tau, known):
    log = LogPosterior(fit._solution.spec, known=known)(np.array([[v] for v in tau]))
    return log - log.max()


def test_the_amplitudes_are_integrated_out_exactly_with_known_errors():
    """log of int exp(-||y - Phi a||^2 / 2) da by a grid of amplitudes, up to a constant."""
    fit = varpro.fit(MODEL, T, Y, weights=np.full(12, 10.0), absolute_sigma=True)
    tau = np.array([0.9, 1.2, 1.5])
    a = np.stack(np.meshgrid(np.linspace(0.5, 3.5, 301), np.linspace(-1.0, 2.0, 301), indexing="ij"), axis=-1)
    direct = []
    for v in tau:
        rest = 10.0 * (Y - a @ np.stack([np.exp(-T / v), np.ones(12)]))
        direct.append(np.log(np.exp(-0.5 * np.sum(rest**2, axis=-1)).sum()))
    np.testing.assert_allclose(np.diff(log_density(fit, tau, True)), np.diff(direct), atol=1e-6)


def test_the_noise_is_integrated_out_exactly():
    """The same with 1 / sigma integrated over, in the logarithm of sigma."""
    fit = varpro.fit(MODEL, T, Y)
    tau, out = np.array([0.9, 1.2, 1.5]), []
    for v in tau:
        phi = np.stack([np.exp(-T / v), np.ones(12)], axis=1)
        rest = Y - phi @ np.linalg.lstsq(phi, Y, rcond=None)[0]
        volume = np.linalg.det(phi.T @ phi) ** -0.5

        def density(log, s=rest @ rest, volume=volume):
            return np.exp(-0.5 * s * np.exp(-2 * log)) * np.exp(-10 * log) * volume

        out.append(np.log(scipy.integrate.quad(density, -6.0, 3.0, epsabs=0, epsrel=1e-10, limit=200)[0]))
    np.testing.assert_allclose(np.diff(log_density(fit, tau, False)), np.diff(out), atol=1e-7)


def test_outside_the_bounds_there_is_nothing():
    fit = varpro.fit(MODEL, T, Y, bounds={"tau_1": (0.5, 5.0)}, w0=[1.0])
    log = LogPosterior(fit._solution.spec, known=False)(np.array([[0.4], [1.0], [6.0], [np.nan]]))
    assert np.isfinite(log).tolist() == [False, True, False, False]
    ends = LogPosterior(fit._solution.spec, known=False)(np.array([[0.5], [5.0]]))
    assert np.isfinite(ends).all()


def test_amplitudes_are_drawn_with_their_conditional_mean_and_spread():
    fit = varpro.fit(MODEL, T, Y, weights=np.full(12, 10.0), absolute_sigma=True)
    u = np.repeat(fit._solution.u, 20_000, axis=0)
    posterior = LogPosterior(fit._solution.spec, known=True)
    a, sigma = posterior.amplitudes(u, np.random.default_rng(0))
    phi = 10.0 * MODEL(T, fit.nonlinear)
    np.testing.assert_allclose(a[:, :, 0].mean(axis=0), fit.linear, rtol=1e-2)
    np.testing.assert_allclose(np.cov(a[:, :, 0].T), np.linalg.inv(phi.T @ phi), rtol=5e-2)
    assert (sigma == 1).all()


def test_draws_agree_with_the_errors_of_a_well_determined_fit():
    pytest.importorskip("emcee")
    t = np.linspace(0.0, 12.5, 400)
    model = varpro.models.Exponentials(2, offset=True)
    y = model(t, np.array([1.0, 3.0])) @ [4.0, 2.5, 1.0] + 0.02 * np.random.default_rng(0).standard_normal(400)
    fit = varpro.fit(model, t, y)
    found = fit.sample(600, seed=1)
    np.testing.assert_allclose(found.stderr_nonlinear, fit.stderr_nonlinear, rtol=0.2)
    np.testing.assert_allclose(found.stderr_linear[:, 0], fit.stderr_linear, rtol=0.2)
    assert found.interval("tau_1")[0] < 1.0 < found.interval("tau_1")[1]
    np.testing.assert_array_equal(found.nonlinear, fit.sample(600, seed=1).nonlinear)
    assert 0.2 < found.acceptance < 0.9


@pytest.mark.skipif(importlib.util.find_spec("emcee") is not None, reason="emcee is installed")
def test_without_emcee_the_remedy_is_told():
    with pytest.raises(BackendError, match="emcee is not installed; pip install emcee"):
        varpro.fit(MODEL, T, Y).sample(10)


@pytest.mark.parametrize(
    ("options", "arguments", "said"),
    [
        ({"ridge": 0.1}, {}, "without a ridge"),
        ({"linear": "nonnegative"}, {}, "free amplitudes"),
        ({}, {"walkers": 1}, "walkers is 1; 1 nonlinear parameters need 2"),
        ({}, {"discard": 900, "steps": 900}, "discard is 900 of 900 steps"),
        ({"max_iterations": 1, "w0": [40.0]}, {}, "needs a fit that converged"),
    ],
)
def test_mistakes_are_told_in_one_line(options, arguments, said):
    with pytest.raises(ConfigError, match=said) as error:
        varpro.fit(MODEL, T, Y, **options).sample(**arguments)
    assert "\n" not in str(error.value)


def test_sigma_is_drawn_from_the_scaled_chi_square_of_what_is_left():
    """S / sigma^2 has n - r degrees of freedom: its mean over 20,000 draws is known to 0.7 % of its spread."""
    fit = varpro.fit(MODEL, T, np.stack([Y, 0.5 * Y + 0.03 * np.cos(1e4 * np.sin(T))], axis=1))
    posterior = LogPosterior(fit._solution.spec, known=False)
    _, sigma = posterior.amplitudes(np.repeat(fit._solution.u, 20_000, axis=0), np.random.default_rng(1))
    square, free = fit.rss / sigma**2, 24 - 4
    assert square.mean() == pytest.approx(free, rel=0.02)
    assert square.var() == pytest.approx(2 * free, rel=0.06)
    assert scipy.stats.kstest(square, scipy.stats.chi2(free).cdf).pvalue > 1e-4


def test_amplitudes_with_unknown_noise_spread_like_students_t():
    fit = varpro.fit(MODEL, T, Y)
    posterior = LogPosterior(fit._solution.spec, known=False)
    a, _ = posterior.amplitudes(np.repeat(fit._solution.u, 40_000, axis=0), np.random.default_rng(2))
    phi = MODEL(T, fit.nonlinear)
    expected = fit.rss / (10 - 2) * np.linalg.inv(phi.T @ phi)  # the variance of t with 10 degrees of freedom
    np.testing.assert_allclose(np.cov(a[:, :, 0].T), expected, rtol=5e-2)
    np.testing.assert_allclose(a[:, :, 0].mean(axis=0), fit.linear, rtol=1e-2)


@pytest.mark.parametrize("known", [False, True])
def test_the_density_of_several_right_hand_sides_is_the_formula(known):
    """-K / 2 log det Phi^T Phi - (n - r) / 2 log S, or - S / 2 with known errors, for weights of any size."""
    y = np.stack([Y, 0.5 * Y + 0.03 * np.cos(1e4 * np.sin(T))], axis=1)
    y[3] = np.nan
    fit = varpro.fit(MODEL, T, y, weights=np.full(12, 20.0))
    tau, expected, use = np.array([0.9, 1.2, 1.5]), [], np.arange(12) != 3
    for v in tau:
        phi = 20.0 * np.stack([np.exp(-T / v), np.ones(12)], axis=1)[use]
        rest = 20.0 * y[use] - phi @ np.linalg.lstsq(phi, 20.0 * y[use], rcond=None)[0]
        s = np.sum(rest**2)
        volume = np.log(np.linalg.det(phi.T @ phi))
        expected.append(-volume - (0.5 * s if known else 0.5 * (22 - 4) * np.log(s)))
    np.testing.assert_allclose(np.diff(log_density(fit, tau, known)), np.diff(expected), rtol=1e-8)


def test_known_errors_know_no_unit_of_the_weights():
    """Weights of 2^200 are divided by a unit within; sigma is given back in the spec's weights."""
    tau, found = np.array([0.9, 1.2, 1.5]), []
    for unit in (1.0, 2.0**200):
        fit = varpro.fit(MODEL, T, Y / unit, weights=np.full(12, 10.0 * unit), absolute_sigma=True)
        found.append(log_density(fit, tau, True))
        posterior = LogPosterior(fit._solution.spec, known=True)
        a, sigma = posterior.amplitudes(np.repeat(fit._solution.u, 2000, axis=0), np.random.default_rng(0))
        np.testing.assert_allclose(sigma * fit._solution.spec.data.weight_unit, 1.0)
        assert unit * a[:, 0, 0].std() == pytest.approx(unit * fit.stderr_linear[0], rel=0.4)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9, atol=1e-9)
