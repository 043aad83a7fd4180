"""Batches for which the NullSpace objective has no value, or one that needs care."""

import numpy as np
import pytest

from tests.losses.differences import TOLERANCE, batch, distance, gradient
from varpro.errors import DegenerateBatchError, NonFiniteError, ShapeError, VarproError
from varpro.losses import DiscriminantFactors, NullSpaceLoss

EXACT, RIDGE = NullSpaceLoss(mode="exact"), NullSpaceLoss()
BOTH = pytest.mark.parametrize("loss", [EXACT, RIDGE], ids=["exact", "ridge"])


@BOTH
def test_one_class(loss):
    f, _ = batch(6, 9, 2)
    with pytest.raises(DegenerateBatchError, match="N = 6, D = 9, C = 1"):
        loss(f, np.zeros(6, dtype=int))


@BOTH
@pytest.mark.parametrize("value", [0.0, 0.1, 1e150])
def test_features_that_do_not_vary(loss, value):
    with pytest.raises(DegenerateBatchError, match="do not vary"):
        loss(np.full((7, 9), value), np.arange(7) % 3)


@BOTH
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_never_pass(loss, value, dtype):
    f, y = batch(6, 9, 2)
    f[4, 7] = value
    with pytest.raises(NonFiniteError, match=r"F\[4, 7\]"):
        loss(f.astype(dtype), y)


@BOTH
@pytest.mark.filterwarnings("error")
def test_squares_that_overflow(loss):
    f, y = batch(6, 9, 2)
    with pytest.raises(NonFiniteError, match="overflow"):
        loss(1e200 * f, y)


def test_single_precision_whose_squares_overflow_only_there_is_fine():
    f, y = batch(6, 9, 2)
    single = (1e25 * f).astype(np.float32)
    assert RIDGE(single, y).value == pytest.approx(RIDGE(f, y).value, rel=1e-5)


@BOTH
def test_a_class_of_one_sample_and_an_absent_class(loss):
    f, _ = batch(7, 8, 2)
    y = np.array([0, 0, 0, 2, 2, 2, 5])
    assert distance(loss(f, y).gradient, gradient(lambda g: loss(g, y).value, f)) < TOLERANCE


def test_all_singletons():
    f = np.random.default_rng(0).standard_normal((5, 9))
    with pytest.warns(UserWarning, match="no within-class scatter"):
        result = EXACT(f, np.arange(5))
    expected = np.linalg.svd(f - f.mean(axis=0), compute_uv=False)[:4][::-1] ** 2 / 5
    np.testing.assert_allclose(result.info["E"], expected, rtol=1e-12)
    assert result.info["status"] == "no within-class scatter"
    np.testing.assert_allclose(RIDGE(f, np.arange(5)).info["E"], expected, rtol=1e-12)


def test_no_null_space():
    f, y = batch(12, 8, 4)
    with pytest.raises(DegenerateBatchError) as caught:
        EXACT(f, y)
    for words in ("N - C = 8 >= D", "N = 12, D = 8, C = 4", "below 12 samples", "mode='ridge'"):
        assert words in str(caught.value)
    assert np.isfinite(RIDGE(f, y).gradient).all()


def test_fewer_directions_than_classes():
    f, y = batch(12, 10, 4)
    with pytest.raises(DegenerateBatchError, match=r"2 of C - 1 = 3 .*strict=False"):
        EXACT(f, y)
    loose = NullSpaceLoss(mode="exact", strict=False)
    result = loose(f, y)
    assert (result.info["r"], result.info["w"], result.info["t"]) == (2, 8, 10)
    assert distance(result.gradient, gradient(lambda g: loose(g, y).value, f)) < TOLERANCE


def test_a_sample_twice_in_its_class():
    f, y = batch(12, 16, 4)
    again, there = np.flatnonzero(y == 0)[:2]
    f[there] = f[again]
    result = EXACT(f, y)
    assert (result.info["w"], result.info["r"]) == (7, 3)
    residual = DiscriminantFactors(f, y).exact_residual()
    factors = DiscriminantFactors(f, y)
    np.testing.assert_allclose(residual.r @ factors.H.T, 0, atol=1e-13)
    np.testing.assert_allclose(residual.z, factors.b @ np.linalg.pinv(factors.H, rcond=1e-12), atol=1e-12)


def test_a_sample_in_two_classes():
    f, y = batch(12, 16, 4)
    f[np.flatnonzero(y == 1)[0]] = f[np.flatnonzero(y == 0)[0]]
    with pytest.raises(DegenerateBatchError, match="one sample in two classes"):
        EXACT(f, y)
    assert NullSpaceLoss(mode="exact", strict=False)(f, y).info["r"] == 2
    e = RIDGE(f, y).info["E"]
    assert 0 < e[0] < 0.05 * e[1]


def test_features_that_span_little():
    rng = np.random.default_rng(2)
    f = rng.standard_normal((24, 10)) @ rng.standard_normal((10, 40))
    with pytest.raises(DegenerateBatchError, match="0 of C - 1 = 3"):
        NullSpaceLoss(mode="exact", strict=False)(f, np.arange(24) % 4)
    assert np.isfinite(RIDGE(f, np.arange(24) % 4).gradient).all()


def test_perfect_collapse_and_noise_on_it():
    """Exactly collapsed, both forms see all of S_b; on noise of 1e-9 the exact one jumps and the ridge does not."""
    rng = np.random.default_rng(4)
    y = np.arange(20) % 4
    f = rng.standard_normal((4, 30))[y]
    noisy = f + 1e-9 * rng.standard_normal(f.shape)
    factors = DiscriminantFactors(f, y)
    expected = np.linalg.svd(factors.B, compute_uv=False)[:3][::-1] ** 2
    with pytest.warns(UserWarning, match="collapsed"):
        np.testing.assert_allclose(EXACT(f, y).info["E"], expected, rtol=1e-12)
    np.testing.assert_allclose(RIDGE(f, y).info["E"], expected, rtol=1e-12)
    np.testing.assert_allclose(RIDGE(noisy, y).info["E"], expected, rtol=1e-7)
    assert EXACT(noisy, y).info["E"].sum() < 0.9 * expected.sum()


def test_rounding_left_by_collapse_is_no_rank():
    rng = np.random.default_rng(5)
    y = np.arange(20) % 4
    f = rng.standard_normal((4, 30))[y] + 100.0
    noisy = f + 1e-14 * rng.standard_normal(f.shape)
    with pytest.warns(UserWarning, match="collapsed"):
        assert EXACT(noisy, y).info["w"] == 0
    single = (f + 1e-7 * rng.standard_normal(f.shape)).astype(np.float32)
    with pytest.warns(UserWarning, match="collapsed"):
        assert EXACT(single, y).info["w"] == 0


def test_classes_collapsed_to_the_rounding_of_single_precision_do_not_count():
    rng = np.random.default_rng(6)
    y = np.arange(20) % 4
    f = rng.standard_normal((4, 30))[y]
    f += np.where(y == 0, 1.0, 1e-8)[:, None] * rng.standard_normal(f.shape)
    assert EXACT(f.astype(np.float32), y).info["w"] == 4
    assert EXACT(f, y).info["w"] == 16


@pytest.mark.parametrize(
    ("f", "y"),
    [
        (np.zeros(3), [0, 1, 2]),
        (np.zeros((3, 0)), [0, 1, 2]),
        (np.zeros((0, 3)), []),
        (np.eye(3), [0, 1]),
        (np.eye(3), [0.0, 1.0, 2.0]),
        (np.eye(3), [[0], [1], [2]]),
        (np.eye(3) * 1j, [0, 1, 2]),
        (np.array([["a", "b"], ["c", "d"]]), [0, 1]),
        (np.zeros((2, 3, 4)), np.zeros((3, 3), dtype=int)),
    ],
)
def test_arrays_that_do_not_fit(f, y):
    with pytest.raises(ShapeError):
        RIDGE(f, y)


def test_errors_are_of_the_library():
    assert issubclass(DegenerateBatchError, VarproError)
    assert issubclass(NonFiniteError, VarproError)
