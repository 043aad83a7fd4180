"""ContrastiveLoss over all pairs."""

import numpy as np
import pytest

from tests.losses.differences import TOLERANCE, batch, distance, gradient
from varpro.errors import ConfigError, DegenerateBatchError, NonFiniteError, ShapeError
from varpro.losses import ContrastiveLoss, InwardScale


def by_pairs(f, y, margin):
    total, n = 0.0, len(f)
    for i in range(n):
        for j in range(i):
            d = np.linalg.norm(f[i] - f[j])
            total += d * d / 2 if y[i] == y[j] else max(0.0, margin - d) ** 2 / 2
    return total / (n * (n - 1) / 2)


@pytest.mark.parametrize("margin", [0.5, 3.0, 100.0])
def test_value_and_gradient(margin):
    f, y = batch(8, 4, 3)
    result = ContrastiveLoss(margin)(f, y)
    assert result.value == pytest.approx(by_pairs(f, y, margin), rel=1e-13)
    assert distance(result.gradient, gradient(lambda g: by_pairs(g, y, margin), f)) < TOLERANCE


def test_points_that_are_near_but_far_from_the_origin():
    rng = np.random.default_rng(1)
    y = np.arange(6) % 2
    f = 1e3 * rng.standard_normal((2, 3))[y] + 1e-6 * rng.standard_normal((6, 3))
    result = ContrastiveLoss(1.0)(f, y)
    assert result.value == pytest.approx(by_pairs(f, y, 1.0), rel=1e-6)
    assert result.info == {"same": 6, "different": 9, "pushing": 0}


def test_two_classes_on_one_point_do_not_push():
    result = ContrastiveLoss(2.0)(np.ones((3, 2)), [0, 1, 0])
    assert result.value == pytest.approx(2 * 2.0**2 / 2 / 3)
    assert not result.gradient.any()
    assert result.info == {"same": 1, "different": 2, "pushing": 2}


def test_on_a_sphere_the_margin_shrinks_with_it():
    f, y = batch(8, 4, 3)
    xi = 100.0
    scaled = InwardScale(xi, 0.0)(f)
    small, unit = ContrastiveLoss.on_sphere(xi)(scaled, y), ContrastiveLoss.on_sphere(1.0)(xi * scaled, y)
    assert small.value * xi**2 == pytest.approx(unit.value, rel=1e-12)


def test_order_stacks_types_and_bad_input():
    f, y = batch(7, 3, 3)
    loss = ContrastiveLoss()
    result = loss(f, y)
    order = np.random.default_rng(2).permutation(7)
    np.testing.assert_allclose(loss(f[order], y[order]).gradient, result.gradient[order], atol=1e-15)
    np.testing.assert_array_equal(loss(np.stack([f, f]), np.stack([y, y])).gradient[1], result.gradient)
    assert loss(f.astype(np.float32), y).gradient.dtype == np.float32
    with pytest.raises(DegenerateBatchError, match="N = 1, D = 3, C = 1"):
        loss(f[:1], y[:1])
    with pytest.raises(NonFiniteError):
        loss(np.where(f == f[0, 0], np.nan, f), y)
    with pytest.raises(NonFiniteError):
        loss(1e200 * f, y)
    with pytest.raises(ShapeError):
        loss(f, y[:-1])
    with pytest.raises(ConfigError):
        ContrastiveLoss(0.0)
