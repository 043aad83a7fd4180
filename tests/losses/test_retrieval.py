"""Recall and true positives among the k nearest."""

import numpy as np
import pytest

from tests.losses.differences import batch
from varpro.errors import NonFiniteError, ShapeError
from varpro.losses import InwardScale, nearest, recall_at_k, retrieval, true_positives_at_k

POINTS, LABELS = np.array([[0.0], [1], [2.5], [10], [11]]), np.array([0, 0, 1, 1, 1])


def by_sorting(x, k, others=None):
    """By differences, all at once; stable sorting leaves ties by index."""
    gallery = x if others is None else others
    square = ((x[:, None] - gallery) ** 2).sum(axis=2)
    if others is None:
        np.fill_diagonal(square, np.inf)
    return np.argsort(square, axis=1, kind="stable")[:, :k]


def test_five_points_on_a_line():
    assert recall_at_k(POINTS, LABELS, 1) == true_positives_at_k(POINTS, LABELS, 1) == 80
    np.testing.assert_allclose(recall_at_k(POINTS, LABELS, [1, 2]), [80, 80])
    assert true_positives_at_k(POINTS, LABELS, 2) == pytest.approx(60)


@pytest.mark.parametrize("block", [50, 4_000_000])
@pytest.mark.parametrize("d", [1, 3, 40])
def test_neighbours_equal_a_full_sort(d, block, monkeypatch):
    monkeypatch.setattr(retrieval, "BLOCK_ENTRIES", block)
    x, _ = batch(101, d, 5)
    np.testing.assert_array_equal(nearest(x, 7), by_sorting(x, 7))
    np.testing.assert_array_equal(nearest(x[:11], 101, gallery=x), by_sorting(x[:11], 101, x))


@pytest.mark.parametrize("spare", [0, 2, 16])
def test_ties_go_by_index(spare, monkeypatch):
    monkeypatch.setattr(retrieval, "SPARE", spare)
    rng = np.random.default_rng(1)
    x = rng.integers(0, 3, (90, 2)).astype(float) * 0.1 + 1e3
    np.testing.assert_array_equal(nearest(x, 5), by_sorting(x, 5))
    np.testing.assert_array_equal(
        nearest(np.ones((30, 4)), 3)[:5], [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2]]
    )


def test_ties_far_from_a_query_at_the_centre_go_by_index(monkeypatch):
    """One neighbour lies on it, the others equally far: what rounding does to their distances is not its own size."""
    monkeypatch.setattr(retrieval, "SPARE", 0)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        around = np.array([rng.permutation([1.0, 2, 3, 5, 7]) * rng.choice([-1, 1], 5) for _ in range(40)])
        gallery = 0.1 * (1 + seed) * np.concatenate([around, -around, np.zeros((1, 5))])
        query = np.zeros((1, 5))
        np.testing.assert_array_equal(nearest(query, 5, gallery=gallery), by_sorting(query, 5, gallery))


def test_recall_rises_with_k_and_both_agree_at_one():
    x, y = batch(80, 3, 6)
    recalls = recall_at_k(x, y, list(range(1, 20)))
    assert (np.diff(recalls) >= 0).all()
    assert recalls[0] == true_positives_at_k(x, y, 1) == recall_at_k(x, y, 1)
    same = y[by_sorting(x, 4)] == y[:, None]
    assert true_positives_at_k(x, y, 4) == pytest.approx(100 * same.mean(), rel=1e-14)


def test_the_radius_of_the_sphere_changes_nothing():
    x, _ = batch(60, 4, 5)
    np.testing.assert_array_equal(nearest(InwardScale(1.0)(x), 5), nearest(InwardScale(128.0)(x), 5))


def test_a_gallery_of_its_own():
    x, y = batch(40, 4, 3)
    found = by_sorting(x[:10], 3, x[10:])
    expected = 100 * (y[10:][found] == y[:10, None]).mean()
    assert true_positives_at_k(x[:10], y[:10], 3, gallery=(x[10:], y[10:])) == pytest.approx(expected, rel=1e-14)


def test_a_class_of_one_is_never_found():
    assert recall_at_k(np.arange(3.0)[:, None], [0, 0, 1], 2) == pytest.approx(200 / 3)


def test_single_precision_and_bad_input():
    x, y = batch(20, 3, 2)
    assert recall_at_k(x.astype(np.float32), y, 1) == recall_at_k(x.astype(np.float32).astype(float), y, 1)
    for k in (0, 20, [], [[1]], 1.5):
        with pytest.raises(ShapeError):
            recall_at_k(x, y, k)
    with pytest.raises(ShapeError):
        recall_at_k(x, y[:-1], 1)
    with pytest.raises(ShapeError):
        nearest(x, 1, gallery=x[:, :2])
    with pytest.raises(NonFiniteError):
        recall_at_k(np.where(x == x[0, 0], np.nan, x), y, 1)
    with pytest.raises(NonFiniteError):
        recall_at_k(1e200 * x, y, 1)
