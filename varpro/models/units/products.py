"""Sums of products of vectors: the arithmetic of multilinear forms on tensors of any order.

    M = sum_t u_t1 x u_t2 x ... x u_tk,      q = <X, M> + b,      dq/du_tj = X contracted with all vectors of t but u_tj

Values are one matrix product with M.  Derivatives are two, whatever the order: the dimensions are parted into two
halves, each half is contracted with the products of the other's vectors, and what is left is small.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np

from varpro.arrays import Array, namespace

BLOCK_NUMBERS = 1 << 22
"""Numbers of a block of contractions; memory for more rows would be the price of nothing."""


@dataclass(frozen=True)
class Products:
    """The layout of a table (Q, I) of vectors: term after term, in each the vectors u_t1 .. u_tk, and a row of biases.

    A shared vector stands once in each term, for all dimensions.  Its terms alternate in sign, since w w^T + v v^T
    cannot be indefinite.
    """

    sides: tuple[int, ...]
    """The lengths of the k vectors of a term."""
    rank: int = 1
    """The number of terms."""
    shared: bool = False

    @property
    def rows_per_term(self) -> int:
        """The parameters of a term."""
        return self.sides[0] if self.shared else sum(self.sides)

    @property
    def n_rows(self) -> int:
        """The number Q of rows."""
        return self.rank * self.rows_per_term + 1

    @property
    def signs(self) -> tuple[int, ...]:
        """The sign of each term."""
        return tuple(-1 if self.shared and t % 2 else 1 for t in range(self.rank))

    def terms(self, table: Array) -> list[list[Array]]:
        """The vectors (d_j, I) of each term."""
        starts = [0] * len(self.sides) if self.shared else [sum(self.sides[:j]) for j in range(len(self.sides))]
        places = [
            (t * self.rows_per_term + start, side)
            for t in range(self.rank)
            for start, side in zip(starts, self.sides, strict=True)
        ]
        vectors = [table[first : first + side] for first, side in places]
        return [vectors[t * len(self.sides) :][: len(self.sides)] for t in range(self.rank)]

    def matrices(self, table: Array) -> Array:
        """M of each unit, flattened row by row, (D, I) with D = d_1 d_2 .. d_k."""
        return _signed_sum(self.signs, [outer(vectors) for vectors in self.terms(table)])

    def tangent(self, table: Array, change: Array) -> Array:
        """The change of `matrices` along a change of the table."""
        parts = []
        for vectors, along in zip(self.terms(table), self.terms(change), strict=True):
            moved = [outer([*vectors[:j], along[j], *vectors[j + 1 :]]) for j in range(len(vectors))]
            parts.append(reduce(np.add, moved))
        return _signed_sum(self.signs, parts)

    def cotangent(self, table: Array, gradient: Array) -> Array:
        """The gradient by the table, without its row of biases, (Q - 1, I), from that by `matrices`, (D, I)."""
        parts = [contracted(gradient[None], vectors) for vectors in self.terms(table)]
        return self._rows([[part[0] for part in term] for term in parts])

    def jacobian(self, tensors: Array, table: Array, steepness: Array, dtype: str) -> Array:
        """D (n, Q I) of dtype: dq by each entry of the table, times steepness (n, I).

        tensors : (n, D) floats.
        """
        xp, (n, count) = namespace(tensors), steepness.shape
        d = xp.empty((n, self.n_rows, count), dtype=dtype)
        terms = [[u.astype(dtype) for u in vectors] for vectors in self.terms(table)]
        left = _half(self.sides)
        widest = (prod(self.sides[:left]) + prod(self.sides[left:])) * count
        step = max(1, BLOCK_NUMBERS // widest)
        for first in range(0, n, step):
            rows = slice(first, first + step)
            x, slopes = tensors[rows].astype(dtype, copy=False), steepness[rows].astype(dtype, copy=False)
            d[rows, :-1] = self._rows([_contracted_tensors(x, vectors) for vectors in terms], axis=1)
            d[rows, :-1] *= slopes[:, None]
            d[rows, -1] = slopes
        return d.reshape(n, -1)

    def _rows(self, parts: list[list[Array]], axis: int = 0) -> Array:
        """Derivatives by each vector of each term, as rows of the table along an axis."""
        rows = []
        for sign, term in zip(self.signs, parts, strict=True):
            rows += [sign * reduce(np.add, term)] if self.shared else term
        return namespace(rows[0]).concatenate(rows, axis=axis)


def outer(vectors: Sequence[Array]) -> Array:
    """The products of vectors (d_j, I), unit by unit, (d_1 d_2 .., I)."""
    whole = vectors[0]
    for u in vectors[1:]:
        whole = (whole[:, None] * u).reshape(-1, u.shape[1])
    return whole


def contracted(z: Array, vectors: Sequence[Array]) -> list[Array]:
    """For each j, z (n, d_1 d_2 .., I), a tensor for each unit, contracted with all vectors but u_j: (n, d_j, I)."""
    if len(vectors) == 1:
        return [z]
    half = _half([len(u) for u in vectors])
    left, right = vectors[:half], vectors[half:]
    cube = z.reshape(len(z), prod(len(u) for u in left), -1, z.shape[2])
    by_left = np.einsum("npqi,qi->npi", cube, outer(right))
    by_right = np.einsum("npqi,pi->nqi", cube, outer(left))
    return [*contracted(by_left, left), *contracted(by_right, right)]


def _contracted_tensors(x: Array, vectors: Sequence[Array]) -> list[Array]:
    """The same for tensors x (n, d_1 d_2 ..) that all units share."""
    n, count = len(x), vectors[0].shape[1]
    if len(vectors) == 1:
        return [x[:, :, None] * namespace(x).ones(count, dtype=x.dtype)]
    half = _half([len(u) for u in vectors])
    left, right = vectors[:half], vectors[half:]
    cube = x.reshape(n, prod(len(u) for u in left), -1)
    # one large product each: a stack of n small ones, as cube.mT @ ... would be, is several times slower
    turned = namespace(x).ascontiguousarray(cube.mT)
    by_left = (cube.reshape(-1, cube.shape[2]) @ outer(right)).reshape(n, -1, count)
    by_right = (turned.reshape(-1, cube.shape[1]) @ outer(left)).reshape(n, -1, count)
    return [*contracted(by_left, left), *contracted(by_right, right)]


def _half(sides: Sequence[int]) -> int:
    """How many dimensions go into the left half, so that both halves are as small as they can be."""
    return min(range(1, max(len(sides), 2)), key=lambda k: prod(sides[:k]) + prod(sides[k:]))


def _signed_sum(signs: Sequence[int], parts: Sequence[Array]) -> Array:
    whole = parts[0]
    for sign, part in zip(signs[1:], parts[1:], strict=True):
        whole = whole + part if sign > 0 else whole - part
    return whole
