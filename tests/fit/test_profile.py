"""Profile intervals: lmfit's answers, exact ones of a linear parameter, and ends that do not close."""

import numpy as np
import pytest
import scipy

import varpro
from varpro.errors import ConfigError

MODEL = varpro.models.Exponentials(2, offset=True)
LMFIT = {
    "tau_1": (0.9163571, 1.0037158),
    "tau_2": (2.7289941, 3.0917166),
    "exp_1": (3.5874739, 4.0832349),
    "exp_2": (2.4296291, 2.9227701),
    "offset": (0.9911417, 1.0170945),
}
"""Ends at 95 % by conf_interval of lmfit 1.3.4, from bench/interval_peers.py."""


def data():
    """Two decays with noise that needs no random numbers."""
    t = np.linspace(0.0, 12.5, 200)
    noise = 0.03 * np.sin(1e4 * np.sin(1.0 + np.arange(200.0)))
    return t, MODEL(t, np.array([1.0, 3.0])) @ [4.0, 2.5, 1.0] + noise


@pytest.fixture(scope="module")
def fit():
    return varpro.fit(MODEL, *data())


@pytest.mark.parametrize("name", LMFIT)
def test_the_ends_are_those_of_lmfit(fit, name):
    found = fit.profile(name)
    lower, upper = LMFIT[name]
    np.testing.assert_allclose([found.lower, found.upper], [lower, upper], atol=1e-3 * (upper - lower), rtol=0)
    assert found.closed == (True, True)
    assert found.message == ""


@pytest.mark.parametrize("name", ["tau_1", "tau_2", "exp_2"])
def test_the_rise_at_an_end_is_the_quantile_squared(fit, name):
    """Fixing the parameter at an end gives just the sum of squares of the F test."""
    found = fit.profile(name, level=0.9)
    for end in (found.lower, found.upper):
        if name in fit.names:
            held = varpro.fit(MODEL, *data(), w0=fit.nonlinear, fixed={name: end})
        else:
            row = np.eye(3)[fit.linear_names.index(name)]
            held = varpro.fit(MODEL, *data(), w0=fit.nonlinear, linear_equality=(row, [end]))
        f = (held.rss - fit.rss) / (fit.rss / fit.dof)
        assert f == pytest.approx(scipy.stats.f.ppf(0.9, 1, fit.dof), rel=1e-5)


def test_the_interval_of_an_amplitude_of_a_linear_model_is_the_textbook_one():
    """Beside columns that do not move with w the profile is a parabola: Student's t times the standard error."""
    t = np.linspace(0.0, 10.0, 50)
    y = 2.0 + 0.3 * t + np.exp(-((t - 4.0) ** 2) / 0.08) + 0.03 * np.sin(1e4 * np.sin(1.0 + np.arange(50.0)))
    model = varpro.models.Gaussians(1) + varpro.models.Polynomial(1)
    fit = varpro.fit(model, t, y, fixed={"width_1": 0.2}, w0=[4.0, 0.2])
    found = fit.profile("t^1")
    half = scipy.stats.t.ppf(0.975, fit.dof) * fit.stderr_linear[2]
    np.testing.assert_allclose([found.lower, found.upper], fit.linear[2] + np.array([-half, half]), rtol=1e-4)


def test_known_errors_take_the_normal_quantile():
    t, y = data()
    fit = varpro.fit(MODEL, t, y, weights=np.full(200, 50.0), absolute_sigma=True)
    found = fit.profile("tau_2")
    held = varpro.fit(MODEL, t, y, w0=fit.nonlinear, weights=np.full(200, 50.0), fixed={"tau_2": found.upper})
    assert held.rss - fit.rss == pytest.approx(scipy.stats.chi2.ppf(0.95, 1), rel=1e-5)


def test_a_single_parameter_needs_no_search():
    t, y = data()
    fit = varpro.fit(varpro.models.Exponentials(1), t, y)
    found = fit.profile("tau_1")
    held = varpro.functional(varpro.models.Exponentials(1), t, y, [1.0])
    rise = (2 * held([found.lower]) - fit.rss) / (fit.rss / fit.dof)
    assert rise == pytest.approx(scipy.stats.f.ppf(0.95, 1, fit.dof), rel=1e-5)


def test_a_tied_parameter_has_the_interval_of_its_source():
    t, y = data()
    fit = varpro.fit(MODEL, t, y, w0=[1.0, 3.0], tied={"tau_2": ("tau_1", 2.0, 0.5)})
    source, follower = fit.profile("tau_1"), fit.profile("tau_2")
    np.testing.assert_allclose(
        [follower.lower, follower.upper], 2.0 * np.array([source.lower, source.upper]) + 0.5, rtol=1e-6
    )


def test_an_end_at_a_bound_is_the_bound_and_said_so():
    t, y = data()
    fit = varpro.fit(MODEL, t, y, w0=[1.0, 3.0], bounds={"tau_2": (None, 3.05)})
    found = fit.profile("tau_2")
    assert fit.nonlinear[1] < found.upper == 3.05
    assert found.closed == (True, False)
    assert "upper end is the bound of tau_2" in found.message


def test_a_profile_that_does_not_close_is_said_not_invented():
    """A decay of which the data show little more than a straight line may be as slow as it likes."""
    t = np.linspace(0.0, 1.0, 40)
    y = np.exp(-t / 4.0) + 0.02 * np.sin(1e4 * np.sin(1.0 + np.arange(40.0)))
    fit = varpro.fit(varpro.models.Exponentials(1, offset=True), t, y, w0=[3.0])
    assert fit.success
    found = fit.profile("tau_1")
    assert found.closed == (True, False)
    assert found.upper == np.inf
    assert "the upper end is open" in found.message
    assert found.message in str(found)


def test_an_end_where_the_model_has_no_value_is_said_to_be_open():
    """A third lifetime of one step of t or less: towards 0 it fits one point, and below 0 its column overflows."""
    rng = np.random.default_rng(0)
    rng.standard_normal(1000)
    t = np.linspace(0, 12.5, 1000)
    y = varpro.models.Exponentials(2)(t, np.array([1.0, 3.0])) @ [4, 2.5] + 0.05 * rng.standard_normal(1000)
    found = varpro.fit(varpro.models.Exponentials(3), t, y).profile("tau_1")
    assert found.closed == (False, False)
    assert (found.lower, found.upper) == (-np.inf, np.inf)
    assert "the lower end is open: the model has no value beyond tau_1" in found.message


def test_a_curve_of_the_profile_is_monotonic_and_passes_through_zero(fit):
    found = fit.profile("tau_2")
    assert (np.diff(found.values) >= 0).all()
    assert (np.diff(found.z) >= -1e-6).all()
    assert found.z[np.argmin(np.abs(found.values - found.estimate))] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "arguments", "said"),
    [
        ({}, ("tau_9",), "no parameter is called 'tau_9'"),
        ({}, ("tau_1", 1.5), "level is 1.5"),
        ({"loss": "huber"}, ("tau_1",), "loss='linear'"),
        ({"fixed": ["tau_1"]}, ("tau_1",), "it is fixed"),
        ({"linear": "nonnegative"}, ("exp_1",), "without bounds"),
        ({"max_iterations": 1}, ("tau_1",), "needs a fit that converged"),
    ],
)
def test_mistakes_are_told_in_one_line(options, arguments, said):
    fit = varpro.fit(MODEL, *data(), w0=[0.4, 9.0], **options)
    with pytest.raises(ConfigError, match=said) as error:
        fit.profile(*arguments)
    assert "\n" not in str(error.value)


def test_the_plot_is_written(fit, tmp_path):
    pytest.importorskip("matplotlib")
    figure = fit.profile("tau_1").plot(tmp_path / "profile.png")
    assert (tmp_path / "profile.png").stat().st_size > 1000
    assert figure.axes[0].get_xlabel() == "tau_1"


@pytest.mark.parametrize("name", ["tau_2", "exp_1"])
def test_the_curve_is_drawn_evenly_a_fifth_beyond_both_ends(fit, name):
    found = fit.profile(name)
    low, high = (found.estimate + 1.2 * (end - found.estimate) for end in (found.lower, found.upper))
    even = np.linspace(low, high, 17)
    for value in even:
        assert np.abs(found.values - value).min() < 1e-9 * abs(value)
    beside = np.abs(found.z[np.argmin(np.abs(found.values - low))]), found.z[np.argmin(np.abs(found.values - high))]
    assert all(1.1 * found.quantile < z < 1.3 * found.quantile for z in beside)
    inside = (found.values >= found.lower) & (found.values <= found.upper)
    assert (np.abs(found.z[inside]) <= found.quantile * (1 + 1e-6)).all()


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_a_fit_on_a_bound_has_the_same_profile_in_any_unit(unit):
    """On a bound there is no error: the first step comes from the change of the columns, not from the number 1."""
    t, y = data()
    fit = varpro.fit(MODEL, unit * t, y, w0=[unit, 2.6 * unit], bounds={"tau_2": (None, 2.7 * unit)})
    assert fit.nonlinear[1] == 2.7 * unit
    found = fit.profile("tau_2", 0.999)
    held = varpro.fit(MODEL, unit * t, y, w0=fit.nonlinear, fixed={"tau_2": found.lower})
    rise = (held.rss - fit.rss) / (fit.rss / fit.dof)
    assert rise == pytest.approx(scipy.stats.f.ppf(0.999, 1, fit.dof), rel=1e-4)
    assert found.closed == (True, False)
    assert found.upper == 2.7 * unit
    assert len(found.values) < 50


def test_an_amplitude_that_nothing_determines_has_no_ends():
    """Two columns that are one: no interval, and the reason is told instead."""
    t = np.linspace(0.0, 10.0, 50)

    def twice(t, w):
        one = np.exp(-t / w[0])
        return np.stack([one, one, np.ones_like(t)], axis=1)

    y = 2.0 * np.exp(-t / 3.0) + 1.0 + 0.03 * np.sin(1e4 * np.sin(1.0 + np.arange(50.0)))
    fit = varpro.fit(twice, t, y, [2.5])
    if fit.success:
        found = fit.profile("a_0")
        assert (found.lower, found.upper, found.closed) == (-np.inf, np.inf, (False, False))
        assert found.message == "the data do not determine a_0"
    else:
        with pytest.raises(ConfigError, match="needs a fit that converged"):
            fit.profile("a_0")


@pytest.mark.parametrize("name", ["exp_1", "tau_1"])
def test_a_profile_knows_its_level_and_estimate(fit, name):
    found = fit.profile(name, 0.8)
    value = dict(zip((*fit.names, *fit.linear_names), (*fit.nonlinear, *fit.linear), strict=True))[name]
    assert (found.name, found.level) == (name, 0.8)
    assert found.estimate == pytest.approx(value, rel=1e-14)
    assert found.lower < value < found.upper
    assert found.quantile == pytest.approx(scipy.stats.t.ppf(0.9, fit.dof))
    assert f"{name} = {value:.8g}, 80 % from" in str(found)
