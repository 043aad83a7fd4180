"""Several right-hand sides that share w: against the stacked problem, one by one, and the compressed form."""

import numpy as np
import pytest

import varpro
from tests.fit.problems import (
    AMPLITUDES,
    DECAY_DERIVATIVE,
    EPS,
    TAU,
    assert_same_minimum,
    decay_data,
    decays,
    whole_fit,
)
from varpro.fitting import form

K = [1, 2, 3, 7, 9]


@pytest.mark.parametrize("k", K)
def test_the_minimum_is_that_of_all_parameters_together(k):
    t, y = decay_data(n=37, right=k)
    fit = varpro.fit(decays, t, y, [2.0, 6.5])

    def stacked(t, w):
        return np.kron(np.eye(k), decays(t, w))  # right-hand side by right-hand side

    w, a, _ = whole_fit(stacked, t, y.T.ravel(), TAU, np.tile(AMPLITUDES, k))
    np.testing.assert_allclose(fit.nonlinear, w, rtol=1e-6)  # scipy stops at the square root of eps of the cost
    np.testing.assert_allclose(fit.linear, a.reshape(k, 3).T, rtol=1e-5)


def test_equal_right_hand_sides_are_one():
    t, y = decay_data()
    one = varpro.fit(decays, t, y, [2.0, 6.5])
    three = varpro.fit(decays, t, np.stack([y] * 3, axis=1), [2.0, 6.5])
    np.testing.assert_allclose(three.nonlinear, one.nonlinear, rtol=1e-8)
    np.testing.assert_allclose(three.linear, np.stack([one.linear] * 3, axis=1), rtol=1e-7)
    np.testing.assert_allclose(three.rss, 3 * one.rss, rtol=1e-10)


def test_a_column_of_shape_n_1_is_the_vector():
    t, y = decay_data()
    flat, column = varpro.fit(decays, t, y, [2.0, 6.5]), varpro.fit(decays, t, y[:, None], [2.0, 6.5])
    np.testing.assert_array_equal(flat.nonlinear, column.nonlinear)
    assert flat.linear.shape == (3,)
    assert column.linear.shape == (3, 1)
    assert flat.predict(t).shape == (61,)
    assert column.predict(t).shape == (61, 1)
    assert flat.confidence_band(t)[0].shape == (61,)
    assert column.confidence_band(t)[0].shape == (61, 1)


def both_forms(monkeypatch, t, y, **options):
    compressed = varpro.fit(decays, t, y, [2.0, 6.5], derivative=DECAY_DERIVATIVE, **options)
    monkeypatch.setattr(form, "MANY_VALUES", 10**12)
    general = varpro.fit(decays, t, y, [2.0, 6.5], derivative=DECAY_DERIVATIVE, **options)
    assert (compressed.form, general.form) == ("compressed", "general")
    return compressed, general


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"jacobian": "kaufman"},
        {"ridge": 0.3},
        {"ridge": np.array([[1.0, -1.0, 0.0]])},
        {"weights": "rows"},
        {"bounds": ([0.5, 2.0], [3.0, 30.0])},
        {"tied": {1: (0, 4.0)}},
        {"mask": "some"},
    ],
    ids=str,
)
def test_compression_changes_nothing(monkeypatch, options):
    n = 97
    t, y = decay_data(n=n, right=401)
    options = dict(options)
    if options.get("weights") == "rows":
        options["weights"] = np.random.default_rng(1).uniform(0.5, 2.0, n)
    if options.get("mask") == "some":
        options["mask"] = np.arange(n) % 5 != 2
    compressed, general = both_forms(monkeypatch, t, y, **options)
    assert_same_minimum(compressed, general)
    np.testing.assert_allclose(compressed.stderr_nonlinear, general.stderr_nonlinear, rtol=1e-8)
    np.testing.assert_allclose(compressed.stderr_linear, general.stderr_linear, rtol=1e-8)
    assert abs(compressed.nfev - general.nfev) <= 2  # steps at rounding level may be taken or not


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_value_gradient_and_amplitudes_agree_in_every_form(monkeypatch, ridge):
    """At one w; the value, a difference of sums, loses eps ||Y||^2 / f."""
    t, y = decay_data(n=83, right=311)
    compressed = varpro.functional(decays, t, y, TAU, derivative=DECAY_DERIVATIVE, ridge=ridge)
    monkeypatch.setattr(form, "MANY_VALUES", 10**12)
    general = varpro.functional(decays, t, y, TAU, derivative=DECAY_DERIVATIVE, ridge=ridge)
    for w in ([2.0, 6.5], [0.3, 9.0], [0.98, 4.1]):
        assert compressed(w) == pytest.approx(general(w), rel=8 * EPS * np.sum(y**2) / general(w))
        size = np.abs(general.gradient(w)).max()
        np.testing.assert_allclose(compressed.gradient(w), general.gradient(w), atol=1e-10 * size)
        np.testing.assert_allclose(compressed.coefficients(w), general.coefficients(w), atol=1e-10)
        np.testing.assert_allclose(compressed.residual(w), general.residual(w), atol=1e-10)
        np.testing.assert_allclose(compressed.jacobian(w), general.jacobian(w), atol=1e-9)


def test_compression_of_complex_data(monkeypatch):
    t, y = decay_data(n=51, right=301)
    compressed, general = both_forms(monkeypatch, t, y * (1 + 0.3j))
    assert_same_minimum(compressed, general)
    np.testing.assert_allclose(compressed.stderr_linear, general.stderr_linear, rtol=1e-8)


def test_exact_data_of_low_rank_are_compressed_without_loss():
    t, _ = decay_data(n=150)
    a = np.random.default_rng(2).uniform(1, 2, (3, 500))
    fit = varpro.fit(decays, t, decays(t, TAU) @ a, [2.0, 6.5], derivative=DECAY_DERIVATIVE)
    assert fit.form == "compressed"
    assert fit.success
    # the cost is ||Y||^2 times a rounding error, so it tells w to its square root
    np.testing.assert_allclose(fit.nonlinear, TAU, rtol=1e-6)
    np.testing.assert_allclose(fit.linear, a, rtol=1e-5)


def test_missing_values_that_differ_between_right_hand_sides():
    t, y = decay_data(n=40, right=3)
    missing = np.random.default_rng(3).random(y.shape) < 0.2
    fit = varpro.fit(decays, t, np.where(missing, np.nan, y), [2.0, 6.5])
    assert fit.form == "separate"
    blocks = [np.flatnonzero(~missing[:, k]) for k in range(3)]

    def stacked(t, w):
        phi = decays(t, w)
        out = np.zeros((sum(map(len, blocks)), 9), dtype=phi.dtype)
        row = 0
        for k, rows in enumerate(blocks):
            out[row : row + len(rows), 3 * k : 3 * k + 3] = phi[rows]
            row += len(rows)
        return out

    flat = np.concatenate([y[rows, k] for k, rows in enumerate(blocks)])
    w, a, found = whole_fit(stacked, t, flat, TAU, np.tile(AMPLITUDES, 3))
    np.testing.assert_allclose(fit.nonlinear, w, rtol=1e-6)
    np.testing.assert_allclose(fit.linear, a.reshape(3, 3).T, rtol=1e-5)
    np.testing.assert_allclose(fit.rss, 2 * found.cost, rtol=1e-10)
    assert fit.dof == len(flat) - 2 - 9
