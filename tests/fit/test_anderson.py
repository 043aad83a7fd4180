"""Anderson's mixing against its formula, exact ends of linear iterations, and histories that are kept apart."""

import numpy as np
import pytest

from varpro.fitting.anderson import Mixing


def linear_maps(count=4, size=3, seed=0):
    """x -> m x + c for `count` problems, contracting, and their fixed points."""
    rng = np.random.default_rng(seed)
    m = 0.25 * rng.uniform(-1.0, 1.0, (count, size, size))
    c = rng.standard_normal((count, size))
    return m, c, np.linalg.solve(np.eye(size) - m, c[:, :, None])[:, :, 0]


def mapped(m, c, x):
    return (m @ x[:, :, None])[:, :, 0] + c


def mixed_by_the_formula(g, f, depth):
    """The next x of one problem from all its g and f (steps, n)."""
    g, f = g[-depth - 1 :], f[-depth - 1 :]
    gamma = np.linalg.lstsq(np.diff(f, axis=0).T, f[-1], rcond=None)[0]
    return g[-1] - gamma @ np.diff(g, axis=0)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_each_step_is_that_of_the_formula(depth):
    rng = np.random.default_rng(1)
    g, f = rng.standard_normal((5, 2, 4)), rng.standard_normal((5, 2, 6))  # f lives in a space of its own
    mixing = Mixing(depth)
    for k in range(5):
        found = mixing.next(g[k], f[k])
        for b in range(2):
            expected = g[0, b] if k == 0 else mixed_by_the_formula(g[: k + 1, b], f[: k + 1, b], depth)
            np.testing.assert_allclose(found[b], expected, rtol=1e-9)


def test_linear_iterations_end_after_as_many_steps_as_there_are_unknowns():
    """Plain iteration gains a few digits in the same steps."""
    m, c, end = linear_maps()
    mixing, x, plain = Mixing(3), np.zeros_like(c), np.zeros_like(c)
    for _ in range(5):
        g = mapped(m, c, x)
        x, plain = mixing.next(g, g - x), mapped(m, c, plain)
    np.testing.assert_allclose(x, end, atol=1e-9 * np.abs(end).max())
    assert np.abs(plain - end).max() > 1e-4 * np.abs(end).max()


@pytest.mark.parametrize("last", [False, True])
def test_only_the_problems_that_are_named_forget(last):
    rng = np.random.default_rng(2)
    g, f = rng.standard_normal((5, 3, 4)), rng.standard_normal((5, 3, 4))
    mixing, kept = Mixing(3), Mixing(3)
    for k in range(3):
        mixing.next(g[k], f[k])
        kept.next(g[k], f[k])
    which = np.array([False, True, False])
    mixing.forget(which, last=last)
    found, whole = mixing.next(g[3], f[3]), kept.next(g[3], f[3])
    np.testing.assert_allclose(found[[0, 2]], whole[[0, 2]], rtol=1e-9)
    alone = g[3, 1] if last else mixed_by_the_formula(g[2:4, 1], f[2:4, 1], 3)
    np.testing.assert_allclose(found[1], alone, rtol=1e-9)
    found, first = mixing.next(g[4], f[4]), 3 if last else 2
    np.testing.assert_allclose(found[1], mixed_by_the_formula(g[first:5, 1], f[first:5, 1], 3), rtol=1e-9)
    np.testing.assert_allclose(found[[0, 2]], kept.next(g[4], f[4])[[0, 2]], rtol=1e-9)


def test_nobody_named_forgets_nothing_even_before_the_first_point():
    mixing = Mixing(2)
    mixing.forget(np.zeros(2, dtype=bool), last=True)
    mixing.take(np.array([True, False]))
    g = np.arange(4.0).reshape(2, 2)
    np.testing.assert_array_equal(mixing.next(g, g), g)
    mixing.forget(np.zeros(2, dtype=bool), last=True)
    found = mixing.next(2 * g + 1, g**2 - 3)
    np.testing.assert_allclose(
        found[1], mixed_by_the_formula(np.stack([g[1], 2 * g[1] + 1]), np.stack([g[1], g[1] ** 2 - 3]), 2)
    )


def test_problems_that_stay_keep_their_own_history():
    rng = np.random.default_rng(3)
    g, f = rng.standard_normal((4, 5, 3)), rng.standard_normal((4, 5, 3))
    stay = np.array([True, False, False, True, True])
    mixing, alone = Mixing(2), Mixing(2)
    for k in range(3):
        mixing.next(g[k], f[k])
        alone.next(g[k][stay], f[k][stay])
    mixing.forget(np.array([False, False, False, True, False]), last=True)
    alone.forget(np.array([False, True, False]), last=True)
    mixing.take(stay)
    np.testing.assert_allclose(mixing.next(g[3][stay], f[3][stay]), alone.next(g[3][stay], f[3][stay]), rtol=1e-12)


def test_a_point_that_repeats_itself_leaves_the_iteration_as_it_is():
    """No difference, nothing to extrapolate; units of 1e-200 and 1e200 do not matter either."""
    g, f = np.array([[1.0, 2.0]]), np.array([[0.3, -0.1]])
    mixing = Mixing(3)
    for _ in range(4):
        np.testing.assert_array_equal(mixing.next(g, f), g)
    rng = np.random.default_rng(4)
    g, f = rng.standard_normal((3, 1, 4)), rng.standard_normal((3, 1, 4))
    ends = []
    for unit in (1e-100, 1.0, 1e100):
        mixing = Mixing(3)
        ends.append([mixing.next(a, unit * b) for a, b in zip(g, f, strict=True)][-1])
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-9)
    np.testing.assert_allclose(ends[2], ends[1], rtol=1e-9)
