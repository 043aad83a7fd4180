"""Contrastive loss over all pairs of a batch.

    L = mean over pairs i < j of  d^2 / 2  (same class)  and  max(0, margin - d)^2 / 2  (different),   d = ||f_i - f_j||

Hadsell, Chopra and LeCun, CVPR 2006.  On a sphere of radius 1 / xi no distance exceeds 2 / xi: scale the margin, too.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, beside, namespace
from varpro.errors import ConfigError, DegenerateBatchError
from varpro.losses.batch import (
    LossResult,
    dimensions,
    finite_matrix,
    in_precision_of,
    labels_of,
    over_batches,
    require_no_overflow,
)

NEAR = 1e-4
"""Share of the norms below which squared distances come from differences, as cancellation spoils the matrix product."""


@dataclass(frozen=True, slots=True)
class ContrastiveLoss:
    """loss(F, y) for F (N, D), N >= 2.  Two classes at the same point do not push each other: a zero subgradient.

    info: the number of pairs of each kind, and of those within the margin, which still push.
    """

    margin: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.margin) and self.margin > 0):
            raise ConfigError(f"the margin is {self.margin}; it must be positive")

    @classmethod
    def on_sphere(cls, xi: float) -> "ContrastiveLoss":
        """sqrt(2) / xi: features of different classes are pushed until they are perpendicular."""
        return cls(float(np.sqrt(2.0)) / xi)

    def __call__(self, features: Array, y: Array) -> LossResult:
        if dimensions(features) == 3:
            return over_batches(self, features, y)
        rows = finite_matrix(features, "F")
        xp, n = namespace(rows), len(rows)
        y = beside(labels_of(y, n), rows)
        if n < 2:
            raise DegenerateBatchError(
                f"no pairs in a batch of one sample (N = 1, D = {rows.shape[1]}, C = 1): take two or more"
            )
        rows = rows - rows.mean(axis=0)
        same = y[:, None] == y
        xp.fill_diagonal(same, False)
        square = _squared_distances(rows)
        distance = xp.sqrt(square)
        lack = xp.maximum(self.margin - distance, 0.0)
        lack[same] = 0.0
        xp.fill_diagonal(lack, 0.0)
        pairs = n * (n - 1) / 2
        value = 0.25 * (float(square[same].sum()) + float(xp.vdot(lack, lack))) / pairs
        with np.errstate(divide="ignore", invalid="ignore"):
            push = lack / distance
        push[distance == 0] = 0.0
        pull = same - push
        gradient = (pull.sum(axis=1)[:, None] * rows - pull @ rows) / pairs
        info = {
            "same": int(same.sum()) // 2,
            "different": int(pairs) - int(same.sum()) // 2,
            "pushing": int(xp.count_nonzero(lack)) // 2,
        }
        return LossResult(value, in_precision_of(features, gradient), info)


def _squared_distances(rows: Array) -> Array:
    """(N, N), exactly 0 on the diagonal and between equal rows."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = namespace(rows).einsum("ij,ij->i", rows, rows)
        require_no_overflow(float(norms.max()) * len(rows), "F", rows.shape)
        sums = norms[:, None] + norms
        square: Array = sums - 2.0 * (rows @ rows.T)
    i, j = namespace(rows).nonzero(square <= NEAR * sums)
    step = max(1, 4_000_000 // rows.shape[1])
    for begin in range(0, len(i), step):
        a, b = i[begin : begin + step], j[begin : begin + step]
        square[a, b] = ((rows[a] - rows[b]) ** 2).sum(axis=1)
    return square
