"""Starts chosen from a dictionary, and the poles of a pencil, against the definitions."""

import numpy as np
import pytest

from varpro.models import pencil
from varpro.models.guesses import SWEEPS, remainder, selected


def by_trials(dictionary, fixed, y, n):
    """Greedy, then by exchange, with a least-squares problem for each trial."""

    def left(chosen):
        return remainder(np.concatenate([fixed, dictionary[:, chosen]], axis=1), y)

    def best(others):
        return min((g for g in range(dictionary.shape[1]) if g not in others), key=lambda g: left([*others, g]))

    chosen = []
    for _ in range(n):
        chosen.append(best(chosen))
    for _ in range(SWEEPS if n > 1 else 0):
        before = list(chosen)
        for i in range(n):
            chosen[i] = best(chosen[:i] + chosen[i + 1 :])
        if chosen == before:
            break
    return chosen


@pytest.mark.parametrize("kind", ["decays", "noise"])
@pytest.mark.parametrize(("n", "rows", "k"), [(1, 13, 1), (2, 37, 2), (3, 60, 1), (4, 131, 5)])
@pytest.mark.parametrize("n_fixed", [0, 1])
def test_columns_are_chosen_as_by_trying_each(kind, n, rows, k, n_fixed):
    rng, t = np.random.default_rng(rows), np.linspace(0.0, 1.0, rows)
    table = np.exp(-np.outer(t, np.geomspace(0.2, rows, 17))) if kind == "decays" else rng.standard_normal((rows, 17))
    y = table[:, rng.choice(17, n, replace=False)] @ rng.uniform(1.0, 2.0, (n, k)) + 0.1 * rng.standard_normal(
        (rows, k)
    )
    fixed = np.ones((rows, n_fixed))
    assert selected(table, fixed, y, n) == by_trials(table, fixed, y, n)


def test_equal_and_empty_columns_are_not_chosen_beside_one_another():
    t = np.linspace(0.0, 1.0, 20)
    table = np.stack([np.exp(-t), np.exp(-t), np.zeros(20), np.exp(-9 * t)], axis=1)
    assert set(selected(table, np.ones((20, 1)), (table[:, :1] + 2 * table[:, 3:]), 2)) in ({0, 3}, {1, 3})
    assert selected(table, np.ones((20, 0)), np.zeros((20, 1)), 2) == [0, 1]


@pytest.mark.parametrize("make_complex", [False, True])
@pytest.mark.parametrize("k", [0, 1, 3])
def test_what_columns_leave_is_what_least_squares_leaves(k, make_complex):
    rng = np.random.default_rng(k)
    phi, y = rng.standard_normal((31, 5)), rng.standard_normal((31, k) if k else 31)
    if make_complex:
        phi, y = phi + 1j * rng.standard_normal(phi.shape), y * (1.0 + 2.0j) + 1j * rng.standard_normal(y.shape)
    phi[:, 3] = 2.0 * phi[:, 1]  # says nothing new
    phi[:, 4] = 0.0
    a = np.linalg.lstsq(phi, y, rcond=None)[0]
    assert remainder(1e-150 * phi, y) == pytest.approx(float(np.sum(np.abs(y - phi @ a) ** 2)), rel=1e-12)
    assert remainder(phi[:, :0], y) == pytest.approx(float(np.sum(np.abs(y) ** 2)), rel=1e-15)
    phi[7, 2] = np.nan
    assert remainder(phi, y) == np.inf


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_the_unit_of_the_data_makes_no_difference(size):
    t = np.linspace(0.0, 1.0, 41)
    table = np.exp(-np.outer(t, np.geomspace(0.2, 40.0, 17)))
    y = table[:, [3, 11]].sum(axis=1, keepdims=True) + 0.01 * np.sin(1e4 * np.sin(np.arange(41.0)))[:, None]
    assert selected(table, np.ones((41, 1)), size * y, 2) == selected(table, np.ones((41, 1)), y, 2)


@pytest.mark.parametrize("sigma", [0.0, 1e-9, 1e-2])
def test_a_pencil_uses_the_leading_singular_vectors(sigma):
    """By the products where they tell them, else by the singular values themselves: three close decays need these."""
    t = np.linspace(0.0, 3.0, 121)
    y = np.exp(-np.outer(t, [1.0, 1.5, 2.2])).sum(axis=1) + sigma * np.sin(1e4 * np.sin(np.arange(121.0)))
    windows = np.lib.stride_tricks.sliding_window_view(y, 41)
    for order in (1, 2, 3):
        expected = np.linalg.svd(windows, full_matrices=False)[2][:order].T
        found = pencil._leading(windows, order)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(("m", "r"), [(7, 3), (5, 4), (4, 4), (2, 1), (2, 2)])
def test_the_shift_of_orthonormal_columns_is_the_least_squares_one(m, r):
    v = np.linalg.qr(np.random.default_rng(m).standard_normal((m, r)))[0]
    expected = np.linalg.pinv(v[:-1]) @ v[1:]
    np.testing.assert_allclose(pencil._shift(v), expected, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("n", [2, 3])
def test_poles_of_decays_without_noise(n):
    t, rates = np.linspace(0.0, 4.0, 150), np.array([0.6, 2.5, 9.0])[:n]
    found = pencil.poles(np.exp(-np.outer(t, rates)).sum(axis=1)[:, None], n)
    np.testing.assert_allclose(np.sort(-np.log(found).real / t[1]), rates, rtol=1e-6)
