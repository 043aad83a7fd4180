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


@pytest.fixture
def device_on_the_host(monkeypatch):
    """The route of a device on arrays of the host; its library's functions by NumPy, as strict about memory."""

    def factored(h):
        whole = np.tril(h) + np.tril(h, -1).T
        if np.linalg.eigvalsh(whole)[0] <= 0:
            return 1
        h[...] = np.linalg.cholesky(whole)
        return 0

    def solved(factor, rows):
        assert rows.flags.c_contiguous
        rows[...] = np.linalg.solve(factor @ factor.T, rows.T).T

    def subtracted(out, a, b):
        assert all(x.flags.c_contiguous for x in (out, a, b))
        out -= a.T @ b

    monkeypatch.setattr(updates, "is_device_array", lambda a: True)
    monkeypatch.setattr(updates.vendor, "subtract_transposed", subtracted)
    monkeypatch.setattr(cholesky.vendor, "cholesky_large", factored)
    monkeypatch.setattr(cholesky.vendor, "cholesky_large_solve", solved)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("n", [1, 7, 60])
def test_the_route_of_a_device_solves_and_tells_the_condition(device_on_the_host, n, ridge):
    a = matrix(n)
    whole, b, kept = a + ridge * np.eye(n), RNG.standard_normal((n, 3)), lower_of(a)
    found = cholesky._Device.make(kept, ridge, overwrite=False, conditioned=True)
    expected = np.linalg.solve(whole, b)
    np.testing.assert_allclose(found.solve(b), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(found.inverse_product(b), b.T @ expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(found.pivots, np.diagonal(np.linalg.cholesky(whole)), rtol=1e-9)
    exact = np.abs(whole).sum(axis=0).max() * np.abs(np.linalg.inv(whole)).sum(axis=0).max()
    assert 0.3 * exact < found.condition < exact * (1 + 1e-9)  # a lower bound, and seldom far below
    np.testing.assert_array_equal(kept, lower_of(a))  # only the triangle above is that of lower_of
    unasked = cholesky._Device.make(kept, ridge, overwrite=True, conditioned=False)
    assert np.isnan(unasked.condition)
    assert unasked.factor is kept
    assert cholesky._Device.make(-np.eye(n), 0.0, overwrite=False, conditioned=False) is None


def test_updates_on_a_device_are_in_place(device_on_the_host):
    out, a = RNG.standard_normal((2, 5, 4))
    expected = out + 0.5 * a
    assert updates.add_scaled(out, 0.5, a) is out
    np.testing.assert_allclose(out, expected, rtol=1e-14)
    left, right = RNG.standard_normal((5, 3)).T, RNG.standard_normal((3, 8))[:, ::2]
    expected = out - left.T @ right
    assert updates.subtract_transposed(out, left, right) is out
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-13)
