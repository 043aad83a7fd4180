"""What a bootstrap draws: residuals of equal variance, noise of the fit's sigma, rows as often as they were drawn."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import varpro
from varpro.errors import ConfigError
from varpro.fitting import bootstrap
from varpro.fitting.bootstrap import _Draw
from varpro.result import Status

MODEL = varpro.models.Exponentials(1, offset=True)
T, N = np.linspace(0.0, 8.0, 40), 40


def noisy(right=None, seed=0, sigma=0.05):
    clean = MODEL(T, np.array([2.0])) @ np.array([3.0, 1.0])
    clean = clean if right is None else clean[:, None] * np.arange(1.0, right + 1)
    return clean + sigma * np.random.default_rng(seed).standard_normal(clean.shape)


def drawn(fit, kind, count, seed=0):
    """The data of `count` problems, as fitted."""
    spec = fit._solution.own_spec
    many = spec.repeated(count).data
    return _Draw(fit, spec.data, kind, np.random.default_rng(seed)).data(many, count)


def even_residuals(fit, t, y, weights):
    """r_n / sqrt(1 - h_n) less their mean, h from the Jacobian written out."""
    tau, (a, _) = fit.nonlinear[0], fit.linear
    jacobian = np.stack([np.exp(-t / tau), np.ones_like(t), a * t / tau**2 * np.exp(-t / tau)], axis=1)
    q = np.linalg.qr(weights[:, None] * jacobian)[0]
    r = weights * (y - fit.fitted) / np.sqrt(1.0 - np.sum(q**2, axis=1))
    return r - r.mean()


def test_residuals_are_drawn_at_equal_variance_and_mean_zero():
    y, weights = noisy(), np.linspace(0.5, 2.0, N)
    fit = varpro.fit(MODEL, T, y, weights=weights)
    noise = weights * (drawn(fit, "residual", 300).y[:, :, 0] - fit.fitted)
    pool = np.sort(even_residuals(fit, T, y, weights))
    place = np.clip(np.searchsorted(pool, noise), 1, N - 1)
    nearest = np.where(np.abs(noise - pool[place - 1]) < np.abs(noise - pool[place]), place - 1, place)
    np.testing.assert_allclose(noise, pool[nearest], atol=1e-9 * np.abs(pool).max())
    counts = np.bincount(nearest.ravel(), minlength=N)
    assert counts.sum() == 300 * N
    assert np.abs(counts - 300).max() < 6 * np.sqrt(300)


def test_residuals_have_mean_zero_for_each_right_hand_side():
    """Without an offset in the model, those of two right-hand sides with other offsets have unlike means."""
    model = varpro.models.Exponentials(1)
    fit = varpro.fit(model, T, noisy(2) * [1.0, -2.0], [2.0])
    noise = drawn(fit, "residual", 400).y - fit.fitted
    assert np.abs(noise.mean(axis=(0, 1))).max() < 4 * noise.std() / np.sqrt(400 * N)


def test_a_robust_fit_draws_its_residuals_as_they_are():
    y = noisy()
    y[5] += 3.0
    fit = varpro.fit(MODEL, T, y, loss="huber")
    noise = drawn(fit, "residual", 50).y[:, :, 0] - fit.fitted
    pool = fit.residual - fit.residual.mean()
    assert np.abs(noise.ravel()[:, None] - pool).min(axis=1).max() < 1e-9 * np.abs(pool).max()


def test_right_hand_sides_of_one_row_are_drawn_together_where_they_share_their_rows():
    y = noisy(right=2)
    y[:, 1] = 2.0 * y[:, 0]
    fit = varpro.fit(MODEL, T, y)
    noise = drawn(fit, "residual", 20).y - fit.fitted  # the leverages differ a little: so do the two pools
    assert np.corrcoef(noise[:, :, 0].ravel(), noise[:, :, 1].ravel())[0, 1] > 0.999
    y[3, 1] = np.nan
    apart = varpro.fit(MODEL, T, y)
    found = drawn(apart, "residual", 20)
    noise = np.where(apart._solution.own_data.used(0), found.y - apart._fitted, 0.0)
    assert np.corrcoef(noise[:, 4:, 0].ravel(), noise[:, 4:, 1].ravel())[0, 1] < 0.3
    assert (found.y[:, 3, 1] == 0).all()
    for k in (0, 1):
        used = apart._solution.own_data.used(0)[:, k]
        assert (np.abs(noise[:, used, k]) > 0).all()
        assert noise[:, used, k].mean() == pytest.approx(0.0, abs=4 * noise[:, used, k].std() / np.sqrt(20 * N))


@pytest.mark.parametrize("absolute", [False, True])
def test_normal_noise_has_the_standard_deviation_of_the_fit_over_the_weight(absolute):
    """A standard deviation of 40,000 values is known to 0.35 %."""
    weights = np.linspace(10.0, 40.0, N)
    fit = varpro.fit(MODEL, T, noisy(), weights=weights, absolute_sigma=absolute)
    noise = weights * (drawn(fit, "parametric", 1000).y[:, :, 0] - fit.fitted)
    assert noise.std() == pytest.approx(fit.sigma, rel=0.02)
    assert fit.sigma == (1.0 if absolute else pytest.approx(np.sqrt(fit.rss / fit.dof)))
    assert abs(noise.mean()) < 0.03 * fit.sigma


def test_weights_of_any_size_give_the_same_draws():
    """Weights beyond the range of their fourth powers are divided by a unit, and sigma with them."""
    fits = [varpro.fit(MODEL, T, noisy(), weights=np.full(N, f)) for f in (1.0, 2.0**200)]
    one, other = (drawn(fit, "parametric", 5).y for fit in fits)
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_complex_data_get_noise_of_both_parts():
    z = np.exp((-0.3 + 2.0j) * T) + 0.02 * np.sin(1e4 * np.sin(T)) + 0.02j * np.sin(1e4 * np.cos(T))
    fit = varpro.fit(lambda t, w: np.exp(np.multiply.outer(t, w)), T, z, np.array([-0.3 + 2.1j]))
    noise = drawn(fit, "parametric", 500).y[:, :, 0] - fit.fitted
    assert noise.real.std() == pytest.approx(fit.sigma, rel=0.03)
    assert noise.imag.std() == pytest.approx(fit.sigma, rel=0.03)
    assert abs(np.mean(noise.real * noise.imag)) < 0.05 * fit.sigma**2
    parts = drawn(fit, "residual", 50).y[:, :, 0] - fit.fitted
    assert parts.real.std() == pytest.approx(fit.residual.real.std(), rel=0.2)
    assert parts.imag.std() == pytest.approx(fit.residual.imag.std(), rel=0.2)


@pytest.mark.parametrize("right", [None, 3])
def test_rows_that_are_drawn_twice_weigh_twice(right):
    y, weights = noisy(right), np.linspace(0.5, 2.0, N)
    y[7] = np.nan
    if right:
        y[9, 1] = np.nan  # this value alone is missing, and stays so
    fit = varpro.fit(MODEL, T, y, weights=weights)
    found = drawn(fit, "cases", 200)
    times = (found.total_weight() / weights[:, None]) ** 2
    np.testing.assert_allclose(times, np.round(times), atol=1e-9)
    np.testing.assert_allclose(times[:, :, 0].sum(axis=1), N - 1, rtol=1e-12)
    assert (times[:, 7] == 0).all()
    np.testing.assert_array_equal(found.valid, (times > 0.5).sum(axis=(1, 2)))
    keep = np.arange(N) != 7
    assert np.abs(times[:, keep, 0].mean(axis=0) - 1.0).max() < 6 / np.sqrt(200)
    if right:
        assert (times[:, 9, 1] == 0).all()
        np.testing.assert_allclose(times[:, keep & (np.arange(N) != 9), 1], times[:, keep & (np.arange(N) != 9), 0])


def test_excluded_values_raise_no_warning():
    y = noisy()
    y[[4, 11]] = np.nan
    fit = varpro.fit(MODEL, T, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in ("residual", "parametric", "cases"):
            assert len(fit.bootstrap(10, kind)) + fit.bootstrap(10, kind).failed == 10


def test_parts_of_any_size_together_are_all_refits(monkeypatch):
    fit, told = varpro.fit(MODEL, T, noisy()), []
    monkeypatch.setattr(bootstrap, "VALUES", 7 * N)
    found = fit.bootstrap(50, "parametric", progress=told.append)
    assert len(found) + found.failed == 50
    assert sum(told) == 50
    assert len(np.unique(found.nonlinear[:, 0])) == len(found)
    assert (found.status == Status.COST_TOLERANCE.value).all()
    assert len(found.status) == len(found)


def failing(monkeypatch, count):
    """Let the first `count` refits end without convergence."""
    solve = bootstrap.solve

    def spoiled(*arguments, **options):
        found = solve(*arguments, **options)
        status = found.status.copy()
        status[:count] = Status.ITERATIONS.value
        return replace(found, status=status)

    monkeypatch.setattr(bootstrap, "solve", spoiled)


def test_refits_that_fail_are_left_out_and_counted(monkeypatch):
    fit = varpro.fit(MODEL, T, noisy())
    assert fit.bootstrap(20).failed == 0
    assert "left out" not in str(fit.bootstrap(20))
    failing(monkeypatch, 3)
    found = fit.bootstrap(20)
    assert found.failed == 3
    assert len(found) == 17
    assert "residual bootstrap of 17 refits, 3 that did not converge left out" in str(found)


def test_too_few_refits_that_converge_are_an_error(monkeypatch):
    fit = varpro.fit(MODEL, T, noisy())
    failing(monkeypatch, 8)
    assert len(fit.bootstrap(10)) == 2
    with pytest.raises(ConfigError, match="8 of 9 refits did not converge"):
        fit.bootstrap(9)
    with pytest.raises(ConfigError, match="8 of 8 refits did not converge"):
        fit.bootstrap(8)


def test_as_many_parameters_as_values_leave_nothing_to_draw():
    t = np.arange(3.0)
    fit = varpro.fit(MODEL, t, 3.0 * np.exp(-t / 2.0) + 1.0, w0=[1.5])
    with pytest.raises(ConfigError, match="a bootstrap needs degrees of freedom"):
        fit.bootstrap(10)
