"""A robust fit that reports success is at a minimum of its loss, in any unit; one that has not settled says so."""

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize

import varpro
from tests.fit.problems import decay_data, decays
from varpro.fitting import reweighting
from varpro.fitting.losses_of_residuals import LOSSES, residual_loss
from varpro.result import Status

T = np.linspace(0, 10, 83)


def decay(t, w):
    return np.stack([np.exp(-t / w[0]), np.ones_like(t)], -1)


def spoiled(seed, fraction=0.3, right=None):
    rng = np.random.default_rng(seed)
    shape = (83,) if right is None else (83, right)
    y = (decay(T, [2.5]) @ [3.0, 0.5]).reshape(83, *[1] * (len(shape) - 1)) + 0.05 * rng.standard_normal(shape)
    return y + (rng.random(shape) < fraction) * (rng.standard_normal(shape) + seed % 3)


def loss_of(fit, y, x, loss):
    size = np.abs(decay(T, x[:1]) @ x[1:] - y)[None, :, None]
    return residual_loss(loss).total(size, fit._solution.loss_scale)[0]


@pytest.mark.parametrize("loss", LOSSES[1:])
@pytest.mark.parametrize("seed", range(4))
def test_scipy_finds_no_lower_loss_from_the_fit(loss, seed):
    y = spoiled(seed)
    fit = varpro.fit(decay, T, y, [1.2], loss=loss)
    assert fit.success
    sigma, start = float(fit._solution.loss_scale[0]), np.concatenate([fit.nonlinear, fit.linear])
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 2000, "x_scale": "jac"}
    best = scipy.optimize.least_squares(lambda x: decay(T, x[:1]) @ x[1:] - y, start, loss=loss, f_scale=sigma, **tight)
    ours = loss_of(fit, y, start, loss)
    assert ours <= best.cost * (1 + 1e-6)
    assert ours == pytest.approx(loss_of(fit, y, best.x, loss), rel=1e-6)
    assert sigma == pytest.approx(1.4826 * np.median(np.abs(y - fit.fitted)), rel=0.02)


@pytest.mark.parametrize("loss", LOSSES)
def test_weight_and_slope_are_derivatives_of_rho(loss):
    kind, z, h = residual_loss(loss), np.array([0.0, 0.3, 0.9, 1.2, 4.0, 1e3]), 1e-6
    slope = (kind.rho((z + h) ** 2) - kind.rho((z - h) ** 2)) / (2 * h)
    np.testing.assert_allclose(2 * z * kind.weight(z * z), slope, rtol=1e-6, atol=1e-8)
    psi = [v * kind.weight(v * v) for v in (z + h, z - h)]
    np.testing.assert_allclose(kind.slope(kind.weight(z * z)), (psi[0] - psi[1]) / (2 * h), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("loss", LOSSES)
def test_rho_is_the_integral_of_its_weight(loss):
    """So that it has no jump, which derivatives do not see."""
    kind = residual_loss(loss)
    for s in (0.0, 0.3, 1.0, 1.7, 30.0):
        area = scipy.integrate.quad(lambda v: float(kind.weight(np.array(v))), 0.0, s, points=[1.0])[0]
        assert float(kind.rho(np.array(s))) == pytest.approx(area, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("factor", [1e-15, 1e-7, 1e15])
@pytest.mark.parametrize("loss", ["huber", "cauchy"])
def test_the_unit_of_the_data_changes_nothing(loss, factor):
    y = spoiled(5)
    plain, other = (varpro.fit(decay, T, k * y, [1.2], loss=loss) for k in (1.0, factor))
    assert other.success
    np.testing.assert_allclose(other.nonlinear, plain.nonlinear, rtol=1e-5)
    np.testing.assert_allclose(other._solution.loss_scale, factor * plain._solution.loss_scale, rtol=1e-5)


def test_rounds_that_run_out_are_no_success_and_say_what_has_not_settled(monkeypatch):
    monkeypatch.setattr(reweighting, "REWEIGHTINGS", 2)
    fit = varpro.fit(decay, T, spoiled(5), [1.2], loss="cauchy")
    assert fit.status is Status.REWEIGHTING
    assert not fit.success
    assert "weighting" in fit.message


def test_exact_data_with_outliers_give_the_exact_parameters():
    y = decay(T, [2.5]) @ [3.0, 0.5]
    y[::5] += 2.0
    for loss in ("soft_l1", "cauchy"):
        fit = varpro.fit(decay, T, 1e-9 * y, [1.2], loss=loss)
        np.testing.assert_allclose(fit.nonlinear, [2.5], rtol=1e-6)


def test_a_batch_with_empty_and_masked_problems_is_the_fits_alone():
    y = np.stack([spoiled(1), np.zeros(83), spoiled(2), spoiled(3)])
    mask = np.ones(y.shape, dtype=bool)
    mask[2, 40:], mask[3] = False, False
    many = varpro.fit_batch(decay, T, y, [1.2], loss="cauchy", mask=mask, cost_tolerance=1e-14, step_tolerance=1e-9)
    assert many.status[3] == Status.TOO_FEW_POINTS
    for b in (0, 2):
        alone = varpro.fit(decay, T, y[b], [1.2], loss="cauchy", mask=mask[b])
        np.testing.assert_allclose(many.nonlinear[b], alone.nonlinear, rtol=1e-4)
        assert many.success[b]


def test_complex_data_several_right_hand_sides_and_their_weights_settle():
    y = spoiled(4, 0.1) + 1j * spoiled(6, 0.1)
    assert varpro.fit(decay, T, y, [1.2], loss="soft_l1").success
    weights = np.random.default_rng(2).uniform(0.5, 2.0, (83, 3))
    assert varpro.fit(decay, T, spoiled(7, 0.1, right=3), [1.2], loss="huber", weights=weights).success
    t, y = decay_data(n=80, noise=0.05)
    y[::9] += 2.0
    assert varpro.fit(decays, t, y, [2.0, 6.5], loss="huber", linear="nonnegative", ridge=1e-3).success


@pytest.mark.parametrize("loss", ["huber", "soft_l1", "cauchy"])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_what_the_model_makes_of_an_excluded_row_does_not_stop_the_rounds(loss, batch, bad):
    t = np.arange(-3.0, 41.0)
    used, y = t >= 0, np.zeros(44)
    y[used] = 0.1 * t[used] ** 1.5 + 1.0 + 0.02 * np.random.default_rng(0).standard_normal(41)
    y[5:44:4] += np.linspace(1, 4, 10)

    def power(t, w):
        p = np.asarray(w[0])
        with np.errstate(all="ignore"):
            phi = np.where(t < 0, bad, np.where(t > 0, np.abs(t), 1.0) ** p * (t > 0))
        return np.stack([phi, np.ones_like(phi)], axis=-1)

    if batch:
        alone = varpro.fit_batch(power, t[used], np.stack([y[used]] * 2), [1.3], loss=loss)[1]
        masked = varpro.fit_batch(power, t, np.stack([y] * 2), [1.3], loss=loss, mask=used)[1]
    else:
        alone = varpro.fit(power, t[used], y[used], [1.3], loss=loss)
        masked = varpro.fit(power, t, y, [1.3], loss=loss, mask=used)
    assert masked.success
    np.testing.assert_allclose(masked.nonlinear, alone.nonlinear, rtol=1e-6)
    np.testing.assert_allclose(masked.stderr_nonlinear, alone.stderr_nonlinear, rtol=1e-4)
    np.testing.assert_allclose(masked.sigma, alone.sigma, rtol=1e-4)


@pytest.mark.parametrize("lifetime", [0.12, 0.2, 0.5, 2.0])
def test_a_value_that_a_parameter_rests_on_alone_leaves_a_robust_error_sane(lifetime):
    """With a huge scale Huber's loss is that of least squares, and its errors are nearly those."""

    def decay(t, w):
        return np.stack([np.exp(-t / w[0]), np.ones_like(t)], -1)

    t = np.arange(21.0)
    y = decay(t, [lifetime]) @ [3.0, 1.0] + 0.01 * np.random.default_rng(0).standard_normal(21)
    plain = varpro.fit(decay, t, y, [lifetime])
    huber = varpro.fit(decay, t, y, [lifetime], loss="huber", loss_scale=100.0)
    np.testing.assert_allclose(huber.nonlinear, plain.nonlinear, rtol=1e-6)
    for name in ("stderr_nonlinear", "stderr_linear"):
        ratio = getattr(huber, name) / getattr(plain, name)
        assert ((ratio > 0.7) & (ratio < 1.3)).all()
    np.testing.assert_allclose(huber.leverage, plain.leverage, rtol=1e-3, atol=1e-6)
    robust = varpro.fit(decay, t, y, [lifetime], loss="cauchy")
    assert (robust.leverage <= 1 + 1e-9).all()
    np.testing.assert_allclose(robust.leverage.sum(), 3.0, rtol=1e-3)
