"""Voigt lines whose minimum lies at the kink of |gamma| or where sigma vanishes: success means the minimum."""

import math

import numpy as np
import pytest
import scipy

import varpro
from varpro.models.peaks import FAR_OUT, LEAST_SIGMA, Voigt, _faddeeva_slope

T = np.linspace(0.0, 10.0, 149)


def line(t, w):
    """A Voigt profile of height 1, and a constant."""
    v = scipy.special.wofz((t - w[0] + 1j * w[2]) / (math.sqrt(2.0) * w[1])).real
    return np.stack([v / v.max(), np.ones_like(t)], axis=-1)


def best_rss(y):
    """The least of bounded SciPy fits of the reduced problem from several starts."""

    def residual(w):
        phi = line(T, w)
        return phi @ np.linalg.lstsq(phi, y, rcond=None)[0] - y

    box = ([-np.inf, LEAST_SIGMA * T[1], 0.0], np.inf)
    strict = {"x_scale": "jac", "xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 2000}
    starts = [[5, 0.3, 0.3], [5, 0.6, 1e-3], [5, 0.01, 0.5]]
    return min(2 * scipy.optimize.least_squares(residual, w, bounds=box, **strict).cost for w in starts)


SHAPES = {"gaussian": (0.6, 0.0), "lorentzian": (1e-6, 0.5), "both": (0.3, 0.3)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(6))
def test_a_converged_line_is_at_the_minimum_of_the_bounded_problem(shape, seed):
    noise = 0.1 if seed % 2 else 0.01
    y = line(T, [5.0, *SHAPES[shape]]) @ [1.0, 0.3] + noise * np.random.default_rng(seed).standard_normal(len(T))
    best = best_rss(y)
    for w0 in (None, [4.8, 0.4, 0.4], [5.1, -0.4, 0.0]):
        found = varpro.fit(Voigt(1, offset=True), T, y, w0)
        assert found.success
        assert found.rss <= best * (1 + 1e-6)
        assert found.nonlinear[2] >= 0.0
        assert found.nonlinear[1] > 0.0


@pytest.mark.parametrize("k", [-12, -6, 9])
def test_the_minimum_at_a_limit_is_the_same_in_other_units(k):
    y = line(T, [5.0, 0.6, 0.0]) @ [1.0, 0.3] + 0.05 * np.random.default_rng(3).standard_normal(len(T))
    base = varpro.fit(Voigt(1, offset=True), T, y)
    other = varpro.fit(Voigt(1, offset=True), T * 10.0**k, y)
    assert base.success
    assert other.success
    np.testing.assert_allclose(other.rss, base.rss, rtol=1e-6)


def test_bounds_of_the_caller_come_first():
    y = line(T, [5.0, 0.3, 0.3]) @ [1.0, 0.3] + 0.01 * np.random.default_rng(1).standard_normal(len(T))
    mirrored = {"sigma_1": (-2.0, -0.01), "gamma_1": (-3.0, 3.0)}
    found = varpro.fit(Voigt(1, offset=True), T, y, [5.0, -0.5, 0.2], bounds=mirrored)
    plain = varpro.fit(Voigt(1, offset=True), T, y)
    assert found.nonlinear[1] < 0.0 <= found.nonlinear[2]
    np.testing.assert_allclose(found.rss, plain.rss, rtol=1e-6)
    fixed = varpro.fit(Voigt(1, offset=True), T, y, [5.0, 0.5, 0.0], fixed=["gamma_1"])
    assert fixed.nonlinear[2] == 0.0
    assert fixed.rss > plain.rss


def test_a_batch_and_a_sum_keep_the_natural_side_too():
    rng = np.random.default_rng(2)
    y = np.stack([line(T, [5.0, s, g]) @ [1.0, 0.3] for s, g in SHAPES.values()]) + 0.02 * rng.standard_normal((3, 149))
    many = varpro.fit_batch(Voigt(1, offset=True), T, y, cost_tolerance=1e-14)
    assert many.success.all()
    np.testing.assert_allclose(many.rss, [best_rss(row) for row in y], rtol=1e-6)
    from varpro.models import Polynomial

    found = varpro.fit(Voigt(1) + Polynomial(0), T, y[0])
    np.testing.assert_allclose(found.rss, many.rss[0], rtol=1e-6)
    shared = varpro.fit(Voigt(2, shared_width=True) + Polynomial(0), T, y[0] + np.roll(y[0], 40))
    assert (shared.nonlinear[2:] >= 0.0).all()


def test_the_slope_is_one_function_on_both_sides_of_the_switch():
    angle = np.array([1e-3, 0.4, 1.2, 1.5])
    inside, outside = (math.sqrt(FAR_OUT) * (1 + s) * np.exp(1j * angle) for s in (-1e-9, 1e-9))
    np.testing.assert_allclose(_faddeeva_slope(outside), _faddeeva_slope(inside), rtol=1e-8)
    far = 1e7 * np.exp(1j * angle)
    np.testing.assert_allclose(_faddeeva_slope(far), -1j / math.sqrt(math.pi) / far**2, rtol=1e-12)


def test_at_gamma_zero_the_derivative_is_the_one_from_above():
    w, h = np.array([5.0, 0.6, 0.0]), 1e-7
    model = Voigt(1)
    rise = (model(T, w + np.array([0, 0, h])) - model(T, w))[:, 0] / h
    np.testing.assert_allclose(model.columns(T, w)[:, 2], rise, atol=1e-5 * np.abs(rise).max())
