"""Small arrays for a report on features: plane projections and neighbours."""

import numpy as np

from varpro.arrays import Array
from varpro.losses import nearest
from varpro.report.record import Embedding, Retrieved
from varpro.train.mistakes import shown

POINTS = 2000
"""Most test images in a scatter plot."""
TSNE_POINTS = 1000
"""Points for which t-SNE takes only a few seconds."""
NEIGHBOURS = 8
QUERIES = 10
"""Queries on the page: the first test image of each of this many classes."""


def spread_rows(n: int, count: int) -> Array:
    """At most `count` of n rows, evenly spaced, since files may be sorted by class."""
    return np.arange(n) if n <= count else np.linspace(0, n - 1, count).round().astype(np.int64)


def principal_plane(features: Array) -> Array:
    """(n, 2): features (n, D) unchanged if D <= 2, else projected on the two axes of largest variance.

    The sign of an axis makes its largest weight positive.
    """
    rows = np.asarray(features, dtype=np.float64)
    if rows.shape[1] <= 2:
        return np.hstack([rows, np.zeros((len(rows), 2 - rows.shape[1]))])
    centred = rows - rows.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, :-3:-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    return centred @ axes


def neighbour_plane(features: Array, seed: int) -> tuple[Array, str]:
    """(n, 2) and how they were made: features of at most two dimensions unchanged, others by t-SNE.

    If there are too few points for t-SNE, or no scikit-learn, it is the principal plane.
    """
    rows = np.asarray(features, dtype=np.float64)
    if rows.shape[1] <= 2:
        return principal_plane(rows), "features"
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return principal_plane(rows), "principal components"
    if len(rows) < 10 or not np.ptp(rows):
        return principal_plane(rows), "principal components"
    made = TSNE(perplexity=min(30.0, len(rows) / 4), init="pca", random_state=seed % 2**32, n_jobs=1)
    return made.fit_transform(rows), "t-SNE"


def embedding(name: str, points: Array, labels: Array, n_classes: int) -> Embedding:
    """Points, with the mean of each class."""
    centroids = np.full((n_classes, 2), np.nan)
    for label in np.unique(labels):
        centroids[label] = points[labels == label].mean(axis=0)
    return Embedding(name, points, labels, centroids)


def retrieved(features: Array, labels: Array, images: Array) -> Retrieved | None:
    """The nearest neighbours of the first image of each class; None for fewer than two images."""
    k = min(NEIGHBOURS, len(labels) - 1)
    if k < 1:
        return None
    queries = np.array([np.flatnonzero(labels == c)[0] for c in np.unique(labels)[:QUERIES]])
    found = _without_themselves(features, queries, k)
    return Retrieved(shown(images[queries]), labels[queries], shown(images[found]), labels[found])


def _without_themselves(features: Array, queries: Array, k: int) -> Array:
    """(q, k) nearest neighbours of some rows."""
    rows = [nearest(features[[q]], k, gallery=np.delete(features, q, axis=0))[0] for q in queries]
    return np.array([np.where(row >= q, row + 1, row) for row, q in zip(rows, queries, strict=True)])
