"""A few rows times a large matrix."""

import numpy as np
import pytest

from tests.kernels.contract import (
    EPS,
    assert_callers_do_not_meet,
    assert_inputs_are_kept,
    assert_same_bits,
    assert_strides_do_not_matter,
    assert_within,
)
from varpro.errors import ShapeError
from varpro.kernels.few_rows import few_rows
from varpro.kernels.few_rows.reference import few_rows_reference

SIZES = [(1, 1, 1), (2, 5, 3), (3, 4, 513), (5, 103, 1030), (4, 3, 512), (9, 64, 7), (0, 4, 5), (2, 0, 3)]  # m, N, K


def pair(m, n, k, dtype=float):
    rng = np.random.default_rng(m + n + k)
    return rng.standard_normal((m, n)).astype(dtype), rng.standard_normal((n, k)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES)
def test_is_the_product_in_double(size, dtype):
    left, right = pair(*size, dtype)
    bound = 2 * (size[1] + 1) * EPS * few_rows_reference(np.abs(left), np.abs(right))
    assert_within(few_rows(left, right), few_rows_reference(left, right), bound)


@pytest.mark.parametrize("size", SIZES)
def test_a_row_is_that_of_the_row_alone_bitwise(size):
    left, right = pair(*size)
    whole = few_rows(left, right)
    for i in range(size[0]):
        assert_same_bits(whole[i : i + 1], few_rows(left[i : i + 1], right))


def test_a_value_that_is_not_finite_reaches_its_column_alone():
    left, right = pair(3, 10, 600)
    right[9, 555] = np.inf
    found = few_rows(left, right)
    assert not np.isfinite(found[:, 555]).any()
    assert np.isfinite(np.delete(found, 555, axis=1)).all()


def test_inputs_are_kept_strides_do_not_matter_and_callers_do_not_meet():
    left, right = pair(5, 103, 1030)
    assert_inputs_are_kept(few_rows, left, right)
    assert_strides_do_not_matter(few_rows, left, right)
    assert_callers_do_not_meet(lambda rows: few_rows(rows, right), left)


@pytest.mark.parametrize("shapes", [((3,), (3, 2)), ((2, 3), (4, 2)), ((1, 2, 3), (3, 2))])
def test_shapes_that_do_not_fit_are_refused_with_both(shapes):
    with pytest.raises(ShapeError) as refusal:
        few_rows(*map(np.ones, shapes))
    assert all(str(shape) in str(refusal.value) for shape in shapes)
