"""Which values a guess is made from: those that enough curves share, none that are excluded."""

import numpy as np
import pytest

import varpro
from varpro.fitting.data import make_data
from varpro.fitting.starts import guessed_start

T = np.linspace(0.0, 10.0, 60)


class Seen:
    """A model whose guess is the mean of t and of y over the rows that it is shown, and their number."""

    parameter_names = ("t", "y", "rows")

    def __init__(self, *, needs_grid=False):
        self.needs_grid = needs_grid

    def guess(self, t, y):
        return np.array([np.mean(t), np.nanmean(y), np.isfinite(y).reshape(len(t), -1).any(axis=1).sum()])


def start(y, t=T, *, batch=True, model=None, **options):
    return guessed_start(model or Seen(), make_data(t, y, batch=batch, **options))


def lacking(y, *rows):
    """The curves, each without some rows."""
    out = np.array(y, dtype=float)
    for curve, own in zip(out, rows, strict=True):
        curve[own] = np.nan
    return out


CURVES = np.array([1.0, 2.0, 6.0])[:, None] * np.ones(60)


def test_a_batch_is_guessed_from_its_mean():
    np.testing.assert_allclose(start(CURVES), [5.0, 3.0, 60])


def test_rows_that_few_lack_are_left_out_for_all():
    found = start(lacking(CURVES, slice(0, 5), slice(0, 0), slice(55, 60)))
    np.testing.assert_allclose(found, [T[5:55].mean(), 3.0, 50])


def test_a_curve_with_few_rows_does_not_take_the_rows_of_the_others():
    """In common are 5 rows of 60: the curves that have at least half of them in common are used instead."""
    found = start(lacking(CURVES, slice(0, 0), slice(50, 60), slice(5, 60)))
    np.testing.assert_allclose(found, [T[:50].mean(), 1.5, 50])


def test_of_curves_with_nothing_in_common_the_fullest_is_used():
    found = start(lacking(CURVES, slice(40, 60), slice(0, 45), slice(0, 60)))
    np.testing.assert_allclose(found, [T[:40].mean(), 1.0, 40])


def test_right_hand_sides_of_one_problem_are_treated_alike():
    y = lacking(CURVES, slice(0, 0), slice(50, 60), slice(5, 60)).T
    found = start(y, batch=False)
    np.testing.assert_allclose(found, [T[:50].mean(), 1.5, 50])
    rows = start(np.where(np.arange(60)[:, None] < 20, np.nan, CURVES.T), batch=False)
    np.testing.assert_allclose(rows, [T[20:].mean(), 3.0, 40])


def test_a_model_that_needs_the_grid_sees_it_with_nan_where_nothing_is():
    y = np.where(np.arange(60) < 20, np.nan, 2.0)
    np.testing.assert_allclose(start(y, batch=False, model=Seen(needs_grid=True)), [5.0, 2.0, 40])


def test_points_of_their_own_that_nearly_agree_are_guessed_together_and_others_one_by_one():
    step = T[1]
    near = T + step * np.array([0.0, 0.3, -0.3])[:, None]
    np.testing.assert_allclose(start(CURVES, near), [5.0, 3.0, 60])
    far = T + step * np.array([0.0, 4.0, 9.0])[:, None]
    found = start(CURVES, far)
    np.testing.assert_allclose(found, np.stack([far.mean(axis=1), [1.0, 2.0, 6.0], [60] * 3], axis=1))


def test_with_nothing_to_fit_there_is_still_one_number_for_each_parameter():
    assert start(np.full((2, 60), np.nan)).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("spoiled", [np.nan, 1e6])
def test_what_is_excluded_does_not_spoil_the_guess_of_a_ready_model(spoiled):
    y = 3.0 * np.exp(-T / 2.0) + 1.0
    y[7] = spoiled
    fit = varpro.fit(varpro.models.Exponentials(1, offset=True), T, y, mask=np.arange(60) != 7, max_iterations=0)
    assert fit.nonlinear[0] == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("seed", range(20))
def test_two_decays_and_a_constant_are_not_taken_for_one_decay_and_a_line(seed):
    """A slow decay beside a constant is a line, which leaves less than a start near two decays: of 40 such data sets 25
    ended at a lifetime without end."""
    model, t = varpro.models.Exponentials(2, offset=True), np.linspace(0.0, 8.0, 200)
    y = model(t, np.array([1.0, 3.0])) @ [4.0, 2.0, 1.0] + 0.02 * np.random.default_rng(seed).standard_normal(200)
    found, best = varpro.fit(model, t, y), varpro.fit(model, t, y, [1.0, 3.0])
    assert found.success
    np.testing.assert_allclose(found.rss, best.rss, rtol=1e-9)
