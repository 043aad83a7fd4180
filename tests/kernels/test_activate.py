"""The sigmoid in place."""

import numpy as np
import pytest

from tests.kernels.contract import assert_same_bits, assert_within, strided
from varpro.errors import ShapeError
from varpro.kernels.scalarize import activate
from varpro.kernels.scalarize.reference import activate_reference

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("sigma", ["tanh", "logistic"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "stride", "units"), [(1, 1, 1), (3, 8, 5), (2, 67, 67), (4, 3, 0)])
def test_activation_is_the_sigmoid_and_leaves_the_columns_beyond(n, stride, units, dtype, sigma):
    rng = np.random.default_rng(units)
    q, bias = (4 * rng.standard_normal((n, stride))).astype(dtype), rng.standard_normal(units).astype(dtype)
    expected = q.copy()
    activate_reference(expected, bias, sigma=sigma)
    beyond, kept = q[:, units:].copy(), bias.copy()
    activate(q, bias, sigma=sigma)
    # values <= 1: the sum moves by eps |q| / 2, which the slope makes eps / 2 or less, and the sigmoid by a few eps
    assert_within(q, np.hstack([expected[:, :units], beyond]), 6 * np.finfo(dtype).eps)
    assert_same_bits((q[:, units:].copy(), bias), (beyond, kept))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoids_saturate_keep_the_digits_of_tiny_values_and_hand_on_nan(dtype):
    q = np.array([[-np.inf, -1e30, 1e30, np.inf, 1e-12, -3e-9, np.nan]], dtype=dtype)
    tanh, logistic, none = q.copy(), q.copy(), np.zeros(7, dtype=dtype)
    activate(tanh, none, sigma="tanh")
    activate(logistic, none, sigma="logistic")
    few = 6 * np.finfo(dtype).eps  # a few roundings
    np.testing.assert_allclose(tanh, [[-1, -1, 1, 1, q[0, 4], q[0, 5], np.nan]], rtol=few)
    np.testing.assert_allclose(logistic, [[0, 0, 1, 1, *(0.5 + q[0, 4:6] / 4), np.nan]], rtol=few, atol=1e-34)


WRONG = {
    "q as a vector": (np.zeros(4), 4, "tanh", r"\(4,\)"),
    "q not contiguous": (strided(np.zeros((2, 4))), 4, "tanh", r"\(2, 4\)"),
    "q by columns": (np.zeros((2, 4), order="F"), 4, "tanh", r"\(2, 4\)"),
    "more biases than columns": (np.zeros((2, 4)), 5, "tanh", r"\(2, 4\).*\(5,\)"),
    "q in half": (np.zeros((2, 4), dtype=np.float16), 4, "tanh", "float16"),
    "q of integers": (np.zeros((2, 4), dtype=np.int64), 4, "tanh", "int64"),
    "an unknown sigma": (np.zeros((2, 4)), 4, "relu", "'relu'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named_with_its_sizes(case):
    q, units, sigma, message = WRONG[case]
    with pytest.raises(ShapeError, match=message):
        activate(q, np.zeros(units), sigma=sigma)


def test_a_strided_bias_gives_the_same_values():
    q, bias = np.ones((3, 5)), np.linspace(-2, 2, 4)
    other = q.copy()
    activate(q, bias, sigma="tanh")
    activate(other, strided(bias), sigma="tanh")
    assert_same_bits(other, q)
