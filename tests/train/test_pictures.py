"""Planes, mistakes and neighbours for a report."""

import numpy as np
import pytest

from varpro.losses import nearest
from varpro.train import mistakes
from varpro.train.layered import pictures


def test_two_features_are_points_as_they_are_and_one_lies_on_a_line():
    rows = np.array([[1.0, 2.0], [3.0, -1.0]])
    np.testing.assert_array_equal(pictures.principal_plane(rows), rows)
    np.testing.assert_array_equal(pictures.principal_plane(rows[:, :1]), [[1, 0], [3, 0]])
    assert pictures.neighbour_plane(rows, 0)[1] == "features"


def test_the_principal_plane_keeps_distances_within_a_plane_and_its_axes_do_not_flip():
    rng = np.random.default_rng(0)
    flat = rng.standard_normal((40, 2)) * [5, 1]
    basis = np.linalg.qr(rng.standard_normal((7, 2)))[0]
    points = pictures.principal_plane(flat @ basis.T + 3.0)

    def distances(p):
        return np.linalg.norm(p[:, None] - p, axis=2)

    np.testing.assert_allclose(distances(points), distances(flat), atol=1e-12)
    assert np.var(points[:, 0]) > np.var(points[:, 1])
    nudged = pictures.principal_plane(flat @ basis.T + 3.0 + 1e-9 * rng.standard_normal((40, 7)))
    np.testing.assert_allclose(nudged, points, atol=1e-6)


def test_more_features_go_through_tsne_unless_there_is_nothing_to_embed():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 2
    rows = rng.standard_normal((60, 5)) + 40.0 * labels[:, None]
    points, how = pictures.neighbour_plane(rows, 3)
    assert how == "t-SNE"
    assert points.shape == (60, 2)
    near = nearest(points, 3)
    assert (labels[near] == labels[:, None]).mean() > 0.95
    np.testing.assert_array_equal(pictures.neighbour_plane(rows, 3)[0], points)
    assert pictures.neighbour_plane(rows[:6], 0)[1] == "principal components"
    assert pictures.neighbour_plane(np.ones((20, 5)), 0)[1] == "principal components"


def test_centroids_of_classes_without_points_are_not_there():
    made = pictures.embedding("x", np.array([[1.0, 1.0], [3.0, 5.0]]), np.array([2, 2]), 3)
    np.testing.assert_array_equal(made.centroids, [[np.nan, np.nan], [np.nan, np.nan], [2, 3]])


def test_mistakes_come_by_their_lead_over_the_true_class():
    scores = np.array([[3.0, 0.0, 1.0], [2.0, 1.9, 0.0], [0.0, 9.0, 8.0], [1.0, 0.0, 0.0]])
    labels = np.array([1, 1, 2, 0])
    np.testing.assert_array_equal(mistakes.confident_mistakes(scores, labels), [0, 2, 1])
    confusion = mistakes.confusion_matrix(labels, scores.argmax(axis=1), 3)
    np.testing.assert_array_equal(confusion, [[1, 0, 0], [2, 0, 0], [0, 1, 0]])


def test_neighbours_are_those_of_the_retrieval_and_never_the_query():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, 50)
    features = rng.standard_normal((50, 3)).astype(np.float32)
    images = np.arange(50, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), dtype=np.uint8)
    found = pictures.retrieved(features, labels, images)
    queries = [int(np.flatnonzero(labels == c)[0]) for c in range(4)]
    expected = nearest(features, 8)[queries]
    np.testing.assert_array_equal(np.rint(found.found[:, :, 0, 0] * 255), expected)
    np.testing.assert_array_equal(found.found_labels, labels[expected])
    np.testing.assert_array_equal(found.query_labels, range(4))
    assert pictures.retrieved(features[:1], labels[:1], images[:1]) is None
    assert pictures.retrieved(features[:3], labels[:3], images[:3]).found.shape[1] == 2
