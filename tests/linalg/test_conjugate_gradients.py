"""Conjugate gradients, for one vector and for many columns: the solution, when they stop, and what they report."""

import numpy as np
import pytest

from varpro.linalg.column_gradients import column_gradients
from varpro.linalg.conjugate_gradients import conjugate_gradients

N = 12
RNG = np.random.default_rng(0)
ROOT = RNG.standard_normal((N, N))
A = ROOT @ ROOT.T + 0.5 * np.eye(N)
B = RNG.standard_normal((N, 3))
DIAGONAL = np.diag(A)


def one(b=B[:, 0], matrix=A, precondition=lambda r: r / DIAGONAL, **limits):
    return conjugate_gradients(
        lambda v: matrix @ v, precondition, b, **{"max_products": 100, "tolerance": 1e-12} | limits
    )


def columns(b=B, matrices=(A, A, A), precondition=lambda r: r / DIAGONAL[:, None], **limits):
    """Each column with a matrix of its own."""

    def apply(v):
        return np.stack([m @ v[:, s] for s, m in enumerate(matrices)], axis=1)

    return column_gradients(apply, precondition, b, **{"max_products": 100, "tolerance": 1e-12} | limits)


def test_the_solution_of_one_system():
    found = one()
    np.testing.assert_allclose(found.x, np.linalg.solve(A, B[:, 0]), rtol=1e-9)
    assert found.relative_residual <= 1e-12
    assert 0 < found.products <= 2 * N


def test_an_exact_preconditioner_needs_one_product():
    inverse = np.linalg.inv(A)
    assert one(precondition=lambda r: inverse @ r, tolerance=1e-8).products == 1
    assert columns(precondition=lambda r: inverse @ r, tolerance=1e-8).products == 1


@pytest.mark.parametrize("products", [0, 1, 3])
def test_a_limit_on_products_is_kept_and_the_residual_told(products):
    found, many = one(max_products=products), columns(max_products=products)
    assert found.products == many.products == products
    r = B - A @ np.stack([found.x, *many.x.T[1:]], axis=1)
    sizes = np.sqrt(np.einsum("js,js->s", r, r / DIAGONAL[:, None]))
    first = np.sqrt(np.einsum("js,js->s", B, B / DIAGONAL[:, None]))
    assert found.relative_residual == pytest.approx(sizes[0] / first[0], rel=1e-9)
    assert many.residual == pytest.approx((sizes / first).max(), rel=1e-9)


def test_the_tolerance_is_relative_to_the_right_hand_side():
    for scale in (1e-9, 1e9):
        found, same = one(scale * B[:, 0], tolerance=1e-3), one(tolerance=1e-3)
        assert found.products == same.products < one().products
        np.testing.assert_allclose(found.x, scale * same.x, rtol=1e-6)
        assert found.relative_residual <= 1e-3


def test_every_iterate_has_the_energy_that_its_promise_relies_on():
    for products in range(1, 8):
        x = one(max_products=products).x
        assert x @ A @ x == pytest.approx(x @ B[:, 0], rel=1e-9)


def test_nothing_to_solve_is_solved():
    found = one(np.zeros(N))
    assert (found.products, found.relative_residual) == (0, 0.0)
    assert not found.x.any()
    many = columns(np.zeros((N, 3)))
    assert (many.products, many.residual) == (0, 0.0)


@pytest.mark.parametrize("curvature", [0.0, -1.0])
def test_a_direction_without_curvature_ends_it(curvature):
    flat = np.diag([1.0] * (N - 1) + [curvature])
    b = np.eye(N)[-1]
    found = one(b, flat, lambda r: r)
    assert found.products == 1
    assert not found.x.any()
    assert found.relative_residual == 1.0
    many = columns(np.stack([b, B[:, 1], B[:, 2]], axis=1), (flat, A, A))
    assert not many.x[:, 0].any()
    np.testing.assert_allclose(many.x[:, 1:], np.linalg.solve(A, B[:, 1:]), rtol=1e-9)


def test_columns_are_systems_of_their_own():
    matrices = (A, np.diag(np.arange(1.0, N + 1)), 1e6 * A + np.eye(N))
    many = columns(B * [1.0, 1e-8, 1e8], matrices, lambda r: r)
    for s, matrix in enumerate(matrices):
        alone = np.linalg.solve(matrix, B[:, s] * [1.0, 1e-8, 1e8][s])
        assert np.linalg.norm(many.x[:, s] - alone) < 1e-9 * np.linalg.norm(alone)
    assert many.residual <= 1e-12


def test_a_column_that_is_done_stays_while_others_go_on():
    b = np.stack([np.zeros(N), np.eye(N)[0], B[:, 2]], axis=1)
    many = columns(b, (A, np.eye(N), A), lambda r: r)
    assert not many.x[:, 0].any()
    np.testing.assert_array_equal(many.x[:, 1], b[:, 1])
    assert many.products > 3


@pytest.mark.parametrize("tolerance", [0.3, 1e-2, 1e-5])
def test_no_product_is_made_that_the_tolerance_does_not_ask_for(tolerance):
    for solve, size in ((one, "relative_residual"), (columns, "residual")):
        found = solve(tolerance=tolerance)
        before = solve(tolerance=tolerance, max_products=found.products - 1)
        assert getattr(found, size) <= tolerance < getattr(before, size)
