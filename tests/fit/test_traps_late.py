"""The numerical traps E10 to E14: statistics, single precision, positivity, slow problems, threads; and E3's users."""

import numpy as np
import pytest

import varpro
from tests.fit.problems import TAU, decay_data, decays
from varpro.models import Exponentials

W0 = [2.0, 6.5]
READY = Exponentials(2, offset=True)


def test_e10_errors_are_of_all_parameters_together():
    """Not the inverse of the projected Jacobian's Kaufman part alone for w, nor (Phi^T Phi)^-1 alone for a."""
    t, y = decay_data()
    fit = varpro.fit(decays, t, y, W0)
    phi = decays(t, fit.nonlinear)
    given_w = fit.sigma * np.sqrt(np.diag(np.linalg.inv(phi.T @ phi)))
    assert (fit.stderr_linear[:2] > 1.5 * given_w[:2]).all()  # what w does not know widens the amplitudes
    slopes = np.stack(
        [t / v**2 * np.exp(-t / v) * a for v, a in zip(fit.nonlinear, fit.linear[:2], strict=True)], axis=1
    )
    whole = np.hstack([slopes, phi])
    errors = fit.sigma * np.sqrt(np.diag(np.linalg.inv(whole.T @ whole)))
    np.testing.assert_allclose(np.concatenate([fit.stderr_nonlinear, fit.stderr_linear]), errors, rtol=1e-8)
    assert fit.dof == 61 - 3 - 2


def test_e11_single_precision_data_cost_less_than_the_noise():
    t = np.linspace(0, 12.5, 256)
    rng = np.random.default_rng(0)
    y = decays(t, [1.0, 3.0]) @ [60.0, 40.0, 2.0] + 0.5 * rng.standard_normal((200, 256))
    tight = {"cost_tolerance": 1e-14, "step_tolerance": 1e-9}
    full = varpro.fit_batch(READY, t, y, [1.5, 4.5], **tight)
    half = varpro.fit_batch(READY, t, y.astype(np.float32), [1.5, 4.5], **tight)
    off = np.abs(half.nonlinear / full.nonlinear - 1)
    assert np.median(off) < 2e-6
    assert off.max() < 3e-4
    assert (np.abs(half.nonlinear - full.nonlinear) < 1e-3 * full.stderr_nonlinear).all()


@pytest.mark.parametrize("seed", range(4))
def test_e12_nonnegative_amplitudes_differentiate_the_active_set(seed):
    """Away from where the set changes, the functional is smooth: its gradient is that of the passive columns."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 10, 60)

    def model(t, w):
        return np.stack([np.exp(-t / v) for v in w] + [np.ones_like(t) + 0 * w[0]], axis=-1)

    y = np.exp(-t) - 0.5 * np.exp(-t / 3) + 0.05 * rng.standard_normal(60)
    f = varpro.functional(model, t, y, [1.0, 3.0, 8.0], linear="nonnegative")
    at = np.array([0.8, 3.5, 9.0])
    a = f.coefficients(at)
    assert (a == 0).any()
    assert (a > 0).any()
    h = 1e-6
    slope = [(f(at + h * e) - f(at - h * e)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(f.gradient(at), slope, rtol=1e-6, atol=1e-8 * f(at))
    assert (f.gradient(at)[a[:3, 0] == 0] == 0).all()  # a column without amplitude has no say


def test_e12_decays_that_merge_are_told_and_order_is_the_users():
    t = np.linspace(0, 10, 80)
    y = np.exp(-t / 2) + 1e-3 * np.random.default_rng(1).standard_normal(80)
    fit = varpro.fit(Exponentials(2), t, y, [1.5, 3.0])
    assert np.isfinite(fit.nonlinear).all()
    assert fit.rss < 2 * 80e-6
    uncertain = fit.stderr_nonlinear / np.abs(fit.nonlinear)
    assert fit.rank < 2 or not (uncertain < 0.05).all()  # one decay cannot tell two times
    t, y = decay_data()
    swapped = varpro.fit(decays, t, y, W0[::-1])
    np.testing.assert_allclose(swapped.nonlinear[::-1], varpro.fit(decays, t, y, W0).nonlinear, rtol=1e-7)


def test_e13_slow_problems_do_not_hold_up_or_change_the_fast_ones():
    t, y = decay_data()
    hard = np.random.default_rng(2).standard_normal(61)
    many = varpro.fit_batch(READY, t, np.stack([y, hard, y]), W0)
    alone = varpro.fit_batch(READY, t, y[None], W0)
    assert many.nfev[0] == many.nfev[2] == alone.nfev[0]
    np.testing.assert_array_equal(many.nonlinear[0], alone.nonlinear[0])


def test_e14_threads_give_the_bits_of_one():
    t = decay_data()[0]
    y = np.stack([decay_data(seed=s)[1] for s in range(40)] * 120)
    for model in (READY, decays):
        one, three = (varpro.fit_batch(model, t, y, TAU, threads=n) for n in (1, 3))
        for name in ("nonlinear", "linear", "rss", "status", "nfev"):
            np.testing.assert_array_equal(getattr(one, name), getattr(three, name))
