"""The ridge by cross-validation against the formula written out, and in other units."""

from dataclasses import replace

import numpy as np
import pytest

import varpro
from varpro.fitting.cross_validation import gcv_ridge
from varpro.fitting.data import make_data
from varpro.fitting.options import FitOptions
from varpro.fitting.specify import specify


def humps(t, w):
    return np.exp(-(((t[:, None] - np.linspace(0, 6, 14)) / w[0]) ** 2))


def data(right=1, seed=7):
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 6, 61)
    return t, np.exp(-((t[:, None] - 2.5) ** 2)) * rng.uniform(0.5, 2, right) + 0.05 * rng.standard_normal((61, right))


def ridge_at(t, y, w, **options):
    spec, u = specify(FitOptions(), humps, make_data(t, y, batch=False, **options), np.array([[w]]), batch=False)
    return gcv_ridge(replace(spec, linear=replace(spec.linear, ridge=0.0)), u)


def written_out(t, y, w, weights, mu):
    """n ||r||^2 / (n - trace)^2 over the values with a weight."""
    squares, left = 0.0, 0.0
    for k in range(y.shape[1]):
        used = weights[:, k] > 0
        phi, right = (weights[:, k, None] * humps(t, [w]))[used], (weights[:, k] * y[:, k])[used]
        hat = phi @ np.linalg.solve(phi.T @ phi + mu * np.eye(14), phi.T)
        squares, left = squares + np.sum((right - hat @ right) ** 2), left + used.sum() - np.trace(hat)
    return squares / left**2


@pytest.mark.parametrize("own", [False, True])
def test_the_ridge_minimises_the_score_over_the_observations(own):
    t, y = data(right=3)
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.2, 2.0, y.shape if own else (61, 1)) * np.ones(y.shape)
    weights[5:20] = 0.0
    if own:
        weights[rng.random(y.shape) < 0.3] = 0.0
    mu = ridge_at(t, y, 0.9, weights=weights if own else weights[:, 0])
    scores = [written_out(t, y, 0.9, weights, mu * factor) for factor in (0.5, 0.9, 1.0, 1.1, 2.0)]
    assert np.argmin(scores) == 2


def test_masked_points_are_not_there():
    t, y = data()
    keep = np.ones(61, dtype=bool)
    keep[20:45] = False
    spoiled = np.where(keep[:, None], y, 1e3)
    assert ridge_at(t, spoiled, 0.9, mask=keep) == pytest.approx(ridge_at(t[keep], y[keep], 0.9), rel=1e-6)
    whole = varpro.fit(humps, t, spoiled[:, 0], [0.9], mask=keep, ridge="gcv", bounds=(0.3, 1.5))
    part = varpro.fit(humps, t[keep], y[keep, 0], [0.9], ridge="gcv", bounds=(0.3, 1.5))
    assert whole.ridge == pytest.approx(part.ridge, rel=1e-3)


def test_complex_data_are_two_real_sets():
    t, y = data(right=2)
    assert ridge_at(t, y[:, :1] + 1j * y[:, 1:], 0.9) == pytest.approx(ridge_at(t, y, 0.9), rel=1e-6)


@pytest.mark.parametrize("factor", [1e-15, 1e-6, 1e15])
def test_the_ridge_knows_no_unit_of_the_data_and_that_of_the_weights_squared(factor):
    t, y = data()
    assert ridge_at(t, factor * y, 0.9) == pytest.approx(ridge_at(t, y, 0.9), rel=1e-5)
    weights = np.full(61, factor)
    assert ridge_at(t, y, 0.9, weights=weights) == pytest.approx(factor**2 * ridge_at(t, y, 0.9), rel=1e-5)


def test_bounds_leave_the_score_to_the_columns_inside():
    t, y = data()
    fit = varpro.fit(humps, t, y[:, 0], [0.9], ridge="gcv", linear="nonnegative", bounds=(0.3, 1.5))
    assert fit.ridge > 0
    assert (fit.linear == 0).any()
    assert (fit.linear >= 0).all()
