"""Decays through a measured response: the integral itself, derivatives, trains of pulses, and fits."""

from itertools import pairwise

import numpy as np
import pytest
import scipy

import varpro
from varpro.errors import ConfigError, ShapeError
from varpro.models import MeasuredExponentials

S = np.linspace(1.0, 3.0, 41)
H = np.exp(-0.5 * ((S - 1.6) / 0.2) ** 2) + 0.3 * np.exp(-0.5 * ((S - 2.2) / 0.2) ** 2) - 0.01
T = np.sort(np.random.default_rng(0).uniform(-1, 9, 37))


def integral(u, tau):
    """int h(s) exp(-(u - s) / tau) ds up to u, piece by piece."""
    pieces = pairwise([*S[u > S], min(u, S[-1])]) if u > S[0] else ()
    return sum(
        scipy.integrate.quad(lambda s: np.interp(s, S, H) * np.exp(-(u - s) / tau), low, high)[0]
        for low, high in pieces
    )


@pytest.mark.parametrize("tau", [0.004, 0.09, 0.7, 300.0])
def test_columns_are_the_integral(tau):
    phi = MeasuredExponentials(S, H)(T, np.array([tau, 0.33]))[:, 0]
    expected = np.array([integral(t - 0.33, tau) for t in T])
    np.testing.assert_allclose(phi, expected, atol=1e-10 * np.abs(expected).max())


def test_a_train_is_the_sum_over_earlier_pulses():
    period, w = 4.5, np.array([2.0, 0.4])
    once, train = MeasuredExponentials(S, H), MeasuredExponentials(S, H, period=period)
    expected = sum(once(T + j * period, w) for j in range(-4, 60))
    np.testing.assert_allclose(train(T, w), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("period", [None, 3.0])
@pytest.mark.parametrize("w", [[0.02, 0.5, 0.1], [0.7, 40.0, -0.3], [3.0, 2e4, 0.013]])
def test_derivatives_are_those_of_differences(w, period):
    model = MeasuredExponentials(S, H, 2, period=period, offset=True)
    w, d = np.array(w), model.columns(T, np.array(w))
    for m, (j, p) in enumerate(model.pairs):
        step = 1e-5 * max(abs(w[p]), 0.01) * np.eye(3)[p]
        central = (model(T, w + step)[:, j] - model(T, w - step)[:, j]) / (2 * step[p])
        bent = np.abs(central - d[:, m])  # the response has kinks, and a jump where a train begins anew
        rounding = 8 * np.finfo(float).eps * np.abs(model(T, w)[:, j]).max() / step[p]
        assert np.median(bent) < 1e-7 * np.abs(central).max() + rounding
        assert np.mean(bent < 1e-3 * np.abs(central).max()) > 0.9


def test_many_problems_at_once_are_single_ones():
    model = MeasuredExponentials(S, H, 2, period=5.0, offset=True)
    w = np.array([[0.3, 2.0, 0.1], [0.5, 3.0, -0.2]])
    for function in (model, model.columns):
        many = function(T, w.T[:, :, None])
        np.testing.assert_array_equal(many, np.stack([function(T, one) for one in w]))


@pytest.mark.parametrize(("period", "offset"), [(None, False), (12.5, True)])
def test_lifetimes_and_shift_are_recovered_from_counts(period, offset):
    rng, t = np.random.default_rng(3), np.linspace(0.0, 12.0, 600)
    model, truth = MeasuredExponentials(S, H, 2, period=period, offset=offset), np.array([0.5, 3.0, 0.07])
    y = rng.poisson(model(t, truth) @ ([9000.0, 5000.0, 20.0] if offset else [9000.0, 5000.0])).astype(float)
    fit = varpro.fit(model, t, y, weights=1 / np.sqrt(y + 1), absolute_sigma=True)
    assert fit.success
    assert (np.abs(fit.nonlinear - truth) < 5 * fit.stderr_nonlinear).all()
    assert fit.reduced_chi2 < 1.2
    if period is not None:  # a model of one pulse sees the rest of earlier ones as an offset
        single = varpro.fit(MeasuredExponentials(S, H, 2, offset=True), t, y, weights=1 / np.sqrt(y + 1))
        assert single.rss > 1.4 * fit.rss


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "said"),
    [
        ((S, H[:-1]), {}, ShapeError, r"irf_t has shape \(41,\), irf \(40,\)"),
        ((S**2, H), {}, ConfigError, "irf_t has steps from"),
        ((S, 0 * H), {}, ConfigError, "not all of them 0"),
        ((S, H), {"period": 1.0}, ConfigError, "period is 1.0; the response lasts 2"),
        ((S, H, 0), {}, ConfigError, "n of MeasuredExponentials is 0"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, options, kind, said):
    with pytest.raises(kind, match=said) as error:
        MeasuredExponentials(*arguments, **options)
    assert "\n" not in str(error.value)
