"""Problems at the edge: weights and data of any size, and models whose parameters have no effect."""

import warnings

import numpy as np
import pytest

import varpro
from tests.fit.problems import DECAY_DERIVATIVE, decay_data, decays
from varpro import Status
from varpro.models import Exponentials, Gaussians, Rational

T = np.linspace(0.1, 6.0, 61)
Y = 2.0 * np.exp(-T / 1.5) + 0.01 * np.random.default_rng(0).standard_normal(61)


@pytest.mark.parametrize(("p", "q"), [(1, 1), (2, 2), (1, 2), (2, 1)])
@pytest.mark.parametrize("options", [{}, {"bounds": (-1.0, 1.0)}], ids=["free", "bounded"])
def test_a_denominator_of_constant_data_is_undetermined(p, q, options):
    fit = varpro.fit(Rational(p, q), T, np.full(61, 3.0), **options)
    assert np.isinf(fit.stderr_nonlinear).any()
    assert fit.status is Status.UNDETERMINED
    assert not fit.success


def test_one_undetermined_problem_of_a_batch_is_told_from_the_others():
    y = np.stack([np.full(61, 3.0), 3.0 / (1.0 + 0.2 * T) + Y - Y[0]])
    many = varpro.fit_batch(Rational(1, 1), T, y)
    np.testing.assert_array_equal(many.status == Status.UNDETERMINED, [True, False])
    np.testing.assert_array_equal(np.isinf(many.stderr_nonlinear[:, 0]), [True, False])


def test_what_a_first_look_says_stays_while_another_problem_goes_on():
    """The Gaussian under a decay moves on to infinity; that under constant data was undetermined from the start."""
    many = varpro.fit_batch(Gaussians(1, offset=True), T, np.stack([Y, np.full(61, 3.0)]))
    assert list(many.status) == [Status.STALLED, Status.UNDETERMINED]


def test_a_parameter_of_little_effect_is_not_called_undetermined():
    """Two lifetimes so near that the derivative of one lies in the columns up to 1e-6."""
    t = np.linspace(0, 5, 200)
    tau = np.array([1.0, 1.0 + 2e-6])
    fit = varpro.fit(
        lambda t, w: np.exp(-np.divide.outer(t, w)), t, np.exp(-t), tau, max_iterations=0,
    )  # fmt: skip
    assert fit.status is not Status.UNDETERMINED


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("p", "q"), [(3, 3), (2, 2)])
def test_the_guess_of_a_rational_has_no_pole_among_noisy_data(seed, p, q):
    y = (1 + 0.3 * T) / (1 + 0.2 * T + 0.1 * T**2) + 0.05 * np.random.default_rng(seed).standard_normal(61)
    fine = np.linspace(T[0], T[-1], 4001)
    w = Rational(p, q).guess(T, y)
    denominator = 1.0 + sum(c * fine ** (k + 1) for k, c in enumerate(w))
    assert (denominator > 0).all()


def test_the_guess_of_a_rational_finds_a_pole_that_is_there():
    y = 1.0 / (T - 3.02)
    assert Rational(0, 1).guess(T, y)[0] == pytest.approx(-1 / 3.02, rel=1e-6)


SIZES = [1e-200, 1e-80, 1e80, 1e160, 1e300]
DEMANDS = [{}, {"loss": "huber"}, {"linear": "nonnegative"}, {"bounds": (0.1, 9.0)}]
KNOWN = [({"absolute_sigma": True}, factor) for factor in (1e-120, 1e-80, 1e80, 1e120)]
"""Variances, squares of 1 / weight, have to be numbers there."""


@pytest.mark.parametrize(("options", "factor"), [(o, f) for o in DEMANDS for f in SIZES] + KNOWN, ids=str)
def test_the_size_of_the_weights_changes_nothing(options, factor):
    weights = np.linspace(1.0, 2.0, 61)
    plain = varpro.fit(Exponentials(1), T, Y, weights=weights, **options)
    other = varpro.fit(Exponentials(1), T, Y, weights=factor * weights, **options)
    assert other.success
    np.testing.assert_allclose(other.nonlinear, plain.nonlinear, rtol=1e-7)
    np.testing.assert_allclose(other.linear, plain.linear, rtol=1e-7)
    known = factor if options.get("absolute_sigma") else 1.0
    np.testing.assert_allclose(known * other.stderr_nonlinear, plain.stderr_nonlinear, rtol=1e-6)
    np.testing.assert_allclose(known * other.stderr_linear, plain.stderr_linear, rtol=1e-6)
    np.testing.assert_allclose(
        known * np.sqrt(np.diag(other.covariance)), np.sqrt(np.diag(plain.covariance)), rtol=1e-6
    )
    assert other.r_squared == pytest.approx(plain.r_squared, rel=1e-9)
    if not options.get("absolute_sigma"):
        assert other.sigma == pytest.approx(factor * plain.sigma, rel=1e-6)
        for ours, theirs in zip(other.confidence_band(T), plain.confidence_band(T), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_costs_and_ridges_stay_in_the_users_weights():
    factor, told = 1e100, []
    plain = varpro.fit(Exponentials(1), T, Y, ridge=0.5, weights=np.ones(61))
    other = varpro.fit(Exponentials(1), T, Y, ridge=0.5 * factor**2, weights=np.full(61, factor), callback=told.append)
    np.testing.assert_allclose(other.nonlinear, plain.nonlinear, rtol=1e-7)
    assert other.rss == pytest.approx(factor**2 * plain.rss, rel=1e-7)
    assert other.cost == pytest.approx(factor**2 * plain.cost, rel=1e-7)
    assert other.ridge == pytest.approx(factor**2 * plain.ridge, rel=1e-15)
    assert other.history[-1].cost == told[-1].cost == pytest.approx(other.cost, rel=1e-9)
    matrix = varpro.fit(Exponentials(1), T, Y, ridge=[[np.sqrt(0.5) * factor]], weights=np.full(61, factor))
    np.testing.assert_allclose(matrix.nonlinear, plain.nonlinear, rtol=1e-7)


def test_the_functional_is_in_the_users_weights():
    t, y = decay_data()
    plain, other = (varpro.functional(decays, t, y, [1.0, 4.0], weights=np.full(61, k)) for k in (1.0, 1e100))
    w = [1.2, 3.5]
    assert other(w) == pytest.approx(1e200 * plain(w), rel=1e-12)
    np.testing.assert_allclose(other.gradient(w), 1e200 * plain.gradient(w), rtol=1e-9)
    for ours, theirs in ((other.residual(w), plain.residual(w)), (other.jacobian(w), plain.jacobian(w))):
        np.testing.assert_allclose(ours, 1e100 * theirs, atol=1e-12 * 1e100 * np.abs(theirs).max())


MODELS = ["exponential", "gaussian", "function"]


@pytest.mark.parametrize(
    "model", [Exponentials(1), Gaussians(1), lambda t, w: np.exp(-t / w[0])[..., None]], ids=MODELS
)
@pytest.mark.parametrize(
    "options", [{}, {"loss": "huber"}, {"weights": np.linspace(1, 2, 61)}], ids=["", "huber", "weights"]
)
def test_pixels_without_light_give_no_warning(model, options):
    y = np.stack([Y, 1e-300 * Y, 0.0 * Y, np.full(61, 1e-300), 1e-200 * Y])
    start = [1.0] if not hasattr(model, "guess") else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        many = varpro.fit_batch(model, T, y, start, **options)
        assert np.isfinite(many.stderr_nonlinear[0, 0])
        assert many.stderr_linear.shape == many.linear.shape
        for fit in (many[1], many[2], many[3]):
            assert fit.covariance.shape == fit.correlation.shape
            assert str(fit)
    # a Gaussian comes closest to a decay with its center at infinity, which is no minimum
    assert many.success[0] or isinstance(model, Gaussians)
    assert not (many.success[0] and isinstance(model, Gaussians) and not options)
    assert not many.success[2]


@pytest.mark.parametrize("pinned", [False, True])
def test_coefficients_of_complex_data_are_complex_and_the_users(pinned):
    t, _ = decay_data()
    a = np.array([1.0 - 0.5j, 2.0 + 1.0j, 0.3j])
    term = (lambda t, w: np.cos(t)) if pinned else None
    y = decays(t, [1.0, 4.0]) @ a + (np.cos(t) if pinned else 0.0)
    f = varpro.functional(decays, t, y, [1.0, 4.0], derivative=None if pinned else DECAY_DERIVATIVE, fixed_term=term)
    found = f.coefficients([1.0, 4.0])
    assert found.shape == (3, 1)
    np.testing.assert_allclose(found[:, 0], a, rtol=1e-9)
    assert np.sum(f.residual([1.0, 4.0]) ** 2) < 1e-20


def test_coefficients_leave_out_the_one_of_a_fixed_term():
    t, y = decay_data()
    plain = varpro.functional(decays, t, y, [1.0, 4.0])
    with_term = varpro.functional(decays, t, y + np.cos(t), [1.0, 4.0], fixed_term=lambda t, w: np.cos(t))
    np.testing.assert_allclose(with_term.coefficients([1.0, 4.0]), plain.coefficients([1.0, 4.0]), rtol=1e-9)
