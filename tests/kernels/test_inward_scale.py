"""Rows scaled to a sphere, and the gradient of that, against their formulas."""

import numpy as np
import pytest

from tests.kernels.contract import (
    assert_callers_do_not_meet,
    assert_inputs_are_kept,
    assert_same_bits,
    assert_strides_do_not_matter,
    assert_within,
)
from varpro.errors import ShapeError
from varpro.kernels.inward_scale import inward_scale, inward_scale_vjp
from varpro.kernels.inward_scale.reference import inward_scale_reference, inward_scale_vjp_reference

SIZES = [(1, 1), (5, 1), (1, 3), (4, 16), (7, 33), (3, 515)]
sizes = pytest.mark.parametrize("size", SIZES)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def rows(size, dtype, scale=1.0):
    rng = np.random.default_rng(size[1])
    x, g = (rng.standard_normal(size) for _ in range(2))
    return (scale * x).astype(dtype), g.astype(dtype)


def few(dtype, d):
    """Roundings of a sum of d squares in double, and one of the result."""
    return 2 * (d + 8) * np.finfo(float).eps + np.finfo(dtype).eps


@sizes
@dtypes
@pytest.mark.parametrize(("xi", "eps", "scale"), [(1.0, 0.0, 1.0), (100.0, 1e-8, 1.0), (0.5, 1e-2, 1e-6)])
def test_both_ways_are_the_formulas(size, dtype, xi, eps, scale):
    x, g = rows(size, dtype, scale)
    found, s = inward_scale(x, xi, eps)
    expected, root = inward_scale_reference(x, xi, eps)
    assert found.dtype == dtype
    relative = few(dtype, size[1])
    assert_within(found, expected, relative / xi)
    assert_within(s, root, relative * root)
    back, again, along = inward_scale_vjp(x, g, xi, eps)
    gradient, _, product = inward_scale_vjp_reference(x, g, xi, eps)
    norm = np.linalg.norm(g.astype(float), axis=1)
    assert back.dtype == dtype
    assert_same_bits(again, s)
    assert_within(along, product, relative * norm)
    assert_within(back, gradient, relative * (2 * norm / (xi * root))[:, None])


def test_a_row_known_by_hand():
    x, g = np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]])
    np.testing.assert_allclose(inward_scale(x, 100.0, 0.0)[0], [[0.006, 0.008]], rtol=1e-15)
    back, s, along = inward_scale_vjp(x, g, 100.0, 0.0)
    np.testing.assert_allclose(back, [[0.00128, -0.00096]], rtol=1e-14)
    np.testing.assert_array_equal(s, [5.0])
    np.testing.assert_allclose(along, [0.6], rtol=1e-15)


@dtypes
def test_a_row_of_zeros_is_kept_finite_by_eps(dtype):
    x, g = np.zeros((2, 9), dtype=dtype), np.ones((2, 9), dtype=dtype)
    found, s = inward_scale(x, 2.0, 1e-8)
    np.testing.assert_array_equal(found, 0)
    np.testing.assert_allclose(s, 1e-4, rtol=1e-15)
    back, _, along = inward_scale_vjp(x, g, 2.0, 1e-8)
    np.testing.assert_allclose(back, 5e3, rtol=np.finfo(dtype).eps * 2)
    np.testing.assert_array_equal(along, 0)
    assert inward_scale(x, 2.0, 0.0)[1].max() == 0


@dtypes
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 15, 36])
def test_what_is_not_finite_shows_in_its_row_alone(dtype, value, place):
    x, g = rows((3, 37), dtype)
    bad = x.copy()
    bad[1, place] = value
    others = [0, 2]
    found, s = inward_scale(bad, 2.0, 1e-8)
    assert not np.isfinite(s[1])
    assert_same_bits(found[others], inward_scale(x, 2.0, 1e-8)[0][others])
    bad = g.copy()
    bad[1, place] = value
    back, s, along = inward_scale_vjp(x, bad, 2.0, 1e-8)
    assert np.isfinite(s).all()
    assert not np.isfinite(along[1])
    assert_same_bits(back[others], inward_scale_vjp(x, g, 2.0, 1e-8)[0][others])


def test_a_large_gradient_times_a_large_row_does_not_overflow():
    x, g = np.full((1, 5), 1e150), np.full((1, 5), 1e200)
    back, _, along = inward_scale_vjp(x, g, 1.0, 0.0)
    np.testing.assert_allclose(along, np.sqrt(5) * 1e200, rtol=1e-14)
    assert np.isfinite(back).all()
    assert inward_scale(1e10 * x, 1.0, 0.0)[1] == np.inf


@sizes
@dtypes
def test_rows_are_one_by_one_and_inputs_are_kept(size, dtype):
    x, g = rows(size, dtype)

    def run(x, g):
        return (*inward_scale(x, 3.0, 1e-8), *inward_scale_vjp(x, g, 3.0, 1e-8))

    together = run(x, g)
    for i in range(size[0]):
        assert_same_bits(run(x[i : i + 1], g[i : i + 1]), tuple(a[i : i + 1] for a in together))
    assert_inputs_are_kept(run, x, g)
    assert_strides_do_not_matter(run, x, g)
    for a in (x, g):
        a.flags.writeable = False
    assert_same_bits(run(x, g), together)


@dtypes
def test_two_callers_do_not_meet(dtype):
    assert_callers_do_not_meet(lambda x, g: inward_scale_vjp(x, g, 3.0, 1e-8), *rows((300, 65), dtype))


def test_what_does_not_fit_is_named_with_its_sizes():
    x = np.zeros((4, 3))
    for wrong, message in ((np.zeros(4), r"\(4,\).*\(N, D\)"), (np.zeros((4, 3), dtype=int), "int64")):
        with pytest.raises(ShapeError, match=message):
            inward_scale(wrong, 1.0, 0.0)
    for wrong, message in ((np.zeros((3, 3)), r"\(3, 3\).*\(4, 3\)"), (x.astype(np.float32), "float32.*float64")):
        with pytest.raises(ShapeError, match=message):
            inward_scale_vjp(x, wrong, 1.0, 0.0)
