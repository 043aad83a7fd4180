"""Gram matrices accumulated block by block."""

import numpy as np
import pytest

from tests.kernels.contract import (
    EPS,
    assert_inputs_are_kept,
    assert_same_bits,
    assert_strides_do_not_matter,
    assert_within,
)
from varpro.distributed.threads import blas_threads
from varpro.errors import ShapeError
from varpro.kernels.gram import accumulate
from varpro.kernels.gram.reference import accumulate_reference

SIZES = [(1, 1, 1), (1, 5, 3), (7, 1, 2), (33, 9, 1), (50, 17, 4), (3, 8, 2)]  # N, I, K


def blocks(rows, columns, outputs, dtype=float):
    rng = np.random.default_rng(rows + columns)
    return rng.standard_normal((rows, columns)).astype(dtype), rng.standard_normal((rows, outputs)).astype(dtype)


def summed(phi, y, entry=accumulate):
    gram, cross = np.zeros((phi.shape[1], phi.shape[1])), np.zeros((phi.shape[1], y.shape[1]))
    entry(phi, y, gram, cross)
    return gram, cross


def bounds(phi, y):
    """A sum of n products is off by at most n eps times the sum of their magnitudes, twice for two orders."""
    return tuple(2 * (len(phi) + 1) * EPS * m for m in summed(np.abs(phi), np.abs(y), accumulate_reference))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES)
def test_both_sums_are_the_formulas_in_double(size, dtype):
    phi, y = blocks(*size, dtype)
    wide = phi.astype(float), y.astype(float)
    for found, expected, bound in zip(summed(phi, y), summed(*wide, accumulate_reference), bounds(*wide), strict=True):
        assert_within(found, expected, bound)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_there_is_added_to_and_the_upper_triangle_is_left(size):
    phi, y = blocks(*size)
    upper = np.triu_indices(size[1], 1)
    gram, cross = np.full((size[1], size[1]), 2.0), np.full((size[1], size[2]), -3.0)
    gram[upper] = np.nan
    accumulate(phi, y, gram, cross)
    assert np.isnan(gram[upper]).all()
    lower = np.tril_indices(size[1])
    expected_gram, expected_cross = summed(phi, y, accumulate_reference)
    bound_gram, bound_cross = bounds(phi, y)
    # one more addition, of 2 or -3
    assert_within(gram[lower], expected_gram[lower] + 2.0, bound_gram[lower] + 4 * EPS * (2 + np.abs(gram[lower])))
    assert_within(cross, expected_cross - 3.0, bound_cross + 4 * EPS * (3 + np.abs(cross)))


def test_blocks_of_rows_add_up_to_the_whole():
    phi, y = blocks(50, 9, 3)
    gram, cross = np.zeros((9, 9)), np.zeros((9, 3))
    for rows in (slice(0, 1), slice(1, 1), slice(1, 34), slice(34, 50)):
        accumulate(phi[rows], y[rows], gram, cross)
    for found, expected, bound in zip((gram, cross), summed(phi, y), bounds(phi, y), strict=True):
        assert_within(found, expected, bound)


def test_two_blas_threads_stay_within_rounding():
    phi, y = blocks(400, 130, 40)
    with blas_threads(1):
        one = summed(phi, y)
    with blas_threads(2):
        two = summed(phi, y)
    for found, expected, bound in zip(two, one, bounds(phi, y), strict=True):
        assert_within(found, expected, bound)


@pytest.mark.parametrize("size", SIZES)
def test_inputs_are_kept_and_strides_do_not_matter(size):
    phi, y = blocks(*size)
    assert_inputs_are_kept(summed, phi, y)
    assert_strides_do_not_matter(summed, phi, y)
    assert_same_bits(summed(np.asfortranarray(phi), np.asfortranarray(y)), summed(phi, y))


WRONG = {
    "y with fewer rows": ((4, 3), (3, 2), (3, 3), (3, 2), r"4 rows.*\(3, 2\)"),
    "y as a vector": ((4, 3), (4,), (3, 3), (3, 1), r"4 rows.*\(4,\)"),
    "a gram of another size": ((4, 3), (4, 2), (2, 2), (3, 2), r"\(2, 2\).*\(3, 3\)"),
    "a cross of another size": ((4, 3), (4, 2), (3, 3), (3, 1), r"\(3, 1\).*\(3, 2\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_sizes_that_do_not_fit_are_named(case):
    *shapes, message = WRONG[case]
    with pytest.raises(ShapeError, match=message):
        accumulate(*map(np.zeros, shapes))


@pytest.mark.parametrize("change", [lambda a: a.astype(np.float32), np.asfortranarray], ids=["dtype", "order"])
@pytest.mark.parametrize("name", ["gram", "cross"])
def test_a_sum_that_could_not_be_added_to_in_place_is_refused(name, change):
    sums = {"gram": np.zeros((3, 3)), "cross": np.zeros((3, 2))}
    sums[name] = change(sums[name])
    with pytest.raises(ShapeError, match=f"{name} must be C-contiguous float64"):
        accumulate(np.zeros((4, 3)), np.zeros((4, 2)), **sums)


def test_phi_that_is_no_matrix_is_refused_with_its_shape():
    with pytest.raises(ShapeError, match=r"\(2, 3, 4\)"):
        accumulate(np.ones((2, 3, 4)), np.ones((2, 1)), np.zeros((3, 3)), np.zeros((3, 1)))


@pytest.mark.parametrize("size", SIZES)
def test_single_precision_rounds_like_single_precision_and_adds_in_double(size):
    phi, y = blocks(*size, np.float32)
    gram, cross = np.full((size[1], size[1]), 2.0**40), np.zeros((size[1], size[2]))
    accumulate(phi, y, gram, cross, single=True)
    wide = phi.astype(float), y.astype(float)
    expected, expected_cross = summed(*wide, accumulate_reference)
    magnitude, cross_magnitude = summed(*np.abs(wide[0])[None], np.abs(wide[1]), accumulate_reference)
    rounding = (len(phi) + 1) * float(np.finfo(np.float32).eps)
    lower = np.tril_indices(size[1])
    kept = 2.0**40 * EPS  # what the sum itself rounds away; in single precision it would be 2^17
    assert_within((gram - 2.0**40)[lower], expected[lower], rounding * magnitude[lower] + kept)
    assert_within(cross, expected_cross, rounding * cross_magnitude)


def test_memory_that_is_given_for_single_precision_changes_no_bit():
    """More rows than a panel of the triangle, and what the memory held before makes no difference."""
    phi, y = blocks(40, 300, 2, np.float32)
    sums = [(np.zeros((300, 300)), np.zeros((300, 2))) for _ in range(2)]
    for (gram, cross), work in zip(sums, (None, np.full((300, 300), 7.0, np.float32)), strict=True):
        accumulate(phi, y, gram, cross, single=True, work=work)
    for found, expected in zip(*sums, strict=True):
        np.testing.assert_array_equal(np.tril(found), np.tril(expected))


def test_memory_of_another_kind_is_refused():
    with pytest.raises(ShapeError, match=r"work \(3, 3\) float64 needs to be \(3, 3\) float32"):
        accumulate(np.zeros((4, 3)), np.zeros((4, 2)), np.zeros((3, 3)), np.zeros((3, 2)), single=True, work=np.eye(3))
