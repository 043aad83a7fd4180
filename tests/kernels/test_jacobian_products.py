"""z = U^T D and g = D^T R against the formulas; only z follows the precision of D."""

import numpy as np
import pytest

from tests.kernels.contract import (
    EPS,
    assert_batch_is_one_by_one,
    assert_inputs_are_kept,
    assert_strides_do_not_matter,
    assert_within,
)
from varpro.distributed.threads import blas_threads
from varpro.errors import ShapeError
from varpro.kernels.jacobian_products import BLOCK_ROWS, products
from varpro.kernels.jacobian_products.reference import products_reference

DTYPES = [np.float32, np.float64]
SIZES = [  # B, N, M, rank, K
    (1, 1, 1, 1, 1),
    (3, 1, 5, 2, 1),
    (3, 7, 1, 3, 4),
    (1, BLOCK_ROWS - 1, 6, 1, 2),
    (3, BLOCK_ROWS, 3, 2, 1),
    (1, BLOCK_ROWS + 1, 4, 5, 3),
    (2, 2 * BLOCK_ROWS + 3, 9, 0, 2),
]


def factors(size, dtype):
    n_problems, rows, pairs, rank, outputs = size
    rng = np.random.default_rng(rows)
    shapes = [(n_problems, rows, columns) for columns in (pairs, rank, outputs)]
    d, u, r = (rng.standard_normal(shape) for shape in shapes)
    return d.astype(dtype), u, r


def assert_products_within_rounding(found, expected, d, u, r):
    """A sum of n products is off by at most n eps times the sum of their magnitudes, twice for two orders of it; z is
    summed in the precision of d, after rounding u to it."""
    magnitudes = products_reference(np.abs(d), np.abs(u), np.abs(r))
    for one, other, magnitude, eps in zip(found, expected, magnitudes, (np.finfo(d.dtype).eps, EPS), strict=True):
        assert one.dtype == np.float64
        assert_within(one, other, 2 * (d.shape[1] + 1) * eps * magnitude)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_the_gradient_is_summed_in_double_whatever_d_is_stored_in(size, dtype):
    d, u, r = factors(size, dtype)
    assert_products_within_rounding(products(d, u, r), products_reference(d, u, r), d, u, r)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cancelling_rows_leave_no_single_precision_in_the_gradient(dtype):
    d = np.array([1.0, 2.0**-20] * 300 + [-1.0] * 300).astype(dtype).reshape(1, -1, 1)
    ones = np.ones((1, 900, 1))
    z, g = products(d, ones, ones)
    assert g.item() == 300 * 2.0**-20  # every partial sum is exact in double
    if dtype is np.float64:
        assert z.item() == g.item()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_a_batch_is_its_problems_one_by_one_bitwise(size, dtype):
    assert_batch_is_one_by_one(products, *factors(size, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_inputs_are_kept(size, dtype):
    assert_inputs_are_kept(products, *factors(size, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_strides_do_not_matter_beyond_rounding(size, dtype):
    d, u, r = factors(size, dtype)
    turned = [np.asfortranarray(a) for a in (d, u, r)]
    assert_products_within_rounding(products(*turned), products(d, u, r), d, u, r)


def test_strides_of_large_products_do_not_matter_bitwise():
    assert_strides_do_not_matter(products, *factors((2, 300, 40, 7, 5), np.float32))


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_blas_threads_stay_within_rounding(dtype):
    d, u, r = factors((2, 700, 150, 30, 10), dtype)
    with blas_threads(1):
        one = products(d, u, r)
    with blas_threads(2):
        two = products(d, u, r)
    assert_products_within_rounding(two, one, d, u, r)


WRONG = {
    "d of two dimensions": ((7, 4), (2, 7, 3), (2, 7, 1)),
    "u of two dimensions": ((2, 7, 4), (7, 3), (2, 7, 1)),
    "r of two dimensions": ((2, 7, 4), (2, 7, 3), (2, 7)),
    "other rows in u": ((2, 7, 4), (2, 6, 3), (2, 7, 1)),
    "other rows in r": ((2, 7, 4), (2, 7, 3), (2, 8, 1)),
    "other problems in u": ((2, 7, 4), (1, 7, 3), (2, 7, 1)),
    "other problems in r": ((2, 7, 4), (2, 7, 3), (3, 7, 1)),
}


@pytest.mark.parametrize("case", WRONG)
def test_factors_that_do_not_fit_are_named_with_their_sizes(case):
    shapes = WRONG[case]
    with pytest.raises(ShapeError) as refusal:
        products(*map(np.zeros, shapes))
    assert all(str(shape) in str(refusal.value) for shape in shapes)
