"""Class moments against their formulas, and what merging keeps."""

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
from varpro.errors import ShapeError
from varpro.kernels.class_moments import class_moments, merge
from varpro.kernels.class_moments.reference import class_moments_reference

DTYPES = [np.float32, np.float64]
SIZES = [  # B, N, D, C
    (1, 1, 1, 1),
    (1, 1, 7, 1),
    (2, 9, 1, 3),
    (3, 13, 17, 5),
    (1, 6, 31, 1),
    (1, 5, 515, 4),
    (1, 80, 1030, 2),  # classes that take more than one strip of columns
]
sizes = pytest.mark.parametrize("size", SIZES)
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def batches(size, dtype=np.float64, offset=0.0):
    n_batches, n, d, classes = size
    rng = np.random.default_rng(d)
    f = offset + rng.standard_normal((n_batches, n, d))
    return f.astype(dtype), rng.integers(0, classes, (n_batches, n))


def assert_is_the_formula(found, f, position, classes):
    """A mean of n values is off by (n + 1) eps of their magnitude; so is h, and twice that times 2 |h| its square."""
    expected = class_moments_reference(f, position, classes)
    _, n, d = f.shape
    np.testing.assert_array_equal(found.counts, expected.counts)
    largest = float(np.abs(f).max())
    off = (n + 3) * EPS * largest
    assert_within(found.means, expected.means, 2 * off)
    assert_within(found.h, expected.h, 2 * off)
    square = (n * d + 4) * EPS * expected.within + 4 * off * np.sqrt(n * d * expected.within) + n * d * (2 * off) ** 2
    assert_within(found.within, expected.within, 2 * square)


@sizes
@dtypes
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_moments_are_the_formulas_in_double(size, dtype, offset):
    f, position = batches(size, dtype, offset)
    assert_is_the_formula(class_moments(f, position, size[3]), f, position, size[3])


@dtypes
def test_whole_numbers_are_exact(dtype):
    f = np.array([[[0, 4], [2, 8], [10, 1]]], dtype=dtype)
    counts, means, within, h = class_moments(f, np.array([[0, 0, 2]]), 4)
    np.testing.assert_array_equal(counts, [[2, 0, 1, 0]])
    np.testing.assert_array_equal(means, [[[1, 6], [0, 0], [10, 1], [0, 0]]])
    np.testing.assert_array_equal(within, [[10, 0, 0, 0]])
    np.testing.assert_array_equal(h, [[[-1, -2], [1, 2], [0, 0]]])


@sizes
def test_h_can_be_left_out(size):
    f, position = batches(size)
    whole, without = (class_moments(f, position, size[3], centred=centred) for centred in (True, False))
    assert without.h is None
    assert_same_bits(without[:3], whole[:3])


@dtypes
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 16, 36])
def test_what_is_not_finite_shows_in_the_squares_of_its_class_alone(dtype, value, place):
    f, position = batches((1, 23, 37, 3), dtype)
    f[0, 5, place] = value
    found, clean = (class_moments(a, position, 3) for a in (f, np.where(np.isfinite(f), f, 0).astype(dtype)))
    own = position[0, 5]
    assert not np.isfinite(found.within[0, own])
    others = np.arange(3) != own
    assert_same_bits(found.within[0, others], clean.within[0, others])
    assert_same_bits(found.means[0, others], clean.means[0, others])


def test_squares_that_overflow_show():
    f = np.array([[[1e200, 1.0], [-1e200, 1.0]]])
    assert class_moments(f, np.zeros((1, 2), dtype=int), 1).within == np.inf


@sizes
@dtypes
def test_a_class_depends_on_its_own_samples_alone_bitwise(size, dtype):
    f, position = batches(size, dtype)
    whole = class_moments(f[:1], position[:1], size[3])
    for c in range(size[3]):
        mine = position[0] == c
        alone = class_moments(f[:1, mine], np.zeros((1, mine.sum()), dtype=int), 1)
        assert_same_bits((alone.means[:, 0], alone.within[:, 0]), (whole.means[:, c], whole.within[:, c]))
        assert_same_bits(alone.h[0], whole.h[0, mine])


@sizes
@dtypes
def test_parts_merge_to_the_whole(size, dtype):
    f, position = batches(size, dtype)
    cut = size[1] // 3
    parts = [class_moments(f[:, rows], position[:, rows], size[3]) for rows in (slice(cut), slice(cut, None))]
    whole = class_moments(f, position, size[3])
    merged = merge(*parts)
    np.testing.assert_array_equal(merged.counts, whole.counts)
    few = 8 * (size[1] + 3) * EPS * float(np.abs(f).max())
    assert_within(merged.means, whole.means, few)
    assert_within(merged.within, whole.within, few * np.sqrt(size[1] * size[2] * whole.within + 1) * 4)


@sizes
@dtypes
def test_a_batch_is_its_problems_one_by_one_and_inputs_are_kept(size, dtype):
    f, position = batches(size, dtype)

    def run(f, position):
        return tuple(class_moments(f, position, size[3]))

    assert_batch_is_one_by_one(run, f, position)
    assert_inputs_are_kept(run, f, position)
    assert_strides_do_not_matter(run, f, position)
    assert_same_bits(run(np.asfortranarray(f), position.astype(np.uint8)), run(f, position))


def test_two_callers_do_not_meet():
    assert_callers_do_not_meet(lambda f, position: tuple(class_moments(f, position, 5)), *batches((3, 200, 65, 5)))


def test_no_samples_give_zeros():
    counts, means, within, h = class_moments(np.zeros((2, 0, 3)), np.zeros((2, 0), dtype=int), 2)
    assert not counts.any()
    assert not means.any()
    assert not within.any()
    assert h.shape == (2, 0, 3)


WRONG = {
    "f of two dimensions": (np.zeros((4, 3)), np.zeros((1, 4), dtype=int), 2, r"\(4, 3\).*\(B, N, D\)"),
    "f of integers": (np.zeros((1, 4, 3), dtype=int), np.zeros((1, 4), dtype=int), 2, "int64"),
    "positions of other samples": (np.zeros((1, 4, 3)), np.zeros((1, 5), dtype=int), 2, r"\(1, 5\).*\(1, 4, 3\)"),
    "positions that are no integers": (np.zeros((1, 4, 3)), np.zeros((1, 4)), 2, "float64"),
    "a position past the last class": (np.zeros((1, 4, 3)), np.full((1, 4), 2), 2, "from 2 to 2; they need 0 to 1"),
    "a negative position": (np.zeros((1, 4, 3)), np.full((1, 4), -1), 2, "from -1 to -1"),
    "no classes": (np.zeros((1, 4, 3)), np.zeros((1, 4), dtype=int), 0, "n_classes is 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named_with_its_sizes(case):
    f, position, classes, message = WRONG[case]
    with pytest.raises(ShapeError, match=message):
        class_moments(f, position, classes)
