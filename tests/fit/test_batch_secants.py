"""Batches of plain functions without a derivative: fewer calls than by differences, the same minima."""

import numpy as np
import pytest

import varpro

T = np.linspace(0, 12.5, 64)
PAIRS = [[0, 0], [1, 1]]


def basis(t, w):
    """Two decays and an offset."""
    return np.stack([np.exp(-t / w[0]), np.exp(-t / w[1]), np.ones_like(t)], axis=-1)


def columns(t, w):
    """Their derivatives."""
    return np.stack([np.exp(-t / w[0]) * t / w[0] ** 2, np.exp(-t / w[1]) * t / w[1] ** 2], axis=-1)


def curves(count, noise):
    rng = np.random.default_rng(0)
    tau = np.stack([rng.uniform(0.7, 1.3, count), rng.uniform(2.5, 4.0, count)], axis=1)
    a = rng.uniform(20, 100, (count, 3))
    clean = np.stack([basis(T, w) @ b for w, b in zip(tau, a, strict=True)])
    return clean + noise * rng.standard_normal(clean.shape)


@pytest.mark.parametrize("kind", ["plain", "missing", "weights", "kaufman", "small unit"])
def test_the_minima_are_those_of_the_derivative(kind: str) -> None:
    y, unit, options = curves(60, 0.3), 1.0, {}
    if kind == "missing":
        y[::3, 5:9] = np.nan
    if kind == "weights":
        options["weights"] = 1.0 / np.sqrt(np.abs(y) + 1.0)
    if kind == "kaufman":
        options["jacobian"] = "kaufman"
    if kind == "small unit":
        unit = 1e-12
    start = np.array([1.0, 7.0]) * unit
    found = varpro.fit_batch(basis, T * unit, y, start, **options)
    exact = varpro.fit_batch(basis, T * unit, y, start, derivative=(PAIRS, columns), **options)
    assert found.success.all()
    assert exact.success.all()
    np.testing.assert_allclose(found.rss, exact.rss, rtol=1e-8)  # both end within cost_tolerance of the minimum
    np.testing.assert_allclose(found.nonlinear, exact.nonlinear, rtol=2e-3)
    assert (found.rss <= exact.rss * (1.0 + 2e-8)).all()


def test_differences_serve_at_the_start_and_at_the_end_only() -> None:
    y, calls = curves(200, 0.3), 0

    def counted(t, w):
        nonlocal calls
        calls += np.size(w[0])
        return basis(t, w)

    found = varpro.fit_batch(counted, T, y, [1.0, 7.0])
    more = calls / len(y) - found.nfev.mean()
    assert found.success.all()
    assert 2.0 <= more < 4.0  # by differences at every step this would be found.nfev.mean(), about 8


def test_a_column_of_two_parameters_is_differentiated_by_differences() -> None:
    def peak(t, w):
        return np.stack([np.exp(-0.5 * ((t - w[0]) / w[1]) ** 2), np.ones_like(t)], axis=-1)

    centre = np.linspace(5.0, 7.0, 20)
    y = np.exp(-0.5 * (T - centre[:, None]) ** 2) + 0.01 * np.random.default_rng(1).standard_normal((20, len(T)))
    found = varpro.fit_batch(peak, T, y, [6.0, 1.5])
    assert found.success.all()
    np.testing.assert_allclose(found.nonlinear[:, 0], centre, atol=0.05)
