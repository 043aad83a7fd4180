"""Columns that run into each other are no minimum; large terms that cancel for another reason are no fault."""

from typing import Any

import numpy as np
import pytest

import varpro
from tests.fit.problems import decay_data, decays
from varpro.result import Status
from varpro.statistics import cancelling, uncertainty

T = np.linspace(-3.0, 3.0, 81)


def bells(t: Any, w: Any) -> Any:
    return np.stack([np.exp(-0.5 * ((t - v) / 0.8) ** 2) for v in w], axis=-1)


def slopes(t: Any, w: Any) -> Any:
    return np.stack([(t - v) / 0.64 * np.exp(-0.5 * ((t - v) / 0.8) ** 2) for v in w], axis=-1)


def cancel(distance: float, unit: float = 1.0) -> bool:
    """Two bells at a small distance, fitted to one bell and its own slope."""
    w = np.array([0.1, 0.1 + distance])
    phi, d = bells(T, w), slopes(T, w)
    y = unit * (phi[:, 0] + slopes(T, w[:1])[:, 0] + 0.01 * np.random.default_rng(0).standard_normal(len(T)))
    a = np.linalg.lstsq(phi, y, rcond=None)[0]
    variance = np.sum((y - phi @ a) ** 2) / (len(T) - 4)
    found = uncertainty(
        phi[None, None], d[None, None], a[None, :, None], np.array([0, 1]), np.array([0, 1]),
        free=np.ones((1, 2), dtype=bool), y_size=np.array([np.linalg.norm(y)]),
    )  # fmt: skip
    return bool(cancelling(found, a[None, :, None], np.array([variance]), np.array([np.linalg.norm(y)]))[0])


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_bells_that_coincide_cancel_in_any_unit(unit: float) -> None:
    assert cancel(1e-6, unit)
    assert not cancel(0.5, unit)


def test_a_decay_that_becomes_a_line_is_no_minimum() -> None:
    """Noise of this draw is fitted best by a lifetime without end, whose amplitude the offset cancels."""
    t, y = decay_data(noise=0.2)
    fit = varpro.fit(decays, t, y, [2.0, 6.5])
    assert fit.status is Status.UNDETERMINED
    assert "runs into another column" in fit.message
    assert abs(fit.nonlinear[1]) > 1e3 * t[-1]


def test_large_terms_on_a_distant_axis_are_a_success() -> None:
    """A decay on a line over Unix seconds: the line's two terms cancel to six digits, and every interval is right."""
    t = 1.7e9 + np.linspace(0.0, 1000.0, 120)
    s = t - t[0]
    y = 3.0 * np.exp(-s / 150.0) + 0.5 + 1e-3 * s + 0.01 * np.random.default_rng(2).standard_normal(len(t))

    def on_a_line(t: Any, w: Any) -> Any:
        return np.stack(np.broadcast_arrays(np.exp(-(t - 1.7e9) / w[0]), 1.0, t), axis=-1)

    fit = varpro.fit(on_a_line, t, y, [100.0])
    assert fit.success
    assert abs(fit.nonlinear[0] - 150.0) < 4 * fit.stderr_nonlinear[0]
