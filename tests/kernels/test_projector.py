"""CholeskyQR2 against Householder's QR."""

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
from varpro.distributed.threads import blas_threads
from varpro.errors import ShapeError
from varpro.kernels.projector import cholesky_qr2
from varpro.kernels.projector.reference import cholesky_qr2_reference

SIZES = [(1, 1, 1), (3, 1, 1), (1, 7, 1), (3, 5, 5), (1, 33, 8), (2, 67, 13)]  # B, N, I
RIDGES = [0.0, 0.3]


def tall(n_problems, rows, columns, condition=1e3):
    """Random orthogonal factors about singular values 1 .. 1 / condition."""
    rng = np.random.default_rng(rows)
    u = np.linalg.qr(rng.standard_normal((n_problems, rows, columns)))[0]
    v = np.linalg.qr(rng.standard_normal((n_problems, columns, columns)))[0]
    return (u * np.logspace(0, -np.log10(condition), columns)) @ v.mT


def rounding(phi):
    """Backward errors of both methods are a small multiple of n i eps, relative to ||phi|| = 1."""
    return 4 * phi.shape[1] * phi.shape[2] * EPS + 16 * EPS


@pytest.mark.parametrize("ridge", RIDGES)
@pytest.mark.parametrize("size", SIZES)
def test_factors_are_those_of_householder(size, ridge):
    phi = tall(*size)
    found, expected = cholesky_qr2(phi, ridge), cholesky_qr2_reference(phi, ridge)
    kappa = expected[3].max()  # both factors move by kappa times the backward error
    for one, other in zip(found[:2], expected[:2], strict=True):
        assert_within(one, other, kappa * rounding(phi))
    assert_within(found[2] @ expected[1], np.broadcast_to(np.eye(size[2]), expected[1].shape), kappa * rounding(phi))
    assert_within(found[3] / expected[3], np.ones(size[0]), kappa * rounding(phi))
    assert_same_bits(found[4], np.zeros(size[0], dtype=np.int64))


@pytest.mark.parametrize("ridge", RIDGES)
@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6])
def test_q_is_orthonormal_and_r_upper_with_a_positive_diagonal(condition, ridge):
    phi = tall(2, 41, 6, condition)
    q, r, inverse, _, info = cholesky_qr2(phi, ridge)
    assert not info.any()
    bottom = np.sqrt(ridge) * inverse
    # the second round leaves rounding only, whatever the condition; the inverse of r adds kappa < 5 with one
    assert_within(q.mT @ q + bottom.mT @ bottom, np.broadcast_to(np.eye(6), (2, 6, 6)), 4 * rounding(phi))
    assert_within(q @ r, phi, rounding(phi))
    assert_same_bits((np.triu(r), np.triu(inverse)), (r, inverse))
    assert (np.einsum("bii->bi", r) > 0).all()


@pytest.mark.parametrize("size", [(1, 2, 5), (2, 1, 3), (1, 8, 8)])
def test_a_ridge_makes_up_for_missing_rows_and_columns(size):
    phi = np.random.default_rng(0).standard_normal(size)
    phi[..., 0] = 0.0
    found, expected = cholesky_qr2(phi, 0.1), cholesky_qr2_reference(phi, 0.1)
    assert not found[4].any()
    bound = expected[3].max() * np.linalg.norm(phi) * rounding(phi)  # here ||phi|| is not one
    assert_within(found[0], expected[0], bound)
    assert_within(found[1], expected[1], bound)


def deficient(kind):
    phi = tall(3, 16, 4)
    phi[1] = {
        "zero": np.zeros((16, 4)),
        "a column of zeros": phi[1] * [1, 1, 0, 1],
        "all ones": np.ones((16, 4)),  # powers of two: the second pivot is zero exactly
    }[kind]
    return phi


@pytest.mark.parametrize("kind", ["zero", "a column of zeros", "all ones"])
def test_breakdown_is_told_and_leaves_the_neighbours_bitwise_alone(kind):
    phi = deficient(kind)
    found = cholesky_qr2(phi)
    np.testing.assert_array_equal(found[4] != 0, [False, True, False])
    assert found[3][1] == np.inf
    clean = cholesky_qr2(phi[::2])
    assert_same_bits(tuple(a[::2] for a in found), clean)


@pytest.mark.parametrize("ridge", RIDGES)
@pytest.mark.parametrize("size", SIZES)
def test_a_batch_is_its_problems_one_by_one_bitwise(size, ridge):
    assert_batch_is_one_by_one(lambda phi: cholesky_qr2(phi, ridge), tall(*size))


@pytest.mark.parametrize("size", SIZES)
def test_phi_is_kept_and_its_strides_do_not_matter(size):
    phi = tall(*size)
    assert_inputs_are_kept(cholesky_qr2, phi)
    assert_strides_do_not_matter(cholesky_qr2, phi)
    assert_same_bits(cholesky_qr2(np.asfortranarray(phi)), cholesky_qr2(phi))


def test_single_precision_phi_is_factored_in_double():
    phi = tall(2, 33, 5).astype(np.float32)
    assert_same_bits(cholesky_qr2(phi), cholesky_qr2(phi.astype(np.float64)))


def test_callers_on_two_threads_do_not_meet():
    assert_callers_do_not_meet(cholesky_qr2, tall(3, 200, 20))


def test_two_blas_threads_stay_within_rounding():
    phi = tall(1, 600, 90)
    with blas_threads(1):
        one = cholesky_qr2(phi)
    with blas_threads(2):
        two = cholesky_qr2(phi)
    for found, expected in zip(two[:2], one[:2], strict=True):
        assert_within(found, expected, 1e3 * rounding(phi))  # the condition


@pytest.mark.parametrize("shape", [(4,), (4, 2), (1, 2, 4, 2)])
def test_phi_of_another_dimension_is_refused_with_its_shape(shape):
    with pytest.raises(ShapeError) as refusal:
        cholesky_qr2(np.ones(shape))
    assert str(shape) in str(refusal.value)


@pytest.mark.parametrize("ridge", [-1e-3, np.nan])
def test_a_ridge_below_zero_is_refused_with_its_value(ridge):
    with pytest.raises(ShapeError, match=f"ridge is {ridge}"):
        cholesky_qr2(np.ones((1, 4, 2)), ridge)
