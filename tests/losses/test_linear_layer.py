"""The eliminated last layer: against plain least squares, central differences and the discriminant criterion."""

import numpy as np
import pytest

from tests.losses.differences import TOLERANCE, batch, distance, gradient
from varpro.errors import ConfigError, DegenerateBatchError, NonFiniteError, ShapeError
from varpro.losses import ClassMoments, EliminatedLinear, Ridge

RIDGES = [0.3, Ridge(abs=0.02), Ridge(rel=0.1)]
SHAPES = [(30, 5, 4), (9, 12, 3)]


def plain(f, y, n_classes, gamma, signed, weights=None):
    """Value and A from one stacked least squares problem with rows for the ridge."""
    w = np.ones(len(f)) if weights is None else weights
    targets = np.eye(n_classes)[y] * (2 if signed else 1) - signed
    rows = np.hstack([f, np.ones((len(f), 1))])
    root = np.sqrt(w / w.sum())[:, None]
    penalty = np.sqrt(gamma) * np.eye(f.shape[1], f.shape[1] + 1)
    stacked = np.vstack([root * rows, penalty])
    right = np.vstack([root * targets, np.zeros((f.shape[1], n_classes))])
    a = np.linalg.lstsq(stacked, right, rcond=None)[0]
    return float(((stacked @ a - right) ** 2).sum()), a


@pytest.mark.parametrize("ridge", RIDGES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("targets", ["onehot", "signed"])
def test_value_layer_and_gradient(shape, ridge, targets):
    f, y = batch(*shape)
    loss = EliminatedLinear(shape[2], ridge, targets)
    result = loss(f + 3, y)
    value, a = plain(f + 3, y, shape[2], result.info["gamma"], targets == "signed")
    assert result.value == pytest.approx(value, rel=1e-11)
    np.testing.assert_allclose(result.info["A"], a, atol=1e-11)
    assert distance(result.gradient, gradient(lambda g: loss(g, y).value, f)) < TOLERANCE
    assert 0 <= result.info["accuracy"] <= 1


@pytest.mark.parametrize("ridge", RIDGES)
def test_a_memory_is_more_rows_of_the_same_problem(ridge):
    f, y = batch(26, 6, 4)
    past = ClassMoments.of(f[:18], y[:18]).forget(0.5)
    loss = EliminatedLinear(4, ridge)
    result = loss(f[18:], y[18:], memory=past)
    weights = np.repeat([0.5, 1.0], [18, 8])
    value, a = plain(f, y, 4, result.info["gamma"], False, weights)
    assert result.value == pytest.approx(value, rel=1e-11)
    np.testing.assert_allclose(result.info["A"], a, atol=1e-11)
    numeric = gradient(lambda g: loss(g, y[18:], memory=past).value, f[18:])
    assert distance(result.gradient, numeric) < TOLERANCE
    assert loss(f[18:19], y[18:19], memory=past).gradient.any()  # one sample is enough beside a memory


def test_it_is_the_discriminant_criterion():
    f, y = batch(40, 7, 4)
    moments = ClassMoments.of(f, y)
    result = EliminatedLinear(4, 0.2)(f, y)
    inverse = np.linalg.inv(moments.Sw + moments.B.T @ moments.B + 0.2 * np.eye(7))
    assert 4 * result.value == pytest.approx(3 - np.trace(moments.B @ inverse @ moments.B.T), rel=1e-12)


def test_both_sides_agree_and_the_relative_ridge_takes_no_note_of_scale():
    f, y = batch(9, 8, 3)
    dead = np.hstack([f, np.zeros((9, 4))])
    loss, at = EliminatedLinear(3, 0.1), EliminatedLinear(3)
    np.testing.assert_allclose(loss(dead, y).gradient[:, :8], loss(f, y).gradient, atol=1e-13)
    assert not loss(dead, y).gradient[:, 8:].any()
    assert at(f, y).value == pytest.approx(at(7 * f, y).value, rel=1e-12)
    assert abs(np.vdot(at(f, y).gradient, f)) < 1e-14


def test_stacks_types_and_absent_classes():
    f, y = batch(20, 6, 3)
    loss = EliminatedLinear(9)
    result = loss(f, 4 * y)
    assert not result.info["A"][:, 1].any()
    stacked = loss(np.stack([f, 2 * f]), np.stack([4 * y, 4 * y]))
    np.testing.assert_array_equal(stacked.gradient[0], result.gradient)
    assert loss(f.astype(np.float32), y).gradient.dtype == np.float32


def test_degenerate_batches_and_bad_input():
    f, y = batch(20, 6, 3)
    loss = EliminatedLinear(3, 0.0)
    value, _ = plain(f, y, 3, 0.0, False)
    assert loss(f, y).value == pytest.approx(value, rel=1e-11)
    for features, labels in ((f[:6], y[:6]), (f[:, [0, 0, 1]], y), (f, 0 * y), (np.ones((20, 6)), y)):
        with pytest.raises(DegenerateBatchError, match=r"N = \d+, D = \d, C = \d"):
            loss(features, labels)
    with pytest.raises(DegenerateBatchError, match="one class"):
        loss(f[:1], y[:1], memory=ClassMoments.of(f[:1], y[:1]))
    with pytest.raises(ShapeError, match="3 classes"):
        loss(f, y + 1)
    with pytest.raises(ShapeError, match="one at a time"):
        loss(f[None], y[None], memory=ClassMoments.of(f, y))
    with pytest.raises(NonFiniteError):
        loss(np.where(f > 2, np.nan, f), y)
    for wrong in ({"n_classes": 1}, {"n_classes": 3, "ridge": -1.0}, {"n_classes": 3, "targets": "soft"}):
        with pytest.raises(ConfigError):
            EliminatedLinear(**wrong)
