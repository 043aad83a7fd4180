"""One large system: the solution from either side, the norm and the condition, and what breaks down."""

import numpy as np
import pytest

from varpro.linalg import cholesky, updates

RNG = np.random.default_rng(1)


def matrix(n, condition=1e3):
    q = np.linalg.qr(RNG.standard_normal((n, n)))[0]
    a = (q * np.logspace(0, -np.log10(condition), n)) @ q.T
    return 0.5 * (a + a.T)


def lower_of(a):
    """The lower triangle, with something else above it that must not be read."""
    return np.ascontiguousarray(np.tril(a) + np.triu(np.full(a.shape, 77.0), 1))


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("n", [1, 7, 600])
def test_systems_are_solved_from_either_side(n, ridge):
    a = matrix(n)
    b = RNG.standard_normal((n, 3))
    found = cholesky.factor(lower_of(a), ridge)
    expected = np.linalg.solve(a + ridge * np.eye(n), b)
    np.testing.assert_allclose(found.solve(b), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(found.solve_rows(b.T), expected.T, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("n", [1, 7, 513, 530])
def test_the_norm_is_the_largest_sum_of_a_column(n):
    a = matrix(n) + np.diag(RNG.random(n))
    found = cholesky.factor(lower_of(a), 0.25)
    whole = a + 0.25 * np.eye(n)
    assert found.norm == pytest.approx(np.abs(whole).sum(axis=0).max(), rel=1e-12)


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e8])
def test_the_condition_is_estimated_and_not_far_off(condition):
    a = matrix(40, condition)
    exact = np.linalg.cond(a, 1)
    assert 0.3 * exact < cholesky.factor(lower_of(a), 0.0).condition < 1.01 * exact


def test_what_is_not_asked_for_is_not_known():
    found = cholesky.factor(lower_of(matrix(5)), 0.0, conditioned=False)
    assert np.isnan(found.norm)
    assert np.isnan(found.condition)


def test_the_matrix_is_kept_unless_it_may_be_overwritten():
    a = lower_of(matrix(6))
    kept = a.copy()
    cholesky.factor(a, 0.5)
    np.testing.assert_array_equal(a, kept)
    b = RNG.standard_normal((6, 2))
    expected = cholesky.factor(a, 0.5).solve(b)
    np.testing.assert_array_equal(cholesky.factor(a, 0.5, overwrite=True).solve(b), expected)


@pytest.mark.parametrize("bad", [-1.0, 0.0])
def test_a_matrix_that_is_not_definite_has_no_factor(bad):
    a = np.diag([1.0, bad, 2.0])
    assert cholesky.factor(a, 0.0) is None
    assert cholesky.factor(a, 1.5) is not None


@pytest.mark.parametrize("order", ["C", "F"])
def test_updates_in_place_are_the_formulas(order):
    out, a, b = RNG.standard_normal((5, 4)), RNG.standard_normal((3, 5)), RNG.standard_normal((3, 4))
    more = RNG.standard_normal((5, 4))
    whole = np.array(out, order="C")
    np.testing.assert_allclose(
        updates.add_scaled(whole, 0.3, np.array(more, order=order)), out + 0.3 * more, rtol=1e-14
    )
    np.testing.assert_allclose(whole, out + 0.3 * more, rtol=1e-14)
    whole = np.array(out, order="C")
    np.testing.assert_allclose(updates.subtract_transposed(whole, a, b), out - a.T @ b, atol=1e-14)
    np.testing.assert_allclose(whole, out - a.T @ b, atol=1e-14)
