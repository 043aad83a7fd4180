"""Gluing under cross-entropy: the linear layer that makes the softmax of the outputs likely, instead of 0 and 1 close.

    min_A  sum_n CE(Phi_n A, Y_n) + mu/2 |A|^2

A least-squares layer is drawn off by outputs beyond 1 as much as by those below; this one is not.  Phi is held in
single precision, each rank the part of its rows.
"""

import numpy as np

from varpro.arrays import Array, beside
from varpro.linalg.cross_entropy import cross_entropy
from varpro.problems.entropy_layer import EntropyColumns
from varpro.train.scalarized.glue import Glued, Streamed

RELATIVE_RIDGES = (1e-2, 1e-3, 1e-4, 1e-5)
"""Candidates for mu / rows, relative to the mean square of Phi, the largest first: each search starts from the layer of
the one before."""
UNGUIDED = 1e-4
"""The same where there are no validation rows to choose by."""
TOLERANCE = 1e-6
"""The decrease that a further Newton step still promises, relative to the cost."""


def glue_entropy(train: Streamed, validation: Streamed | None, *, ridge: float | None = None) -> Glued:
    """The linear layer from the training rows.  Collective; replicated result.

    ridge : mu, or None to choose the candidate with the lowest log-loss on the validation rows.
    """
    n, found = len(train.rows), []
    phi, y = _blocks(train)
    held = _blocks(validation) if validation is not None and len(validation.rows) else None
    squares = train.sharded.total([np.array([float(np.sum(p * p, dtype=np.float64))]) for p in phi], (1,))
    scale = float(squares[0]) / (n * train.n_columns)
    if ridge is not None:
        candidates = [ridge / n]
    else:
        candidates = [scale * relative for relative in (RELATIVE_RIDGES if held else (UNGUIDED,))]
    a = np.zeros((train.n_columns, train.n_classes))
    for candidate in candidates:
        columns = EntropyColumns(train.sharded, phi, y, candidate, train.at.largest_value, train.rows.images)
        solved = columns.solve(a, tolerance=TOLERANCE)
        a, pivots = solved.x.reshape(a.shape), solved.at.solver.pivots
        loss = 0.0
        if held is not None and validation is not None and len(candidates) > 1:
            there = beside(a, train.rows.images)
            parts = [np.array([cross_entropy(p @ there.astype(p.dtype), t)[0]]) for p, t in zip(*held, strict=True)]
            loss = float(validation.sharded.total(parts, (1,))[0])
        found.append((loss, Glued(a, candidate * n, len(a), float(pivots.max() / pivots.min()))))
    best = min(found, key=lambda pair: pair[0])[1]
    train.comm.bcast_(best.a)
    return best


def _blocks(streamed: Streamed) -> tuple[list[Array], list[Array]]:
    """Phi in single precision, and Y, of each block of this rank, where the images are."""
    at, rows, blocks = (
        streamed.units.at(streamed.w, streamed.sigma, np.float32),
        streamed.rows,
        streamed.sharded.blocks(),
    )
    targets = [beside(rows.y(b, streamed.n_classes), rows.images) for b in blocks]
    return [at.phi(rows.images[b]) for b in blocks], targets
