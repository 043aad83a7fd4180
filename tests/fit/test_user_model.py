"""How a user's function is called: how often, with which t, and what becomes of its derivative."""

import numpy as np
import pytest

import varpro

T = np.linspace(0.0, 8.0, 50)
PAIRS = np.array([[0, 0]])


def decay(t, w):
    one = np.exp(-t / w[0])
    return np.stack([one, np.ones_like(one)], axis=-1)


def slope(t, w):
    return (t / w[0] ** 2 * np.exp(-t / w[0]))[..., None]


def curve(tau=2.0, t=T, seed=0):
    return decay(t, [tau]) @ [3.0, 1.0] + 0.02 * np.random.default_rng(seed).standard_normal(len(t))


def test_a_function_is_called_about_once_for_each_evaluation():
    """Its cost is the caller's: trial, search and statistics need each point once."""
    counts = {"columns": 0, "slopes": 0}

    def counted(t, w):
        counts["columns"] += 1
        return decay(t, w)

    def counted_slope(t, w):
        counts["slopes"] += 1
        return slope(t, w)

    fit = varpro.fit(counted, T, curve(), [0.3], derivative=(PAIRS, counted_slope))
    assert fit.success
    assert fit.nfev >= 5
    assert counts["columns"] <= fit.nfev + 4
    assert counts["slopes"] <= fit.nfev + 4


@pytest.mark.parametrize("which", ["columns", "slopes"])
def test_another_shape_on_the_way_is_told(which):
    """One that is as at the start is not asked for its shape again; one that changes is an error, not numbers."""
    calls = {"n": 0}

    def columns(t, w):
        calls["n"] += 1
        late = which == "columns" and calls["n"] > 4
        return decay(t, w)[:-1] if late else decay(t, w)

    def slopes(t, w):
        late = which == "slopes" and calls["n"] > 4
        return slope(t, w)[:-1] if late else slope(t, w)

    with pytest.raises(varpro.errors.ShapeError, match=r"returned shape \(49, .\); at this w it must be \(50, .\)"):
        varpro.fit(columns, T, curve(), [0.3], derivative=(PAIRS, slopes))


def test_a_parameter_that_acts_only_through_its_follower_has_the_right_errors():
    """Every derivative has the factor 2 of the tie."""

    def second(t, w):
        return decay(t, w[1:])

    free = varpro.fit(decay, T, curve(), [1.5], derivative=(PAIRS, slope))
    pairs, slopes = np.array([[0, 1]]), lambda t, w: slope(t, w[1:])
    tied = varpro.fit(second, T, curve(), [0.8, 1.6], derivative=(pairs, slopes), tied={1: (0, 2.0)})
    np.testing.assert_allclose(tied.nonlinear, [free.nonlinear[0] / 2, free.nonlinear[0]], rtol=1e-8)
    np.testing.assert_allclose(tied.stderr_nonlinear, free.stderr_nonlinear[0] * np.array([0.5, 1.0]), rtol=1e-6)


@pytest.mark.parametrize("loss", ["linear", "huber", "cauchy"])
@pytest.mark.parametrize("derivative", [None, (PAIRS, slope)])
def test_a_batch_calls_each_problem_with_its_own_points(loss, derivative):
    """Robust rounds leave problems that have settled behind: those that go on keep their points."""
    t = np.stack([T, 0.5 * T, 2.0 * T, T + 0.3])
    y = np.stack([curve(tau, own, seed) for seed, (tau, own) in enumerate(zip([2.0, 1.0, 4.0, 2.5], t, strict=True))])
    y[2, 7] += 2.0
    y[3, [3, 20]] -= 1.0
    many = varpro.fit_batch(decay, t, y, [1.5], loss=loss, derivative=derivative, cost_tolerance=1e-14)
    for b in range(4):
        one = varpro.fit(decay, t[b], y[b], [1.5], loss=loss, derivative=derivative)
        np.testing.assert_allclose(many.nonlinear[b], one.nonlinear, rtol=1e-5)
        np.testing.assert_allclose(many.linear[b].ravel(), one.linear, rtol=1e-5)


def test_a_batch_of_unlike_time_axes_finds_a_step_for_each():
    """Differences of a function in seconds and in nanoseconds need steps of their own."""
    t = np.stack([T, 1e-9 * T, 1e6 * T])
    y = np.stack([curve(seed=seed) for seed in range(3)])
    w0 = np.array([[1.5], [1.5e-9], [1.5e6]])

    def rough(t, w):
        return decay(np.asarray(t).real, [np.real(v) for v in w])

    many = varpro.fit_batch(rough, t, y, w0, derivative="differences", cost_tolerance=1e-14)
    for b in range(3):
        one = varpro.fit(decay, t[b], y[b], w0[b], derivative=(PAIRS, slope))
        np.testing.assert_allclose(many.nonlinear[b], one.nonlinear, rtol=1e-6)
        np.testing.assert_allclose(many.stderr_nonlinear[b], one.stderr_nonlinear, rtol=1e-4)
