"""InwardScale: exact answers, its gradient, and what xi does to a training step."""

import math

import numpy as np
import pytest

from tests.losses.differences import TOLERANCE, distance, gradient
from varpro.errors import ConfigError, DegenerateBatchError, NonFiniteError, ShapeError
from varpro.losses import InwardScale, cross_entropy_floor, largest_xi

RNG = np.random.default_rng(0)


def test_three_four_five():
    layer = InwardScale(xi=100.0, eps=0.0)
    np.testing.assert_allclose(layer(np.array([[3.0, 4.0]])), [[0.006, 0.008]], rtol=1e-15)
    np.testing.assert_allclose(layer.vjp([[3.0, 4.0]], [[1.0, 0.0]]), [[0.00128, -0.00096]], rtol=1e-14)
    assert InwardScale.paper() == InwardScale(xi=100.0, eps=1e-8, learnable=False)


def test_norms_and_directions():
    x, g = RNG.standard_normal((2, 9, 5))
    layer = InwardScale(xi=7.0, eps=0.0)
    np.testing.assert_allclose(np.linalg.norm(layer(x), axis=1), 1 / 7, rtol=1e-14)
    np.testing.assert_allclose((layer.vjp(x, g) * x).sum(axis=1), 0, atol=1e-15)


@pytest.mark.parametrize("eps", [0.0, 1e-8, 0.5])
@pytest.mark.parametrize("d", [1, 4])
def test_the_way_back(d, eps):
    x, g = np.random.default_rng(1).standard_normal((2, 5, d))
    layer = InwardScale(xi=3.0, eps=eps, learnable=True)
    ours = layer.vjp(x, g)
    expected = gradient(lambda a: float(np.vdot(g, InwardScale(3.0, eps)(a))), x)
    np.testing.assert_allclose(ours["x"], expected, atol=TOLERANCE * max(np.abs(expected).max(), 1e-2))
    by_xi = gradient(lambda xi: float(np.vdot(g, InwardScale(xi[0], eps)(x))), np.array([3.0]))
    assert ours["xi"] == pytest.approx(by_xi[0], rel=TOLERANCE)
    np.testing.assert_array_equal(InwardScale(3.0, eps).vjp(x, g), ours["x"])


def test_rows_of_zeros():
    x, g = np.zeros((3, 4)), RNG.standard_normal((3, 4))
    layer = InwardScale(xi=100.0, eps=1e-8)
    assert not layer(x).any()
    np.testing.assert_allclose(layer.vjp(x, g), g / (100.0 * 1e-4), rtol=1e-14)
    x[0] = 1.0
    with pytest.raises(DegenerateBatchError, match=r"row 1 .*eps > 0"):
        InwardScale(eps=0.0)(x)


def test_one_feature_is_a_sign():
    np.testing.assert_array_equal(InwardScale(xi=4.0, eps=0.0)([[3.0], [-2.0]]), [[0.25], [-0.25]])


def test_types_and_bad_input():
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    layer = InwardScale()
    assert layer(x).dtype == layer.vjp(x, x).dtype == np.float32
    assert distance(layer(1e25 * x), layer(x)) < 1e-6
    for bad in (np.nan, np.inf):
        with pytest.raises(NonFiniteError):
            layer(np.full((2, 2), bad))
    with pytest.raises(NonFiniteError, match="overflow"):
        layer(np.full((2, 2), 1e200))
    with pytest.raises(ShapeError):
        layer.vjp(x, x[:2])
    with pytest.raises(ShapeError):
        layer(np.zeros(3))
    for options in ({"xi": 0.0}, {"xi": math.inf}, {"eps": -1.0}, {"eps": math.nan}):
        with pytest.raises(ConfigError):
            InwardScale(**options)


@pytest.mark.parametrize(("radius", "floor"), [(1, 2.2926), (10, 2.2032), (100, 1.3769), (611, 0.0101)])
def test_floors_of_the_cross_entropy(radius, floor):
    assert cross_entropy_floor(10, radius, 100.0) == pytest.approx(floor, abs=5e-5)
    directions = np.eye(10) - 0.1
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    scores = (radius * directions) @ InwardScale(xi=100.0, eps=0.0)(directions).T
    entropy = np.log(np.exp(scores).sum(axis=0)) - np.diagonal(scores)
    np.testing.assert_allclose(entropy, cross_entropy_floor(10, radius, 100.0), rtol=1e-12)


def test_the_largest_xi_for_a_probability():
    xi = largest_xi(10, 50.0, 0.9)
    assert math.exp(-cross_entropy_floor(10, 50.0, xi)) == pytest.approx(0.9, rel=1e-13)
    with pytest.raises(ConfigError):
        largest_xi(10, 1.0, 0.1)


def adam(weights, by_weights, steps, rate, eps):
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, steps + 1):
        g = by_weights(weights)
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        mean, square = first / (1 - 0.9**step), second / (1 - 0.999**step)
        weights = weights - rate * mean / (np.sqrt(square) + eps)
    return weights


def test_xi_is_a_slower_last_layer_under_adam():
    """xi with W and rate equals 1 with W / xi, rate / xi and eps xi."""
    rng = np.random.default_rng(2)
    x, y, start, xi = rng.standard_normal((20, 5)), np.arange(20) % 3, rng.standard_normal((5, 3)), 128.0

    def by_weights(layer):
        inputs = layer(x)

        def of(w):
            scores = inputs @ w
            p = np.exp(scores - scores.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            p[np.arange(20), y] -= 1
            return inputs.T @ p / 20

        return of

    far = adam(start, by_weights(InwardScale(xi)), 200, 1e-2, 1e-8)
    near = adam(start / xi, by_weights(InwardScale(1.0)), 200, 1e-2 / xi, 1e-8 * xi)
    np.testing.assert_allclose(far / xi, near, atol=1e-15)
    assert np.abs(far - start).max() > 0.1
