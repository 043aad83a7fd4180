"""Separability, its penalty, the semi-orthogonal form, and FeedBackward."""

import numpy as np
import pytest

from tests.losses.differences import TOLERANCE, batch, distance, gradient
from varpro.errors import ConfigError, DegenerateBatchError, NonFiniteError, ShapeError
from varpro.losses import FeedBackward, SeparabilityPenalty, semi_orthogonal, separability

RNG = np.random.default_rng(0)
CHOICES = [("softmax", "pq"), ("softmax", "qp"), ("l1", "pq"), ("l1", "qp"), ("l2", "pq")]


def orthonormal(m, n):
    return np.linalg.qr(np.random.default_rng(3).standard_normal((m, n)))[0]


def test_values_that_are_known():
    q = orthonormal(7, 4)
    assert separability(q) == pytest.approx(0, abs=1e-30)
    assert separability(np.zeros((7, 4))) == 1
    assert separability(1.5 * q) == pytest.approx((1.5**2 - 1) ** 2, rel=1e-14)
    assert separability(1.5 * q, normalise=True) == pytest.approx(0, abs=1e-30)
    assert separability(np.repeat(q[:, :1], 2, axis=1)) == pytest.approx(1, rel=1e-14)
    for n in (10, 100):
        assert separability(np.eye(n) - 1 / n, normalise=True) == pytest.approx(1 / (n - 1), rel=1e-12)
    random = RNG.standard_normal((400, 100))
    assert separability(random, normalise=True) == pytest.approx(99 / 400, rel=0.05)


@pytest.mark.parametrize(("m", "n"), [(3, 8), (5, 6)])
def test_floors_where_classes_outnumber_features(m, n):
    w = RNG.standard_normal((m, n))
    tight = orthonormal(n, m).T
    assert separability(w) >= (n - m) / n
    assert separability(tight) == pytest.approx((n - m) / n, rel=1e-13)
    assert separability(w, normalise=True) >= n / m - 1


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("shape", [(6, 4), (3, 5), (1, 1)])
def test_gradient_of_the_penalty(shape, normalise):
    w = np.random.default_rng(4).standard_normal(shape)
    penalty = SeparabilityPenalty(beta=0.3, normalise=normalise)
    result = penalty(w)
    assert result.value == pytest.approx(0.3 * separability(w, normalise=normalise), rel=1e-14)
    assert result.info == {"e": separability(w), "e_norm": separability(w, normalise=True)}
    by_differences = gradient(lambda v: penalty(v).value, w)
    np.testing.assert_allclose(result.gradient, by_differences, atol=TOLERANCE * max(1, np.abs(by_differences).max()))


def test_a_column_of_zeros_has_no_direction():
    w = RNG.standard_normal((4, 3))
    w[:, 1] = 0
    with pytest.raises(DegenerateBatchError, match="column 1"):
        SeparabilityPenalty(normalise=True)(w)
    assert np.isfinite(SeparabilityPenalty()(w).gradient).all()
    assert np.isfinite(separability(w, normalise=True))


def test_columns_of_any_size_are_normalised():
    w = RNG.standard_normal((5, 3))
    assert separability(1e200 * w, normalise=True) == pytest.approx(separability(w, normalise=True), rel=1e-13)
    assert separability(1e-200 * w, normalise=True) == pytest.approx(separability(w, normalise=True), rel=1e-13)
    with pytest.raises(NonFiniteError):
        separability(1e200 * w)


@pytest.mark.parametrize("shape", [(7, 4), (4, 4), (5, 1)])
def test_semi_orthogonal_columns_and_the_way_back(shape):
    rng = np.random.default_rng(5)
    v, g = rng.standard_normal(shape), rng.standard_normal(shape)
    form = semi_orthogonal(v)
    np.testing.assert_allclose(form.value.T @ form.value, np.eye(shape[1]), atol=1e-14)
    r = form.value.T @ v
    np.testing.assert_allclose(np.tril(r, -1), 0, atol=1e-14)
    assert (np.diagonal(r) > 0).all()
    expected = gradient(lambda u: float(np.vdot(g, semi_orthogonal(u).value)), v)
    np.testing.assert_allclose(form.vjp(g), expected, atol=TOLERANCE * max(1, np.abs(expected).max()))


def test_semi_orthogonal_form_of_nearly_dependent_columns():
    v = np.random.default_rng(6).standard_normal((8, 3))
    v[:, 2] = v[:, 0] + 1e-9 * v[:, 2]
    form = semi_orthogonal(v)
    q, r = np.linalg.qr(v)
    np.testing.assert_allclose(form.value, q * np.sign(np.diagonal(r)), atol=1e-5)
    np.testing.assert_allclose(form.value.T @ form.value, np.eye(3), atol=1e-13)
    assert np.isfinite(form.vjp(v)).all()


def test_semi_orthogonal_form_of_dependent_columns():
    v = np.random.default_rng(7).standard_normal((8, 3))
    v[:, 2] = v[:, 0]
    with pytest.raises(DegenerateBatchError, match="rank 2"):
        semi_orthogonal(v)
    with pytest.raises(ShapeError, match="3 rows and 8 columns"):
        semi_orthogonal(v.T)
    with pytest.raises(ShapeError):
        semi_orthogonal(np.eye(3)).vjp(np.zeros((3, 2)))


def test_divergence_of_two_entries():
    w = np.array([[np.log(3.0)], [0.0]])
    result = FeedBackward.paper()(np.zeros((1, 2)), [0], W=w)
    assert result.value == pytest.approx(0.5 * np.log(4 / 3), rel=1e-14)
    np.testing.assert_allclose(result.gradient["W"].ravel(), [0.25, -0.25], rtol=1e-14)
    np.testing.assert_allclose(result.gradient["F"].ravel(), [-np.log(3) / 4, np.log(3) / 4], rtol=1e-14)


def test_eliminated_weights_of_two_samples():
    f = np.log([[3.0, 1.0], [1.0, 3.0]])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    result = FeedBackward(eliminate=True)(f, [0, 0])
    assert result.value == pytest.approx(np.log(2) - entropy, rel=1e-13)


@pytest.mark.parametrize("tau", [1.0, 0.3])
@pytest.mark.parametrize(("dist", "direction"), CHOICES)
def test_gradients_to_features_and_weights(dist, direction, tau):
    f, y = batch(7, 5, 3)
    y = np.array([0, 3, 4])[y]
    w = np.random.default_rng(8).standard_normal((5, 6))
    loss = FeedBackward(dist=dist, direction=direction, tau=tau, floor=0.05)
    result = loss(f, y, W=w)
    assert distance(result.gradient["F"], gradient(lambda g: loss(g, y, W=w).value, f)) < TOLERANCE
    assert distance(result.gradient["W"], gradient(lambda v: loss(f, y, W=v).value, w)) < TOLERANCE
    np.testing.assert_array_equal(result.gradient["W"][:, [1, 2, 5]], 0)


@pytest.mark.parametrize(("dist", "direction"), CHOICES)
def test_elimination_of_the_weights(dist, direction):
    """Their best is stationary, the value is the same, and the gradient needs no derivative of it."""
    f, y = batch(9, 4, 3)
    y[0] = 5
    options = {"dist": dist, "direction": direction, "tau": 0.7, "floor": 0.05}
    loss = FeedBackward(**options, eliminate=True)
    result = loss(f, y)
    np.testing.assert_array_equal(result.info["labels"], [0, 1, 2, 5])
    given = FeedBackward(**options)(f, np.where(y == 5, 3, y), W=result.info["W"])
    assert given.value == pytest.approx(result.value, rel=1e-12)
    np.testing.assert_allclose(given.gradient["W"], 0, atol=1e-12)
    assert distance(result.gradient, gradient(lambda g: loss(g, y).value, f)) < TOLERANCE
    np.testing.assert_allclose(result.gradient[0], 0, atol=1e-14)


def test_the_input_that_is_stopped_has_no_gradient():
    f, y = batch(6, 4, 2)
    w = np.random.default_rng(9).standard_normal((4, 2))
    free = FeedBackward()(f, y, W=w)
    for stop, other in (("F", "W"), ("W", "F")):
        result = FeedBackward(stop=stop)(f, y, W=w)
        assert not result.gradient[stop].any()
        np.testing.assert_array_equal(result.gradient[other], free.gradient[other])


def test_features_that_equal_their_column_cost_nothing_however_dependent_the_columns():
    w = np.repeat(np.random.default_rng(10).standard_normal((6, 1)), 4, axis=1)
    y = np.array([0, 1, 2, 3, 3])
    f = w.T[y] + np.arange(5.0)[:, None]
    result = FeedBackward()(f, y, W=w)
    assert result.value < 1e-15
    np.testing.assert_allclose(result.gradient["F"], 0, atol=1e-15)
    unit = w / np.linalg.norm(w, axis=0)
    assert separability(unit) == pytest.approx(3, rel=1e-13)


def test_small_inputs_see_the_squared_distance_of_what_is_centred():
    f, y = batch(6, 5, 2)
    w = np.random.default_rng(11).standard_normal((5, 2))
    away = f - w.T[y]
    away -= away.mean(axis=1, keepdims=True)
    expected = (away**2).sum() / (2 * 5 * 6)
    assert FeedBackward()(1e-4 * f, y, W=1e-4 * w).value * 1e8 == pytest.approx(expected, rel=2e-3)


def test_large_scores_one_feature_and_shifts():
    f, y = batch(6, 4, 2)
    w = np.random.default_rng(12).standard_normal((4, 2))
    for result in (FeedBackward()(1e4 * f, y, W=1e4 * w), FeedBackward(tau=1e-4, eliminate=True)(1e3 * f, y)):
        gradients = result.gradient.values() if isinstance(result.gradient, dict) else [result.gradient]
        assert np.isfinite(result.value)
        assert all(np.isfinite(g).all() for g in gradients)
    assert FeedBackward()(f[:, :1], y, W=w[:1]).value == 0
    shifted = FeedBackward()(f + 5.0, y, W=w - 3.0)
    assert shifted.value == pytest.approx(FeedBackward()(f, y, W=w).value, rel=1e-13)


def test_relabelling_order_stacks_and_types():
    f, y = batch(8, 4, 3)
    w = np.random.default_rng(13).standard_normal((4, 3))
    loss = FeedBackward()
    result = loss(f, y, W=w)
    order, names = np.random.default_rng(14).permutation(8), np.array([2, 0, 1])
    moved = loss(f[order], names[y][order], W=w[:, np.argsort(names)])
    np.testing.assert_allclose(moved.gradient["F"], result.gradient["F"][order], atol=1e-15)
    np.testing.assert_allclose(moved.gradient["W"][:, names], result.gradient["W"], atol=1e-15)
    stacked = loss(np.stack([f, f + 1]), np.stack([y, y]), W=np.stack([w, 2 * w]))
    np.testing.assert_array_equal(stacked.gradient["W"][1], loss(f + 1, y, W=2 * w).gradient["W"])
    single = loss(f.astype(np.float32), y, W=w.astype(np.float32))
    assert {g.dtype for g in single.gradient.values()} == {np.dtype(np.float32)}


def test_bad_input():
    f, y = batch(6, 4, 2)
    w = np.zeros((4, 2))
    with pytest.raises(NonFiniteError):
        FeedBackward()(np.where(f == f[1, 1], np.inf, f), y, W=w)
    with pytest.raises(NonFiniteError):
        FeedBackward()(f, y, W=np.full((4, 2), np.nan))
    with pytest.raises(ShapeError, match="4 columns, W has 3 rows"):
        FeedBackward()(f, y, W=w[:3])
    with pytest.raises(ShapeError, match="labels run"):
        FeedBackward()(f, y + 1, W=w)
    with pytest.raises(ConfigError):
        FeedBackward()(f, y)
    with pytest.raises(ConfigError):
        FeedBackward(eliminate=True)(f, y, W=w)
    with pytest.raises(NonFiniteError):
        SeparabilityPenalty()(np.full((2, 2), np.nan))
    for options in ({"dist": "l3"}, {"direction": "p"}, {"stop": "x"}, {"tau": 0.0}, {"floor": 0.0}):
        with pytest.raises(ConfigError):
            FeedBackward(**options)
    with pytest.raises(ConfigError):
        FeedBackward(eliminate=True, stop="W")
    with pytest.raises(ConfigError):
        SeparabilityPenalty(beta=-1.0)
