"""The divergences against their formulas, their gradients and the weights that minimise them."""

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
from varpro.kernels.softmax_divergence import KINDS, softmax_divergence, softmax_divergence_eliminated
from varpro.kernels.softmax_divergence.reference import best_weights_reference, softmax_divergence_reference

SIZES = [(1, 1, 1, 1), (2, 9, 1, 3), (1, 1, 5, 2), (3, 13, 17, 5), (1, 6, 32, 1), (1, 11, 515, 4)]  # B, N, m, C
sizes = pytest.mark.parametrize("size", SIZES)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
kinds = pytest.mark.parametrize("kind", KINDS)


def batches(size, dtype=np.float64, spread=1.0):
    n_batches, n, m, classes = size
    rng = np.random.default_rng(m)
    f, w = spread * rng.standard_normal((n_batches, n, m)), spread * rng.standard_normal((n_batches, classes, m))
    return f.astype(dtype), rng.integers(0, classes, (n_batches, n)), w


def off_by(size, kind, f, w, tau):
    """Roundings of a sum over m entries and n samples, times the largest term: a logarithm or a square."""
    largest = 2 * max(np.abs(f).max(), np.abs(w).max())
    term = largest**2 if kind == "squares" else 2 * largest / tau + np.log(size[2]) + 1
    return 4 * (size[1] + size[2] + 16) * EPS * float(term)


@sizes
@dtypes
@kinds
@pytest.mark.parametrize(("tau", "spread"), [(1.0, 1.0), (0.2, 3.0), (7.0, 1e-3)])
def test_value_and_gradients_are_the_formulas(size, dtype, kind, tau, spread):
    f, position, w = batches(size, dtype, spread)
    value, by_f, by_w = softmax_divergence(f, position, w, kind, tau=tau, scale=0.25)
    expected = softmax_divergence_reference(f, position, w, kind, tau=tau, scale=0.25)
    off = off_by(size, kind, f, w, tau)
    assert by_f.dtype == dtype
    assert_within(value, expected[0], size[1] * size[2] ** (kind == "squares") * off)
    slope = 1.0 if kind == "squares" else 1 / tau
    assert_within(by_f, expected[1], off * slope + np.finfo(dtype).eps * np.abs(expected[1]))
    assert_within(by_w, expected[2], size[1] * off * slope)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_pair_known_by_hand(dtype):
    f, w = np.zeros((1, 1, 2), dtype=dtype), np.array([[[np.log(3.0), 0.0]]])
    value, by_f, by_w = softmax_divergence(f, np.zeros((1, 1), dtype=int), w, "pq")
    few = 4 * EPS
    np.testing.assert_allclose(value, [[0.5 * np.log(4 / 3)]], rtol=2 * few)
    np.testing.assert_allclose(by_w, [[[0.25, -0.25]]], rtol=few)
    np.testing.assert_allclose(by_f, np.log(3) / 4 * np.array([[[-1, 1]]]), rtol=4 * np.finfo(dtype).eps)


@sizes
@dtypes
@kinds
def test_eliminated_weights_minimise_and_the_value_is_that_of_the_weights(size, dtype, kind):
    f, position, _ = batches(size, dtype)
    value, by_f, best = softmax_divergence_eliminated(f, position, size[3], kind, tau=0.5, scale=2.0)
    present = (position[:, None, :] == np.arange(size[3])[:, None]).any(axis=2)
    off = off_by(size, kind, f, best, 0.5)
    assert_within(best[present], best_weights_reference(f, position, size[3], kind, tau=0.5)[present], off)
    assert not best[~present].any()
    assert_same_bits((value, by_f), softmax_divergence(f, position, best, kind, tau=0.5, scale=2.0)[:2])
    slope = softmax_divergence(f, position, best, kind, tau=0.5)[2]
    assert_within(slope, 0 * slope, 2 * size[1] * off)


@kinds
def test_a_class_without_samples_has_nothing_and_its_weights_are_not_read(kind):
    f, _, w = batches((1, 7, 9, 4))
    position = np.array([[0, 2, 2, 0, 2, 0, 0]])
    w[0, [1, 3]] = np.nan
    value, by_f, by_w = softmax_divergence(f, position, w, kind)
    assert not value[0, [1, 3]].any()
    assert not by_w[0, [1, 3]].any()
    assert np.isfinite(by_f).all()


@dtypes
@kinds
@pytest.mark.parametrize("eliminate", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 15, 36])
def test_what_is_not_finite_shows_in_the_value_of_its_class_alone(dtype, kind, eliminate, value, place):
    f, position, w = batches((1, 9, 37, 2), dtype)

    def run(f):
        if eliminate:
            return softmax_divergence_eliminated(f, position, 2, kind)[0]
        return softmax_divergence(f, position, w, kind)[0]

    bad = f.copy()
    bad[0, 4, place] = value
    own = position[0, 4]
    found = run(bad)
    assert not np.isfinite(found[0, own])
    assert_same_bits(found[0, 1 - own], run(f)[0, 1 - own])


@kinds
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_show(kind, value):
    f, position, w = batches((1, 9, 37, 2))
    w[0, 1, 20] = value
    found = softmax_divergence(f, position, w, kind)[0]
    assert not np.isfinite(found[0, 1])
    assert np.isfinite(found[0, 0])


@dtypes
def test_entries_far_below_the_largest_count_as_zero(dtype):
    """exp(-1e30) is 0, and 0 times its logarithm is 0: no NaN and no rest of a flat exponential."""
    f = np.array([[[0.0, -1e30, 0.0, -750.0, -1e4]]], dtype=dtype)
    value, by_f, by_w = softmax_divergence(f, np.zeros((1, 1), dtype=int), np.zeros((1, 1, 5)), "pq")
    np.testing.assert_allclose(value, np.log(5 / 2), rtol=4 * EPS)
    assert_within(by_w, np.array([[[-0.3, 0.2, -0.3, 0.2, 0.2]]]), 4 * EPS)
    assert_within(by_f, 0 * by_f, 4 * np.finfo(dtype).eps)
    best = softmax_divergence_eliminated(f, np.zeros((1, 1), dtype=int), 1, "pq")[2]
    np.testing.assert_allclose(best, f - np.log(2.0), rtol=4 * EPS)  # the mean of log p stands in


@sizes
@dtypes
@kinds
def test_a_batch_is_its_problems_one_by_one_and_inputs_are_kept(size, dtype, kind):
    arrays = batches(size, dtype)

    def run(f, position, w):
        return *softmax_divergence(f, position, w, kind), *softmax_divergence_eliminated(f, position, size[3], kind)

    assert_batch_is_one_by_one(run, *arrays)
    assert_inputs_are_kept(run, *arrays)
    assert_strides_do_not_matter(run, *arrays)
    for a in arrays:
        a.flags.writeable = False
    run(*arrays)


@kinds
def test_two_callers_do_not_meet(kind):
    assert_callers_do_not_meet(lambda *a: softmax_divergence(*a, kind), *batches((3, 100, 65, 5)))


WRONG = {
    "an unknown kind": ({"kind": "js"}, "'js'.*pq, qp, squares"),
    "f of two dimensions": ({"f": np.zeros((4, 3))}, r"\(4, 3\)"),
    "rows without entries": ({"f": np.zeros((1, 4, 0)), "weights": np.zeros((1, 2, 0))}, r"\(1, 4, 0\)"),
    "weights of other columns": ({"weights": np.zeros((1, 2, 4))}, r"\(1, 2, 4\).*\(1, 4, 3\)"),
    "weights of other batches": ({"weights": np.zeros((2, 2, 3))}, r"\(2, 2, 3\)"),
    "weights of two dimensions": ({"weights": np.zeros((2, 3))}, r"\(2, 3\)"),
    "a position past the weights": ({"position": np.full((1, 4), 2)}, "0 to 1"),
    "no temperature": ({"tau": 0.0}, "tau is 0"),
    "a temperature without an inverse": ({"tau": 1e-310}, "tau is 1e-310"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named_with_its_sizes(case):
    changed, message = WRONG[case]
    arguments = {
        "f": np.zeros((1, 4, 3)),
        "position": np.zeros((1, 4), dtype=int),
        "weights": np.zeros((1, 2, 3)),
        "kind": "pq",
    }
    with pytest.raises(ShapeError, match=message):
        softmax_divergence(**arguments | changed)
