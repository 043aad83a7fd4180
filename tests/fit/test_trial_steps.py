"""The first guess of a parameter's scale, and a complex step that is right at the start but not beside it."""

import numpy as np
import pytest

import varpro
from varpro.fitting.scales import Scales
from varpro.fitting.trial import _for_all, first_guess

OPEN = np.full(1, np.inf)


@pytest.mark.parametrize(
    ("starts", "width", "scale", "expected"),
    [
        ([3e-9], np.inf, None, 3e-9),
        ([3e-9, 7e-9], np.inf, None, 3e-9),
        ([-5.0], 2.0, None, 2.0),
        ([-5.0], 20.0, None, 5.0),
        ([0.0], np.inf, None, 1.0),
        ([0.0], 1e-6, None, 1e-6),
        ([0.0, -4e-9], np.inf, None, 4e-9),
        ([0.0, 4.0], 0.5, None, 0.5),
        ([3.0], np.inf, 1e-3, 1e-3),
        ([3.0], np.inf, np.nan, 3.0),
    ],
)
def test_the_first_guess_is_the_scale_the_start_or_the_box(starts, width, scale, expected):
    w0 = np.array(starts)[:, None]
    lower, upper = (-OPEN, OPEN) if np.isinf(width) else (np.full(1, -width / 2), np.full(1, width / 2))
    found = first_guess(w0, lower, upper, None if scale is None else np.array([scale]))
    assert found[0] == expected


def test_other_points_need_steps_of_their_own():
    """With common points the scales hold for all problems; with points of their own they are looked for anew."""
    first = Scales(
        np.arange(1.0, 1.0 + Scales.unknown(1, np.ones(2)).table.size).reshape(
            Scales.unknown(1, np.ones(2)).table.shape
        )
    )
    shared = _for_all(first, 3, False).table
    np.testing.assert_array_equal(shared, np.repeat(first.table, 3, axis=0))
    own = _for_all(first, 3, True).table
    np.testing.assert_array_equal(own[0], first.table[0])
    assert np.isnan(own[1:, 0]).all()
    np.testing.assert_array_equal(own[1:, 1:], shared[1:, 1:])


def test_a_function_that_is_analytic_only_at_the_start_is_found_out():
    """abs() from a little beyond the start on: the complex step sees nothing there, differences do."""
    t = np.linspace(0.0, 8.0, 60)

    def decay(t, w):
        tau = w[0] if abs(np.real(w[0]) - 2.2) < 0.1 else abs(w[0])
        return np.stack([np.exp(-t / tau), np.ones_like(t)], axis=1)

    def plain(t, w):
        return np.stack([np.exp(-t / w[0]), np.ones_like(t)], axis=1)

    y = plain(t, [3.0]) @ [2.0, 1.0] + 0.02 * np.random.default_rng(0).standard_normal(60)
    found, expected = varpro.fit(decay, t, y, [2.2]), varpro.fit(plain, t, y, [2.2])
    assert found.success
    np.testing.assert_allclose(found.nonlinear, expected.nonlinear, rtol=1e-6)
    np.testing.assert_allclose(found.stderr_nonlinear, expected.stderr_nonlinear, rtol=1e-4)
