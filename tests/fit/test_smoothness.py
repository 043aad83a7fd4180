"""Smooth amplitudes: the operator, and both criteria by their formulas with whole matrices."""

import numpy as np
import pytest
import scipy

import varpro
from varpro.fitting.smoothness import _Choice, chosen, second_differences

T, CENTRES = np.linspace(0.0, 6.0, 61), np.linspace(0.0, 6.0, 14)


def humps(t, w):
    return np.exp(-(((t[:, None] - CENTRES) / w[0]) ** 2))


def curve(right=1):
    rng = np.random.default_rng(0)
    return np.exp(-((T[:, None] - 2.5) ** 2)) * rng.uniform(0.5, 2.0, right) + 0.02 * rng.standard_normal((61, right))


@pytest.mark.parametrize("count", [3, 7])
def test_second_differences_are_those_of_a_row_with_zeros_at_both_ends(count):
    a = np.random.default_rng(0).standard_normal(count)
    np.testing.assert_allclose(second_differences(count) @ a, np.diff(np.pad(a, 1), n=2), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(second_differences(count), second_differences(count).T)


def scores(phi, y, mu, inside=None):
    """gcv and aic for a mu, over the columns inside their bounds."""
    rough = second_differences(phi.shape[1])
    squares, fitted = 0.0, 0.0
    for k in range(y.shape[1]):
        own = np.ones(phi.shape[1], dtype=bool) if inside is None else inside[k]
        p, r = phi[:, own], rough[:, own]
        hat = p @ np.linalg.solve(p.T @ p + mu * r.T @ r, p.T)
        squares, fitted = squares + np.sum((y[:, k] - hat @ y[:, k]) ** 2), fitted + np.trace(hat)
    return np.log(squares / (y.size - fitted) ** 2), y.size * np.log(squares) + 2 * fitted


@pytest.mark.parametrize("right", [1, 2])
@pytest.mark.parametrize("log_mu", [-12.0, -3.0, 2.0])
def test_the_criteria_are_the_formulas(right, log_mu):
    phi, y = humps(T, [0.9]), curve(right)
    choice = _Choice.of(phi, y, None, None, second_differences(14))
    assert choice.scale == pytest.approx(np.linalg.norm(phi @ np.linalg.inv(second_differences(14)), 2) ** 2)
    expected = scores(phi, y, choice.scale * np.exp(log_mu))
    np.testing.assert_allclose([choice.gcv(log_mu), choice.aic(log_mu)], expected, rtol=1e-7)


@pytest.mark.parametrize("log_mu", [-12.0, -9.0])
def test_within_bounds_the_criteria_count_the_columns_inside(log_mu):
    phi, y = humps(T, [0.9]), curve(2)
    choice = _Choice.of(phi, y, np.zeros(14), np.full(14, np.inf), second_differences(14))
    mu = choice.scale * np.exp(log_mu)
    rows = np.vstack([phi, np.sqrt(mu) * second_differences(14)])
    inside = [scipy.optimize.nnls(rows, np.append(y[:, k], np.zeros(14)))[0] > 0 for k in range(2)]
    assert not all(own.all() for own in inside)
    expected = scores(phi, y, mu, inside)
    np.testing.assert_allclose([choice.gcv(log_mu), choice.aic(log_mu)], expected, rtol=1e-7)


@pytest.mark.parametrize("criterion", ["gcv", "aic"])
def test_the_choice_has_the_least_score_of_a_wide_grid(criterion):
    y, phi = curve(), humps(T, [0.9])
    spec = varpro.fit(humps, T, y[:, 0], [0.9], ridge=("second-difference", 1.0), bounds=(0.3, 1.5))._solution.spec
    mu = chosen(spec, np.array([[0.9]]), criterion)
    which = ("gcv", "aic").index(criterion)
    least = min(scores(phi, y, mu * f)[which] for f in np.geomspace(1e-3, 1e3, 61))
    assert scores(phi, y, mu)[which] <= least + 1e-3 * abs(least) * 1e-2


def test_the_chosen_ridge_belongs_to_the_fitted_parameters():
    y = curve()[:, 0]
    fit = varpro.fit(humps, T, y, [0.8], ridge=("second-difference", "gcv"), bounds=(0.3, 1.5))
    again = chosen(fit._solution.spec, fit._solution.u, "gcv")
    assert again == pytest.approx(fit.ridge, rel=0.05)
    rows = np.vstack([humps(T, fit.nonlinear), np.sqrt(fit.ridge) * second_differences(14)])
    expected = np.linalg.lstsq(rows, np.append(y, np.zeros(14)), rcond=None)[0]
    np.testing.assert_allclose(fit.linear, expected, atol=1e-7 * np.abs(expected).max())


def test_the_corner_of_the_l_curve_is_where_both_ways_are_steep():
    """Around the corner, from a tenth to ten times mu: less ridge costs roughness, more ridge costs residual."""
    y, phi = curve(), humps(T, [0.9])
    choice = _Choice.of(phi, y, None, None, second_differences(14))
    corner = choice.corner()
    mus = choice.scale * np.exp(corner + np.log([1e-4, 1.0, 1e4]))
    rough, rest = [], []
    for mu in mus:
        a = np.linalg.solve(phi.T @ phi + mu * second_differences(14) @ second_differences(14), phi.T @ y)
        rough.append(np.log(np.sum((second_differences(14) @ a) ** 2)))
        rest.append(np.log(np.sum((y - phi @ a) ** 2)))
    before, after = -np.diff(rough), np.diff(rest)
    assert before[0] > 2 * after[0]  # down the steep leg
    assert after[1] > 2 * after[0]
    fit = varpro.fit(humps, T, y[:, 0], [0.8], ridge=("second-difference", "lcurve"), bounds=(0.3, 1.5))
    again = chosen(fit._solution.spec, fit._solution.u, "lcurve")
    assert again == pytest.approx(fit.ridge, rel=0.1)
