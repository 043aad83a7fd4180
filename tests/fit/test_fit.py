"""varpro.fit: the minimum, weights, missing data, starts, derivatives, and options that are shared by all."""

import itertools

import numpy as np
import pytest

import varpro
from tests.fit.problems import (
    AMPLITUDES,
    DECAY_DERIVATIVE,
    TAU,
    assert_same_minimum,
    decay_data,
    decays,
    whole_fit,
)

W0 = [2.0, 6.5]


@pytest.mark.parametrize("n", [6, 7, 8, 13, 64, 65, 301])
def test_the_minimum_is_that_of_all_parameters_together(n):
    t, y = decay_data(n=n, seed=n)
    fit = varpro.fit(decays, t, y, W0)
    w, a, found = whole_fit(decays, t, y, fit.nonlinear * 1.01, AMPLITUDES)
    assert fit.success
    np.testing.assert_allclose(fit.rss, 2 * found.cost, rtol=1e-9)
    np.testing.assert_allclose(fit.nonlinear, w, rtol=1e-5)  # scipy stops at a flat cost: sqrt(eps), times condition
    np.testing.assert_allclose(fit.linear, a, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-150, 1e-9, 1.0, 1e12, 1e150])
def test_units_of_y_do_not_matter(scale):
    t, y = decay_data()
    one, other = varpro.fit(decays, t, y, W0), varpro.fit(decays, t, scale * y, W0)
    np.testing.assert_allclose(other.nonlinear, one.nonlinear, rtol=1e-8)
    np.testing.assert_allclose(other.linear / scale, one.linear, rtol=1e-7)
    np.testing.assert_allclose(other.stderr_linear / scale, one.stderr_linear, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-9, 1e12])
def test_units_of_t_do_not_matter(scale):
    t, y = decay_data()
    one = varpro.fit(decays, t, y, W0)
    other = varpro.fit(decays, scale * t, y, scale * np.array(W0), derivative=DECAY_DERIVATIVE)
    np.testing.assert_allclose(other.nonlinear / scale, one.nonlinear, rtol=1e-8)
    np.testing.assert_allclose(other.linear, one.linear, rtol=1e-7)


@pytest.mark.parametrize("noise", [0.0, 1e-12, 1e-8])
@pytest.mark.parametrize("model", [decays, varpro.models.Exponentials(2, offset=True)], ids=["function", "ready"])
def test_exact_data_are_met_and_count_as_success(model, noise):
    t, y = decay_data(noise=noise)
    for start in (W0, TAU):
        fit = varpro.fit(model, t, y, start)
        assert fit.success, fit.message
        np.testing.assert_allclose(fit.nonlinear, TAU, rtol=1e-10 + 1e3 * noise)


def test_w_multiplies_the_residual_as_repeated_rows_do():
    """Integer squares: a row of weight 2 is four rows."""
    t, y = decay_data(n=30)
    w = np.random.default_rng(0).integers(1, 4, 30).astype(float)
    rows = np.repeat(np.arange(30), (w**2).astype(int))
    weighted, repeated = varpro.fit(decays, t, y, W0, weights=w), varpro.fit(decays, t[rows], y[rows], W0)
    np.testing.assert_allclose(weighted.nonlinear, repeated.nonlinear, rtol=1e-7)
    np.testing.assert_allclose(weighted.rss, repeated.rss, rtol=1e-11)
    ratio = np.sqrt(weighted.dof / repeated.dof)  # rows count once: the errors differ by sigma alone
    np.testing.assert_allclose(weighted.stderr_nonlinear * ratio, repeated.stderr_nonlinear, rtol=1e-6)
    np.testing.assert_allclose(weighted.rss, np.sum((w * (y - weighted.fitted)) ** 2), rtol=1e-11)


@pytest.mark.parametrize("right", [None, 3])
def test_masked_missing_and_weightless_rows_are_left_out(right):
    t, y = decay_data(n=50, right=right)
    use = np.random.default_rng(1).random(50) < 0.7
    short = varpro.fit(decays, t[use], y[use], W0)
    nan, wild = y.copy(), y.copy()
    nan[~use], wild[~use] = np.nan, 1e6
    for other in (
        varpro.fit(decays, t, wild, W0, mask=use),
        varpro.fit(decays, t, nan, W0),
        varpro.fit(decays, t, wild, W0, weights=use.astype(float)),
        varpro.fit(decays, t, nan, W0, mask=np.ones(50, dtype=bool), weights=np.ones(50)),
    ):
        assert_same_minimum(other, short)
        assert other.dof == short.dof
        np.testing.assert_allclose(other.stderr_linear, short.stderr_linear, rtol=1e-6)
        assert np.isnan(other.residual[~use]).all()
        np.testing.assert_allclose(other.residual[use], short.residual, atol=1e-7)


def test_equal_weights_of_each_right_hand_side_are_row_weights():
    t, y = decay_data(n=33, right=3)
    w = np.random.default_rng(2).uniform(0.5, 2, 33)
    rows = varpro.fit(decays, t, y, W0, weights=w)
    each = varpro.fit(decays, t, y, W0, weights=np.tile(w[:, None], 3) * np.array([1.0, 1.0, 1.0]))
    assert_same_minimum(each, rows)
    np.testing.assert_allclose(each.stderr_linear, rows.stderr_linear, rtol=1e-6)
    np.testing.assert_allclose(each.covariance, rows.covariance, rtol=1e-5, atol=1e-12)


def test_a_right_hand_side_of_small_weight_does_not_decide():
    t, y = decay_data(n=33, right=2)
    alone = varpro.fit(decays, t, y[:, 0], W0)
    both = varpro.fit(decays, t, y, W0, weights=np.tile([1.0, 1e-9], (33, 1)))
    np.testing.assert_allclose(both.nonlinear, alone.nonlinear, rtol=1e-8)
    np.testing.assert_allclose(both.linear[:, 0], alone.linear, rtol=1e-7)


def not_analytic(t, w):
    return decays(t, np.abs(w))


def refuses_complex(t, w):
    if np.iscomplexobj(w):
        raise TypeError("complex numbers are not understood")
    return decays(t, w)


@pytest.mark.parametrize(
    ("model", "given", "chosen"),
    [
        (decays, None, "complex-step"),
        (decays, "complex-step", "complex-step"),
        (decays, "differences", "differences"),
        (decays, DECAY_DERIVATIVE, "analytic"),
        (not_analytic, None, "differences"),
        (refuses_complex, None, "differences"),
        (varpro.models.Exponentials(2, offset=True), None, "analytic"),
    ],
)
def test_every_derivative_leads_to_the_same_minimum_and_is_reported(model, given, chosen):
    t, y = decay_data()
    expected = varpro.fit(decays, t, y, W0, derivative=DECAY_DERIVATIVE)
    fit = varpro.fit(model, t, y, W0, derivative=given)
    assert fit.derivative == chosen
    assert fit.to_dict()["derivative"] == chosen
    np.testing.assert_allclose(fit.nonlinear, expected.nonlinear, rtol=1e-7)  # differences are good to eps^(2/3)
    np.testing.assert_allclose(fit.stderr_nonlinear, expected.stderr_nonlinear, rtol=1e-6)


def test_kaufman_and_golub_pereyra_find_one_solution():
    t, y = decay_data()
    full, kaufman = (varpro.fit(decays, t, y, W0, jacobian=j) for j in ("golub-pereyra", "kaufman"))
    np.testing.assert_allclose(kaufman.nonlinear, full.nonlinear, rtol=1e-7)
    np.testing.assert_allclose(kaufman.stderr_nonlinear, full.stderr_nonlinear, rtol=1e-6)


def test_other_starts_escape_a_bad_one():
    t = np.linspace(0, 10, 120)
    y = np.cos(3.7 * t) + 0.01 * np.random.default_rng(3).standard_normal(120)

    def wave(t, w):
        return np.stack([np.cos(w[0] * t), np.sin(w[0] * t)], axis=-1)

    assert varpro.fit(wave, t, y, [1.2]).rss > 10
    box = {"bounds": (0.5, 6.0), "multistart": 40}
    found = varpro.fit(wave, t, y, [1.2], **box)
    assert found.nonlinear[0] == pytest.approx(3.7, abs=1e-2)
    assert varpro.fit(wave, t, y, [1.2], **box).nonlinear == found.nonlinear  # the same seed, the same bits


def test_the_callback_sees_what_the_history_holds():
    t, y = decay_data()
    seen = []
    fit = varpro.fit(decays, t, y, W0, callback=seen.append)
    assert len(seen) == len(fit.history) == fit.nfev - 1
    assert [r.cost for r in seen] == [r.cost for r in fit.history]
    costs = [r.cost for r in fit.history]
    rounding = 64 * np.finfo(float).eps * np.linalg.norm(y) * np.sqrt(fit.rss)  # of the last step, which is kept
    assert all(new <= old + rounding for old, new in itertools.pairwise(costs))
    assert costs[-1] == fit.cost


def test_single_precision_rounds_the_data_only():
    t, y = decay_data()
    half, rounded = varpro.fit(decays, t, y, W0, dtype=np.float32), y.astype(np.float32).astype(float)
    assert_same_minimum(half, varpro.fit(decays, t, rounded, W0))
    np.testing.assert_allclose(half.nonlinear, varpro.fit(decays, t, y, W0).nonlinear, rtol=1e-4)
    assert varpro.fit(decays, t, y.astype(np.float32), W0).nonlinear.dtype == np.float64


def test_integers_and_lists_are_data_too():
    t, y = [0, 1, 2, 3, 4, 5, 6], [64, 33, 15, 8, 5, 2, 1]
    fit = varpro.fit(lambda t, w: np.exp(-t * w[0])[:, None], t, y, [1])
    assert fit.nonlinear[0] == pytest.approx(np.log(2), rel=0.1)
