"""The variable projection functional of a whole network, matrix-free, its rows sharded over ranks.

With ridge mu, C = Phi^T Phi + mu I, A = C^-1 Phi^T Y and P u = u - Phi C^-1 Phi^T u on N x K arrays:

    J^T J v = contraction of D with (P (dPhi A)) A^T,  dPhi = D v        Kaufman's part
    g       = -contraction of D with R A^T

    G = D^T R (by pairs),  s[j] = sum over the pairs m of column j of G[m] v[p(m)],  + sum_k G[m, k] (C^-1 s)[j(m), k]

whose last term is the rest of Golub and Pereyra's matrix.  The units contract D (problems.scalarized).  Neither D nor J
is ever formed; a product costs two evaluations of Phi.  G takes K contractions for each column of a unit, once per
iterate.  Kaufman's matrix with a floor under the damping is the default, because it gets as far in less time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from varpro.arrays import Array, beside, largest, namespace, to_host
from varpro.gauss_newton import NormalEquations
from varpro.linalg.cholesky import factor
from varpro.linalg.normal_equations import normal_equations
from varpro.linalg.row_sums import grid_unit, round_to_grid
from varpro.problems.network_exact import linearise_exact
from varpro.problems.network_jacobian import LayerJacobian
from varpro.problems.network_step import MatrixFree, linearise_network
from varpro.problems.sample import Sample
from varpro.problems.scalarized import Scalarized, ScalarizedUnits


@dataclass(frozen=True, slots=True)
class NetworkEvaluation:
    """A network at w on the current rows; replicated except for the blocks of Phi and R."""

    problems: Array
    w: Array
    """The nonlinear parameters, (1, P)."""
    cost: Array
    """The cost f / rows, (1,), so that costs of different samples can be compared."""
    rank: Array
    at: Scalarized
    """The units at w."""
    a: Array
    """The linear layer, (J + 1, K)."""
    solver: Any
    """The Cholesky factor of C (linalg.cholesky.Factored); None after a breakdown."""
    phi: list[Array]
    """Phi of each block of this rank, where the images are."""
    residual: list[Array]
    """R of each block of this rank, beside it."""

    @property
    def terms(self) -> Array:
        """Not known; the search uses the size of the data instead."""
        return np.zeros(1)


@dataclass
class Counter:
    """A count of how often something was done."""

    value: int = 0


@dataclass(frozen=True, kw_only=True)
class WholeNetwork:
    """The problem that the search loop sees; `renew` may add rows between iterations."""

    units: ScalarizedUnits
    sigma: str
    sample: Sample
    ridge: float
    """The ridge mu per row: the functional is 1/(2 n) (||R||^2 + n ridge ||A||^2)."""
    max_products: int = 10
    cg_tolerance: float = 0.1
    dtype: type[np.floating] = np.float32
    kaufman: bool = True
    """Whether the term in range(Phi) is left out."""
    held_bytes: int = 0
    """The most memory that J of the sample may take, over all ranks; beyond it, products come from the units."""
    exact: bool = False
    """Whether the Gauss-Newton matrix (P, P) is formed and factored, instead of conjugate gradients on its products."""
    products: Counter = field(default_factory=Counter)
    """The number of products with J^T J so far."""
    observe_iterate: Callable[["WholeNetwork", NetworkEvaluation], None] | None = None

    def evaluate(self, w: Array, problems: Array) -> NetworkEvaluation:
        """Solve for the linear layer at w (1, P) on the current rows.  Collective."""
        sample, y, rows, blocks = self.sample, self.sample.y, self.sample.sharded, self.sample.blocks()
        n = self.units.n_columns + 1
        at = self.units.at(w[0], self.sigma, self.dtype)
        phi = list(rows.map(lambda block: at.phi(sample.pictures(block)), blocks))
        gram, cross = normal_equations(
            rows,
            list(zip(phi, blocks, strict=True)),
            lambda pair: (pair[0], sample.targets(pair[1])),
            columns=n,
            outputs=y.shape[1],
            like=sample.images,
            largest=(max(1.0, at.largest_value), max(1.0, largest(y))),
        )
        mu = self.ridge * rows.n_rows
        finite = np.isfinite(to_host(namespace(gram).diagonal(gram))).all()  # each column's own square is
        solver = factor(gram, mu, overwrite=True, conditioned=False) if finite else None
        if solver is None:  # breakdown or a value that is not finite: the trial is rejected
            return NetworkEvaluation(problems, w, np.array([np.inf]), np.zeros(1, dtype=int), at, cross, None, [], [])
        a = solver.solve(cross)
        narrow = beside(a.astype(self.dtype), sample.images)
        residual = list(rows.map(lambda p, block: sample.targets(block) - p @ narrow, phi, blocks))
        squares = float(rows.total([np.array([float(np.sum(r * r))]) for r in residual], (1,))[0])
        cost = 0.5 * (squares + mu * float(np.sum(a * a))) / rows.n_rows
        return NetworkEvaluation(problems, w, np.array([cost]), np.array([n]), at, a, solver, phi, residual)

    def contract(self, evaluation: NetworkEvaluation, weights: list[Array], j: LayerJacobian | None = None) -> Array:
        """J^T weights = sum_nj (weights A^T)[n, j] dPhi_nj/dw: contraction of D with weights A^T, (P,).  Collective."""
        if j is not None:
            parts = self.sample.sharded.map(j.back, range(len(weights)), weights)
            return self.sample.sharded.total(list(parts), (evaluation.w.shape[1],))
        at, rows, pictures = evaluation.at, self.sample.sharded, self.sample.pictures
        layer = beside(np.ascontiguousarray(evaluation.a[:-1].T.astype(self.dtype)), self.sample.images)

        def one(block: Array, phi: Array, u: Array) -> Array:
            return at.contraction(pictures(block), phi, u.astype(self.dtype, copy=False) @ layer)

        parts = rows.map(one, self.sample.blocks(), evaluation.phi, weights)
        return at.gradient(rows.total(list(parts), (at.contraction_size,)))

    def residual_products(self, evaluation: NetworkEvaluation) -> Array:
        """G = D^T R as (P, c, K), c columns per unit: c K contractions, made once per iterate.  Collective."""
        at, rows, xp = evaluation.at, self.sample.sharded, namespace(self.sample.images)
        c, outputs, columns = self.units.columns_per_unit, self.sample.y.shape[1], self.units.n_columns
        most = max(map(largest, evaluation.residual), default=0.0)
        bound = rows.n_rows * at.largest_slope * float(self.sample.comm.allreduce(np.array([most]), op="max")[0])
        unit = grid_unit(bound)
        own = [xp.asarray(np.arange(columns) % c == s) for s in range(c)]

        def share(triples: Sequence[tuple[Array, Array, Array]]) -> Array:
            out = xp.zeros((c, outputs, at.contraction_size))
            for block, phi, r in triples:
                of_block = self.sample.pictures(block)
                for s in range(c):
                    for k in range(outputs):
                        weights = r[:, k : k + 1].astype(self.dtype)
                        if c > 1:
                            weights = weights * own[s]
                        out[s, k] += round_to_grid(at.contraction(of_block, phi, weights), unit)
            return out

        triples = list(zip(self.sample.blocks(), evaluation.phi, evaluation.residual, strict=True))
        parts = rows.map(share, rows.shares(triples))
        total = rows.total(parts, (c, outputs, at.contraction_size), bound)
        return np.stack([np.stack([at.gradient(t) for t in of_column], axis=1) for of_column in total], axis=1)

    def product(self, evaluation: NetworkEvaluation, v: Array, j: LayerJacobian | None = None) -> Array:
        """Kaufman's part of J^T J v (P,), for the functional per row; through J where it is held.  Collective."""
        rows, forward = self.sample.sharded, self._direction(evaluation, v) if j is None else j.direction(v)

        def along(index: int, phi: Array) -> tuple[Array, Array]:
            u = forward(index, phi)
            return u, (phi.T @ u).astype(np.float64)

        pairs = list(rows.map(along, range(len(evaluation.phi)), evaluation.phi))
        projected = rows.total([c for _, c in pairs], evaluation.a.shape)
        back = beside(evaluation.solver.solve(projected).astype(self.dtype), self.sample.images)
        weights = list(rows.map(lambda pair, phi: pair[0] - phi @ back, pairs, evaluation.phi))
        self.products.value += 1
        return self.contract(evaluation, weights, j) / rows.n_rows

    def _direction(self, evaluation: NetworkEvaluation, v: Array) -> Callable[[int, Array], Array]:
        """A function of a block's number and its Phi that gives J v (n, K), from the images."""
        pictures, blocks = self.sample.pictures, self.sample.blocks()
        direction = evaluation.at.direction(v)
        a = beside(evaluation.a[:-1].astype(self.dtype), self.sample.images)
        return lambda index, phi: direction(pictures(blocks[index]), phi) @ a

    def linearise(self, current: NetworkEvaluation) -> MatrixFree | NormalEquations:
        """The system of a step: H whole, or gradient, damping scale and each unit's own block of it.  Collective."""
        return linearise_exact(self, current) if self.exact else linearise_network(self, current)

    def row_weights(self, current: NetworkEvaluation, rows: Array) -> Array | None:
        """Roots of what each output of some rows counts in J^T J, (n, K); None if all count alike."""
        return None

    def size(self, problems: Array) -> Array:
        """1/2 ||Y||^2 / rows of the current sample, (1,)."""
        return np.array([self.sample.size()])

    def renew(self, current: NetworkEvaluation) -> NetworkEvaluation:
        """Report the iterate, then take the next sample, if there is one, and evaluate it there.  Collective."""
        if self.observe_iterate is not None:
            self.observe_iterate(self, current)
        return self.evaluate(current.w, current.problems) if self.sample.advance() else current
