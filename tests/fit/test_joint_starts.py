"""Where a joint fit begins, and the bounds that its models set by themselves."""

import numpy as np
import pytest

import varpro
from varpro.errors import ConfigError, DataError, ShapeError
from varpro.fitting.joint_model import Part, joint_model, lay_out
from varpro.fitting.joint_start import given_start, guessed_starts, joint_bounds
from varpro.fitting.solve import most_promising

DECAY, LINES = varpro.models.Exponentials(1, offset=True), varpro.models.Voigt(1)
T = np.linspace(0.0, 8.0, 40)
A = ([3.0, 1.0, 1.0], [1.0, 2.0, 0.5])


def part(label, model=DECAY, t=T, y=None, weights=None):
    y = np.zeros((len(t), 1)) if y is None else y[:, None]
    weights = np.ones(y.shape) if weights is None else weights[:, None]
    derivative = (np.asarray(model.pairs), model.columns)
    return Part(label, model, t, y, weights, model.parameter_names, model.column_names, derivative)


def joint_of(*parts, shared=(), linked=(), scales=False):
    return joint_model(parts, lay_out(parts, shared, linked, scales=scales))


def curve(tau, a=3.0, b=1.0, t=T):
    return a * np.exp(-t / tau) + b


TWO = joint_of(part("a"), part("b"))


@pytest.mark.parametrize(
    ("w0", "expected"),
    [
        ([2.0], [2.0, 2.0]),
        ([[2.0], [3.0]], [2.0, 3.0]),
        ({"tau_1": 2.0}, [2.0, 2.0]),
        ({"tau_1": [2.0, 3.0]}, [2.0, 3.0]),
        ({"tau_1[a]": 2.0, "tau_1[b]": 3.0}, [2.0, 3.0]),
        ({"tau_1": 2.0, "tau_1[b]": 3.0}, [2.0, 3.0]),
    ],
)
def test_a_start_is_one_for_all_or_one_for_each_set(w0, expected):
    assert given_start(TWO, w0).tolist() == expected


def test_what_is_shared_begins_where_the_first_set_says():
    joint = joint_of(part("a"), part("b"), shared=["tau_1"])
    assert given_start(joint, [[2.0], [3.0]]).tolist() == [2.0]
    assert given_start(joint, {"tau_1": [2.0, 3.0]}).tolist() == [2.0]


@pytest.mark.parametrize(
    ("w0", "kind", "said"),
    [
        ([[1.0], [2.0], [3.0]], ShapeError, "w0 has 3 rows; give one start, or one for each of 2 sets"),
        ([[1.0, 2.0]], ShapeError, "w0 has 2 values for set a, whose model takes tau_1"),
        ([np.nan], DataError, "w0 holds NaN or infinite values"),
        ([np.inf], DataError, "w0 holds NaN or infinite values"),
        ({"tau_1": [1.0, 2.0, 3.0]}, ShapeError, "w0 of 'tau_1' has 3 values; give 1, or 2"),
        ({"tau_1": 1.0, "rate": 2.0}, ConfigError, "no parameter is called 'rate'; there are"),
        ({"tau_1[a]": 1.0}, ConfigError, r"w0 has no 'tau_1\[b\]'"),
    ],
)
def test_what_is_no_start_is_told(w0, kind, said):
    with pytest.raises(kind, match=said) as told:
        given_start(TWO, w0)
    assert "\n" not in str(told.value)


def test_scales_begin_at_the_ratio_of_the_amplitudes():
    parts = [part(k, y=f * curve(2.0)) for k, f in (("a", 1.0), ("b", 0.25), ("c", -3.0))]
    joint = joint_of(*parts, shared=["tau_1"], linked=DECAY.column_names, scales=True)
    assert joint.parameter_names == ("tau_1", "scale[b]", "scale[c]")
    np.testing.assert_allclose(given_start(joint, [2.0]), [2.0, 0.25, -3.0], rtol=1e-9)
    given = given_start(joint, {"tau_1": 2.0, "scale[b]": 7.0})
    np.testing.assert_allclose(given, [2.0, 7.0, -3.0], rtol=1e-9)


def test_a_scale_that_is_the_first_parameter_begins_at_the_ratio_too():
    line = varpro.models.Polynomial(1)
    parts = [part(k, line, y=f * (1.0 + 0.5 * T)) for k, f in (("a", 1.0), ("b", 2.5))]
    joint = joint_of(*parts, linked=line.column_names, scales=True)
    assert joint.parameter_names == ("scale[b]",)
    np.testing.assert_allclose(guessed_starts(joint)[0][0], [2.5], rtol=1e-9)


def test_a_set_without_signal_has_a_scale_to_begin_with():
    parts = [part("a", y=curve(2.0)), part("b", y=0.0 * T)]
    joint = joint_of(*parts, shared=["tau_1"], linked=DECAY.column_names, scales=True)
    assert given_start(joint, [2.0]).tolist() == [2.0, 1.0]


def test_guesses_of_the_sets_are_combined_and_excluded_values_do_not_count():
    spoiled, weights = curve(5.0), np.ones(40)
    spoiled[7], weights[7] = 1e6, 0.0
    parts = [part("a", y=curve(2.0)), part("b", y=np.where(weights > 0, spoiled, 0.0), weights=weights)]
    own = [start for group in guessed_starts(joint_of(*parts)) for start in group]
    assert any(np.allclose(start, [2.0, 5.0], rtol=0.05) for start in own)
    groups = guessed_starts(joint_of(*parts, shared=["tau_1"]))
    assert [len(group) for group in groups] == [1, 2]  # where all is shared, there are two kinds
    for start in (start for group in groups for start in group):
        assert 1.9 < start[0] < 5.1


def test_the_best_start_of_each_kind_is_searched_from_once():
    """Those outside the model's domain are left to the others, and what two kinds have in common counts once."""
    spec = varpro.fit_global([(T, curve(2.0)), (T, curve(2.0, 1.0))], DECAY, w0=[1.5])._solution.spec
    far, near, outside = (np.array([tau]) for tau in (40.0, 1.9, 0.0))
    for groups, chosen in (
        ([[far], [far, near], [near]], [0, 2]),
        ([[near], [outside, near, far]], [0]),
        ([[near], [outside, far]], [0, 2]),
        ([[far, near, outside]], [1]),
    ):
        u0 = np.array([start for group in groups for start in group])
        assert most_promising(spec, u0, groups) == chosen


def test_each_start_keeps_what_it_holds_fixed():
    """Without a value, a parameter is fixed at the guess of the start that is searched from."""
    two = varpro.models.Exponentials(2, offset=True)
    y = [two(T, [0.7, 2.5]) @ a + 0.01 * np.sin(1e4 * np.sin(s + np.arange(40.0))) for s, a in enumerate(A)]
    sets = list(zip((T, T), y, strict=True))
    fit, own = varpro.fit_global(sets, two, fixed=["tau_2"]), [two.guess(T, each)[1] for each in y]
    assert min(abs(fit.nonlinear[1] / value - 1.0) for value in [*own, np.median(own)]) < 1e-12
    whole = varpro.fit_global(sets, two, w0=[0.7, 2.5], fixed={"tau_2": fit.nonlinear[1]})
    np.testing.assert_allclose(fit.nonlinear, whole.nonlinear, rtol=1e-6)
    assert fit.rss == pytest.approx(whole.rss, rel=1e-9)


def test_natural_bounds_of_the_sets_hold_together_unless_the_caller_says_otherwise():
    """A line is at least a fraction of a step wide: the finer of two grids counts for what is shared."""
    coarse, fine = np.linspace(0.0, 8.0, 9), np.linspace(0.0, 8.0, 81)
    parts = part("a", LINES, coarse), part("b", LINES, fine)
    shared = joint_of(*parts, shared=LINES.parameter_names)
    found = joint_bounds(shared, None, None, None)
    one, two = (LINES.natural_bounds(t)[0] for t in (coarse, fine))
    for name, low, other in zip(LINES.parameter_names, one, two, strict=True):
        if np.isfinite(min(low, other)):
            assert found[name] == (min(low, other), np.inf)
        else:
            assert name not in found
    sigma = next(name for name in found if name.startswith("sigma"))
    gamma = next(name for name in found if name.startswith("gamma"))
    p = shared.parameter_names.index(sigma)
    for bounds, fixed, tied in (
        ({sigma: (1.0, 2.0)}, None, None), ({p: (1.0, 2.0)}, None, None), (None, sigma, None), (None, [sigma], None),
        (None, {sigma: 1.0}, None), (None, None, {sigma: gamma}),
    ):  # fmt: skip
        left = joint_bounds(shared, bounds, fixed, tied) or {}
        assert left.get(sigma, left.get(p)) == ((1.0, 2.0) if bounds else None)
        assert gamma in left
    both = ([0.0] * 3, [1.0] * 3)
    assert joint_bounds(shared, both, None, None) is both
    own = joint_bounds(joint_of(*parts), None, None, None)
    assert own[f"{sigma}[a]"][0] > own[f"{sigma}[b]"][0] > 0


def test_natural_bounds_are_those_of_the_points_that_count():
    weights = np.ones(81)
    weights[1::2] = 0.0
    t = np.linspace(0.0, 8.0, 81)
    found = joint_bounds(joint_of(part("a", LINES, t, weights=weights), part("b")), None, None, None)
    low = LINES.natural_bounds(t[::2])[0]
    sigma = [name.startswith("sigma") for name in LINES.parameter_names].index(True)
    assert found[f"{LINES.parameter_names[sigma]}[a]"] == (low[sigma], np.inf)
    nobody = part("a", LINES, t, weights=0.0 * weights)
    assert f"{LINES.parameter_names[sigma]}[a]" not in (
        joint_bounds(joint_of(nobody, part("b")), None, None, None) or {}
    )


def test_a_joint_fit_has_the_natural_bounds_of_its_models():
    t = np.linspace(0.0, 8.0, 81)
    y = [f * LINES(t, [4.0, 0.3, 0.4])[:, 0] + 0.01 * np.sin(1e4 * np.sin(1.0 + np.arange(81.0))) for f in (1.0, 2.0)]
    fit = varpro.fit_global([(t, y[0]), (t, y[1])], LINES)
    lower = LINES.natural_bounds(t)[0]
    assert np.isfinite(lower).any()
    np.testing.assert_array_equal(fit._solution.spec.names.lower, lower)
    free = varpro.fit_global([(t, y[0]), (t, y[1])], LINES, bounds=dict.fromkeys(fit.names, (None, None)))
    assert np.isneginf(free._solution.spec.names.lower).all()


def test_weights_of_unlike_right_hand_sides_stay_unlike():
    """A value that one right-hand side lacks is no loss of the other's: the joint fit is that of what there is."""
    rng = np.random.default_rng(0)
    y = [np.stack([curve(2.0), curve(2.0, 1.0, 0.5)], axis=1) + 0.01 * rng.standard_normal((40, 2)) for _ in range(2)]
    y[0][5:15, 1] = np.nan
    fit = varpro.fit_global([(T, y[0]), (T, y[1])], DECAY, w0=[1.8])
    phi, total = DECAY(T, fit.nonlinear), 0.0
    for own in y:
        for k in (0, 1):
            used = np.isfinite(own[:, k])
            total += np.sum((own[used, k] - phi[used] @ np.linalg.lstsq(phi[used], own[used, k], rcond=None)[0]) ** 2)
    assert fit.rss == pytest.approx(total, rel=1e-9)
    assert fit.dof == 160 - 10 - 1 - 8
