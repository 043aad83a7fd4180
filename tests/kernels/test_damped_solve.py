"""Damped solves in double and refined from single, and the ways in which they break down."""

import numpy as np
import pytest

from tests.kernels.contract import (
    EPS,
    assert_batch_is_one_by_one,
    assert_callers_do_not_meet,
    assert_inputs_are_kept,
    assert_same_bits,
    assert_strides_do_not_matter,
    assert_within,
)
from tests.oracle import symmetric
from varpro.distributed.threads import blas_threads
from varpro.errors import ShapeError
from varpro.kernels.gauss_newton import damped_solve
from varpro.kernels.gauss_newton.reference import damped_solve_reference

SOLVES = [(1, 1), (3, 1), (3, 7), (1, 34)]  # B, P


def system(n_problems, size, condition=100.0):
    rng = np.random.default_rng(size)
    v = np.linalg.qr(rng.standard_normal((n_problems, size, size)))[0]
    h = symmetric_batch((v * np.logspace(0, -np.log10(condition), size)) @ v.mT)
    return h, rng.uniform(0.5, 2, (n_problems, size)), rng.uniform(0, 1, n_problems), rng.standard_normal(h.shape[:2])


def symmetric_batch(h):
    return np.stack([symmetric(one) for one in h])


def damped(h, diagonal, lam):
    return symmetric_batch(h) + lam[:, None, None] * np.einsum("bi,ij->bij", diagonal, np.eye(h.shape[1]))


def single_solve(*arrays):
    return damped_solve(*arrays, single=True)


every_solve = pytest.mark.parametrize("solve", [damped_solve, single_solve])


@pytest.mark.parametrize("size", SOLVES)
def test_the_step_is_that_of_lapacks_driver(size):
    arrays = system(*size)
    (step, info), (expected, _) = damped_solve(*arrays), damped_solve_reference(*arrays)
    # both are backward stable: a few p eps, magnified by the condition of 100
    assert_within(step, expected, 100 * 8 * (size[1] + 1) * EPS * np.linalg.norm(expected, axis=1, keepdims=True))
    assert_same_bits(info, np.zeros(size[0], dtype=np.int64))


@pytest.mark.parametrize("grading", [0.0, 30.0])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4, 1e10])
@pytest.mark.parametrize("size", SOLVES)
def test_single_precision_is_refined_to_1e_10(size, condition, grading):
    """In the norm that has the diagonal scaled to one; entries of 10^-60 .. 10^60 would not survive in float32."""
    h, diagonal, lam, rhs = system(*size, condition)
    by = np.logspace(-grading, grading, size[1])
    h, diagonal, rhs = h * by * by[:, None], diagonal * by**2, rhs * by
    step, info = single_solve(h, diagonal, 0 * lam, rhs)
    assert not info.any()
    matrix = damped(h, diagonal, 0 * lam)
    scale = 1 / np.sqrt(np.einsum("bii->bi", matrix))
    residual = np.abs(scale * (rhs - np.einsum("bij,bj->bi", matrix, step)))
    # measuring the residual rounds too: p eps of terms that cancel to 1 / condition
    assert (residual.max(1) <= (1e-10 + size[1] * EPS * 8 * condition) * np.abs(scale * rhs).max(1)).all()


def test_where_refinement_does_not_converge_the_step_is_the_double_one_bitwise():
    h, diagonal, lam, rhs = system(1, 34, 1e10)
    assert_same_bits(single_solve(h, diagonal, 0 * lam, rhs), damped_solve(h, diagonal, 0 * lam, rhs))


@every_solve
@pytest.mark.parametrize("size", SOLVES)
def test_only_the_lower_triangle_is_read_and_nothing_written(size, solve):
    arrays = system(*size)
    hidden = np.tril(arrays[0]) + np.triu(np.full(size[1:] * 2, np.nan), 1)
    assert_same_bits(solve(hidden, *arrays[1:]), solve(*arrays))
    assert_inputs_are_kept(solve, *arrays)
    assert_strides_do_not_matter(solve, *arrays)
    assert_batch_is_one_by_one(solve, *arrays)


BREAKDOWNS = [  # the entry that spoils the unit matrix, in the row of the minor
    ((0, 0), 0.0),
    ((1, 0), 2.0),
    ((4, 3), -2.0),
]


@every_solve
@pytest.mark.parametrize(("place", "value"), BREAKDOWNS)
def test_an_indefinite_problem_names_its_minor_and_leaves_its_neighbours_bitwise_alone(place, value, solve):
    h, *others = system(3, 5)
    h[1] = np.eye(5)
    h[1][place] = value
    others[1][1] = 0.0  # no damping there
    step, info = solve(h, *others)
    np.testing.assert_array_equal(info, [0, place[0] + 1, 0])
    assert np.isnan(step[1]).all()
    np.testing.assert_array_equal(damped_solve_reference(h, *others)[1] > 0, info > 0)
    clean = solve(h[::2], *(a[::2] for a in others))
    assert_same_bits((step[::2], info[::2]), clean)


@every_solve
@pytest.mark.parametrize("minor", [1, 3, 5])
def test_a_negative_pivot_names_its_minor(minor, solve):
    h = np.diag(np.where(np.arange(5) < minor - 1, 1.0, -1.0))[None]
    step, info = solve(h, np.ones((1, 5)), np.zeros(1), np.ones((1, 5)))
    assert info[0] == minor
    assert np.isnan(step).all()


@every_solve
def test_damping_repairs_an_indefinite_problem_and_a_zero_gradient_needs_no_step(solve):
    h, _, _, rhs = system(1, 5)
    arrays = h - np.eye(5), np.ones((1, 5)), np.ones(1)
    assert solve(*arrays[:2], np.zeros(1), rhs)[1][0] > 0
    assert solve(*arrays, rhs)[1][0] == 0
    assert_same_bits(solve(*arrays, 0 * rhs)[0], np.zeros((1, 5)))


@every_solve
def test_two_callers_and_two_blas_threads_give_the_same_step(solve):
    arrays = system(2, 150)
    assert_callers_do_not_meet(solve, *arrays)
    with blas_threads(2):
        step, _ = solve(*arrays)
    expected, _ = damped_solve_reference(*arrays)
    accuracy = 1e-10 if solve is single_solve else 8 * 151 * EPS
    assert_within(step, expected, 100 * accuracy * np.linalg.norm(expected, axis=1, keepdims=True))  # the condition


@pytest.mark.parametrize("place", range(4))
def test_systems_that_do_not_fit_are_named_with_all_their_sizes(place):
    arrays = list(system(3, 7))
    arrays[place] = arrays[place][..., :-1]
    with pytest.raises(ShapeError) as refusal:
        damped_solve(*arrays)
    assert all(str(a.shape) in str(refusal.value) for a in arrays)


@every_solve
@pytest.mark.parametrize("size", [3, 40])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_a_breakdown(value, size, solve):
    step, info = solve(np.eye(size)[None], np.ones((1, size)), np.full(1, 0.1), np.full((1, size), value))
    assert info[0] > 0
    assert np.isnan(step).all()
