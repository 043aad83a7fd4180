"""Sums over pairs of a compressed Jacobian against the incidence matrix written out."""

import numpy as np

from varpro.linalg.incidence import jacobian_of_columns, sum_by_parameter, sum_pairs

COLUMNS, PARAMETERS = np.array([0, 2, 1, 2, 0]), np.array([3, 0, 0, 1, 3])
INCIDENCE = np.eye(4)[PARAMETERS]  # parameter 2 moves nothing


def test_sums_by_parameter_are_products_with_the_incidence():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 7, 5))
    np.testing.assert_allclose(sum_pairs(values, PARAMETERS, 4), values @ INCIDENCE, rtol=1e-14)
    h, g = rng.standard_normal((3, 5, 5)), rng.standard_normal((3, 5))
    whole = np.tril(h) + np.tril(h, -1).mT
    summed, gradient = sum_by_parameter(h, g, PARAMETERS, 4)
    np.testing.assert_allclose(np.tril(summed), np.tril(INCIDENCE.T @ whole @ INCIDENCE), atol=1e-14 * np.abs(h).sum())
    np.testing.assert_allclose(gradient, g @ INCIDENCE, rtol=1e-14)
    same = sum_by_parameter(h, g, np.arange(5), 5)
    assert same[0] is h
    assert same[1] is g


def test_the_jacobian_of_the_columns_is_the_derivative_at_fixed_amplitudes():
    rng = np.random.default_rng(1)
    d, a = rng.standard_normal((2, 6, 5)), rng.standard_normal((2, 3))
    expected = (d * a[:, None, COLUMNS]) @ INCIDENCE
    np.testing.assert_allclose(jacobian_of_columns(d, a, COLUMNS, PARAMETERS, 4), expected, rtol=1e-13)
    np.testing.assert_allclose(jacobian_of_columns(d[0], a[0], COLUMNS, PARAMETERS, 4), expected[0], rtol=1e-13)


def test_what_is_not_finite_stays_with_its_own_parameter():
    values = np.array([1.0, np.inf, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(sum_pairs(values, PARAMETERS, 4), [np.inf, 3.0, 0.0, 5.0])
