"""The tests of whiteness, leverage and their words against formulas with whole matrices."""

import re
from itertools import groupby

import numpy as np
import pytest
import scipy

import varpro
from varpro.fitting.diagnostics import LEAST_RUNS, durbin_watson, runs_test, whiteness

DECAY = varpro.models.Exponentials(1, offset=True)
T = np.linspace(0.0, 10.0, 60)


def noisy(seed=0, right=None, sigma=0.05):
    clean = DECAY(T, np.array([2.0])) @ [3.0, 1.0]
    clean = clean if right is None else np.repeat(clean[:, None], right, axis=1)
    return clean + sigma * np.random.default_rng(seed).standard_normal(clean.shape)


def written_out(r, q):
    """d and z with T and M = I - Q Q^T as matrices."""
    n, p = q.shape
    difference = np.diff(np.eye(n), axis=0)
    t, m = difference.T @ difference, np.eye(n) - q @ q.T
    d, mean = (r @ t @ r) / (r @ r), np.trace(m @ t) / (n - p)
    variance = 2 * (np.trace(m @ t @ m @ t) - np.trace(m @ t) * mean) / ((n - p) * (n - p + 2))
    return d, (d - mean) / np.sqrt(variance)


@pytest.mark.parametrize(("n", "p"), [(5, 2), (15, 0), (40, 3)])
def test_durbin_and_watson_are_the_matrices_written_out(n, p):
    rng = np.random.default_rng(n)
    q = np.linalg.qr(rng.standard_normal((n, p)))[0] if p else np.zeros((n, 0))
    r = rng.standard_normal(n)
    r = r - q @ (q.T @ r)
    np.testing.assert_allclose(durbin_watson(r, q), written_out(r, q), rtol=1e-9)


def test_durbin_and_watson_need_three_values_more_than_parameters_and_a_residual():
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 4)))[0]
    r = np.ones(6)
    assert np.isnan(durbin_watson(r, q)).all()
    assert np.isfinite(durbin_watson(r, q[:, :3])).all()
    assert np.isnan(durbin_watson(np.zeros(6), q[:, :2])).all()


@pytest.mark.parametrize(("n", "m"), [(10, 10), (10, 37), (25, 12)])
def test_runs_are_judged_by_wald_and_wolfowitz(n, m):
    r = np.random.default_rng(n).permutation(np.append(np.ones(n), -np.ones(m)))
    runs = len(list(groupby(r > 0)))
    mean = 1 + 2 * n * m / (n + m)
    variance = 2 * n * m * (2 * n * m - n - m) / ((n + m) ** 2 * (n + m - 1))
    assert runs_test(r) == pytest.approx((runs - mean) / np.sqrt(variance), rel=1e-12)
    assert runs_test(np.insert(r, 3, 0.0)) == pytest.approx(runs_test(r))


def test_too_few_of_either_sign_make_no_runs():
    few, many = LEAST_RUNS - 1, 40
    assert np.isnan(runs_test(np.append(np.ones(few), -np.ones(many))))
    assert np.isnan(runs_test(np.append(np.ones(many), -np.ones(few))))
    assert np.isfinite(runs_test(np.append(np.ones(many), -np.ones(LEAST_RUNS))))


def basis_of(fit, rows, weights, amplitude):
    tau = fit.nonlinear[0]
    slope = amplitude * T / tau**2 * np.exp(-T / tau)
    jacobian = np.stack([np.exp(-T / tau), np.ones(60), slope], axis=1)
    return np.linalg.qr((weights[:, None] * jacobian)[rows])[0]


@pytest.mark.parametrize("own", [False, True])
def test_right_hand_sides_are_judged_together(own):
    """The mean of d; the sum of all z over the root of their number, whose variance is 1."""
    y, weights = noisy(right=3), np.linspace(0.5, 2.0, 60)
    if own:
        y[4, 1] = np.nan
        y[20:, 2] = np.nan  # of 20 values, hardly 10 of either sign are left
    fit = varpro.fit(DECAY, T, y, weights=weights, w0=[2.0])
    found = []
    for k in range(3):
        rows = np.flatnonzero(np.isfinite(y[:, k]))
        r = (weights * (y[:, k] - fit.fitted[:, k]))[rows]
        found.append((*written_out(r, basis_of(fit, rows, weights, fit.linear[0, k])), runs_test(r)))
    d, z, runs = np.array(found).T
    counted = runs[np.isfinite(runs)]
    expected = d.mean(), z.sum() / np.sqrt(3), counted.sum() / np.sqrt(len(counted))
    np.testing.assert_allclose(whiteness(fit), expected, rtol=1e-6)


def test_the_order_of_the_points_is_that_of_t():
    y, order = noisy(), np.random.default_rng(1).permutation(60)
    straight, mixed = varpro.fit(DECAY, T, y), varpro.fit(DECAY, T[order], y[order])
    np.testing.assert_allclose(whiteness(mixed), whiteness(straight), rtol=1e-6)


def test_both_parts_of_complex_residuals_are_judged():
    noise = np.random.default_rng(3).standard_normal((60, 2))
    z = np.exp((-0.3 + 2.0j) * T) + 0.02 * (noise[:, 0] + 1j * noise[:, 1])
    fit = varpro.fit(lambda t, w: np.exp(np.multiply.outer(t, w)), T, z, np.array([-0.3 + 2.1j]))
    r = z - fit.fitted
    plain = [np.sum(np.diff(part) ** 2) / np.sum(part**2) for part in (r.real, r.imag)]
    d, _, runs = whiteness(fit)
    assert d == pytest.approx(np.mean(plain), rel=1e-9)
    assert runs == pytest.approx((runs_test(r.real) + runs_test(r.imag)) / np.sqrt(2), rel=1e-9)


def test_a_robust_or_ridged_fit_says_nothing_of_whiteness():
    y = noisy() + 0.2 * np.sin(T)
    assert any("white" in w for w in varpro.fit(DECAY, T, y).warnings)
    assert not any("white" in w for w in varpro.fit(DECAY, T, y, loss="huber").warnings)
    assert not any("white" in w for w in varpro.fit(DECAY, T, y, ridge=1e-9).warnings)


@pytest.mark.parametrize(("degree", "pairs"), [(1, 1), (2, 3), (3, 6)])
def test_correlated_pairs_are_named_up_to_three(degree, pairs):
    """Powers of a t far from 0 are nearly one another; a Gaussian beside them is not."""
    t = 100.0 + T
    model = varpro.models.Gaussians(1) + varpro.models.Polynomial(degree)
    y = np.exp(-((t - 105.0) ** 2) / 0.5) + 0.01 * np.random.default_rng(0).standard_normal(60)
    fit = varpro.fit(model, t, y, fixed={"width_1": 0.5}, w0=[105.0, 0.5])
    (warning,) = [w for w in fit.warnings if "correlated" in w]
    first = 2 + 1  # the powers stand behind both parameters and the Gaussian
    powers = np.abs(fit.correlation[first:, first:])
    expected = np.sort(powers[np.tril_indices(degree + 1, -1)])[::-1]
    assert (expected > 0.99).all()
    assert re.findall(r"\((\d\.\d{4})\)", warning) == [f"{c:.4f}" for c in expected[:3]]
    assert re.findall(r"and (\d+) more pairs", warning) == ([str(pairs - 3)] if pairs > 3 else [])


def test_points_that_carry_the_fit_are_named_by_their_leverage():
    t = np.append(np.linspace(0.0, 1.0, 40), [4.0, 6.0, 8.0, 9.0])
    model = varpro.models.Gaussians(1) + varpro.models.Polynomial(3)
    y = 1.0 + np.exp(-((t - 0.5) ** 2) / 0.02) + 0.01 * np.random.default_rng(0).standard_normal(44)
    fit = varpro.fit(model, t, y, w0=[0.5, 0.15])
    h = fit.leverage
    carrying = np.flatnonzero(h > max(0.5, 3 * 6 / 44))
    (warning,) = [w for w in fit.warnings if "leverage" in w]
    named = carrying[np.argsort(-h[carrying])][:3]
    assert f"rows {', '.join(f'{n} ({h[n]:.2f})' for n in named)}" in warning
    assert (f"and {len(carrying) - 3} more" in warning) == (len(carrying) > 3)


def test_leverage_is_that_of_the_hat_matrix_and_student_judges_nothing_else():
    weights = np.linspace(0.5, 2.0, 60)
    fit = varpro.fit(DECAY, T, noisy(), weights=weights)
    q = basis_of(fit, np.arange(60), weights, fit.linear[0])
    np.testing.assert_allclose(fit.leverage, np.sum(q**2, axis=1), rtol=1e-6)
    z = whiteness(fit)[1]
    assert scipy.stats.norm.cdf(z) > 1e-4
