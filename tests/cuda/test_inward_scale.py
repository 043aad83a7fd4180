"""Rows scaled to a sphere, and the gradient of that, on the host shim against their references."""

import numpy as np
import pytest

from tests.cuda.host import same_in_every_order
from tests.cuda.losses import split
from tests.kernels.contract import assert_within
from tests.kernels.test_inward_scale import few, rows
from varpro.kernels.inward_scale.reference import inward_scale_reference, inward_scale_vjp_reference

CASES = [(1, 1), (5, 1), (9, 31), (3, 32), (17, 33), (2, 130)]  # more rows than a block has warps; about 32 columns
every_case = pytest.mark.parametrize("case", CASES)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def run(driver, x, g=None, *, xi, eps):
    n, d = x.shape
    results = driver(
        "inward_scale", x=x, g=g, numbers=np.array([xi, eps]), n=n, d=d, is_float=x.dtype == np.float32
    )  # fmt: skip
    parts = [(x.dtype, (n, d)), (np.float64, (n,)), (np.float64, (n,))]
    return split(same_in_every_order(results), *parts[: 2 if g is None else 3])


@every_case
@dtypes
@pytest.mark.parametrize(("xi", "eps", "scale"), [(1.0, 0.0, 1.0), (100.0, 1e-8, 1e-3)])
def test_both_ways_are_the_formulas_in_every_order(driver, case, dtype, xi, eps, scale):
    x, g = rows(case, dtype, scale)
    relative = few(dtype, case[1])
    found, s = run(driver, x, xi=xi, eps=eps)
    expected, root = inward_scale_reference(x, xi, eps)
    assert_within(found, expected, relative / xi)
    assert_within(s, root, relative * root)
    back, again, along = run(driver, x, g, xi=xi, eps=eps)
    gradient, _, product = inward_scale_vjp_reference(x, g, xi, eps)
    norm = np.linalg.norm(g.astype(float), axis=1)
    np.testing.assert_array_equal(again, s)
    assert_within(along, product, relative * norm)
    assert_within(back, gradient, relative * (2 * norm / (xi * root))[:, None])


@dtypes
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_in_its_row_alone(driver, dtype, value):
    x, g = rows((9, 33), dtype)
    for bad, which in ((x, 1), (g, 2)):
        kept, bad[4, 32] = bad[4, 32], value
        found = run(driver, x, g, xi=2.0, eps=1e-8)[which]
        np.testing.assert_array_equal(np.isfinite(found), np.arange(9) != 4)
        bad[4, 32] = kept


def test_a_row_of_zeros_is_kept_finite_by_eps_and_large_ones_do_not_overflow(driver):
    back, s, along = run(driver, np.zeros((2, 9)), np.ones((2, 9)), xi=2.0, eps=1e-8)
    np.testing.assert_allclose(s, 1e-4, rtol=1e-15)
    np.testing.assert_allclose(back, 5e3, rtol=1e-15)
    np.testing.assert_array_equal(along, 0)
    along = run(driver, np.full((1, 5), 1e150), np.full((1, 5), 1e200), xi=1.0, eps=0.0)[2]
    np.testing.assert_allclose(along, np.sqrt(5) * 1e200, rtol=1e-14)
