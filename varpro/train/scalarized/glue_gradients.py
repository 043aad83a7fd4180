"""Gluing without a Gram matrix: conjugate gradients on streamed rows, for networks of any number of units.

    (Phi^T Phi + mu I) A = Phi^T Y,    M^-1 = I + U ((l_r + mu) (L + mu)^-1 - I) U^T,    U L U^T ~ Phi^T Phi

U and L are a randomised Nystroem approximation of rank r, made in one pass: it takes away the large eigenvalues, which
all units have in common.  (The diagonal blocks of the sub-networks, as preconditioner, need several times as many
products, because they know nothing of what the blocks share.)  A product is one pass over the rows, for all outputs and
all candidates for mu; memory is at most four times units x r, while U is found, and then units x r.

Frangella, Tropp, Udell, SIAM J. Matrix Anal. Appl. 44 (2023) 718-752.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from varpro.arrays import Array, beside, to_host
from varpro.linalg.column_gradients import ColumnGradients, column_gradients

if TYPE_CHECKING:
    from varpro.train.scalarized.glue import Streamed

RANK = 300
"""The rank r; more costs memory, and fewer products only where mu is small."""
CHOOSING, FINAL = 1e-6, 1e-12
"""Relative residuals: to compare candidates for mu, and of the linear layer."""
MOST_PRODUCTS = 500
SIGNIFICANT = 1e-10
"""The share of the largest eigenvalue below which one is not distinguished from the rounding of the sketch."""


class GradientLayers:
    """The linear layers of several ridges by conjugate gradients.  Collective."""

    def __init__(self, streamed: "Streamed", rank: int | None = None) -> None:
        self.streamed, n = streamed, streamed.n_columns
        rows = streamed.sharded
        bound = rows.n_rows * max(1.0, streamed.at.largest_value) ** 2
        flat = rows.total(self._first_parts(), (n * (1 + streamed.n_classes),), bound)
        self.diagonal, self.cross = flat[:n], flat[n:].reshape(n, -1)
        self.scale = float(self.diagonal.sum()) / n
        self._root = np.sqrt(np.maximum(self.diagonal, 0.0))
        self.u, self.eigenvalues = self._approximation(min(rank or RANK, n))

    def _first_parts(self) -> Iterator[Array]:
        """The diagonal of Phi^T Phi and Phi^T Y, of each block."""
        for phi, y in self.streamed.blocks():
            yield np.concatenate([to_host((phi * phi).sum(axis=0)), to_host(phi.T @ y).ravel()])

    def _approximation(self, rank: int) -> tuple[Array, Array]:
        """Orthonormal columns U (J + 1, r) and eigenvalues L (r,), largest first; the same bits on every rank."""
        comm, n = self.streamed.comm, self.streamed.n_columns
        u, values = np.zeros((n, rank)), np.zeros(rank)
        omega = np.random.default_rng(0).standard_normal((n, rank))
        omega = np.ascontiguousarray(scipy.linalg.qr(omega, mode="economic")[0])
        comm.bcast_(omega)
        sketch = self.product(omega)
        if comm.rank == 0:
            shift = np.sqrt(n) * np.finfo(float).eps * float(np.linalg.norm(sketch))
            sketch += shift * omega
            inner, vectors = np.linalg.eigh(omega.T @ sketch)
            del omega  # each is as large as U: no more than four of them at a time
            half = vectors / np.sqrt(np.maximum(inner, max(shift, 1e-300)))
            sketch = sketch @ half
            left, singular, _ = scipy.linalg.svd(sketch, full_matrices=False, overwrite_a=True)
            u[:], values[:] = left, np.maximum(singular**2 - shift, 0.0)
        comm.bcast_(u)
        comm.bcast_(values)
        kept = int(np.count_nonzero(values > SIGNIFICANT * values[0]))
        return np.ascontiguousarray(u[:, :kept]), values[:kept]

    def solve(self, ridges: list[float], b: Array, tolerance: float) -> ColumnGradients:
        """x (J + 1, R K) with (Phi^T Phi + mu I) x = b for each ridge, in groups of K columns; b (J + 1, R K)."""
        mus = np.repeat(ridges, self.streamed.n_classes)
        factors = (self.eigenvalues[-1:, None] + mus) / (self.eigenvalues[:, None] + mus) - 1.0

        def precondition(r: Array) -> Array:
            return r + self.u @ (factors * (self.u.T @ r))

        return column_gradients(
            lambda v: self.product(v) + mus * v, precondition, b, max_products=MOST_PRODUCTS, tolerance=tolerance
        )

    def product(self, v: Array) -> Array:
        """Phi^T Phi v, (J + 1, S): one pass over the rows."""
        streamed = self.streamed
        there = beside(v, streamed.rows.images)
        bound = float(self._root.max()) * float((self._root @ np.abs(v)).max())
        parts = (to_host(phi.T @ (phi @ there)) for phi, _ in streamed.blocks())
        return streamed.sharded.total(parts, v.shape, bound if bound > 0 else None)

    def several(self, ridges: list[float]) -> list[Array]:
        """The layers (J + 1, K) of all ridges, accurate enough to choose one."""
        found = self.solve(ridges, np.tile(self.cross, (1, len(ridges))), CHOOSING)
        return np.split(found.x, len(ridges), axis=1)

    def refined(self, a: Array, mu: float) -> tuple[Array, float]:
        """A layer at full accuracy, and its relative residual: a correction for the true residual."""
        residual = self.cross - self.product(a) - mu * a
        whole = np.linalg.norm(self.cross)
        share = float(np.linalg.norm(residual) / whole) if whole > 0 else 0.0
        found = self.solve([mu], residual, min(0.5, FINAL / max(share, FINAL)))
        return a + found.x, share * found.residual
