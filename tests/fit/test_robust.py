"""Robust losses against scipy's, and what outliers do to the errors."""

import numpy as np
import pytest
import scipy.optimize

import varpro
from tests.fit.problems import decay_data, decays
from tests.oracle import central_differences

W0 = [2.0, 6.5]


@pytest.mark.parametrize("loss", ["huber", "soft_l1", "cauchy"])
@pytest.mark.parametrize("right", [None, 2])
def test_robust_losses_equal_scipys(loss, right):
    rng = np.random.default_rng(8)
    t, y = decay_data(n=80, noise=0.05, right=right)
    wild = rng.random(y.shape) < 0.1
    y = y + wild * rng.standard_normal(y.shape) * 2
    scale, count = 0.1, 1 if right is None else right
    fit = varpro.fit(decays, t, y, W0, loss=loss, loss_scale=scale)

    def residual(x):
        return (decays(t, x[:2]) @ x[2:].reshape(3, count) - y.reshape(80, count)).ravel()

    start = np.concatenate([fit.nonlinear, fit.linear.ravel()]) * 1.001
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-12, "max_nfev": 3000}
    best = scipy.optimize.least_squares(
        residual, start, jac="3-point", loss=loss, f_scale=scale, x_scale=np.abs(start), **tight
    )
    # reweighting converges linearly and stops at relative steps of 1e-7
    np.testing.assert_allclose(fit.nonlinear, best.x[:2], rtol=2e-4)
    np.testing.assert_allclose(fit.linear.ravel(), best.x[2:], rtol=2e-3)
    np.testing.assert_allclose(fit.rss, np.sum((y - fit.fitted) ** 2), rtol=1e-9)


def test_without_outliers_the_median_scale_leaves_the_fit_alone():
    t, y = decay_data(n=200, noise=0.02)
    plain, robust = (varpro.fit(decays, t, y, W0, loss=loss) for loss in ("linear", "huber"))
    assert (np.abs(robust.nonlinear - plain.nonlinear) < plain.stderr_nonlinear).all()
    spoiled = y.copy()
    spoiled[5::17] += 3.0
    far = varpro.fit(decays, t, spoiled, W0)
    for loss in ("huber", "soft_l1", "cauchy"):
        again = varpro.fit(decays, t, spoiled, W0, loss=loss)
        assert (np.abs(again.nonlinear - plain.nonlinear) < 2 * plain.stderr_nonlinear).all()
        # outliers do not widen its errors, but a tenth of the data spoiled does, somewhat
        assert (again.stderr_nonlinear < 6 * plain.stderr_nonlinear).all()
        assert (again.stderr_nonlinear > 0.5 * plain.stderr_nonlinear).all()
        assert again.rss == pytest.approx(np.sum((spoiled - again.fitted) ** 2), rel=1e-10)
    assert (far.stderr_nonlinear > 10 * plain.stderr_nonlinear).all()


def test_one_of_a_robust_batch_is_the_fit_alone():
    rng = np.random.default_rng(9)
    t, y = decay_data(n=80, noise=0.05)
    many_y = np.stack([y + (rng.random(80) < 0.1) * rng.standard_normal(80) for _ in range(4)])
    tight = {"cost_tolerance": 1e-14, "step_tolerance": 1e-9, "loss": "huber", "loss_scale": 0.1}
    many = varpro.fit_batch(decays, t, many_y, W0, **tight)
    for b in range(4):
        alone = varpro.fit(decays, t, many_y[b], W0, **tight)
        for one in (alone, many[b]):
            here, there = np.argsort(many.nonlinear[b]), np.argsort(one.nonlinear)  # either decay may come first
            np.testing.assert_allclose(many.nonlinear[b][here], one.nonlinear[there], rtol=1e-5)
            np.testing.assert_allclose(many.rss[b], one.rss, rtol=1e-8)
            np.testing.assert_allclose(many.sigma[b], one.sigma, rtol=1e-5)
            np.testing.assert_allclose(many.stderr_nonlinear[b][here], one.stderr_nonlinear[there], rtol=1e-4)


def spoiled(right):
    rng = np.random.default_rng(3)
    t, y = decay_data(n=60, noise=0.05, right=right)
    return t, y + (rng.random(y.shape) < 0.15) * rng.standard_normal(y.shape)


TIGHT = {"cost_tolerance": 1e-12, "step_tolerance": 1e-8, "loss_scale": 0.1}


@pytest.mark.parametrize("weighted", [False, True])
def test_right_hand_sides_of_a_robust_fit_are_one_long_one_with_columns_of_their_own(weighted):
    t, y = spoiled(right=2)
    weights = np.random.default_rng(4).uniform(0.5, 2.0, y.shape) if weighted else np.ones(y.shape)
    options = {"loss": "soft_l1", **TIGHT}
    fit = varpro.fit(decays, t, y, W0, weights=weights if weighted else None, **options)

    def side_by_side(t, w):
        return np.kron(np.eye(2), decays(t[:60], w))

    long = varpro.fit(side_by_side, np.tile(t, 2), y.T.ravel(), W0, weights=weights.T.ravel(), **options)
    np.testing.assert_allclose(fit.nonlinear, long.nonlinear, rtol=1e-5)
    np.testing.assert_allclose(fit.linear.T.ravel(), long.linear, rtol=1e-5)
    assert fit.sigma == pytest.approx(long.sigma, rel=1e-4)
    order = [0, 1, *(2 + np.arange(6).reshape(3, 2).T.ravel())]
    size = np.sqrt(np.outer(*[np.diagonal(long.covariance)] * 2))
    assert np.abs((fit.covariance[np.ix_(order, order)] - long.covariance) / size).max() < 1e-4


def test_the_covariance_of_hubers_loss_is_the_mean_of_both_formulas():
    """Of m_estimator's head, with J by differences and psi written out."""
    t, y = spoiled(right=None)
    fit = varpro.fit(decays, t, y, W0, loss="huber", **TIGHT)

    def residual(x):
        return y - decays(t, x[:2]) @ x[2:]

    x = np.concatenate([fit.nonlinear, fit.linear])
    j = -central_differences(residual, x)
    r = residual(x)
    psi, slope = np.clip(r, -0.1, 0.1), np.abs(r) < 0.1
    n, p = j.shape
    k = 1.0 + p / n * slope.var() / slope.mean() ** 2
    bread = np.linalg.inv(j.T @ j)
    left = 1.0 - np.einsum("ni,ij,nj->n", j, bread, j)
    huber = k**2 * (psi @ psi / (n - p)) / slope.mean() ** 2 * bread
    sandwich = k / slope.mean() ** 2 * bread @ (j.T * psi**2 / (left * np.maximum(left, 0.5))) @ j @ bread
    expected = 0.5 * (huber + sandwich)
    assert 0 < (~slope).sum() < 20
    size = np.sqrt(np.outer(*[np.diagonal(expected)] * 2))
    assert np.abs((fit.covariance - expected) / size).max() < 1e-4
