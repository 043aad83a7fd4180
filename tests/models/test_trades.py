"""Models of the trades: what defines each of them, its bounds, and its example."""

import numpy as np
import pytest
import scipy

import varpro
from varpro import models
from varpro.errors import ShapeError

T = np.linspace(0.0, 10.0, 301)


def noisy(y, share=0.01, seed=0):
    return y + share * np.ptp(y) * np.random.default_rng(seed).standard_normal(y.shape)


def test_a_decay_through_a_response_is_the_convolution():
    """The integral of the normal density times the decay, at points before, in and after the response."""
    tau, center, sigma = 0.7, 2.0, 0.3
    phi = models.SeenExponentials(1)(np.array([1.5, 2.0, 2.4, 6.0]), np.array([tau, center, sigma]))[:, 0]
    for x, value in zip([1.5, 2.0, 2.4, 6.0], phi, strict=True):

        def product(s, x=x):
            return scipy.stats.norm.pdf(x - center - s, scale=sigma) * np.exp(-s / tau)

        peak = [x - center] if x > center else None
        found = scipy.integrate.quad(product, 0, 20, points=peak, epsabs=1e-14, limit=400)[0]
        assert value == pytest.approx(found, rel=1e-8)


@pytest.mark.parametrize("w", [[1e-3, 2.0, 0.3], [1e4, 2.0, 0.3], [0.7, 2.0, 1e-6], [1e-3, 9.0, 1e-4]])
def test_a_decay_through_a_response_is_finite_at_the_extremes(w):
    model = models.SeenExponentials(1)
    assert np.isfinite(model(T, np.array(w))).all()
    assert np.isfinite(model.columns(T, np.array(w))).all()


def test_a_narrow_response_leaves_the_bare_decay_and_a_wide_one_fits():
    phi = models.SeenExponentials(1)(T, np.array([1.5, 0.99, 1e-4]))[:, 0]
    np.testing.assert_allclose(phi[T > 1], np.exp(-(T[T > 1] - 0.99) / 1.5), rtol=1e-6)
    model = models.SeenExponentials(2, offset=True)
    truth = np.array([0.6, 3.0, 1.0, 0.15])
    fit = varpro.fit(model, T, noisy(model(T, truth) @ [3.0, 2.0, 0.2], 0.003))
    np.testing.assert_allclose(fit.nonlinear, truth, atol=5 * fit.stderr_nonlinear.max())
    assert (fit.nonlinear[:2] > 0).all()


@pytest.mark.parametrize("beta", [0.4, 1.0, 2.0])
def test_a_stretched_exponential_is_known_at_its_lifetime(beta):
    model = models.StretchedExponentials(1)
    assert model(np.array([2.0]), np.array([2.0, beta]))[0, 0] == pytest.approx(np.exp(-1))
    mean = scipy.integrate.quad(
        lambda t: float(model(np.array([t]), np.array([2.0, beta]))[0, 0]), 0, np.inf, limit=400
    )[0]
    assert mean == pytest.approx(2.0 * scipy.special.gamma(1 / beta) / beta, rel=1e-6)


@pytest.mark.parametrize(
    ("model", "w", "half"),
    [
        (models.PseudoVoigt(1), [3.0, 0.4], 0.4),
        (models.Pearson(1), [3.0, 0.4, 0.7], 0.4),
        (models.Pearson(1), [3.0, 0.4, 9.0], 0.4),
    ],
)
def test_lines_have_half_their_height_at_their_width(model, w, half):
    phi = model(np.array([3.0, 3.0 + half, 3.0 - half]), np.array(w))
    np.testing.assert_allclose(phi, np.array([1.0, 0.5, 0.5])[:, None] * np.ones(phi.shape[1]), rtol=1e-12)


def test_pearson_is_a_lorentzian_at_one_and_a_gaussian_far_out():
    pearson, c = models.Pearson(1), np.array([3.0, 0.4])
    both = models.PseudoVoigt(1)(T, c)
    np.testing.assert_allclose(pearson(T, np.append(c, 1.0))[:, 0], both[:, 1], rtol=1e-12)
    np.testing.assert_allclose(pearson(T, np.append(c, 1e5))[:, 0], both[:, 0], atol=1e-5)


def test_the_share_of_a_pseudo_voigt_is_a_ratio_of_amplitudes():
    model = models.PseudoVoigt(1, offset=True)
    fit = varpro.fit(model, T, noisy(model(T, np.array([4.0, 0.5])) @ [0.7, 0.3, 0.1], 0.002), linear="nonnegative")
    gaussian, lorentzian, _ = fit.linear
    assert lorentzian / (gaussian + lorentzian) == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("q", [-2.0, 0.0, 0.5, 4.0])
def test_fanos_profile_is_linear_in_both_columns(q):
    x = (T - 4.0) / 0.5
    fit = varpro.fit(models.Fano(1, offset=True), T, 3.0 * (q + x) ** 2 / (1 + x**2), w0=[4.1, 0.6])
    np.testing.assert_allclose(np.abs(fit.nonlinear), [4.0, 0.5], rtol=1e-6)
    np.testing.assert_allclose(fit.linear, [3 * (q**2 - 1), 6 * q, 3.0], atol=1e-5)


def test_sigmoids_and_doses_are_at_one_half_where_they_say():
    assert models.Sigmoids(1)(np.array([4.0]), np.array([4.0, 0.3]))[0, 0] == 0.5
    assert models.Hill(1)(np.array([4.0]), np.array([4.0, 2.8]))[0, 0] == pytest.approx(0.5)
    np.testing.assert_allclose(
        models.MichaelisMenten(1)(T, np.array([2.0])), models.Hill(1)(T, np.array([2.0, 1.0])), atol=1e-15
    )
    assert models.Hill(1)(np.zeros(1), np.array([2.0, 0.5]))[0, 0] == 0.0


def test_a_magnitude_loses_its_sign_only():
    signed, magnitude = models.InversionRecovery(1), models.InversionRecovery(1, magnitude=True)
    w = np.array([2.0, 1.9])
    np.testing.assert_array_equal(np.abs(signed(T, w)), magnitude(T, w))
    fit = varpro.fit(magnitude, T, noisy(3.0 * magnitude(T, w)[:, 0]))
    np.testing.assert_allclose(fit.nonlinear, w, rtol=0.03)


@pytest.mark.parametrize(
    ("model", "truth", "a"),
    [
        (models.StretchedExponentials(1, offset=True), [2.0, 0.6], [2.0, 1.0]),
        (models.Hill(1, offset=True), [3.0, 2.5], [2.0, 0.5]),
        (models.MichaelisMenten(1), [2.0], [3.0]),
        (models.Sigmoids(2, offset=True), [3.0, 0.3, 7.0, 0.5], [1.0, 2.0, 0.3]),
        (models.Pearson(2), [3.0, 0.4, 1.5, 7.0, 0.3, 3.0], [2.0, 1.0]),
        (models.Powers(1, offset=True), [1.7], [2.0, 5.0]),
        (models.InversionRecovery(1), [2.0, 1.9], [3.0]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, models.Model) else "",
)
def test_each_fits_its_own_curves_from_its_own_guess(model, truth, a):
    truth = np.array(truth)
    fit = varpro.fit(model, T, noisy(model(T, truth) @ np.array(a), 0.003))
    assert fit.success
    np.testing.assert_allclose(np.abs(fit.nonlinear - truth) / fit.stderr_nonlinear, 0.0, atol=5.0)
    bounds = model.natural_bounds(T)
    if bounds is not None:
        assert (bounds[0] <= fit.nonlinear).all()
        assert (fit.nonlinear <= bounds[1]).all()


@pytest.mark.parametrize("round_", [False, True])
def test_spots_come_back_from_an_image(round_):
    model = models.Spots(2, offset=True, round=round_)
    truth = np.array([12.0, 10.0, 2.5, 33.0, 25.0, 3.5] if round_ else [12.0, 10.0, 2.0, 3.0, 33.0, 25.0, 4.0, 2.5])
    t = models.Spots.pixels((40, 50))
    assert t.shape == (2000, 2)
    assert t[51].tolist() == [1.0, 1.0]
    clean = model(t, truth) @ [3.0, 2.0, 0.5]
    varpro.check_derivative(model, t, truth)
    ratio = model.guess(t, noisy(clean)) / truth
    assert ((ratio > 0.5) & (ratio < 2)).all()
    fit = varpro.fit(model, t, noisy(clean))
    np.testing.assert_allclose(fit.nonlinear, truth, atol=5 * fit.stderr_nonlinear.max())
    assert fit.names == model.parameter_names
    image = noisy(clean)
    image[777] = np.nan
    np.testing.assert_allclose(varpro.fit(model, t, image).nonlinear, fit.nonlinear, rtol=1e-2)


@pytest.mark.parametrize("units", [(1.0, 1e3), (1e-9, 1.0), (1e6, 1e-3), (1e12, 1e12)])
def test_each_axis_of_spots_has_its_own_unit(units):
    """An image of seconds by hertz: the guess and the fit of the same image in other units, converted."""
    model, t = models.Spots(2, offset=True), models.Spots.pixels((40, 50))
    truth = np.array([12.0, 10.0, 2.0, 3.0, 33.0, 25.0, 4.0, 2.5])
    image, factor = noisy(model(t, truth) @ [3.0, 2.0, 0.5]), np.tile(units, 4)
    guess, fit = model.guess(t, image), varpro.fit(model, t, image)
    np.testing.assert_allclose(model.guess(t * units, image), guess * factor, rtol=1e-9)
    other = varpro.fit(model, t * units, image)
    assert fit.success
    assert other.success
    np.testing.assert_allclose(other.rss, fit.rss, rtol=1e-9)
    np.testing.assert_allclose(other.nonlinear, fit.nonlinear * factor, rtol=1e-5)
    lone = models.Spots(1, round=True)  # one width: both axes are in one unit
    one = lone(t, np.array([12.0, 10.0, 2.5]))[:, 0]
    np.testing.assert_allclose(lone.guess(t * units[1], one), lone.guess(t, one) * units[1], rtol=1e-9)


def test_a_guess_of_spots_is_finite_whatever_the_image():
    t, model = models.Spots.pixels((9, 8)), models.Spots(3, offset=True)
    for image in (np.zeros(72), np.ones(72), np.full(72, np.nan), np.random.default_rng(0).standard_normal(72)):
        assert np.isfinite(model.guess(t, image)).all()


def test_spots_need_points_of_an_image():
    with pytest.raises(ShapeError, match=r"t has shape \(301,\); Spots needs points \(N, 2\)"):
        models.Spots(1)(T, np.ones(4))
    with pytest.raises(ShapeError, match=r"a guess needs t \(N, 2\)"):
        models.Spots(1).guess(T, T)
