"""IntraClassVariance: exact answers, the elimination of the centroids, bad input."""

import numpy as np
import pytest

from tests.losses.differences import TOLERANCE, batch, distance, gradient
from varpro.errors import ConfigError, NonFiniteError, ShapeError
from varpro.linalg import projector
from varpro.losses import DiscriminantFactors, FeedBackward, IntraClassVariance, InwardScale

POINTS, LABELS = np.array([[0.0], [2.0], [10.0]]), np.array([0, 0, 1])
PROXIMAL = IntraClassVariance(mode="proximal")


def test_three_points_on_a_line():
    factors = DiscriminantFactors(POINTS, LABELS)
    assert factors.trSw == pytest.approx(2 / 3, rel=1e-15)
    assert factors.trSb == pytest.approx(18, rel=1e-15)
    assert factors.trSt == pytest.approx(56 / 3, rel=1e-15)
    assert factors.trSt == pytest.approx(POINTS.var(), rel=1e-15)
    assert IntraClassVariance()(POINTS, LABELS).value == pytest.approx(2 / 3, rel=1e-15)
    assert IntraClassVariance.paper()(POINTS, LABELS, C=np.zeros((2, 1))).value == pytest.approx(104 / 3, rel=1e-15)


def test_proximal_centroids_are_the_centre_loss_update():
    result = PROXIMAL(POINTS, LABELS, C=np.zeros((3, 1)))
    np.testing.assert_allclose(result.info["C"].ravel(), [2 / 3, 5, 0], rtol=1e-15)
    old, rng = np.array([[0.3, -1], [2, 0.5]]), np.random.default_rng(0)
    f, y = rng.standard_normal((7, 2)), np.array([0, 1, 1, 0, 1, 1, 1])
    update = np.array([(old[c] - f[y == c]).sum(axis=0) / (1 + (y == c).sum()) for c in (0, 1)])
    np.testing.assert_allclose(PROXIMAL(f, y, C=old).info["C"], old - update, atol=1e-15)


def test_moving_average_centroids():
    old = np.array([[1.0], [1.0]])
    result = IntraClassVariance(mode="ema", alpha=0.25)(POINTS, LABELS, C=old)
    np.testing.assert_allclose(result.info["C"].ravel(), [1.0, 0.25 * 10 + 0.75], rtol=1e-15)


@pytest.mark.parametrize("mode", ["proximal", "learned", "ema"])
def test_gradients_with_centroids_given(mode):
    f, y = batch(9, 4, 3)
    y = np.array([0, 2, 4])[y]
    c = np.random.default_rng(1).standard_normal((5, 4))
    loss = IntraClassVariance(mode=mode, kappa=2.5, alpha=0.3)
    result = loss(f, y, C=c)
    ours = result.gradient["F"] if mode == "learned" else result.gradient
    assert distance(ours, gradient(lambda g: loss(g, y, C=c).value, f)) < TOLERANCE
    if mode == "learned":
        by_c = gradient(lambda d: loss(f, y, C=d).value, c)
        assert distance(result.gradient["C"], by_c) < TOLERANCE
        np.testing.assert_array_equal(result.gradient["C"][[1, 3]], 0)


@pytest.mark.parametrize("unbiased", [False, True])
def test_gradient_where_the_centroids_are_eliminated(unbiased):
    f, y = batch(9, 4, 3)
    y[0] = 7
    loss = IntraClassVariance(unbiased=unbiased)
    assert distance(loss(f, y).gradient, gradient(lambda g: loss(g, y).value, f)) < TOLERANCE


def test_the_eliminated_centroids_are_the_best():
    f, y = batch(12, 5, 3)
    result, learned = IntraClassVariance()(f, y), IntraClassVariance(mode="learned")
    at_best = learned(f, y, C=result.info["C"])
    assert at_best.value == pytest.approx(result.value, rel=1e-14)
    np.testing.assert_allclose(at_best.gradient["C"], 0, atol=1e-15)
    np.testing.assert_allclose(at_best.gradient["F"], result.gradient, atol=1e-15)
    onehot = np.eye(3)[y]
    solved = projector.factor(onehot[None]).coefficients(f[None])[0]
    np.testing.assert_allclose(result.info["C"], solved, atol=1e-14)


@pytest.mark.parametrize("kappa", [0.0, 3.0])
def test_the_proximal_centroids_are_the_best(kappa):
    f, y = batch(12, 5, 3)
    old = np.random.default_rng(2).standard_normal((3, 5))
    result = IntraClassVariance(mode="proximal", kappa=kappa)(f, y, C=old)

    def value(c):
        return (((f - c[y]) ** 2).sum() + kappa * ((c - old) ** 2).sum()) / 12

    assert value(result.info["C"]) == pytest.approx(result.value, rel=1e-14)
    np.testing.assert_allclose(gradient(value, result.info["C"]), 0, atol=1e-10)


def test_the_unbiased_form_is_right_on_the_average():
    rng = np.random.default_rng(0)
    sigma2 = np.array([1.0, 4.0])
    y = np.array([0, 0, 1, 1, 1])
    values = [
        IntraClassVariance(unbiased=True)(rng.standard_normal((5, 1)) * np.sqrt(sigma2[y])[:, None], y).value
        for _ in range(4000)
    ]
    assert abs(np.mean(values) - (2 * 1 + 3 * 4) / 5) < 4 * np.std(values) / np.sqrt(4000)


def test_scatter_splits_in_two_and_unit_rows_know_it_from_the_means():
    f, y = batch(20, 5, 3)
    factors = DiscriminantFactors(f, y)
    total = np.cov(f.T, bias=True)
    np.testing.assert_allclose(factors.H.T @ factors.H / 20 + factors.B.T @ factors.B, total, atol=1e-14)
    np.testing.assert_allclose(factors.weights @ factors.means, f.mean(axis=0), atol=1e-15)
    np.testing.assert_allclose(factors.Ht, f - f.mean(axis=0), atol=1e-15)
    unit = DiscriminantFactors(InwardScale(xi=1.0, eps=0.0)(f), y)
    assert unit.trSw == pytest.approx(1 - unit.weights @ (unit.means**2).sum(axis=1), rel=1e-13)


def test_reading_back_in_squares_with_eliminated_weights_is_the_same_loss():
    f, y = batch(12, 5, 3)
    ours, theirs = IntraClassVariance()(f, y), FeedBackward(dist="l2", eliminate=True)(f, y)
    assert theirs.value == pytest.approx(ours.value, rel=1e-14)
    np.testing.assert_allclose(theirs.gradient, ours.gradient, atol=1e-15)
    np.testing.assert_allclose(theirs.info["W"].T, ours.info["C"], atol=1e-15)


def test_batches_that_have_no_scatter_are_worth_nothing():
    for f, y in ((np.full((4, 3), 0.1), [0, 0, 0, 0]), (np.eye(3), [0, 1, 2]), (np.ones((1, 2)), [5])):
        for unbiased in (False, True):
            result = IntraClassVariance(unbiased=unbiased)(f, y)
            assert result.value < 1e-30
            np.testing.assert_allclose(result.gradient, 0, atol=1e-16)


def test_bad_input():
    f, y = batch(6, 4, 2)
    with pytest.raises(NonFiniteError):
        IntraClassVariance()(np.where(f == f[0, 0], np.nan, f), y)
    with pytest.raises(NonFiniteError):
        PROXIMAL(f, y, C=np.full((2, 4), np.nan))
    with pytest.raises(ShapeError, match="4 columns"):
        PROXIMAL(f, y, C=np.zeros((2, 3)))
    with pytest.raises(ShapeError, match="labels run from 0 to 1"):
        PROXIMAL(f, y, C=np.zeros((1, 4)))
    with pytest.raises(ShapeError, match="labels run from -1"):
        PROXIMAL(f, y - 1, C=np.zeros((2, 4)))
    with pytest.raises(ConfigError, match="C="):
        PROXIMAL(f, y)
    with pytest.raises(ConfigError, match="C="):
        IntraClassVariance()(f, y, C=np.zeros((2, 4)))
    for options in ({"mode": "k"}, {"kappa": -1.0}, {"alpha": 0.0}, {"mode": "learned", "unbiased": True}):
        with pytest.raises(ConfigError):
            IntraClassVariance(**options)


def test_stacks_types_and_order():
    f, y = batch(8, 4, 3)
    c = np.zeros((3, 4), dtype=np.float32)
    learned = IntraClassVariance.paper()
    stacked = learned(np.stack([f, 2 * f]), np.stack([y, y]), C=c)
    np.testing.assert_array_equal(stacked.gradient["F"][1], learned(2 * f, y, C=c).gradient["F"])
    single = learned(f.astype(np.float32), y, C=c)
    assert {g.dtype for g in single.gradient.values()} == {np.dtype(np.float32)}
    whole = learned(f, y, C=np.zeros((3, 4), dtype=int))
    assert distance(single.gradient["C"], whole.gradient["C"]) < 1e-6
    order = np.random.default_rng(0).permutation(8)
    np.testing.assert_allclose(
        IntraClassVariance()(f[order], y[order]).gradient, IntraClassVariance()(f, y).gradient[order]
    )
