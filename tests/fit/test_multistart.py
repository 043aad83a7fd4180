"""Further starts: where they are drawn, in any unit, and what they achieve."""

import numpy as np
import pytest

import varpro
from varpro import models
from varpro.fitting.arguments import starting_values
from varpro.fitting.data import make_data
from varpro.fitting.multistart import several_starts
from varpro.fitting.options import FitOptions
from varpro.fitting.specify import specify

T = np.linspace(0.01, 10.0, 83)


def decays(t, w):
    return np.exp(-np.divide.outer(t, w))


def waves(t, w):
    return np.stack([np.cos(w[0] * t), np.sin(w[0] * t)], axis=-1)


def starts(model, t, y, w0=None, count=400, seed=0, **options):
    data = make_data(t, y, batch=False)
    start = starting_values(model, data, w0)
    spec, u0 = specify(FitOptions(**options), model, data, start, batch=False, guessed=w0 is None)
    return several_starts(spec, u0[0], count, np.random.default_rng(seed))


def test_between_bounds_of_one_sign_and_decades_apart_starts_are_even_in_the_logarithm():
    y = decays(T, [2.0]) @ [1.0]
    drawn = starts(decays, T, y, [1.0], bounds=(1e-3, 1e3))[1:, 0]
    share = np.array([((drawn >= 10.0**k) & (drawn < 10.0 ** (k + 1))).mean() for k in range(-3, 3)])
    assert (np.abs(share - 1 / 6) < 0.08).all()
    negative = starts(decays, T, y, [-1.0], bounds=(-1e3, -1e-3))[1:, 0]
    assert abs(np.median(np.log10(-negative))) < 0.6


@pytest.mark.parametrize("bounds", [(2.0, 8.0), (-8.0, 8.0), (0.0, 8.0)])
def test_between_other_bounds_starts_are_even(bounds):
    drawn = starts(decays, T, decays(T, [2.0]) @ [1.0], [4.0], bounds=bounds)[1:, 0]
    share = (drawn - bounds[0]) / (bounds[1] - bounds[0])
    assert abs(share.mean() - 0.5) < 0.05
    assert abs(share.std() - 12**-0.5) < 0.03


@pytest.mark.parametrize("k", [-15, -6, 3, 12])
def test_one_seed_draws_one_set_of_starts_in_any_unit(k):
    unit = 10.0**k
    y = decays(T, [0.4, 3.0]) @ [1.0, 2.0]
    for options in ({}, {"bounds": (0.01, 50.0)}):
        scaled = {name: tuple(np.multiply(v, unit)) for name, v in options.items()}
        exact = {"derivative": "complex-step"}
        base = starts(decays, T, y, [1.0, 5.0], **options, **exact)
        other = starts(decays, T * unit, y, np.array([1.0, 5.0]) * unit, **scaled, **exact)
        np.testing.assert_allclose(other, base * unit, rtol=1e-6)
    for model in (models.Exponentials(2), models.Gaussians(2), models.Voigt(1)):
        y = model(T, [2.0, 0.6, 7.0, 0.9][: len(model.parameter_names)]).sum(axis=1)
        np.testing.assert_allclose(starts(model, T * unit, y), starts(model, T, y) * unit, rtol=1e-6)


def test_a_start_at_zero_is_left_by_what_changes_the_columns():
    """A shift, whose columns change within the width of the line, in any unit."""
    for unit in (1e-9, 1.0, 1e9):

        def line(t, w, unit=unit):
            return np.exp(-0.5 * ((t / unit - 5.0 - w[0] / unit) / 0.5) ** 2)[:, None]

        t = T * unit
        exact = {"derivative": "complex-step"}
        drawn = starts(line, t, line(t, [1.3 * unit])[:, 0], [0.0], **exact)[1:, 0] / unit
        assert 0.3 < drawn.std() < 5.0
        found = varpro.fit(line, t, line(t, [3.1 * unit])[:, 0], [0.0], multistart=30, **exact)
        assert found.nonlinear[0] / unit == pytest.approx(3.1, rel=1e-6)


@pytest.mark.parametrize("origin", [0.0, 1e5, 1.7e9])
def test_centers_are_drawn_where_the_points_are_whatever_the_zero_of_t(origin):
    model = models.Gaussians(2)
    y = model(T, [3.0, 0.3, 7.0, 0.4]) @ [2.0, 1.0]
    drawn = starts(model, T + origin, y) - np.array([origin, 0, origin, 0])
    broad = drawn[3::3]  # every third start
    assert broad[:, [0, 2]].min() > -0.1
    assert broad[:, [0, 2]].max() < 10.1
    near = drawn[2::3]
    assert np.abs(near[:, 0] - drawn[0, 0]).max() < 30 * 0.3
    widths = np.log10(np.abs(broad[:, [1, 3]]))
    assert widths.std() > 0.4


def test_lifetimes_of_other_decades_are_reached():
    rng = np.random.default_rng(4)
    t = np.geomspace(1e-3, 1e3, 90)
    y = decays(t, [0.02, 60.0]) @ [3.0, 2.0] + 0.01 * rng.standard_normal(90)
    found = varpro.fit(decays, t, y, [1e3, 0.9e3], bounds=(1e-4, 1e4), multistart=20)
    np.testing.assert_allclose(np.sort(found.nonlinear), [0.02, 60.0], rtol=0.1)
    again = varpro.fit(decays, t, y, [1e3, 0.9e3], bounds=(1e-4, 1e4), multistart=20)
    np.testing.assert_array_equal(found.nonlinear, again.nonlinear)
