"""Bounded amplitudes end at a constrained minimum, and in other units the fit is the same, converted."""

import numpy as np
import pytest

import varpro
from tests.fit.problems import decay_data, decays
from varpro.problems.bounded_amplitudes import bounded_solutions

BOUNDS = {
    "nonnegative": lambda rng, i: (np.zeros(i), np.full(i, np.inf)),
    "boxes": lambda rng, i: (-rng.random(i), rng.random(i)),
    "not at zero": lambda rng, i: (np.full(i, 0.5), np.where(rng.random(i) < 0.5, 2.0, np.inf)),
    "some free": lambda rng, i: (np.where(rng.random(i) < 0.5, -np.inf, 0.5), np.full(i, 2.0)),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_solutions_fulfil_the_conditions_of_a_minimum_in_any_units(name):
    rng = np.random.default_rng(3)
    for trial in range(120):
        rows, columns = rng.integers(1, 30), rng.integers(1, 9)
        phi = rng.standard_normal((rows, columns)) + (trial % 3 == 0)
        if trial % 5 == 0:
            phi[:, -1] = phi[:, 0]
        if trial % 7 == 0:
            phi[:, columns // 2] = 0.0
        y = phi @ rng.standard_normal(columns) + (trial % 2) * rng.standard_normal(rows)
        lower, upper = BOUNDS[name](rng, columns)
        units, all_ = 10.0 ** rng.integers(-15, 16, columns), 10.0 ** rng.integers(-15, 16)
        a, _ = bounded_solutions((phi * units * all_)[None], (y * all_)[None], lower / units, upper / units)
        assert (a >= lower / units).all()
        assert (a <= upper / units).all()
        low, high, a = (a == lower / units)[0], (a == upper / units)[0], a[0] * units
        size = np.linalg.norm(phi, axis=0)
        slope = phi.T @ (y - phi @ a) / np.where(size > 0, size, 1.0)
        wrong = np.where(low, slope, np.where(high, -slope, np.abs(slope)))
        assert wrong.max() <= 1e-12 * (np.linalg.norm(y) + np.sum(np.abs(a) * size)), trial


@pytest.mark.parametrize("exponent", [-15, -12, 9, 15])
@pytest.mark.parametrize("linear", ["nonnegative", ([0.0, 0.0, 0.69], [2.5, np.inf, 2.0])])
def test_the_bounded_fit_is_the_same_fit_in_other_units_of_data_and_columns(linear, exponent):
    t, y = decay_data(right=2)
    y = y - (0.9 * np.array([1.0, 0.0]) if linear == "nonnegative" else 0.0)
    units = np.array([1.0, 10.0**exponent, 10.0 ** (-exponent // 2)])
    bounds = linear if linear == "nonnegative" else tuple(1e-12 * np.array(b) / units for b in linear)
    plain = varpro.fit(decays, t, y, [2.0, 6.5], linear=linear)
    other = varpro.fit(lambda t, w: decays(t, w) * units, t, 1e-12 * y, [2.0, 6.5], linear=bounds)
    assert plain.success
    assert other.success
    assert (plain.linear <= (0.0 if linear == "nonnegative" else 0.69)).any()
    np.testing.assert_allclose(other.rss, 1e-24 * plain.rss, rtol=1e-9)
    np.testing.assert_allclose(other.nonlinear, plain.nonlinear, rtol=1e-5)
    np.testing.assert_allclose(other.linear * units[:, None], 1e-12 * plain.linear, rtol=1e-4, atol=1e-18)


def test_the_gradient_of_the_bounded_functional_is_its_slope_away_from_switches():
    t, y = decay_data(right=2)
    f = varpro.functional(decays, t, y - 0.9, [2.0, 6.5], linear="nonnegative")
    for w in np.random.default_rng(5).uniform([0.5, 3.0], [1.5, 8.0], (6, 2)):
        steps = 1e-5 * np.eye(2)
        sides = [f.coefficients(w + s * e) > 0 for e in steps for s in (-1, 1)]
        if not all((side == sides[0]).all() for side in sides):
            continue
        slope = [(f(w + e) - f(w - e)) / 2e-5 for e in steps]
        np.testing.assert_allclose(f.gradient(w), slope, rtol=0, atol=1e-7 * np.abs(slope).max() + 1e-9 * f(w))


@pytest.mark.parametrize("lower", [0.0, -1.0])
def test_without_columns_there_is_nothing_to_be_found(lower):
    phi, y = np.zeros((2, 5, 0)), np.ones((2, 5))
    a, inside = bounded_solutions(phi, y, np.full(0, lower), np.full(0, np.inf))
    assert a.shape == inside.shape == (2, 0)
