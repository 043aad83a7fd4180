"""Bootstraps: their spread is that of linear propagation where that holds, and the mistakes are told."""

import numpy as np
import pytest

import varpro
from varpro.errors import ConfigError

MODEL = varpro.models.Exponentials(2, offset=True)
KINDS = ["residual", "parametric", "cases"]


def data(n=300, k=None, seed=0):
    t, rng = np.linspace(0.0, 12.5, n), np.random.default_rng(seed)
    clean = MODEL(t, np.array([1.0, 3.0])) @ np.array([4.0, 2.5, 1.0])
    if k is not None:
        clean = clean[:, None] * np.arange(1.0, k + 1)
    return t, clean + 0.05 * rng.standard_normal(clean.shape)


@pytest.mark.parametrize("kind", KINDS)
def test_the_spread_is_that_of_the_errors(kind):
    """A standard deviation from 2,000 draws is known to 1.6 %; cases let the design vary as well."""
    fit = varpro.fit(MODEL, *data())
    found = fit.bootstrap(2000, kind)
    tolerance = 0.25 if kind == "cases" else 0.08
    np.testing.assert_allclose(found.stderr_nonlinear, fit.stderr_nonlinear, rtol=tolerance)
    np.testing.assert_allclose(found.stderr_linear[:, 0], fit.stderr_linear, rtol=tolerance)
    np.testing.assert_allclose(found.nonlinear.mean(axis=0), fit.nonlinear, atol=0.3 * fit.stderr_nonlinear.max())
    assert found.failed + len(found) == 2000
    assert found.failed < 20


@pytest.mark.parametrize("kind", KINDS)
def test_an_interval_is_a_quantile_of_the_draws(kind):
    found = varpro.fit(MODEL, *data()).bootstrap(200, kind)
    low, high = found.interval("tau_2", 0.9)
    inside = (found.nonlinear[:, 1] >= low) & (found.nonlinear[:, 1] <= high)
    assert inside.mean() == pytest.approx(0.9, abs=0.01)
    assert found.interval("offset")[0] < found.interval("offset", 0.5)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_excluded_values_weights_and_right_hand_sides_are_kept(kind):
    t, y = data(n=200, k=3)
    y[7] = np.nan
    y[11, 1] = np.nan
    fit = varpro.fit(MODEL, t, y, weights=np.linspace(0.5, 2.0, 200), w0=[1.0, 3.0])
    found = fit.bootstrap(200, kind)
    assert found.linear.shape[1:] == (3, 3)
    assert np.isfinite(found.linear).all()
    np.testing.assert_allclose(found.stderr_nonlinear, fit.stderr_nonlinear, rtol=0.4)
    assert f"{fit.linear_names[0]}[2]" in found.to_dict()


def test_a_python_function_gives_the_draws_of_the_ready_model():
    t, y = data()

    def decays(t, w):
        one = np.ones(np.broadcast_shapes(np.shape(t), np.shape(w[0])))
        return np.stack([np.exp(-t / w[0]), np.exp(-t / w[1]), one], axis=-1)

    ready = varpro.fit(MODEL, t, y, w0=[1.0, 3.0]).bootstrap(20, "parametric")
    own = varpro.fit(decays, t, y, w0=[1.0, 3.0], names=["tau_1", "tau_2"]).bootstrap(20, "parametric")
    np.testing.assert_allclose(own.nonlinear, ready.nonlinear, rtol=1e-4)


def test_robust_complex_and_bounded_fits_have_one_too():
    t, y = data()
    y[5] += 3.0
    robust = varpro.fit(MODEL, t, y, loss="huber")
    np.testing.assert_allclose(robust.bootstrap(200).stderr_nonlinear, robust.stderr_nonlinear, rtol=0.4)
    bounded = varpro.fit(MODEL, *data(), linear="nonnegative").bootstrap(40)
    assert (bounded.linear >= 0).all()
    z = np.exp((-0.3 + 2.0j) * t) + 0.02 * (np.cos(1e4 * t) + 1j * np.sin(2e4 * t))
    tone = varpro.fit(lambda t, w: np.exp(np.multiply.outer(t, w)), t, z, np.array([-0.3 + 2.1j]))
    found = tone.bootstrap(100, "parametric")
    np.testing.assert_allclose(found.stderr_nonlinear.imag, tone.stderr_nonlinear.imag, rtol=0.4)
    assert found.names == ("w_0.real", "w_0.imag")
    assert found.interval("w_0.imag")[0] < 2.0 < found.interval("w_0.imag")[1]


def test_a_seed_repeats_and_another_does_not():
    fit = varpro.fit(MODEL, *data())
    one, two, other = fit.bootstrap(10, seed=1), fit.bootstrap(10, seed=1), fit.bootstrap(10, seed=2)
    np.testing.assert_array_equal(one.nonlinear, two.nonlinear)
    assert not np.array_equal(one.nonlinear, other.nonlinear)


def test_progress_gets_every_refit():
    told = []
    varpro.fit(MODEL, *data()).bootstrap(50, progress=told.append)
    assert sum(told) == 50


def test_the_table_names_parameters_and_kind():
    found = varpro.fit(MODEL, *data()).bootstrap(20, "cases")
    text, page = str(found), found._repr_html_()
    assert "cases bootstrap of 20 refits" in text
    for name in ("tau_1", "tau_2", "exp_1", "offset"):
        assert name in text
        assert f"<td>{name}</td>" in page


@pytest.mark.parametrize(
    ("options", "arguments", "said"),
    [
        ({"max_iterations": 1, "w0": [0.1, 90.0]}, {}, "a bootstrap needs a fit that converged"),
        ({}, {"kind": "jackknife"}, "kind is 'jackknife'; choose 'residual', 'parametric' or 'cases'"),
        ({}, {"n": 1}, "the number of refits, is 1; it must be an integer of at least 2"),
    ],
)
def test_mistakes_are_told_in_one_line(options, arguments, said):
    fit = varpro.fit(MODEL, *data(), **options)
    with pytest.raises(ConfigError, match=said) as error:
        fit.bootstrap(**arguments)
    assert "\n" not in str(error.value)


def test_a_parameter_that_does_not_exist_is_told():
    with pytest.raises(ConfigError, match="no parameter is called 'rate'"):
        varpro.fit(MODEL, *data()).bootstrap(10).interval("rate")
