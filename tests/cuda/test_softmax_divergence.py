"""The divergences on the host shim against their references."""

import numpy as np
import pytest

from tests.cuda.host import KernelError, barriers, same_in_every_order
from tests.cuda.losses import batches, order_reference, split
from tests.kernels.contract import EPS, assert_within
from tests.kernels.test_softmax_divergence import off_by
from varpro.kernels.softmax_divergence import KINDS
from varpro.kernels.softmax_divergence.reference import best_weights_reference, softmax_divergence_reference

CASES = [  # problems, N, m, C
    (1, 1, 1, 1),
    (2, 9, 1, 3),
    (3, 13, 17, 5),
    (1, 40, 33, 2),
    (1, 12, 70, 9),
]
every_case = pytest.mark.parametrize("case", CASES)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
kinds = pytest.mark.parametrize("kind", KINDS)


def run(driver, case, kind, f, position, weights=None, *, tau=1.0, scale=1.0, **more):
    """value, by_f, and by_weights, or without weights the ones that were found."""
    problems, n, m, classes = case
    order, first = order_reference(position, classes)
    results = driver(
        "softmax_divergence", f=f, position=position, order=order, first=first, weights=weights,
        numbers=np.array([tau, scale]), problems=problems, n=n, m=m, classes=classes, kind=KINDS.index(kind),
        f_is_float=f.dtype == np.float32, eliminate=more.pop("eliminate", weights is None), **more,
    )  # fmt: skip
    parts = (np.float64, (problems, classes)), (f.dtype, (problems, n, m)), (np.float64, (problems, classes, m))
    return split(same_in_every_order(results), *parts)


def assert_are_the_formulas(found, case, kind, f, position, w, tau, scale):
    expected = softmax_divergence_reference(f, position, w, kind, tau=tau, scale=scale)
    off = off_by(case, kind, f, w, tau)
    slope = scale * (1.0 if kind == "squares" else 1 / tau)
    assert_within(found[0], expected[0], case[1] * case[2] ** (kind == "squares") * off)
    assert_within(found[1], expected[1], off * slope + np.finfo(f.dtype).eps * np.abs(expected[1]))
    if len(found) > 2:
        assert_within(found[2], expected[2], case[1] * off * slope)


@every_case
@dtypes
@kinds
@pytest.mark.parametrize("tau", [1.0, 0.2])
def test_value_and_gradients_are_the_formulas_in_every_order(driver, case, dtype, kind, tau):
    f, position, w = batches(case, dtype)
    found = run(driver, case, kind, f, position, w, tau=tau, scale=2.0)
    assert_are_the_formulas(found, case, kind, f, position, w, tau, 2.0)


@every_case
@dtypes
@kinds
def test_eliminated_weights_minimise(driver, case, dtype, kind):
    f, position, _ = batches(case, dtype)
    value, by_f, best = run(driver, case, kind, f, position, tau=0.5)
    present = (position[:, None, :] == np.arange(case[3])[:, None]).any(axis=2)
    expected = best_weights_reference(f, position, case[3], kind, tau=0.5)
    assert_within(best[present], expected[present], off_by(case, kind, f, best, 0.5))
    assert not best[~present].any()
    assert_are_the_formulas((value, by_f), case, kind, f, position, best, 0.5, 1.0)


@kinds
def test_a_class_without_samples_has_nothing_and_its_weights_do_not_show(driver, kind):
    case = (1, 12, 33, 4)
    f, position, w = batches(case)
    position[:] = np.where(position % 2, 2, 0)
    w[0, [1, 3]] = np.nan
    value, by_f, by_w = run(driver, case, kind, f, position, w)
    assert not value[0, [1, 3]].any()
    assert not by_w[0, [1, 3]].any()
    assert np.isfinite(by_f).all()


@kinds
@dtypes
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_in_the_value_of_its_class_alone(driver, kind, dtype, value):
    case = CASES[3]
    f, position, w = batches(case, dtype)
    f[0, 7, 32] = value
    expected = np.arange(2) != position[0, 7]
    np.testing.assert_array_equal(np.isfinite(run(driver, case, kind, f, position, w)[0][0]), expected)
    np.testing.assert_array_equal(np.isfinite(run(driver, case, kind, f, position)[0][0]), expected)


def test_entries_far_below_the_largest_count_as_zero(driver):
    f = np.array([[[0.0, -1e30, 0.0, -750.0, -1e4]]])
    nothing = np.zeros((1, 1), dtype=np.int32)
    value, by_f, by_w = run(driver, (1, 1, 5, 1), "pq", f, nothing, np.zeros((1, 1, 5)))
    np.testing.assert_allclose(value, np.log(5 / 2), rtol=4 * EPS)
    assert_within(by_w, np.array([[[-0.3, 0.2, -0.3, 0.2, 0.2]]]), 4 * EPS)
    assert_within(by_f, 0 * by_f, 4 * EPS)
    best = run(driver, (1, 1, 5, 1), "pq", f, nothing)[2]
    np.testing.assert_allclose(best, f - np.log(2.0), rtol=4 * EPS)


def test_arguments_that_do_not_fit_are_named(driver):
    f, position, w = batches(CASES[2])
    with pytest.raises(KernelError, match="softmax_divergence: workspace is null; these sizes need 1176 bytes"):
        run(driver, CASES[2], "pq", f, position, w, no_workspace=1)
    with pytest.raises(KernelError, match="softmax_divergence: give weights, or best"):
        run(driver, CASES[2], "pq", f, position, w, eliminate=1)
    with pytest.raises(KernelError, match="softmax_divergence: give weights, or best"):
        run(driver, CASES[2], "pq", f, position, eliminate=0)


@pytest.mark.parametrize("barrier", [*barriers("rows", suffix="cuh"), *barriers("softmax_divergence")])
def test_no_barrier_can_be_left_out(driver, barrier):
    """The weights are the mean of log p in a column where p is zero throughout: both sums are needed."""
    f, position, _ = batches(CASES[3])
    f[:, :, 5] -= 1e4
    expected = best_weights_reference(f, position, CASES[3][3], "pq")
    off = off_by(CASES[3], "pq", f, expected, 1.0)
    assert_within(run(driver, CASES[3], "pq", f, position)[2], expected, off)
    with pytest.raises((AssertionError, KernelError)):
        assert_within(run(driver, CASES[3], "pq", f, position, drop=barrier)[2], expected, off)
