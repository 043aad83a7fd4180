"""Excluded means excluded: every way of leaving a value out gives the fit of the data without it."""

import numpy as np
import pytest

import varpro
from varpro import models
from varpro.errors import DataError, ShapeError
from varpro.fitting.data import make_data

READY = models.Exponentials(1, offset=True)
T = np.linspace(0.4, 12.0, 67)


def decay(t, w):
    return np.stack([np.exp(-t / w[0]), np.ones_like(t)], axis=-1)


def saturating(t, w):
    """nan for t < 0, -inf at 0, where log t is none."""
    return np.stack([np.log(t) * np.exp(-t / w[0]), np.ones_like(t)], axis=-1)


def saturating_slope(t, w):
    return (np.log(t) * np.exp(-t / w[0]) * t / w[0] ** 2)[..., None]


def curve(seed=0, model=decay):
    return model(T, [2.5]) @ [40.0, 3.0] + 0.2 * np.random.default_rng(seed).standard_normal(len(T))


def spoiled(seed=0, model=decay, value=1e5):
    """t, y and what may be used: excluded rows at both ends and within."""
    t, y, use = T.copy(), curve(seed, model), np.ones(len(T), dtype=bool)
    use[[0, 1, 2, 30, 31, 66]] = False
    y[~use] = value
    return t, y, use


WAYS = {
    "mask": lambda t, y, use: ((t, y), {"mask": use}),
    "mask of integers": lambda t, y, use: ((t, y), {"mask": use.astype(int).tolist()}),
    "NaN": lambda t, y, use: ((t, np.where(use, y, np.nan)), {}),
    "None": lambda t, y, use: ((t, [v if u else None for v, u in zip(y.tolist(), use, strict=True)]), {}),
    "masked array": lambda t, y, use: ((t, np.ma.array(y, mask=~use)), {}),
    "masked t": lambda t, y, use: ((np.ma.array(t, mask=~use), y), {}),
    "NaN in t and y": lambda t, y, use: ((np.where(use, t, np.nan), np.where(use, y, np.nan)), {}),
    "infinite t under a mask": lambda t, y, use: ((np.where(use, t, np.inf), y), {"mask": use}),
    "weight 0": lambda t, y, use: ((t, y), {"weights": use.astype(float)}),
    "masked weights": lambda t, y, use: ((t, y), {"weights": np.ma.array(np.ones(len(t)), mask=~use)}),
    "infinite weights under a mask": lambda t, y, use: ((t, y), {"weights": np.where(use, 1.0, np.inf), "mask": use}),
    "masked mask": lambda t, y, use: ((t, y), {"mask": np.ma.array(np.ones(len(t), bool), mask=~use)}),
}


def same_fit(found, cut, rtol=1e-6):
    assert found.success
    assert found.dof == cut.dof
    np.testing.assert_allclose(found.nonlinear, cut.nonlinear, rtol=rtol)
    np.testing.assert_allclose(found.linear, cut.linear, rtol=rtol)
    np.testing.assert_allclose(found.rss, cut.rss, rtol=rtol)
    np.testing.assert_allclose(found.stderr_nonlinear, cut.stderr_nonlinear, rtol=rtol)
    np.testing.assert_allclose(found.r_squared, cut.r_squared, rtol=rtol)


@pytest.mark.parametrize("value", [1e5, np.inf, np.nan])
@pytest.mark.parametrize("w0", [None, [2.0]], ids=["guessed", "w0"])
@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_exclude_gives_the_fit_of_the_data_without_those_rows(way, w0, value):
    t, y, use = spoiled(value=value)
    (given_t, given_y), options = WAYS[way](t, y, use)
    for model in (READY, decay) if w0 is not None else (READY,):
        cut = varpro.fit(model, t[use], y[use], w0)
        same_fit(varpro.fit(model, given_t, given_y, w0, **options), cut)


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_excludes_as_a_single_fit_does(way):
    t, y, use = spoiled(value=np.inf)
    (given_t, given_y), options = WAYS[way](t, y, use)
    given_y = np.ma.array([given_y, given_y]) if isinstance(given_y, np.ma.MaskedArray) else [given_y, given_y]
    for model, w0 in ((READY, None), (READY, [2.0]), (decay, [2.0])):
        many = varpro.fit_batch(model, given_t, given_y, w0, **options)
        cut = varpro.fit(model, t[use], y[use], w0)
        assert many.success.all()
        np.testing.assert_allclose(many.nonlinear[:, 0], cut.nonlinear[0], rtol=1e-4)
        np.testing.assert_allclose(many.rss, cut.rss, rtol=1e-6)
        np.testing.assert_array_equal(many.dof, cut.dof)


@pytest.mark.parametrize("derivative", [None, ([(0, 0)], saturating_slope), "differences"])
@pytest.mark.parametrize("kind", ["rows", "right-hand sides", "bounded", "many", "complex", "ridge"])
def test_a_model_that_is_not_finite_at_an_excluded_row_fits_the_others(kind, derivative):
    t, y, use = spoiled(model=saturating)
    t[[0, 1, 30]] = 0.0, -1.0, 0.0
    options, value = {"mask": use}, y
    if kind == "right-hand sides":
        value = np.stack([y, 2 * y + 1], axis=1)
        weights = np.where(use[:, None], [[1.0, 2.0]], 0.0)
        weights[5, 1] = 0.0
        options = {"weights": weights}
    elif kind == "bounded":
        options["linear"] = "nonnegative"
    elif kind == "many":
        value = y[:, None] * np.linspace(1, 2, 331)
    elif kind == "complex":
        value = y * (1 + 2j)
    elif kind == "ridge":
        options["ridge"] = 1e-3
    with np.errstate(all="ignore"):
        found = varpro.fit(saturating, t, value, [2.0], derivative=derivative, **options)
        kept = {name: v[use] if name in ("mask", "weights") else v for name, v in options.items()}
        cut = varpro.fit(saturating, t[use], value[use], [2.0], derivative=derivative, **kept)
        same_fit(found, cut, rtol=1e-5)
        if "weights" in options:
            options["weights"] = np.stack([options["weights"]] * 3)
        batch = varpro.fit_batch(saturating, t, np.stack([value] * 3), [2.0], derivative=derivative, **options)
        assert batch.success.all()
        np.testing.assert_allclose(batch.nonlinear[:, 0], cut.nonlinear[0], rtol=1e-4)
        np.testing.assert_allclose(batch[1].nonlinear, cut.nonlinear, rtol=1e-4)
        np.testing.assert_allclose(batch[1].stderr_nonlinear, cut.stderr_nonlinear, rtol=1e-3)
        assert np.isfinite(batch.stderr_nonlinear).all()


@pytest.mark.parametrize("model", [READY, decay], ids=["ready", "function"])
def test_a_column_that_overflows_at_an_excluded_row_has_no_part(model):
    t, y, use = spoiled()
    t[[0, 66]] = -1e7, 1e300
    cut = varpro.fit(model, t[use], y[use], [2.0])
    with np.errstate(all="ignore"):
        found = varpro.fit(model, t, y, [2.0], mask=use)
        same_fit(found, cut)
        bounded = varpro.fit(model, t, y, [2.0], mask=use, bounds=(0.1, 50.0))
        same_fit(bounded, cut)
        masks = np.stack([use, np.ones(len(use), bool), use])
        many = varpro.fit_batch(model, t, np.stack([y, y, y]), [2.0], mask=masks)
    np.testing.assert_allclose(many.nonlinear[[0, 2], 0], cut.nonlinear[0], rtol=1e-4)
    assert many.success[0]
    assert not many.success[1]  # there the overflow is in a row that is used


def test_fitted_and_predicted_values_are_those_at_all_of_the_given_points():
    t, y, use = spoiled()
    found = varpro.fit(READY, t, y, [2.0], mask=use)
    np.testing.assert_allclose(found.fitted, READY(t, found.nonlinear) @ found.linear, rtol=1e-14)
    np.testing.assert_array_equal(np.isnan(found.residual), ~use)
    many = varpro.fit_batch(READY, t, np.stack([y, y]), [2.0], mask=np.stack([use, ~use]))
    assert many.predict().shape == (2, 67, 1)
    np.testing.assert_allclose(many.predict()[0, :, 0], READY(t, many.nonlinear[0]) @ many.linear[0, :, 0], rtol=1e-14)


def test_a_peak_beside_an_excluded_spike_is_guessed_from_the_peak():
    x = np.linspace(0, 100, 503)
    model = models.Gaussians(1, offset=True)
    y = model(x, [30.0, 4.0]) @ [50.0, 10.0] + np.random.default_rng(1).standard_normal(503)
    use = np.ones(503, bool)
    use[400:405] = False
    y[~use] += 5e3
    cut = varpro.fit(model, x[use], y[use])
    for options in ({"mask": use}, {"weights": use * 0.5}):
        found = varpro.fit(model, x, y, **options)
        assert found.success
        np.testing.assert_allclose(found.nonlinear, cut.nonlinear, rtol=1e-6)
        np.testing.assert_allclose(found.rss, cut.rss * options.get("weights", use)[0] ** 2, rtol=1e-9)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_right_hand_sides_that_each_miss_other_rows_are_guessed_and_fitted(share):
    rng = np.random.default_rng(5)
    y = decay(T, [2.5]) @ rng.uniform(5, 20, (2, 40)) + 0.05 * rng.standard_normal((67, 40))
    y[rng.random(y.shape) < share] = np.nan
    assert np.isnan(y).any(axis=1).all()
    found = varpro.fit(READY, T, y)
    assert found.success
    assert found.nonlinear[0] == pytest.approx(2.5, rel=0.01)
    assert found.dof == np.isfinite(y).sum() - 81


def test_a_response_keeps_its_grid_where_values_are_missing():
    t = np.arange(150) * 0.1
    irf = np.exp(-0.5 * ((t - 1.0) / 0.2) ** 2)
    model = models.Exponentials(1, convolve=irf / irf.sum(), offset=True)
    y = model(t, [2.5]) @ [40.0, 3.0] + 0.1 * np.random.default_rng(0).standard_normal(150)
    whole = varpro.fit(model, t, y)
    y[[3, 40, 41, 42, 149]] = np.nan
    holed = t.copy()
    holed[[3, 41]] = np.nan
    found = varpro.fit(model, holed, y)
    assert found.success
    assert found.dof == whole.dof - 5
    assert found.nonlinear[0] == pytest.approx(whole.nonlinear[0], rel=0.02)
    np.testing.assert_allclose(make_data(holed, y, batch=False).t, t, rtol=1e-14)


def test_nothing_left_to_fit_is_said_and_a_batch_flags_it():
    for options in ({"mask": np.zeros(67, bool)}, {"weights": np.zeros(67)}):
        with pytest.raises(DataError, match="no value to fit"):
            varpro.fit(READY, T, curve(), **options)
    with pytest.raises(DataError, match=r"no value to fit.*67"):
        varpro.fit(READY, T, np.full(67, np.nan))
    many = varpro.fit_batch(READY, T, np.full((3, 67), np.nan))
    assert (many.status == varpro.Status.TOO_FEW_POINTS).all()
    assert np.isnan(many.nonlinear).all()
    some = varpro.fit_batch(READY, T, np.stack([np.full(67, np.nan), curve(), np.zeros(67)]))
    assert some.status[0] == varpro.Status.TOO_FEW_POINTS
    assert some.nonlinear[1, 0] == pytest.approx(2.5, rel=0.05)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_of_one_problem_guesses_as_a_fit_does(channels):
    y = np.stack([curve(s) for s in range(channels)], axis=1)
    y = y[:, 0] if channels == 1 else y
    one = varpro.fit(READY, T, y)
    many = varpro.fit_batch(READY, T, y[None])
    np.testing.assert_allclose(many.nonlinear[0], one.nonlinear, rtol=1e-5)


def test_problems_at_points_of_their_own_start_from_guesses_of_their_own():
    shifts = np.array([0.0, 1.7e6, -50.0])
    model = models.Gaussians(1)
    t = T + shifts[:, None]
    y = np.stack([model(row, [row[20], 1.1])[:, 0] for row in t])
    many = varpro.fit_batch(model, t, y)
    assert many.success.all()
    np.testing.assert_allclose(many.nonlinear[:, 0], t[:, 20], rtol=1e-12)


def test_a_row_without_t_that_is_used_is_refused_and_in_a_batch_of_own_points_flagged():
    t = T.copy()
    t[7] = np.nan
    with pytest.raises(DataError, match="row 7"):
        varpro.fit(READY, t, curve())
    own = np.stack([T, t])
    many = varpro.fit_batch(READY, own, np.stack([curve(), curve()]), [2.0])
    assert many.success[0]
    assert many.status[1] == varpro.Status.INVALID_DATA


def test_what_is_no_mask_is_refused_with_the_remedy():
    with pytest.raises(DataError, match=r"mask\[rows\] = False"):
        varpro.fit(READY, T, curve(), mask=np.arange(67))
    with pytest.raises(ShapeError, match="mask has shape"):
        varpro.fit(READY, T, curve(), mask=[True, False])
    with pytest.raises(DataError, match="mask"):
        varpro.fit(READY, T, curve(), mask=["yes"] * 67)
    with pytest.raises(DataError, match="-1"):
        varpro.fit(READY, T, curve(), weights=np.where(np.arange(67) == 3, -1.0, 1.0))
    with pytest.raises(DataError, match="inf"):
        varpro.fit(READY, T, curve(), weights=np.where(np.arange(67) == 3, np.inf, 1.0))
