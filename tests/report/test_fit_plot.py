"""Plots of fits: what is drawn is what was fitted, for every kind of fit."""

import io
import pickle

import numpy as np
import pytest

import varpro
from tests.report.example import check_image
from varpro import models
from varpro.errors import ConfigError
from varpro.report.batch_plot import draw_batch
from varpro.report.fit_plot import CURVES, FINE_POINTS, draw_fit

pytestmark = pytest.mark.filterwarnings("error")

T = np.linspace(0.0, 10.0, 41)


def decays(k=1, n=T.size, seed=0):
    """t (n,) and k noisy decays (n, k)."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0.0, 10.0, n)
    return t, np.exp(-t / 2.0)[:, None] * (1.0 + np.arange(k)) + 0.05 * rng.standard_normal((n, k))


def check_png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    check_image(buffer.getvalue())


def lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def test_data_fit_and_residuals_are_those_of_the_result(tmp_path):
    t, y = decays()
    fit = varpro.fit(models.Exponentials(1), t, y[:, 0])
    figure = fit.plot(tmp_path / "fit.png")
    check_image((tmp_path / "fit.png").read_bytes())
    upper, lower = figure.axes
    np.testing.assert_array_equal(lines(upper)["data"], np.stack([t, y[:, 0]], axis=1))
    curve = lines(upper)["fit"]
    assert len(curve) == FINE_POINTS
    np.testing.assert_allclose(curve[:, 1], fit.predict(curve[:, 0]))
    np.testing.assert_allclose(lower.lines[0].get_ydata(), fit.residual)
    assert lower.get_ylabel() == "residual"


def test_the_band_is_the_confidence_band():
    t, y = decays()
    fit = varpro.fit(models.Exponentials(1), t, y[:, 0])
    upper = fit.plot().axes[0]
    edge = upper.collections[0].get_paths()[0].vertices
    low, high = fit.confidence_band(np.linspace(0, 10, FINE_POINTS))
    np.testing.assert_allclose((edge[:, 1].min(), edge[:, 1].max()), (low.min(), high.max()))


@pytest.mark.parametrize("count", [1, 2, CURVES, 20])
def test_of_many_right_hand_sides_at_most_six_are_drawn(count):
    figure = draw_fit(varpro.fit(models.Exponentials(1, offset=True), *decays(count)))
    columns = 2 if count == 1 else 0  # the decay and the offset
    assert len(figure.axes[0].lines) == 2 * min(count, CURVES) + columns
    check_png(figure)


def test_missing_values_leave_gaps_and_rows_may_come_in_any_order():
    t, y = decays()
    order = np.random.default_rng(3).permutation(t.size)
    y = y[order, 0]
    y[5] = np.nan
    upper, lower = draw_fit(varpro.fit(models.Exponentials(1), t[order], y)).axes
    assert np.isnan(lines(upper)["data"][5, 1])
    assert np.isnan(lower.lines[0].get_ydata()[5])
    assert lower.get_ylabel() == "residual"
    assert (np.diff(lines(upper)["fit"][:, 0]) > 0).all()


def test_residuals_are_drawn_as_they_are_weighted():
    t, y = decays()
    weights = np.linspace(1, 3, t.size)
    fit = varpro.fit(models.Exponentials(1), t, y[:, 0], weights=weights)
    lower = draw_fit(fit).axes[1]
    np.testing.assert_allclose(lower.lines[0].get_ydata(), weights * fit.residual)
    assert lower.get_ylabel() == "weighted\nresidual"


def test_complex_data_have_real_and_imaginary_part_side_by_side():
    z = (2 + 1j) * np.exp((-0.2 + 2j) * T) + 0.01 * np.cos(7 * T)
    fit = varpro.fit(lambda t, w: np.exp(w[0] * t)[:, None], T, z, [-0.1 + 1.9j])
    figure = draw_fit(fit)
    assert [axes.get_title() for axes in figure.axes[:2]] == [""] * 2
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["real part", "imaginary part"]
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), z.imag)
    check_png(figure)


def test_a_model_tied_to_its_grid_is_drawn_there():
    irf = np.exp(-0.5 * ((T - 1.0) / 0.3) ** 2)
    model = models.Exponentials(1, convolve=irf)
    y = model(T, np.array([2.0]))[:, 0] + 0.01 * np.sin(5 * T)
    fit = varpro.fit(model, T, y)
    np.testing.assert_allclose(lines(draw_fit(fit).axes[0])["fit"], np.stack([T, fit.fitted], axis=1))


def test_several_predictors_are_drawn_by_row():
    x = np.random.default_rng(0).uniform(size=(30, 2))
    y = np.exp(-x[:, 0]) + 0.1 * x[:, 1]
    fit = varpro.fit(lambda t, w: np.stack([np.exp(-w[0] * t[:, 0]), t[:, 1]], axis=1), x, y, [0.5])
    figure = draw_fit(fit)
    assert figure.axes[-1].get_xlabel() == "row"
    check_png(figure)


def test_a_result_whose_model_did_not_travel_says_so():
    t, y = decays()
    fit = varpro.fit(lambda t, w: np.exp(-w[0] * t)[:, None], t, y[:, 0], [0.4])
    with pytest.raises(ConfigError, match="could not be pickled"):
        pickle.loads(pickle.dumps(fit)).plot()


@pytest.fixture(scope="module")
def image():
    """8 x 5 pixels, one of them infinite and one with no data."""
    _, y = decays(40)
    y = y.T.copy()
    y[3], y[7] = np.nan, np.inf
    return varpro.fit_batch(models.Exponentials(1, offset=True), T, y)


def test_histograms_hold_what_converged(image):
    figure = image.plot()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["tau_1", "amplitude exp_1", "amplitude offset"]
    for axes in figure.axes:
        assert sum(bar.get_height() for bar in axes.patches) == image.success.sum() == 38
    assert "40 fits: 38 converged" in figure.get_suptitle()
    check_png(figure)


def test_maps_are_blank_where_a_fit_failed(image, tmp_path):
    figure = draw_batch(image, (8, 5), tmp_path / "maps.png")
    check_image((tmp_path / "maps.png").read_bytes())
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(shown) == 3
    drawn = np.ma.filled(shown[0].astype(float), np.nan)
    np.testing.assert_allclose(drawn.ravel()[image.success], image.nonlinear[image.success, 0])
    assert np.isnan(drawn.ravel()[[3, 7]]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_batch_in_which_nothing_converged(bad):
    many = varpro.fit_batch(models.Exponentials(1), T, np.full((4, T.size), bad), [1.0])
    check_png(many.plot(shape=(2, 2)))


def test_a_batch_of_many_right_hand_sides_draws_the_first_parameters():
    t, y = decays(30)
    many = varpro.fit_batch(models.Exponentials(1), t, np.stack([y, y]))
    figure = many.plot()
    assert len(figure.axes) == 12
    assert "19 more parameters are not drawn" in figure.get_suptitle()
