"""The Gauss-Newton matrix entry by entry."""

import numpy as np
import pytest

from tests.kernels.contract import (
    assert_batch_is_one_by_one,
    assert_callers_do_not_meet,
    assert_inputs_are_kept,
    assert_same_bits,
    assert_strides_do_not_matter,
    assert_within,
)
from varpro.distributed.threads import blas_threads
from varpro.errors import ShapeError
from varpro.kernels.gauss_newton import normal_matrix
from varpro.kernels.gauss_newton.reference import normal_matrix_reference

DTYPES = [np.float32, np.float64]
SIZES = [  # B, N, M, r, I, K
    (1, 1, 1, 1, 1, 1),
    (3, 1, 5, 1, 2, 1),
    (3, 7, 6, 3, 4, 2),
    (1, 9, 11, 0, 1, 1),
    (1, 13, 9, 5, 9, 10),
    (1, 5, 515, 2, 3, 2),  # more columns than one strip of a row
]


def terms_of(size, dtype=np.float64, *, kaufman=False):
    n_problems, rows, pairs, rank, units, outputs = size
    rng = np.random.default_rng(pairs)
    shapes = [(rows, pairs), (rank, pairs), (units, units), (units, units), (pairs, outputs)]
    d, z, a, inverse, g = (rng.standard_normal((n_problems, *shape)) for shape in shapes)
    columns = rng.integers(0, units, pairs).astype(np.int32)
    return d.astype(dtype), z, a + a.mT, None if kaufman else inverse + inverse.mT, g, columns


def lower(*arrays):
    return np.tril(normal_matrix(*arrays))


def lower_within_rounding(found, d, z, aat, inverse, g, columns):
    """A sum of n products is off by at most n eps times the sum of their magnitudes; d's precision rules D^T D."""
    absolute = [None if a is None else np.abs(a) for a in (aat, inverse, g)]
    magnitude = normal_matrix_reference(np.abs(d), 0 * z, *absolute, columns)
    magnitude += normal_matrix_reference(np.abs(z), 0 * z, absolute[0], None, g, columns)
    terms = d.shape[1] + z.shape[1] + g.shape[2] + 4
    expected = normal_matrix_reference(d, z, aat, inverse, g, columns)
    assert_within(np.tril(found), np.tril(expected), 2 * terms * np.finfo(d.dtype).eps * magnitude)


@pytest.mark.parametrize("kaufman", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_the_lower_triangle_is_the_formula(size, dtype, kaufman):
    arrays = terms_of(size, dtype, kaufman=kaufman)
    lower_within_rounding(normal_matrix(*arrays), *arrays)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_are_applied_in_double_to_a_product_in_the_precision_of_d(dtype):
    """With z and g zero only D^T D is rounded: for one row of powers of two not even that."""
    d, z, aat, inverse, g, columns = terms_of((1, 1, 6, 1, 3, 1), dtype)
    d[:] = 2.0 ** np.arange(6)
    arrays = d, 0 * z, aat, inverse, 0 * g, columns
    np.testing.assert_array_equal(lower(*arrays), np.tril(normal_matrix_reference(*arrays)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_a_batch_is_its_problems_one_by_one_bitwise(size, dtype):
    *arrays, columns = terms_of(size, dtype)
    assert_batch_is_one_by_one(lambda *a: lower(*a, columns), *arrays)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_inputs_are_kept_and_strides_do_not_matter(size, dtype):
    arrays = terms_of(size, dtype)
    assert_inputs_are_kept(normal_matrix, *arrays)
    assert_strides_do_not_matter(lower, *arrays)
    assert_same_bits(lower(*map(np.asfortranarray, arrays[:-1]), arrays[-1].astype(np.int64)), lower(*arrays))


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_callers_and_two_blas_threads_give_the_same_matrix(dtype):
    arrays = terms_of((2, 300, 140, 20, 7, 3), dtype)
    assert_callers_do_not_meet(lambda *a: lower(*a, arrays[-1]), *arrays[:-1])
    with blas_threads(2):
        lower_within_rounding(normal_matrix(*arrays), *arrays)


WRONG_TERMS = {
    "d of two dimensions": (0, np.zeros((7, 6)), r"\(7, 6\).*\(B, N, M\)"),
    "d of integers": (0, np.zeros((3, 7, 6), dtype=np.int64), "int64"),
    "z of other pairs": (1, np.zeros((3, 3, 5)), r"\(3, 3, 5\).*\(3, 7, 6\)"),
    "z of two dimensions": (1, np.zeros((3, 6)), r"\(3, 6\)"),
    "aat not square": (2, np.zeros((3, 4, 5)), r"\(3, 4, 5\)"),
    "aat of other problems": (2, np.zeros((2, 4, 4)), r"\(2, 4, 4\)"),
    "an inverse of other units": (3, np.zeros((3, 5, 5)), r"\(3, 4, 4\).*gram_inverse"),
    "g of other pairs": (4, np.zeros((3, 5, 2)), r"\(3, 5, 2\).*\(3, 7, 6\)"),
    "g of other problems": (4, np.zeros((1, 6, 2)), r"\(1, 6, 2\)"),
    "too few columns": (5, np.zeros(5, dtype=np.int32), r"\(5,\).*\(6,\)"),
    "a column past the last unit": (5, np.full(6, 4, dtype=np.int32), r"0\.\.3"),
    "a negative column": (5, np.full(6, -1, dtype=np.int32), r"0\.\.3"),
}


@pytest.mark.parametrize("case", WRONG_TERMS)
def test_terms_that_do_not_fit_are_named_with_their_sizes(case):
    place, wrong, message = WRONG_TERMS[case]
    arrays = list(terms_of((3, 7, 6, 3, 4, 2)))
    arrays[place] = wrong
    with pytest.raises(ShapeError, match=message):
        normal_matrix(*arrays)
