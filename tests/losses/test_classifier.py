"""Moments of streams, the discriminant classifier, nearest centroids."""

import numpy as np
import pytest
import scipy.linalg

from tests.losses.differences import batch
from varpro.errors import ConfigError, DegenerateBatchError, NonFiniteError, ShapeError
from varpro.linalg import projector
from varpro.losses import ClassMoments, DiscriminantClassifier, DiscriminantFactors, NearestCentroid, nearest_centroid


def test_moments_of_a_stream_are_those_of_the_whole():
    f, y = batch(60, 6, 4)
    f += 1e4
    y = np.array([3, -1, 9, 4])[y]
    parts = [ClassMoments.of(f[p], y[p]) for p in np.array_split(np.arange(60), 7)]
    whole, left, right = ClassMoments.of(f, y), parts[0], parts[-1]
    for part in parts[1:]:
        left = left.merge(part)
    for part in parts[-2::-1]:
        right = part.merge(right)
    for merged in (left, right):
        np.testing.assert_array_equal(merged.labels, whole.labels)
        np.testing.assert_array_equal(merged.counts, whole.counts)
        np.testing.assert_allclose(merged.means, whole.means, rtol=1e-14)
        np.testing.assert_allclose(merged.scatter, whole.scatter, atol=1e-9 * np.abs(whole.scatter).max())


def test_a_memory_that_fades_weighs_the_past():
    f, y = batch(20, 4, 2)
    faded = ClassMoments.of(f, y).forget(0.5).merge(ClassMoments.of(f + 1, y))
    np.testing.assert_allclose(faded.counts, [15, 15])
    means = ClassMoments.of(f, y).means
    np.testing.assert_allclose(faded.means, means + 2 / 3, rtol=1e-13)
    with pytest.raises(ShapeError):
        faded.merge(ClassMoments.of(f[:, :3], y))
    with pytest.raises(ConfigError):
        faded.forget(0.0)


def test_the_rule_with_a_pseudo_inverse_is_the_nearest_projected_mean():
    f, y = batch(40, 9, 4)
    x = np.random.default_rng(1).standard_normal((200, 9))
    clf = DiscriminantClassifier().partial_fit(f, y)
    p = clf.projection
    assert p.shape == (9, 3)
    means = np.array([f[y == c].mean(axis=0) for c in range(4)])
    nearest = ((x @ p)[:, None] - means @ p) ** 2
    np.testing.assert_array_equal(clf.predict(x), nearest.sum(axis=2).argmin(axis=1))

    exact = DiscriminantClassifier(mode="exact").partial_fit(f[:10], np.arange(10) % 4)
    p = exact.projection
    np.testing.assert_allclose(p.T @ p, np.eye(3), atol=1e-13)
    middle = np.linalg.pinv(p @ p.T)
    means = exact.moments.means
    scores = x @ middle @ means.T - 0.5 * np.einsum("kd,de,ke->k", means, middle, means)
    np.testing.assert_array_equal(exact.predict(x), scores.argmax(axis=1))


def test_the_projection_solves_the_generalised_problem():
    f, y = batch(50, 7, 4)
    clf = DiscriminantClassifier(gamma_rel=0.05).partial_fit(f, y)
    factors = DiscriminantFactors(f, y)
    regular = factors.H.T @ factors.H / 50 + 0.05 * factors.trSt / 7 * np.eye(7)
    s_b = factors.B.T @ factors.B
    np.testing.assert_allclose(clf.projection.T @ regular @ clf.projection, np.eye(3), atol=1e-12)
    ratios = np.diagonal(clf.projection.T @ s_b @ clf.projection)
    np.testing.assert_allclose(ratios, scipy.linalg.eigh(s_b, regular, eigvals_only=True)[:-4:-1], rtol=1e-11)
    np.testing.assert_array_equal(
        clf.predict(f), clf.labels[nearest_centroid(clf.transform(f), clf.moments.means @ clf.projection)]
    )


def test_batches_and_the_whole_predict_alike():
    f, y = batch(60, 6, 4)
    whole, stream = DiscriminantClassifier().partial_fit(f, y), DiscriminantClassifier()
    for part in np.array_split(np.arange(60), 5):
        stream.partial_fit(f[part], y[part])
    np.testing.assert_allclose(stream.decision_function(f), whole.decision_function(f), rtol=1e-9, atol=1e-9)


def test_the_exact_form_fits_pure_noise_perfectly_and_learns_nothing():
    rng = np.random.default_rng(3)
    f, y = rng.standard_normal((40, 45)), np.arange(40) % 4
    clf = DiscriminantClassifier(mode="exact").partial_fit(f, y)
    assert (clf.predict(f) == y).all()
    fresh = rng.standard_normal((2000, 45))
    assert abs((clf.predict(fresh) == np.arange(2000) % 4).mean() - 0.25) < 0.05
    spread = clf.transform(f) - (clf.moments.means @ clf.projection)[y]
    np.testing.assert_allclose(spread, 0, atol=1e-7)


def test_priors_shift_the_border():
    f = np.array([[-1.1], [-0.9], [0.9], [1.1], [1.0], [1.0]])
    y = np.array([0, 0, 1, 1, 1, 1])
    equal = DiscriminantClassifier().partial_fit(f, y)
    counted = DiscriminantClassifier(priors="counts").partial_fit(f, y)
    given = DiscriminantClassifier(priors=[1, 2]).partial_fit(f, y)
    x = np.array([[0.2], [-0.4]])
    by_counts = counted.decision_function(x) - equal.decision_function(x)
    np.testing.assert_allclose(by_counts, np.log([[1 / 3, 2 / 3]] * 2), rtol=1e-10)
    np.testing.assert_allclose(given.decision_function(x), counted.decision_function(x), rtol=1e-12)


def test_nearest_centroids():
    f, y = batch(50, 3, 4)
    y = np.array([10, 20, 30, 40])[y]
    clf = NearestCentroid().partial_fit(f[:30], y[:30]).partial_fit(f[30:], y[30:])
    means = np.array([f[y == c].mean(axis=0) for c in clf.moments.labels])
    expected = ((f[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(clf.predict(f), clf.moments.labels[expected])
    np.testing.assert_array_equal(nearest_centroid([[0.0], [1.0]], [[1.0], [-1.0], [1.0], [-1.0]]), [0, 0])


def test_a_last_layer_by_variable_projection_is_the_trace_criterion():
    """min_A ||(Yn - mean) - Ht A||^2 + N gamma ||A||^2 = (C - 1) - tr(B (S_t + gamma I)^-1 B^T)."""
    f, y = batch(30, 6, 4)
    factors, gamma = DiscriminantFactors(f, y), 0.07
    onehot = np.eye(4)[y] / np.sqrt(factors.counts)
    data = onehot - onehot.mean(axis=0)
    a = projector.factor(factors.Ht[None], ridge=30 * gamma).coefficients(data[None])[0]
    eliminated = ((data - factors.Ht @ a) ** 2).sum() + 30 * gamma * (a**2).sum()
    s_t = factors.Ht.T @ factors.Ht / 30 + gamma * np.eye(6)
    assert eliminated == pytest.approx(3 - np.trace(factors.B @ np.linalg.solve(s_t, factors.B.T)), rel=1e-12)


def test_what_cannot_be_fitted():
    f, y = batch(12, 6, 3)
    with pytest.raises(DegenerateBatchError, match="partial_fit"):
        DiscriminantClassifier().predict(f)
    with pytest.raises(DegenerateBatchError, match="N = 12, D = 6, C = 1"):
        DiscriminantClassifier().partial_fit(f, 0 * y).predict(f)
    with pytest.raises(DegenerateBatchError, match="do not vary"):
        DiscriminantClassifier().partial_fit(np.zeros((12, 6)), y).predict(f)
    with pytest.raises(DegenerateBatchError, match="mode='ridge'"):
        DiscriminantClassifier(mode="exact").partial_fit(f, y).predict(f)
    fitted = DiscriminantClassifier().partial_fit(f, y)
    with pytest.raises(ShapeError, match="6"):
        fitted.predict(f[:, :5])
    with pytest.raises(NonFiniteError):
        fitted.predict(np.full((1, 6), np.nan))
    with pytest.raises(NonFiniteError):
        fitted.partial_fit(np.full((1, 6), np.nan), [0])
    with pytest.raises(ShapeError, match="priors"):
        DiscriminantClassifier(priors=[1.0, 2.0]).partial_fit(f, y).predict(f)
    with pytest.raises(ShapeError):
        nearest_centroid(f, np.zeros((3, 5)))
    for arguments in ({"gamma_rel": 0.0}, {"mode": "svd"}):
        with pytest.raises(ConfigError):
            DiscriminantClassifier(**arguments)
