"""Products with the compressed Jacobian on the host shim against the reference."""

import numpy as np
import pytest

from tests.cuda.host import KernelError, barriers, same_in_every_order
from tests.kernels.contract import assert_within
from varpro.kernels.jacobian_products.reference import products_reference

CASES = [  # problems, n, m, rank, k
    (1, 1, 1, 1, 1),
    (2, 3, 5, 2, 1),
    (2, 16, 16, 11, 5),  # one tile of rows, one of columns, all full
    (1, 17, 18, 16, 1),  # one more of each
    (1, 37, 34, 30, 13),  # three pairs of products, 43 columns of 48
    (1, 20, 14, 51, 10),  # four pairs
    (1, 9, 6, 64, 3),  # D is read twice
    (1, 5, 200, 2, 0),  # more columns of D than a block takes, no R
    (1, 5, 3, 0, 4),  # no U
    (2, 0, 3, 2, 1),  # no rows
    (1, 131, 4, 3, 2),  # two blocks share the rows
    (3, 300, 3, 2, 17),  # three of them
]
every_case = pytest.mark.parametrize("case", CASES)
precisions = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def arrays_of(case, dtype=np.float64):
    problems, n, m, rank, k = case
    rng = np.random.default_rng(n + m)
    d, u, r = (rng.standard_normal((problems, n, columns)) for columns in (m, rank, k))
    return d.astype(dtype), u, r


def run(driver, case, d, u, r, **more):
    problems, n, m, rank, k = case
    arguments = {"shift": 0} | more
    return driver(
        "jacobian_products", d=d, u=u, r=r if k else None, problems=problems, n=n, m=m, rank=rank, k=k,
        d_is_float=d.dtype == np.float32, **arguments,
    )  # fmt: skip


def products(result, case):
    problems, _, m, rank, k = case
    z, g = np.split(np.frombuffer(result), [problems * rank * m])
    return z.reshape(problems, rank, m), g.reshape(problems, m, k)


def assert_is_the_formula(result, case, arrays):
    """Each sum has n products, off by eps of their magnitudes each, and one more rounding a part."""
    expected, magnitude = products_reference(*arrays), products_reference(*map(np.abs, arrays))
    for one, other, bound in zip(products(result, case), expected, magnitude, strict=True):
        assert_within(one, other, (case[1] + 4) * np.finfo(float).eps * bound)


@precisions
@every_case
def test_z_and_g_are_the_formula_in_every_order(driver, case, dtype):
    arrays = arrays_of(case, dtype)
    assert_is_the_formula(same_in_every_order(run(driver, case, *arrays)), case, arrays)


@precisions
@pytest.mark.parametrize("case", [(2, 3, 6, 2, 1), (1, 20, 14, 5, 1)])
def test_where_d_is_not_aligned_the_bits_are_the_same(driver, case, dtype):
    arrays = arrays_of(case, dtype)
    aligned = run(driver, case, *arrays, orders=(0,))[0]
    shifted = run(driver, case, *arrays, shift=np.dtype(dtype).itemsize, orders=(0,))[0]
    assert shifted == aligned


@precisions
def test_single_entries_of_d_find_their_places(driver, dtype):
    """Exact: sums of one term.  Both columns of a lane, all its rows, all columns of [U R]."""
    case = (1, 19, 35, 40, 9)
    d = np.zeros((1, 19, 35), dtype=dtype)
    rows, columns = np.arange(35) % 19, np.arange(35)
    d[0, rows, columns] = columns + 1
    u, r = (100.0 * np.arange(19)[:, None] + np.arange(width) for width in (40, 9))
    z, g = products(run(driver, case, d, u[None], r[None] + 40, orders=(2,))[0], case)
    np.testing.assert_array_equal(z[0], (u[rows] * (columns + 1)[:, None]).T)
    np.testing.assert_array_equal(g[0], (r[rows] + 40) * (columns + 1)[:, None])


def test_what_does_not_belong_to_a_problem_is_not_read(driver):
    """Rows and columns past the end are left out, not multiplied by zero: the other problem holds NaN."""
    case = (2, 13, 7, 5, 2)
    d, u, r = arrays_of(case)
    alone = products(run(driver, (1, *case[1:]), d[:1], u[:1], r[:1], orders=(0,))[0], (1, *case[1:]))
    for a in (d, u, r):
        a[1] = np.nan
    together = products(run(driver, case, d, u, r, orders=(0,))[0], case)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one[0], other[0])


def test_a_workspace_that_is_missing_is_named_with_its_size(driver):
    """Two parts of five sums for each of four columns."""
    case = CASES[-2]
    with pytest.raises(KernelError, match="jacobian_products: workspace is null; these sizes need 320 bytes"):
        run(driver, case, *arrays_of(case), no_workspace=1)


@pytest.mark.parametrize("barrier", barriers("jacobian_products"))
def test_no_barrier_can_be_left_out(driver, barrier):
    case = (1, 37, 34, 30, 13)
    arrays = arrays_of(case)
    with pytest.raises((AssertionError, KernelError)):
        assert_is_the_formula(same_in_every_order(run(driver, case, *arrays, drop=barrier)), case, arrays)
