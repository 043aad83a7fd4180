"""Fixed, tied and bounded parameters: each problem's own values, the leader's start, messages that name the culprit."""

import numpy as np
import pytest

import varpro
from varpro import models
from varpro.errors import ConfigError, ShapeError
from varpro.fitting.parameters import make_parameters

T = np.linspace(0.0, 12.0, 73)
TWO = models.Exponentials(2, offset=True)


def decays(t, w):
    return np.stack([np.exp(-t / w[0]), np.exp(-t / w[1]), np.ones_like(t)], axis=-1)


def problems(count=6, seed=0):
    """y (B, N), the fast times (B,), each problem's own, and the slow ones."""
    rng = np.random.default_rng(seed)
    fast, slow = rng.uniform(0.4, 1.0, count), rng.uniform(3.0, 6.0, count)
    y = [decays(T, [f, s]) @ [3.0, 2.0, 0.5] for f, s in zip(fast, slow, strict=True)]
    return np.stack(y) + 0.01 * rng.standard_normal((count, len(T))), fast, slow


@pytest.mark.parametrize("way", ["names", "values"])
@pytest.mark.parametrize("model", [TWO, decays], ids=["ready", "function"])
def test_a_parameter_that_is_fixed_keeps_the_value_of_each_problem(model, way):
    y, fast, slow = problems()
    y[2] = np.nan
    w0 = np.stack([fast, 0.7 * slow], axis=1)
    names = ["fast", "slow"]
    fixed = ["fast"] if way == "names" else {"fast": fast}
    many = varpro.fit_batch(model, T, y, w0, names=names, fixed=fixed)
    good = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(many.nonlinear[good, 0], fast[good])
    assert many.success[good].all()
    assert np.isnan(many.nonlinear[2, 1])
    for b in good:
        one = varpro.fit(model, T, y[b], w0[b], names=names, fixed={"fast": fast[b]})
        np.testing.assert_allclose(many.nonlinear[b], one.nonlinear, rtol=1e-5)
        np.testing.assert_allclose(many.stderr_nonlinear[b], one.stderr_nonlinear, rtol=1e-3)
        np.testing.assert_allclose(many[b].nonlinear, one.nonlinear, rtol=1e-5)
        np.testing.assert_allclose(many[b].fitted, one.fitted, rtol=1e-4)
        np.testing.assert_allclose(many[b].stderr_linear, one.stderr_linear, rtol=1e-3)
        np.testing.assert_allclose(many.predict(b)[0, :, 0], one.fitted, rtol=1e-4)


def test_a_parameter_tied_to_a_fixed_one_follows_the_value_of_each_problem():
    y, fast, slow = problems()

    def three(t, w):
        return np.stack([np.exp(-t / w[0]) + 0 * w[2], np.exp(-t / w[1]), np.ones_like(t)], axis=-1)

    w0 = np.stack([fast, slow, np.full(6, 9.0)], axis=1)
    many = varpro.fit_batch(
        three, T, y, w0, names=["fast", "slow", "echo"], fixed=["fast"], tied={"echo": ("fast", 2.0, 0.25)}
    )
    np.testing.assert_array_equal(many.nonlinear[:, 2], 2.0 * fast + 0.25)
    assert many.success.all()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_tied_group_starts_from_the_leader_wherever_the_follower_stands(order):
    names = ["leader", "follower"]
    names = [names[i] for i in order]
    w0 = np.array([[5.0, 0.1]])[:, list(order)]
    found = make_parameters(w0, names=names, tied={"follower": "leader"})
    assert w0[0, found.free].tolist() == [5.0]
    assert found.names[found.free[0]] == "leader"
    np.testing.assert_array_equal(found.expand(w0[:, found.free]), [[5.0, 5.0]])


def test_the_start_of_a_follower_is_not_looked_at():
    y, fast, slow = problems(1)
    tie = {"names": ["fast", "slow"], "tied": {"fast": ("slow", float(fast[0] / slow[0]))}}
    one = varpro.fit(decays, T, y[0], [0.5, 4.0], **tie)
    other = varpro.fit(decays, T, y[0], [1e6, 4.0], **tie)
    assert one.success
    np.testing.assert_allclose(other.nonlinear, one.nonlinear, rtol=1e-7)
    bounded = varpro.fit(decays, T, y[0], [1e6, 4.0], bounds={"fast": (0.1, 2.0)}, **tie)
    np.testing.assert_allclose(bounded.nonlinear, one.nonlinear, rtol=1e-6)


@pytest.mark.parametrize("kind", [models.Gaussians, models.Lorentzians])
def test_widths_of_a_ready_model_may_be_tied(kind):
    model = kind(2, offset=True)
    y = model(T, [3.0, 0.6, 8.0, 0.6]) @ [2.0, 1.0, 0.3] + 0.01 * np.random.default_rng(1).standard_normal(73)
    tied = varpro.fit(model, T, y, [2.8, 0.8, 8.2, 0.4], tied={"width_2": "width_1"})
    shared = varpro.fit(kind(2, offset=True, shared_width=True), T, y, [2.8, 8.2, 0.8])
    assert tied.success
    assert tied.nonlinear[1] == tied.nonlinear[3]
    np.testing.assert_allclose(tied.rss, shared.rss, rtol=1e-9)
    many = varpro.fit_batch(model, T, [y, y], [2.8, 0.8, 8.2, 0.4], tied={"width_2": "width_1"})
    np.testing.assert_allclose(many.rss, shared.rss, rtol=1e-6)


def test_messages_name_the_parameter_whose_bounds_are_left():
    options = {"names": ["fast", "slow"], "tied": {"fast": ("slow", 0.5)}}
    y = problems(1)[0][0]
    with pytest.raises(ConfigError, match=r"w0 of slow is 4, which makes fast 2, outside its bounds 0 to 1\.5"):
        varpro.fit(decays, T, y, [0.1, 4.0], bounds={"fast": (0, 1.5)}, **options)
    with pytest.raises(ConfigError, match=r"w0 of slow is 4, outside its bounds 0 to 3"):
        varpro.fit(decays, T, y, [0.1, 4.0], bounds={"slow": (0, 3)}, **options)
    with pytest.raises(ConfigError, match=r"bounds of fast, 3 to 5, ask slow to be within 6 to 10"):
        varpro.fit(decays, T, y, [0.1, 4.0], bounds={"slow": (0, 5), "fast": (3, 5)}, **options)
    with pytest.raises(ConfigError, match="bounds of fast: 5 to 3 is empty"):
        varpro.fit(decays, T, y, [0.1, 4.0], bounds={"fast": (5, 3)}, **options)


@pytest.mark.parametrize("value", ["soon", np.nan, [1.0, 2.0], None])
def test_a_fixed_value_that_is_no_number_is_refused_by_name(value):
    with pytest.raises(ConfigError, match="fixed: the value of 'fast'"):
        varpro.fit(decays, T, problems(1)[0][0], [0.5, 4.0], names=["fast", "slow"], fixed={"fast": value})


@pytest.mark.parametrize("bounds", [{"fast": (np.nan, 3)}, ([0, np.nan], 9)])
def test_bounds_that_are_nan_are_refused(bounds):
    with pytest.raises(ConfigError, match="NaN"):
        varpro.fit(decays, T, problems(1)[0][0], [0.5, 4.0], names=["fast", "slow"], bounds=bounds)


def test_bounds_of_another_shape_are_refused_and_none_is_no_limit():
    y = problems(1)[0][0]
    with pytest.raises(ShapeError, match="'fast'"):
        varpro.fit(decays, T, y, [0.5, 4.0], names=["fast", "slow"], bounds={"fast": 3.0})
    open_ = varpro.fit(decays, T, y, [0.5, 4.0], bounds=([0.1, None], None))
    assert open_.nonlinear[0] == pytest.approx(varpro.fit(decays, T, y, [0.5, 4.0]).nonlinear[0], rel=1e-6)
