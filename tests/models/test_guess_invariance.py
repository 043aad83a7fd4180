"""A guess does not depend on the units of t and y or the zero of t: it is converted as the data are."""

import numpy as np
import pytest

import varpro
from tests.models.test_ready_guesses import CASES, T, data
from varpro import models
from varpro.models.separable import Model
from varpro.models.sums import Sum

DIMENSION = {"tau": 1, "k": -1, "center": 1, "width": 1, "sigma": 1, "gamma": 1, "damping": -1, "omega": -1}
DIMENSION |= {"t1": 1, "half": 1}
POWERS = [-15, -6, 3, 12]
FIXED = ("power", "rational", "stretched", "compressed", "hill", "menten", "recovery", "scheme")
SHIFTED = [name for name in CASES if not any(word in name for word in FIXED)]
ORIGINS = [-1e3, 2_460_000.5, 1.7e9]


def converted(model: Model, w: np.ndarray, unit: float, origin: float = 0.0) -> np.ndarray:
    """w for t unit + origin."""
    if isinstance(model, Sum):
        parts = zip(model.parts, model.split(w), strict=True)
        return np.concatenate([converted(part, v, unit, origin) for part, v in parts])
    out = []
    for name, value in zip(model.parameter_names, w, strict=True):
        stem, _, number = name.partition("_")
        power = -int(number) if stem == "denominator" else DIMENSION.get(stem, 0)
        out.append(value * unit**power + (origin if stem == "center" else 0.0))
    return np.array(out)


@pytest.mark.parametrize("name", CASES)
def test_other_units_of_t_and_y_convert_the_guess(name):
    model, t, _, y = data(name, 0.01)
    guess = model.guess(t, y)
    for k in POWERS:
        found = model.guess(t * 10.0**k, y * -(10.0**-k))
        np.testing.assert_allclose(found, converted(model, guess, 10.0**k), rtol=1e-9, err_msg=f"1e{k}")


@pytest.mark.parametrize("name", SHIFTED)
def test_another_zero_of_t_moves_centers_and_nothing_else(name):
    model, t, _, y = data(name, 0.01)
    for origin in ORIGINS if "seen" not in name else ORIGINS[:2]:
        far = t - t[0] + origin
        found = converted(model, model.guess(far, y), 1.0, -origin)
        expected = converted(model, model.guess(t, y), 1.0, -t[0])
        np.testing.assert_allclose(found, expected, rtol=2e-3, err_msg=f"{origin}")


@pytest.mark.parametrize("origin", [-30.0, 1e3, 1e6])
def test_a_rational_far_from_zero_is_guessed_about_the_middle_of_the_data(origin):
    """1 / (1 + (x / 2)^2) at x = t - origin - 5 is a rational function of t, too."""
    t = np.linspace(0, 10, 301) + origin
    y = 1 / (1 + ((t - origin - 5.0) / 2) ** 2)
    model = models.Rational(0, 2)
    w = model.guess(t, y)
    phi = model(t, w)
    a = np.linalg.lstsq(phi, y, rcond=None)[0]
    assert np.abs(phi @ a - y).max() < (1e-6 if origin < 1e4 else 0.2)
    noisy = y + 0.01 * np.random.default_rng(0).standard_normal(301)
    phi = model(t, model.guess(t, noisy))
    assert np.std(noisy - phi @ np.linalg.lstsq(phi, noisy, rcond=None)[0]) < (0.012 if origin < 1e4 else 0.2)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
@pytest.mark.parametrize("name", CASES)
def test_the_ends_of_double_precision_give_a_finite_guess(name, scale):
    model, t, w, y = data(name, 0.01)
    with np.errstate(all="ignore"):
        for guess in (model.guess(t * scale, y), model.guess(t, y * scale / 10), model.guess(t * scale, 0 * y)):
            assert guess.shape == w.shape
            assert np.isfinite(guess).all()


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_widths_and_lifetimes_are_right_to_the_ends_of_double_precision(scale):
    for name in ("one decay", "two decays", "one gaussian", "simplest rational"):
        model, t, _, y = data(name, 0.01)
        exact = converted(model, model.guess(t, y), scale)
        np.testing.assert_allclose(model.guess(t * scale, y), exact, rtol=1e-6)


@pytest.mark.parametrize("k", [-12, -6, 9, 15])
@pytest.mark.parametrize("name", ["one decay on an offset", "gaussians, late", "two rates"])
def test_a_fit_from_its_own_guess_is_the_same_fit_in_other_units(name, k):
    model, t, _, y = data(name, 0.01)
    base, other = varpro.fit(model, t, y), varpro.fit(model, t * 10.0**k, y * 10.0**-k)
    assert base.success
    np.testing.assert_allclose(other.rss * 10.0 ** (2 * k), base.rss, rtol=1e-6)
    np.testing.assert_allclose(other.nonlinear, converted(model, base.nonlinear, 10.0**k), rtol=1e-3)


def test_descending_and_unsorted_points_give_the_guess_of_sorted_ones():
    for name in ("two decays", "three gaussians", "one ringing"):
        model, t, _, y = data(name, 0.01)
        order = np.random.default_rng(0).permutation(len(t))
        for way in (slice(None, None, -1), order):
            np.testing.assert_allclose(model.guess(t[way], y[way]), model.guess(t, y), rtol=1e-6)


def test_a_model_of_ones_own_in_a_sum_gets_the_data_as_they_are():
    class Step(models.Model):
        parameter_names, column_names, pairs = ("place",), ("step",), np.array([[0, 0]])

        def __call__(self, t, w):
            return (1 / (1 + np.exp(w[0] - t)))[..., None]

        def columns(self, t, w):
            s = 1 / (1 + np.exp(w[0] - t))
            return (-s * (1 - s))[..., None]

        def guess(self, t, y):
            assert t[0] == 100.0
            return np.array([np.median(t)])

    model = Step() + models.Gaussians(1)
    t = T + 100.0
    y = model(t, [104.0, 107.5, 0.4]) @ [2.0, 3.0]
    found = varpro.fit(model, t, y, multistart=4)
    np.testing.assert_allclose(found.nonlinear, [104.0, 107.5, 0.4], rtol=1e-6)
