"""Joint fits of several sets: lmfit's answers, sharing and linking, and what each set gets back."""

import pickle

import numpy as np
import pytest

import varpro
from varpro.errors import ConfigError, DataError, ShapeError

MODEL = varpro.models.Exponentials(2, offset=True)
LMFIT = {
    "tau_1": (0.98649312, 0.02009359),
    "tau_2": (3.03173805, 0.11346886),
    "exp_1[0]": (4.01948568, 0.10553985),
    "exp_2[0]": (2.00145399, 0.10588116),
    "offset[0]": (0.99690622, 0.01108477),
    "exp_1[1]": (2.05330760, 0.13364387),
    "exp_2[1]": (2.94882314, 0.11196563),
    "offset[1]": (0.50194587, 0.01463963),
    "exp_1[2]": (1.01456601, 0.04363143),
    "exp_2[2]": (0.98574121, 0.03840311),
    "offset[2]": (0.00047795, 0.00539610),
}
"""Value and standard error by lmfit 1.3.4, from bench/joint_peers.py."""


def noise(n, s):
    """Noise of variance 1 that needs no random numbers."""
    return np.sqrt(2.0) * np.sin(1e4 * np.sin(1.0 + s + np.arange(float(n))))


def three_sets():
    """Sets of different length, points and precision."""
    sets = []
    for s, (n, end, a, sigma) in enumerate(
        [(80, 8, [4, 2, 1], 0.02), (120, 12, [2, 3, 0.5], 0.05), (60, 10, [1, 1, 0], 0.01)]
    ):
        t = np.linspace(0.0, end, n)
        sets.append((t, MODEL(t, np.array([1.0, 3.0])) @ a + sigma * noise(n, s), np.full(n, 1 / sigma)))
    return sets


@pytest.fixture(scope="module")
def joint():
    return varpro.fit_global(three_sets(), MODEL)


def test_the_answers_are_those_of_lmfit(joint):
    ours = dict(zip(joint.names, zip(joint.nonlinear, joint.stderr_nonlinear, strict=True), strict=True))
    ours |= dict(zip(joint.linear_names, zip(joint.linear, joint.stderr_linear, strict=True), strict=True))
    assert ours.keys() == LMFIT.keys()
    for name, (value, error) in LMFIT.items():
        assert ours[name][0] == pytest.approx(value, rel=1e-6, abs=1e-5 * error), name
        assert ours[name][1] == pytest.approx(error, rel=1e-3), name


def test_each_set_gets_what_is_its_own(joint):
    for s, ((t, y, weight), own) in enumerate(zip(three_sets(), joint.sets, strict=True)):
        assert own.label == str(s)
        np.testing.assert_array_equal(own.nonlinear, joint.nonlinear)
        np.testing.assert_allclose(own.fitted, MODEL(t, own.nonlinear) @ own.linear, rtol=1e-12)
        np.testing.assert_allclose(own.residual, y - own.fitted, atol=1e-14)
        np.testing.assert_allclose(joint.predict(t, of=s), own.fitted, rtol=1e-12)
        assert own.rss == pytest.approx(np.sum((weight * own.residual) ** 2))
        lower, upper = joint.confidence_band(t, of=s)
        assert (lower < own.fitted).all()
        assert (own.fitted < upper).all()
    assert sum(own.rss for own in joint.sets) == pytest.approx(joint.rss)


def test_equal_points_and_shared_parameters_are_right_hand_sides():
    """Then a joint fit is an ordinary one with several right-hand sides."""
    t = np.linspace(0.0, 8.0, 60)
    y = np.stack(
        [MODEL(t, np.array([1.0, 3.0])) @ a + 0.02 * noise(60, s) for s, a in enumerate([[4, 2, 1], [1, 3, 0]])]
    )
    one, joint = varpro.fit(MODEL, t, y.T), varpro.fit_global(list(zip([t, t], y, strict=True)), MODEL)
    np.testing.assert_allclose(joint.nonlinear, one.nonlinear, rtol=1e-8)
    np.testing.assert_allclose(joint.stderr_nonlinear, one.stderr_nonlinear, rtol=1e-6)
    np.testing.assert_allclose(joint.linear, one.linear.T.ravel(), rtol=1e-7)
    assert joint.rss == pytest.approx(one.rss, rel=1e-10)
    assert joint.dof == one.dof


def test_own_parameters_that_are_tied_are_shared_ones():
    sets = three_sets()
    joint = varpro.fit_global(sets, MODEL, shared=["tau_1"])
    assert joint.names == ("tau_1", "tau_2[0]", "tau_2[1]", "tau_2[2]")
    tight = varpro.fit_global(sets, MODEL, shared=["tau_1"], tied={"tau_2[1]": "tau_2[0]", "tau_2[2]": "tau_2[0]"})
    whole = varpro.fit_global(sets, MODEL)
    np.testing.assert_allclose(tight.nonlinear[[0, 1]], whole.nonlinear, rtol=1e-7)
    assert joint.rss < whole.rss
    assert joint.f_test(whole)[0] > 0


def test_linked_amplitudes_have_one_value_up_to_a_scale():
    peaks, truth, scales = (
        varpro.models.Gaussians(2),
        np.array([3.0, 0.5, 6.0, 1.0]),
        {"low": 1.0, "mid": 0.5, "high": 2.3},
    )
    t = np.linspace(0.0, 10.0, 90)
    sets = {k: (t, f * (peaks(t, truth) @ [2.0, 1.0]) + 0.01 * noise(90, s)) for s, (k, f) in enumerate(scales.items())}
    joint = varpro.fit_global(sets, peaks, linked="all", scales=True)
    assert joint.labels == ("low", "mid", "high")
    assert joint.names[4:] == ("scale[mid]", "scale[high]")
    assert joint.linear_names == ("gaussian_1", "gaussian_2")
    np.testing.assert_allclose(joint.nonlinear[4:], [0.5, 2.3], rtol=0.01)
    for own, factor in zip(joint.sets, (1.0, *joint.nonlinear[4:]), strict=True):
        np.testing.assert_allclose(own.linear, factor * joint.linear, rtol=1e-12)
    own = varpro.fit_global(sets, peaks)
    assert own.rss < joint.rss < 1.1 * own.rss
    equal = varpro.fit_global({k: (t, y / scales[k]) for k, (t, y) in sets.items()}, peaks, linked="all")
    np.testing.assert_allclose(equal.linear, [2.0, 1.0], rtol=0.02)


def test_the_joint_derivative_is_that_of_the_complex_step():
    sets = [(t, y) for t, y, _ in three_sets()]
    mixed = [MODEL, MODEL, varpro.models.Exponentials(2)]
    fit = varpro.fit_global(sets, mixed, shared=["tau_1"], linked=["exp_1", "offset"], scales=True, w0=[1.0, 3.0])
    joint, t = fit._joint, fit._solution.spec.data.t
    pairs, columns = joint.pairs, joint.columns
    varpro.check_derivative(joint, t, fit.nonlinear, (pairs, columns))
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)


def test_functions_and_different_models_take_part():
    t, y, _ = three_sets()[0]

    def decay(t, w):
        return np.stack([np.exp(-t / w[0]), np.exp(-t / w[1]), np.ones_like(t)], axis=1)

    sets = [(t, y), (t[::2], y[::2] + 1.0)]
    ready = varpro.fit_global(sets, MODEL)
    own = varpro.fit_global(sets, decay, w0={"tau_1": 0.8, "tau_2": [4.0, 4.0]}, names=["tau_1", "tau_2"])
    np.testing.assert_allclose(own.nonlinear, ready.nonlinear, rtol=1e-6)
    assert own.linear_names == ("a_0[0]", "a_1[0]", "a_2[0]", "a_0[1]", "a_1[1]", "a_2[1]")
    mixed = varpro.fit_global(sets, [MODEL, decay], w0=[0.8, 4.0], names=["tau_1", "tau_2"])
    np.testing.assert_allclose(mixed.nonlinear, ready.nonlinear, rtol=1e-6)


def test_missing_values_bounds_and_several_right_hand_sides():
    sets = three_sets()
    sets = [(t, np.stack([y, 2 * y + 0.01 * noise(len(t), 9)], axis=1)) for t, y, _ in sets]
    sets[1][1][[3, 7]] = np.nan
    fit = varpro.fit_global(sets, MODEL, shared=["tau_1"], bounds={"tau_2": (0.5, 3.2)}, linear="nonnegative")
    assert fit.linear.shape == (9, 2)
    assert (fit.linear >= 0).all()
    assert (fit.nonlinear[1:] <= 3.2).all()
    assert np.isnan(fit.sets[1].residual[[3, 7]]).all()
    assert fit.sets[2].linear.shape == (3, 2)


def test_conclusions_hold_for_joint_fits(joint):
    found = joint.profile("tau_2")
    assert found.lower < joint.nonlinear[1] < found.upper
    draws = joint.bootstrap(40)
    assert draws.names == joint.names
    assert joint.leverage.sum() == pytest.approx(11.0, rel=1e-8)
    back = pickle.loads(pickle.dumps(joint))
    np.testing.assert_array_equal(back.sets[1].fitted, joint.sets[1].fitted)
    poor = varpro.fit_global(three_sets(), varpro.models.Exponentials(1))
    assert any("not white" in warning for warning in poor.warnings)


def test_the_plot_has_a_panel_for_each_set(joint, tmp_path):
    pytest.importorskip("matplotlib")
    figure = joint.plot(tmp_path / "joint.png")
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == ["set 0", "set 1", "set 2"]
    assert (tmp_path / "joint.png").stat().st_size > 1000


T = np.linspace(0.0, 8.0, 40)
Y = np.exp(-T / 2.0) + 0.3


@pytest.mark.parametrize(
    ("sets", "options", "kind", "said"),
    [
        ([(T, Y)], {}, ConfigError, "2 sets or more, not 1"),
        ([(T, Y), (T, Y)], {"shared": []}, ConfigError, "the 2 sets share no parameter and link no amplitude"),
        ([(T, Y), (T, Y)], {"shared": ["tau_9"]}, ConfigError, "shared: 'tau_9' is in fewer than two sets"),
        ([(T, Y), (T, Y)], {"linked": ["gauss"]}, ConfigError, "linked: 'gauss' is in fewer than two sets"),
        ([(T, Y), (T, Y)], {"shared": "some"}, ConfigError, "shared is 'some'; give a list of names, or 'all'"),
        ([(T, Y), (T, np.stack([Y, Y], 1))], {}, ShapeError, "1, 2 right-hand sides"),
        ([(T, Y), (T, Y[:9])], {}, ShapeError, "set 1: "),
        ({"a": (T, Y), "b": (T, Y, Y * np.inf)}, {}, DataError, "set b: "),
        ([(T, Y), (T,)], {}, ConfigError, r"set 1 needs \(t, y\) or \(t, y, weights\)"),
        ([(T, Y), (T, Y)], {"w0": {"tau_2": 3.0}}, ConfigError, "no parameter is called 'tau_2'"),
        ([(T, Y), (T, Y)], {"w0": {"tau_1": [1.0, 2.0, 3.0]}}, ShapeError, "'tau_1' has 3 values; give 1, or 2"),
        ([(T, Y), (T, Y)], {"w0": [1.0, 2.0]}, ShapeError, "2 values for set 0, whose model takes tau_1"),
        ([(T, Y), (T, Y)], {"tied": {"tau_1": "2 * tau_1"}}, ConfigError, "tau_1 -> tau_1 is circular"),
    ],
)
def test_mistakes_are_told_in_one_line(sets, options, kind, said):
    with pytest.raises(kind, match=said) as error:
        varpro.fit_global(sets, varpro.models.Exponentials(1, offset=True), **options)
    assert "\n" not in str(error.value)


def test_one_model_for_each_set_and_known_options_only():
    with pytest.raises(ConfigError, match="there are 2 sets and 3 models"):
        varpro.fit_global([(T, Y), (T, Y)], [MODEL, MODEL, MODEL])
    with pytest.raises(TypeError, match="fit_global takes no mask"):
        varpro.fit_global([(T, Y), (T, Y)], MODEL, mask=None)
    with pytest.raises(ConfigError, match="needs names="):
        varpro.fit_global([(T, Y), (T, Y)], lambda t, w: np.exp(-t / w[0])[:, None])
    with pytest.raises(ConfigError, match="there is no set 'b'; there are 0, 1"):
        varpro.fit_global([(T, Y), (T, Y)], varpro.models.Exponentials(1, offset=True), w0=[2.1]).predict(T, of="b")
