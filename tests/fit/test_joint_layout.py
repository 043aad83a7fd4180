"""What a joint fit is made of: names, blocks of columns, slopes; and options by the bare name of a parameter."""

import numpy as np
import pytest

import varpro
from varpro.errors import ConfigError
from varpro.fitting.joint_model import Part, joint_model, joint_rows, lay_out

ONE, TWO = varpro.models.Exponentials(1, offset=True), varpro.models.Exponentials(2, offset=True)
T = np.linspace(0.0, 8.0, 40)


def part(label, model, t=T, derivative=True):
    given = (np.asarray(model.pairs), model.columns) if derivative else None
    y = np.zeros((len(t), 1))
    return Part(label, model, t, y, np.ones_like(y), tuple(model.parameter_names), tuple(model.column_names), given)


def sets(sigma=0.01):
    rng = np.random.default_rng(0)
    first = TWO(T, np.array([1.0, 3.0])) @ [4.0, 2.0, 1.0] + sigma * rng.standard_normal(40)
    second = TWO(T, np.array([1.0, 4.0])) @ [1.0, 3.0, 0.5] + sigma * rng.standard_normal(40)
    return {"a": (T, first), "b": (T, second)}


def test_columns_stand_in_blocks_and_linked_ones_below_one_another():
    parts = (part("a", TWO), part("b", ONE, T[:7]))
    joint = joint_model(parts, lay_out(parts, ["tau_1"], ["offset"], scales=True))
    assert joint.parameter_names == ("tau_1", "tau_2[a]", "scale[b]")
    assert joint.column_names == ("exp_1[a]", "exp_2[a]", "offset", "exp_1[b]")
    w = np.array([1.2, 3.0, 0.7])
    expected = np.zeros((47, 4))
    expected[:40, :3] = np.stack([np.exp(-T / 1.2), np.exp(-T / 3.0), np.ones(40)], axis=1)
    expected[40:, 3], expected[40:, 2] = np.exp(-T[:7] / 1.2), 0.7
    t = joint_rows(parts)
    np.testing.assert_array_equal(t, np.stack([np.repeat([0, 1], [40, 7]), np.append(T, T[:7])], axis=1))
    np.testing.assert_allclose(joint(t, w), expected, rtol=1e-12)
    mixed = np.random.default_rng(0).permutation(47)
    np.testing.assert_allclose(joint(t[mixed], w), expected[mixed], rtol=1e-12)
    np.testing.assert_allclose(joint(t[40:], w), expected[40:], rtol=1e-12)


@pytest.mark.parametrize("scales", [False, True])
@pytest.mark.parametrize("linked", [[], ["offset"], ["exp_1", "offset"]])
def test_slopes_are_central_differences_of_the_columns(linked, scales):
    parts = (part("a", TWO), part("b", ONE, T[:7]), part("c", TWO, T[3:9]))
    joint = joint_model(parts, lay_out(parts, ["tau_1"], linked, scales=scales))
    w = np.linspace(0.8, 2.5, len(joint.parameter_names))
    t = joint_rows(parts)
    pairs, columns = joint.pairs, joint.columns
    whole = np.zeros((len(joint.column_names), len(w), len(t)))
    for (j, p), slope in zip(pairs, columns(t, w).T, strict=True):
        whole[j, p] += slope
    for p in range(len(w)):
        step = 1e-6 * np.eye(len(w))[p]
        expected = (joint(t, w + step) - joint(t, w - step)) / 2e-6
        np.testing.assert_allclose(whole[:, p], expected.T, atol=1e-8)


def test_a_set_without_a_derivative_leaves_the_joint_one_to_be_found():
    parts = (part("a", TWO), part("b", TWO, derivative=False))
    assert not hasattr(joint_model(parts, lay_out(parts, ["tau_1"], [], scales=False)), "pairs")


def test_a_scale_may_be_the_only_parameter():
    """Straight lines with linked amplitudes have none of their own."""
    line = varpro.models.Polynomial(1)
    noise = 0.01 * np.random.default_rng(0).standard_normal((2, 40))
    y = [1.0 + 0.5 * T + noise[0], 2.5 * (1.0 + 0.5 * T) + noise[1]]
    fit = varpro.fit_global([(T, y[0]), (T[5:], y[1][5:])], line, linked="all", scales=True, w0=None)
    assert fit.names == ("scale[1]",)
    assert fit.nonlinear[0] == pytest.approx(2.5, rel=0.02)
    np.testing.assert_allclose(fit.linear, [1.0, 0.5], atol=0.05)
    scale = fit.nonlinear[0]
    rows = np.concatenate([np.stack([np.ones(40), T], 1), scale * np.stack([np.ones(35), T[5:]], 1)])
    expected = np.linalg.lstsq(rows, np.append(y[0], y[1][5:]), rcond=None)[0]
    np.testing.assert_allclose(fit.linear, expected, rtol=1e-8)


def test_all_shares_what_several_sets_have_and_leaves_the_rest_to_its_set():
    given = sets()
    fit = varpro.fit_global({"a": given["a"], "b": (T, given["b"][1])}, [TWO, ONE], w0=None)
    assert fit.names == ("tau_1", "tau_2[a]")
    assert fit.linear_names == ("exp_1[a]", "exp_2[a]", "offset[a]", "exp_1[b]", "offset[b]")


@pytest.mark.parametrize("fixed", ["tau_2", ["tau_2"], {"tau_2": 3.5}])
def test_a_bare_name_means_the_parameter_of_every_set(fixed):
    fit = varpro.fit_global(sets(), TWO, w0={"tau_1": 0.9, "tau_2": 3.5}, shared=["tau_1"], fixed=fixed)
    np.testing.assert_array_equal(fit.nonlinear[1:], 3.5)
    assert fit.names == ("tau_1", "tau_2[a]", "tau_2[b]")
    assert 0.9 < fit.nonlinear[0] < 1.2
    own = varpro.fit_global(sets(), TWO, w0={"tau_1": 0.9, "tau_2": 3.5}, shared=["tau_1"], fixed={"tau_2[b]": 3.5})
    assert own.nonlinear[2] == 3.5
    assert abs(own.nonlinear[1] - 3.5) > 0.1


def test_a_guess_is_moved_into_the_bounds():
    for bounds in ({"tau_2": (3.2, 3.6)}, {"tau_2": (3.2, None)}, {"tau_2": (None, 2.5)}):
        fit = varpro.fit_global(sets(), TWO, shared=["tau_1"], bounds=bounds)
        low, high = ((-np.inf, np.inf)[k] if v is None else v for k, v in enumerate(bounds["tau_2"]))
        assert ((fit.nonlinear[1:] >= low) & (fit.nonlinear[1:] <= high)).all()


def test_sets_of_several_predictors_keep_them_all():
    def plane(t, w):
        return np.stack([np.exp(-t[:, 0] / w[0]), t[:, 1]], axis=1)

    rng = np.random.default_rng(0)
    t = [rng.uniform(0.0, 5.0, (n, 2)) for n in (30, 20)]
    given = [(points, plane(points, [2.0]) @ [3.0, 0.5]) for points in t]
    fit = varpro.fit_global(given, plane, [1.5], names=["tau"])
    np.testing.assert_allclose(fit.nonlinear, [2.0], rtol=1e-7)
    np.testing.assert_allclose(fit.linear, [3.0, 0.5] * 2, rtol=1e-7)
    with pytest.raises(varpro.errors.ShapeError, match="several predictors in t and others one"):
        varpro.fit_global(
            [given[0], (T, np.ones(40))], lambda t, w: np.exp(-t.reshape(len(t), -1) / w[0]), [1.5], names=["tau"]
        )


def test_a_function_needs_a_start():
    def decay(t, w):
        return np.exp(-(t - w[1]) / w[0])[:, None]

    with pytest.raises(ConfigError, match="w0 is missing: give starting values"):
        varpro.fit_global(sets(), decay, names=["tau", "shift"])
    with pytest.raises(ConfigError, match="w0 has no 'tau'; it needs tau, shift"):
        varpro.fit_global(sets(), decay, {"rate": 1.0}, names=["tau", "shift"])
    with pytest.raises(ConfigError, match="needs names= for its parameters"):
        varpro.fit_global(sets(), decay, {"tau": 1.0})


def test_weights_count_as_they_are_given():
    """A set of ten times the precision draws the shared parameter to its own value."""
    a, b = sets()["a"], sets()["b"]
    heavy = varpro.fit_global([(*a, np.full(40, 1e4)), (*b, np.ones(40))], TWO, w0=[1.0, 3.3])
    alone = varpro.fit(TWO, *a, w0=[1.0, 3.3])
    np.testing.assert_allclose(heavy.nonlinear, alone.nonlinear, rtol=1e-4)
    weights = np.append(np.full(40, 1e4), np.ones(40))
    y = np.append(a[1], b[1])
    fitted = np.concatenate([own.fitted for own in heavy.sets])
    assert heavy.rss == pytest.approx(np.sum((weights * (y - fitted)) ** 2), rel=1e-9)


def test_weights_of_any_size_are_weights():
    """Beyond 2^150 a set keeps its weights in a unit of its own, which must not come between the sets."""
    a, b = sets()["a"], sets()["b"]
    found = [
        varpro.fit_global([(*a, np.full(40, 3 * size)), (*b, np.full(40, size))], TWO, w0=[1.0, 3.3])
        for size in (1.0, 1e60)
    ]
    np.testing.assert_allclose(found[1].nonlinear, found[0].nonlinear, rtol=1e-9)
    mixed = varpro.fit_global([(*a, np.full(40, 1e60)), (*b, np.ones(40))], TWO, w0=[1.0, 3.3])
    np.testing.assert_allclose(mixed.nonlinear, varpro.fit(TWO, *a, w0=[1.0, 3.3]).nonlinear, rtol=1e-6)
