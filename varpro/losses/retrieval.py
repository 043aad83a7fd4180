"""Retrieval among labelled points by Euclidean distance.

Each query is left out of its own list.  Distances of a block of queries come from one matrix product; the few nearest
are computed again from differences, so that equal distances come out equal and are ordered by index.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from varpro.arrays import Array, to_host
from varpro.errors import ShapeError
from varpro.losses.batch import finite_matrix, labels_of, require_no_overflow

BLOCK_ENTRIES = 4_000_000
"""Distances held at a time: 32 MB."""
SPARE = 16
"""Neighbours computed again beyond k, before a query with more ties is compared with all points."""


def recall_at_k(
    x: Array, y: Array, k: int | Sequence[int] | Array, *, gallery: tuple[Array, Array] | None = None
) -> float | Array:
    """Percentage of the queries that have an item of their class among the k nearest.

    x : (N, D), y : (N,); the gallery is x itself without the query, or other (points, labels), used in full.
    k : an int, for a float, or several, for an array.  Raises ShapeError, NonFiniteError.
    """
    return _reduce(x, y, k, gallery, lambda same, each: same[:, :each].any(axis=1).mean())


def true_positives_at_k(
    x: Array, y: Array, k: int | Sequence[int] | Array, *, gallery: tuple[Array, Array] | None = None
) -> float | Array:
    """Mean percentage of the query's class among its k nearest; arguments as in recall_at_k, the same at k = 1."""
    return _reduce(x, y, k, gallery, lambda same, each: same[:, :each].mean())


def nearest(x: Array, k: int, *, gallery: Array | None = None) -> Array:
    """Indices (N, k) of the nearest points, nearest first, equal distances by index."""
    points = finite_matrix(to_host(x), "x")
    others = points if gallery is None else finite_matrix(to_host(gallery), "gallery")
    if others.shape[1] != points.shape[1]:
        raise ShapeError(f"x has {points.shape[1]} columns, the gallery {others.shape[1]}")
    available = len(others) - (gallery is None)
    if not 1 <= k <= available:
        raise ShapeError(f"k is {k}; a query has {available} points to be found")
    return np.concatenate(list(_blocks(points, others, k, leave_out=gallery is None)))


def _reduce(
    x: Array,
    y: Array,
    k: int | Sequence[int] | Array,
    gallery: tuple[Array, Array] | None,
    measure: Callable[[Array, int], float],
) -> float | Array:
    points = to_host(x)
    y = labels_of(to_host(y), len(points), "x")
    among, labels = (
        (None, y) if gallery is None else (gallery[0], labels_of(to_host(gallery[1]), len(gallery[0]), "gallery"))
    )
    each = np.atleast_1d(np.asarray(k))
    if each.dtype.kind not in "iu" or each.ndim != 1 or not len(each) or each.min() < 1:
        raise ShapeError(f"k is {k!r}; it is a positive int or a list of them")
    same = labels[nearest(points, int(each.max()), gallery=among)] == y[:, None]
    per_cent = np.array([100.0 * float(measure(same, n)) for n in each])
    return float(per_cent[0]) if np.ndim(k) == 0 else per_cent


def _blocks(points: Array, others: Array, k: int, *, leave_out: bool) -> Iterator[Array]:
    centre = others.mean(axis=0)
    points, others = points - centre, others - centre
    with np.errstate(over="ignore"):
        squares = np.einsum("ij,ij->i", others, others)
        own = np.einsum("ij,ij->i", points, points)
    require_no_overflow(float(squares.max() + own.max()), "x", points.shape)
    rounding = 4 * (points.shape[1] + 4) * np.finfo(np.float64).eps * (own + squares.max())
    rows = max(1, BLOCK_ENTRIES // len(others))
    for begin in range(0, len(points), rows):
        block = points[begin : begin + rows]
        distance = block @ others.T
        distance *= -2.0
        distance += squares
        distance += own[begin : begin + rows, None]
        if leave_out:
            distance[np.arange(len(block)), np.arange(begin, begin + len(block))] = np.inf
        yield _sorted(block, others, distance, k, rounding[begin : begin + rows])


def _sorted(block: Array, others: Array, distance: Array, k: int, rounding: Array) -> Array:
    """The k nearest for each row of `distance`, which is accurate to `rounding`."""
    held = min(k + SPARE, distance.shape[1])
    some = np.argpartition(distance, held - 1, axis=1)[:, :held] if held < distance.shape[1] else None
    candidates = np.sort(some, axis=1) if some is not None else np.tile(np.arange(held), (len(block), 1))
    rough = np.take_along_axis(distance, candidates, axis=1)
    result = np.empty((len(block), k), dtype=np.intp)
    step = max(1, BLOCK_ENTRIES // (held * block.shape[1]))
    for begin in range(0, len(block), step):
        part = slice(begin, begin + step)
        exact = ((others[candidates[part]] - block[part, None]) ** 2).sum(axis=2)
        exact[np.isinf(rough[part])] = np.inf
        order = np.argsort(exact, axis=1, kind="stable")[:, :k]
        result[part] = np.take_along_axis(candidates[part], order, axis=1)
    if some is not None:
        kth = np.partition(rough, k - 1, axis=1)[:, k - 1]
        for row in np.flatnonzero(rough.max(axis=1) <= kth + 2 * rounding):
            near = np.flatnonzero(distance[row] <= kth[row] + 2 * rounding[row])
            exact = ((others[near] - block[row]) ** 2).sum(axis=1)
            result[row] = near[np.argsort(exact, kind="stable")[:k]]
    return result
