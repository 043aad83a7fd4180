"""Class order and class moments on the host shim against their references."""

import numpy as np
import pytest

from tests.cuda.host import KernelError, barriers, same_in_every_order
from tests.cuda.losses import batches, order_reference, split
from tests.kernels.test_class_moments import assert_is_the_formula
from varpro.kernels.class_moments import Moments

CASES = [  # problems, N, D, C
    (1, 1, 1, 1),
    (2, 9, 1, 3),
    (3, 13, 17, 5),
    (1, 40, 33, 2),  # classes of more samples than a block reads at a time, and more than 32 labels
    (1, 70, 64, 9),  # more classes than a block has warps
    (1, 5, 100, 7),  # classes without samples for certain
]
every_case = pytest.mark.parametrize("case", CASES)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def order_of(driver, case, position, **more):
    problems, n, _, classes = case
    results = driver("class_order", position=position, problems=problems, n=n, classes=classes, **more)
    return split(same_in_every_order(results), (np.int32, (problems, n)), (np.int32, (problems, classes + 1)))


def moments_of(driver, case, f, position, *, with_h=True, **more):
    problems, n, d, classes = case
    order, first = order_reference(position, classes)
    results = driver(
        "class_moments", f=f, order=order, first=first, problems=problems, n=n, d=d, classes=classes,
        f_is_float=f.dtype == np.float32, with_h=with_h, **more,
    )  # fmt: skip
    shapes = [(problems, classes, d), (problems, classes), (problems, n, d)][: 3 if with_h else 2]
    return Moments(
        np.diff(first), *split(same_in_every_order(results), *((np.float64, s) for s in shapes)), *[None][with_h:]
    )


@every_case
def test_samples_stand_by_class_in_their_order(driver, case):
    _, position, _ = batches(case)
    for found, expected in zip(order_of(driver, case, position), order_reference(position, case[3]), strict=True):
        np.testing.assert_array_equal(found, expected)


@every_case
@dtypes
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_moments_are_the_formulas_in_every_order(driver, case, dtype, offset):
    f, position, _ = batches(case, dtype, offset)
    assert_is_the_formula(moments_of(driver, case, f, position), f, position, case[3])


@every_case
def test_h_can_be_left_out(driver, case):
    f, position, _ = batches(case)
    whole, without = (moments_of(driver, case, f, position, with_h=h) for h in (True, False))
    np.testing.assert_array_equal(without.means, whole.means)
    np.testing.assert_array_equal(without.within, whole.within)


@dtypes
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_shows_in_the_squares_of_its_class_alone(driver, dtype, value):
    f, position, _ = batches(CASES[3], dtype)
    f[0, 35, 32] = value
    found = np.isfinite(moments_of(driver, CASES[3], f, position).within[0])
    np.testing.assert_array_equal(found, np.arange(2) != position[0, 35])


def test_a_workspace_that_is_missing_is_named(driver):
    f, position, _ = batches(CASES[2])
    with pytest.raises(KernelError, match="class_moments: workspace is null; these sizes need 120 bytes"):
        moments_of(driver, CASES[2], f, position, no_workspace=1)


@pytest.mark.parametrize("barrier", [*barriers("rows", suffix="cuh"), *barriers("class_moments")])
def test_no_barrier_can_be_left_out(driver, barrier):
    f, position, _ = batches(CASES[3])
    with pytest.raises((AssertionError, KernelError)):
        assert_is_the_formula(moments_of(driver, CASES[3], f, position, drop=barrier), f, position, CASES[3][3])
