"""Leverage, whiteness and the warnings of a fit."""

import numpy as np
import pytest

import varpro
from varpro.fitting.diagnostics import durbin_watson, runs_test, whiteness

T = np.linspace(0.0, 12.5, 200)
DECAY = varpro.models.Exponentials(1, offset=True)


def noisy(seed=0, sigma=0.05):
    return DECAY(T, np.array([2.0])) @ [3.0, 1.0] + sigma * np.random.default_rng(seed).standard_normal(200)


def test_leverage_is_the_derivative_of_a_fitted_value_by_its_value():
    y = noisy(sigma=0.001)
    weights = np.linspace(0.5, 2.0, 200)
    fit = varpro.fit(DECAY, T, y, w0=[2.0], weights=weights)
    for n in (0, 3, 120):
        step = np.zeros(200)
        step[n] = 1e-5
        up, down = (varpro.fit(DECAY, T, y + s * step, w0=fit.nonlinear, weights=weights) for s in (1, -1))
        assert (up.fitted[n] - down.fitted[n]) / 2e-5 == pytest.approx(fit.leverage[n], rel=1e-3)


@pytest.mark.parametrize("options", [{}, {"weights": np.linspace(0.5, 2.0, 200)}, {"fixed": ["tau_1"]}])
def test_leverages_add_up_to_the_parameters(options):
    y = noisy()
    y[[3, 50]] = np.nan
    w0 = [2.0, 5.0] if "fixed" in options else None
    model = varpro.models.Exponentials(2, offset=True) if "fixed" in options else DECAY
    fit = varpro.fit(model, T, y, w0=w0, **options)
    assert fit.leverage.sum() == pytest.approx(198 - fit.dof, rel=1e-9)
    assert (fit.leverage[[3, 50]] == 0).all()


def test_leverage_has_the_shape_of_the_data():
    several = varpro.fit(DECAY, T, np.stack([noisy(0), noisy(1)], axis=1))
    assert several.leverage.shape == (200, 2)
    z = np.exp((-0.3 + 2.0j) * T) + 0.01 * np.exp(1e4j * T)
    tone = varpro.fit(lambda t, w: np.exp(np.multiply.outer(t, w)), T, z, np.array([-0.3 + 2.1j]))
    assert (tone.leverage.real + tone.leverage.imag).sum() == pytest.approx(4.0, rel=1e-9)


def test_the_moments_of_durbin_and_watson_are_those_of_white_noise():
    """Of 4,000 residuals of a straight line through 15 points, z has mean 0 and variance 1."""
    x = np.linspace(0.0, 1.0, 15)
    q = np.linalg.qr(np.stack([np.ones(15), x], axis=1))[0]
    noise = np.random.default_rng(0).standard_normal((4000, 15))
    z = np.array([durbin_watson(r, q)[1] for r in noise - noise @ q @ q.T])
    assert abs(z.mean()) < 4 / np.sqrt(4000)
    assert z.std() == pytest.approx(1.0, abs=0.05)
    d = durbin_watson(np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0]), np.zeros((6, 0)))[0]
    assert d == pytest.approx(4.0 * 5 / 6)


def test_the_runs_test_counts_runs():
    assert runs_test(np.tile([1.0, -1.0], 20)) > 5
    assert runs_test(np.repeat([1.0, -1.0], 20)) < -5
    assert np.isnan(runs_test(np.ones(40)))
    z = [runs_test(np.random.default_rng(s).standard_normal(200)) for s in range(1000)]
    assert abs(np.mean(z)) < 0.15
    assert np.std(z) == pytest.approx(1.0, abs=0.1)


def test_white_residuals_are_hardly_ever_called_otherwise():
    """The two tests together speak for at most 1 % of white residuals; 3 of 100 would have a probability below 0.08."""
    spoken = [any("white" in w for w in varpro.fit(DECAY, T, noisy(seed), w0=[2.0]).warnings) for seed in range(100)]
    assert sum(spoken) <= 4


def test_what_a_model_leaves_over_is_noticed_in_any_order_of_the_points():
    y = varpro.models.Exponentials(2, offset=True)(T, np.array([0.5, 4.0])) @ [2.0, 2.0, 1.0] + noisy() * 0.01
    order = np.random.default_rng(1).permutation(200)
    for way in (slice(None), order):
        (warning,) = [w for w in varpro.fit(DECAY, T[way], y[way]).warnings if "white" in w]
        assert "Durbin-Watson" in warning
        assert "runs" in warning


def test_complex_and_several_right_hand_sides_are_tested_together():
    fit = varpro.fit(DECAY, T, np.stack([noisy(0), noisy(1)], axis=1))
    d, z, runs = whiteness(fit)
    assert 1.5 < d < 2.5
    assert abs(z) < 4
    assert abs(runs) < 4
    assert np.isnan(whiteness(varpro.fit(lambda t, w: np.exp(-t / w[0]), T[:, None], noisy(), [2.0]))).all()


def test_correlated_parameters_are_named():
    model = varpro.models.Exponentials(2)
    y = model(T, np.array([2.0, 2.6])) @ [1.0, 1.0] + 1e-3 * np.sin(1e4 * np.sin(1.0 + np.arange(200.0)))
    fit = varpro.fit(model, T, y, w0=[1.8, 3.0])
    (warning,) = [w for w in fit.warnings if "correlated" in w]
    assert "exp_1 and exp_2" in warning
    assert f"Beware: {warning}." in str(fit)


def test_a_point_that_carries_the_fit_is_named():
    t = np.append(np.linspace(0.0, 1.0, 30), 20.0)
    y = 1.0 + 0.5 * t + 0.01 * np.random.default_rng(0).standard_normal(31) + np.exp(-((t - 0.5) ** 2) / 0.02)
    fit = varpro.fit(varpro.models.Gaussians(1) + varpro.models.Polynomial(1), t, y)
    (warning,) = [w for w in fit.warnings if "leverage" in w]
    assert "rows 30 (0.99)" in warning


def test_a_good_fit_has_no_warnings_and_one_that_failed_none_either():
    assert varpro.fit(DECAY, T, noisy()).warnings == ()
    assert varpro.fit(DECAY, T, noisy(), w0=[90.0], max_iterations=1).warnings == ()


def test_warnings_travel_with_a_result_whose_model_cannot():
    import pickle

    y = varpro.models.Exponentials(2, offset=True)(T, np.array([0.5, 4.0])) @ [2.0, 2.0, 1.0]
    fit = varpro.fit(lambda t, w: np.stack([np.exp(-t / w[0]), np.ones_like(t)], axis=1), T, y, w0=[2.0])
    back = pickle.loads(pickle.dumps(fit))
    assert back.warnings == fit.warnings != ()
    assert str(back) == str(fit)


def test_a_notebook_shows_the_table_with_what_to_beware_of():
    y = varpro.models.Exponentials(2, offset=True)(T, np.array([0.5, 4.0])) @ [2.0, 2.0, 1.0]
    page = varpro.fit(DECAY, T, y, linear_names=["a<b", "offset"])._repr_html_()
    assert "<td>tau_1</td>" in page
    assert "a&lt;b" in page
    assert "Beware" in page
    many = varpro.fit_batch(DECAY, T, np.stack([noisy(0), noisy(1)]))._repr_html_()
    assert "<td>offset</td>" in many
    assert "2 problems" in many


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e9])
def test_rounding_is_no_noise_that_could_be_white(unit):
    model, t = varpro.models.Exponentials(2, offset=True), np.linspace(0.0, 12.0, 300)
    y = unit * (model(t, np.array([1.0, 4.0])) @ [3.0, 2.0, 0.5])
    assert not [word for word in varpro.fit(model, t, y, [0.8, 5.0]).warnings if "white" in word]
