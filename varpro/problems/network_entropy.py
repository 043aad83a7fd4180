"""The variable projection functional of a whole network under cross-entropy, matrix-free, its rows sharded over ranks.

    f(w) = min_A F(w, A),   F = 1/n sum_n CE(Phi_n A, Y_n) + ridge/2 |A|^2,   P = softmax(Phi A)

The layer A is found by Newton's method to the end of what the precision allows (problems.entropy_layer), so that f has
the derivative of F at a fixed A, and the Gauss-Newton matrix follows A's own dependence on w:

    g     = J^T (P - Y) / n,     J v = (D v) A
    H v   = J^T W (J v - Phi X) / n,     (Phi^T W Phi / n + ridge I) X = Phi^T W J v / n

W is the curvature of each row's cross-entropy by its logits.  With W = I these are Kaufman's matrix and gradient of
problems.network.  Newman, Ruthotto, Hart, van Bloemen Waanders, SIAM J. Math. Data Sci. 3 (2021) 1041-1066.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, beside
from varpro.linalg.conjugate_gradients import conjugate_gradients
from varpro.linalg.cross_entropy import curvature, softmax
from varpro.linalg.newton import Minimum
from varpro.problems.entropy_layer import BreakdownError, EntropyColumns, EntropyLayer
from varpro.problems.network import NetworkEvaluation, WholeNetwork
from varpro.problems.network_jacobian import LayerJacobian

COARSE = 1e-2
"""The decrease that a Newton step on A still promises, relative to F, at which its preconditioner is made anew."""
RESPONSE = 1e-2
"""The relative residual of X over that of the step, so that products stay those of one symmetric matrix."""
RESPONSE_PRODUCTS = 60
"""The most products for X; each costs a hundredth of one with J."""


@dataclass(frozen=True, kw_only=True)
class EntropyNetwork(WholeNetwork):
    """`ridge` is that of F, per row; Y (N, K) has rows of sum 1.  Only Kaufman's matrix, only conjugate gradients."""

    layer_tolerance: float = 1e-6
    """The decrease that a Newton step on A still promises, relative to F, at which A is good enough."""

    def evaluate(self, w: Array, problems: Array) -> NetworkEvaluation:
        """Solve for the linear layer at w (1, P) on the current rows.  Collective."""
        sample, y, rows, blocks = self.sample, self.sample.y, self.sample.sharded, self.sample.blocks()
        at = self.units.at(w[0], self.sigma, self.dtype)
        phi = list(rows.map(lambda block: at.phi(sample.pictures(block)), blocks))
        targets = [sample.targets(block) for block in blocks]
        columns = EntropyColumns(rows, phi, targets, self.ridge, max(1.0, at.largest_value), sample.images)
        start = np.zeros((self.units.n_columns + 1, y.shape[1]))
        try:
            # from zero, never from the layer of another w: a run that is continued must find the same bits
            near = columns.solve(start, tolerance=COARSE).x.reshape(start.shape)
            found: Minimum[EntropyLayer] = columns.solve(near, tolerance=self.layer_tolerance)
        except BreakdownError:  # the trial is rejected
            return NetworkEvaluation(problems, w, np.array([np.inf]), np.zeros(1, dtype=int), at, start, None, [], [])
        residual = [t - p for t, p in zip(targets, found.at.p, strict=True)]
        rank, cost = np.array([len(start)]), np.array([found.at.value])
        return NetworkEvaluation(problems, w, cost, rank, at, found.at.a, found.at, phi, residual)

    def product(self, evaluation: NetworkEvaluation, v: Array, j: LayerJacobian | None = None) -> Array:
        """H v (P,); through J where it is held.  Collective."""
        rows, forward = self.sample.sharded, self._direction(evaluation, v) if j is None else j.direction(v)
        layer: EntropyLayer = evaluation.solver
        phi, p = evaluation.phi, layer.p
        u = list(rows.map(forward, range(len(phi)), phi))
        moved = list(rows.map(lambda f, q, of: (f.T @ curvature(q, of)).astype(np.float64), phi, p, u))
        response = conjugate_gradients(
            layer.product,
            layer.precondition,
            rows.total(moved, evaluation.a.shape).ravel() / rows.n_rows,
            max_products=RESPONSE_PRODUCTS,
            tolerance=RESPONSE * self.cg_tolerance,
        )
        x = beside(response.x.reshape(evaluation.a.shape).astype(self.dtype), self.sample.images)
        weights = list(rows.map(lambda f, q, of: curvature(q, of - f @ x), phi, p, u))
        self.products.value += 1
        return self.contract(evaluation, weights, j) / rows.n_rows

    def row_weights(self, current: NetworkEvaluation, rows: Array) -> Array:
        """The square roots of the diagonal of W, (n, K)."""
        phi = current.at.phi(self.sample.pictures(rows))
        p = softmax(phi @ beside(current.a.astype(phi.dtype), phi))
        weights: Array = np.sqrt(p * (1.0 - p))
        return weights

    def size(self, problems: Array) -> Array:
        """The cross-entropy of a network that knows nothing, log K, (1,)."""
        return np.array([np.log(self.sample.y.shape[1])])
