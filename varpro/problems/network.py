"""The variable projection functional of a whole network, matrix-free, its rows sharded over ranks.

With ridge mu, C = Phi^T Phi + mu I, A = C^-1 Phi^T Y and P u = u - Phi C^-1 Phi^T u on N x K arrays:

    J^T J v = contraction of D with (P (dPhi A)) A^T,  dPhi = D v        Kaufman's part
    g       = -contraction of D with R A^T

    G = D^T R (P x K),  s[i] = sum over unit i's p of G[p] v[p],  + sum_k G[p, k] (C^-1 s)[i, k]      the rest

where contracting D with an N x I array B is B o sigma'(q) summed against the images.  Neither D nor J exists; a
product costs two evaluations of Phi.  G takes K contractions an iterate: Kaufman's matrix with a floor under the
damping is the default, because it gets as far in less time.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from varpro.arrays import Array
from varpro.gauss_newton import Step, scaling
from varpro.kernels import gram as gram_kernel
from varpro.kernels import scalarize
from varpro.linalg.conjugate_gradients import conjugate_gradients
from varpro.linalg.row_sums import Communicator, grid_unit, round_to_grid, row_blocks, sum_blocks
from varpro.models import Units
from varpro.models.activation import slope

BLOCK_ROWS = 1000
"""Rows a thread works on at a time.  Every sum over blocks is made on a grid (row_sums), so that it has the same bits
for any number of ranks: products in single precision would amplify a last bit to 1e-7."""
SCALING_FLOOR = 1.0
"""Floor under the damping's scale, relative to its mean.  A unit whose A is nearly zero has next to no curvature in
Kaufman's matrix and would be sent far away; 0.01 to 1 work alike, none costs two thirds of the progress."""
PRECONDITIONER_ROWS = 2000
"""Rows that the block preconditioner is estimated on: its error costs products, not accuracy."""


@dataclass(frozen=True, slots=True)
class NetworkEvaluation:
    """A network at w on the current rows; replicated but for the blocks of Phi and R."""

    problems: Array
    w: Array
    """(1, P)"""
    cost: Array
    """(1,): f / rows, so that costs of different samples compare"""
    rank: Array
    a: Array
    """(I + 1, K)"""
    solver: Any
    """Cholesky factor of C as scipy.linalg.cho_solve takes it; None after a breakdown"""
    phi: list[Array]
    """Phi of each block of this rank"""
    residual: list[Array]
    """R of each block of this rank"""

    @property
    def terms(self) -> Array:
        """Not known: the data's own size serves."""
        return np.zeros(1)


@dataclass
class WholeNetwork:
    """The problem that the search loop sees; `renew` may take more rows between iterations."""

    units: Units
    sigma: str
    images: Array
    """(N, C, L, R), all training images, on every rank"""
    y: Array
    """(N, K) float64"""
    comm: Communicator
    ridge: float
    """mu for each row: the functional is 1/(2 n) (||R||^2 + n ridge ||A||^2)"""
    order: Array
    """(N,) a random order of the rows; a sample is a prefix of it"""
    rows: int
    """Rows in the present sample"""
    growth: float = 1.0
    max_products: int = 10
    cg_tolerance: float = 0.1
    dtype: type[np.floating[Any]] = np.float32
    threads: int = 1
    products: int = 0
    """Products with J^T J so far"""
    kaufman: bool = True
    """Leave out the term in range(Phi)"""
    observe_iterate: Callable[["WholeNetwork", NetworkEvaluation], None] | None = None

    @property
    def n_blocks(self) -> int:
        """Blocks of the present sample, all ranks."""
        return -(-self.rows // BLOCK_ROWS)

    def blocks(self) -> list[Array]:
        """Row indices of this rank's blocks of the present sample."""
        return [self.order[block] for block in row_blocks(self.rows, BLOCK_ROWS, self.comm)]

    def map(self, function: Callable[..., Any], *lists: list[Any]) -> Iterator[Any]:
        """function over blocks on this rank's threads, results in the order of the blocks."""
        if self.threads == 1:
            return map(function, *lists)
        with ThreadPoolExecutor(self.threads) as pool:
            return iter(list(pool.map(function, *lists)))

    def total(self, parts: Any, shape: tuple[int, ...]) -> Array:
        """Sum over the blocks of all ranks, the same bits for any number of them.  Collective."""
        return sum_blocks(parts, np.zeros(shape), self.comm, reproducible=True, n_blocks=self.n_blocks)

    def phi(self, rows: Array, w: Array, matrices: Array) -> Array:
        """Phi (n, I + 1) of some rows."""
        out = np.empty((len(rows), self.units.count + 1), dtype=self.dtype)
        out[:, :-1] = self.units.forward(self.images[rows], matrices)
        out[:, -1] = 1.0
        scalarize.activate(out, self.units.bias(w), sigma=self.sigma)
        return out

    def evaluate(self, w: Array, problems: Array) -> NetworkEvaluation:
        """Solve for the linear layer at w (1, P) on the present rows.  Collective."""
        n, k, blocks = self.units.count + 1, self.y.shape[1], self.blocks()
        matrices = self.units.matrices(w[0].astype(self.dtype))
        phi = list(self.map(lambda rows: self.phi(rows, w[0], matrices), blocks))
        moments = self._moments(phi, blocks, n, k)
        gram, cross = moments[:, :n], moments[:, n:]
        mu = self.ridge * self.rows
        gram[np.diag_indices(n)] += mu
        try:
            solver = scipy.linalg.cho_factor(gram, lower=True, check_finite=True)
        except (scipy.linalg.LinAlgError, ValueError):  # breakdown or a value that is not finite: the trial is refused
            return NetworkEvaluation(problems, w, np.array([np.inf]), np.zeros(1, dtype=int), cross, None, [], [])
        a = scipy.linalg.cho_solve(solver, cross)
        narrow = a.astype(self.dtype)
        residual = list(self.map(lambda p, rows: self.y[rows] - p @ narrow, phi, blocks))
        squares = float(self.total([np.array([np.sum(r * r)]) for r in residual], (1,))[0])
        cost = 0.5 * (squares + mu * float(np.sum(a * a))) / self.rows
        return NetworkEvaluation(problems, w, np.array([cost]), np.array([n]), a, solver, phi, residual)

    def _moments(self, phi: list[Array], blocks: list[Array], n: int, k: int) -> Array:
        """[Phi^T Phi (lower triangle) | Phi^T Y] over all rows, float64."""
        bound = float(self.rows) * max(1.0, float(np.abs(self.y).max(initial=0.0)))  # |phi| <= 1
        unit = grid_unit(bound)

        def moments(pairs: list[tuple[Array, Array]]) -> Array:
            out, gram, cross = np.zeros((n, n + k)), np.empty((n, n)), np.empty((n, k))
            for p, rows in pairs:
                gram[:], cross[:] = 0.0, 0.0
                gram_kernel.accumulate(p.astype(np.float64, copy=False), self.y[rows], gram, cross)
                out[:, :n] += round_to_grid(gram, unit)
                out[:, n:] += round_to_grid(cross, unit)
            return out

        pairs = list(zip(phi, blocks, strict=True))
        shares = [pairs[t :: self.threads] for t in range(self.threads)]
        parts = self.map(moments, shares)
        return sum_blocks(
            parts, np.zeros((n, n + k)), self.comm, reproducible=True, n_blocks=self.n_blocks, bound=bound
        )

    def contract(self, evaluation: NetworkEvaluation, weights: list[Array]) -> Array:
        """sum_n (weights A^T)[n, i] d phi_i / d w: contraction of D with weights A^T, (P,).  Collective."""
        at = np.ascontiguousarray(evaluation.a[:-1].T.astype(self.dtype))
        w, count = evaluation.w[0], self.units.count

        def one(rows: Array, p: Array, u: Array) -> Array:
            b = u.astype(self.dtype, copy=False) @ at
            b *= slope(p[:, :-1], self.sigma)
            gradient = self.units.adjoint(self.images[rows], b)
            return np.concatenate([gradient.ravel(), b.sum(axis=0)], dtype=np.float64)

        parts = list(self.map(one, self.blocks(), evaluation.phi, weights))
        like = self.units.matrices(w)
        total = self.total(parts, (like.size + count,))
        return self.units.cotangent(w, total[:-count].reshape(like.shape), total[-count:])

    def residual_products(self, evaluation: NetworkEvaluation) -> Array:
        """G = D^T R as (P, K): K contractions, made once an iterate.  Collective."""
        units, w, outputs = self.units, evaluation.w[0], self.y.shape[1]
        like = units.matrices(w)
        largest = max((float(np.abs(r).max(initial=0.0)) for r in evaluation.residual), default=0.0)
        bound = self.rows * float(
            self.comm.allreduce(np.array([largest]), op="max")[0]
        )  # pixels and slopes are at most 1
        unit = grid_unit(bound)

        def share(triples: list[tuple[Array, Array, Array]]) -> Array:
            out = np.zeros((outputs, like.size + units.count))
            for rows, p, r in triples:
                steepness, images = slope(p[:, :-1], self.sigma), self.images[rows]
                for k in range(outputs):
                    b = steepness * r[:, k : k + 1].astype(self.dtype)
                    part = np.concatenate([units.adjoint(images, b).ravel(), b.sum(axis=0)], dtype=np.float64)
                    out[k] += round_to_grid(part, unit)
            return out

        triples = list(zip(self.blocks(), evaluation.phi, evaluation.residual, strict=True))
        parts = self.map(share, [triples[t :: self.threads] for t in range(self.threads)])
        like_sum = np.zeros((outputs, like.size + units.count))
        total = sum_blocks(parts, like_sum, self.comm, reproducible=True, n_blocks=self.n_blocks, bound=bound)
        columns = [units.cotangent(w, t[: like.size].reshape(like.shape), t[like.size :]) for t in total]
        return np.stack(columns, axis=1)

    def product(self, evaluation: NetworkEvaluation, v: Array) -> Array:
        """Kaufman's part of J^T J v (P,), of the functional per row.  Collective."""
        units, w = self.units, evaluation.w[0]
        matrices = units.tangent(w, v).astype(self.dtype)
        db, a = units.bias(v).astype(self.dtype), evaluation.a[:-1].astype(self.dtype)

        def along(rows: Array, p: Array) -> tuple[Array, Array]:
            dphi = units.forward(self.images[rows], matrices)
            dphi += db
            dphi *= slope(p[:, :-1], self.sigma)
            u = dphi @ a
            return u, (p.T @ u).astype(np.float64)

        pairs = list(self.map(along, self.blocks(), evaluation.phi))
        projected = self.total([c for _, c in pairs], evaluation.a.shape)
        back = scipy.linalg.cho_solve(evaluation.solver, projected).astype(self.dtype)
        weights = list(self.map(lambda pair, p: pair[0] - p @ back, pairs, evaluation.phi))
        self.products += 1
        return self.contract(evaluation, weights) / self.rows

    def linearise(self, current: NetworkEvaluation) -> "MatrixFree":
        """Products with the Gauss-Newton matrix, which is never made."""
        return linearise_network(self, current)

    def size(self, problems: Array) -> Array:
        """1/2 ||Y||^2 / rows of the present sample, (1,)."""
        y = self.y[self.order[: self.rows]]
        return np.array([0.5 * float(np.vdot(y, y)) / self.rows])

    def renew(self, current: NetworkEvaluation) -> NetworkEvaluation:
        """Report the iterate, then take more rows, if there are any, and evaluate it on them.  Collective."""
        if self.observe_iterate is not None:
            self.observe_iterate(self, current)
        grown = min(len(self.order), int(np.ceil(self.rows * self.growth)))
        if grown == self.rows:
            return current
        self.rows = grown
        return self.evaluate(current.w, current.problems)


@dataclass(frozen=True)
class MatrixFree:
    """Gradient and operator at an evaluation; the step comes from conjugate gradients."""

    problem: WholeNetwork
    evaluation: NetworkEvaluation
    gradient: Array
    """(1, P)"""
    diagonal: Array
    """(1, P)"""
    unit_blocks: list[tuple[Array, Array]]
    """indices (units, size) and blocks (units, size, size) of J^T J, without the projection"""
    products: Array | None
    """G (P, K), or None for Kaufman's matrix"""
    natural: None = None

    @property
    def curvature(self) -> Array:
        """(1, P)"""
        return self.diagonal

    def apply(self, v: Array) -> Array:
        """J^T J v (P,).  Collective."""
        out = self.problem.product(self.evaluation, v)
        if self.products is None:
            return out
        units = self.problem.units
        s = units.per_unit(self.products * v[:, None])
        padded = np.concatenate([s, np.zeros((1, s.shape[1]))])  # the constant has no parameters
        t = scipy.linalg.cho_solve(self.evaluation.solver, padded)[:-1]
        return out + np.einsum("pk,pk->p", self.products, units.per_parameter(t)) / self.problem.rows

    def solve(self, damping: Array) -> Step:
        """(J^T J + lambda diag(d)) s = -g.  Collective."""
        lam, d = float(damping[0]), self.diagonal[0]
        factors = []
        for where, blocks in self.unit_blocks:
            damped = blocks + lam * d[where][:, :, None] * np.eye(where.shape[1])
            factors.append((where, np.linalg.inv(damped)))

        def precondition(r: Array) -> Array:
            out = np.empty_like(r)
            for where, inverse in factors:
                out[where] = (inverse @ r[where][:, :, None])[:, :, 0]
            return out

        found = conjugate_gradients(
            lambda v: self.apply(v) + lam * d * v,
            precondition,
            -self.gradient[0],
            max_products=self.problem.max_products,
            tolerance=self.problem.cg_tolerance,
        )
        s = found.x
        predicted = 0.5 * float(s @ (lam * d * s - self.gradient[0]))
        return Step(s[None], np.array([predicted]), np.array([found.products > 0]))


def linearise_network(problem: WholeNetwork, current: NetworkEvaluation) -> MatrixFree:
    """Gradient, damping scale and each unit's own block of J^T J.  Collective."""
    blocks = _unit_blocks(problem, current)
    if problem.kaufman:
        products, gradient = None, -problem.contract(current, current.residual)
    else:
        products = problem.residual_products(current)
        gradient = -np.einsum("pk,pk->p", products, problem.units.per_parameter(current.a[:-1]))
        identity = np.eye(len(current.a))
        inverse = np.diagonal(scipy.linalg.cho_solve(current.solver, identity))[:-1]
        root = products * np.sqrt(problem.units.per_parameter(inverse) / problem.rows)[:, None]
        blocks = [(where, block + root[where] @ root[where].mT) for where, block in blocks]
    gradient = gradient / problem.rows
    diagonal = np.empty_like(gradient)
    for where, block in blocks:
        diagonal[where] = np.einsum("upp->up", block)
    diagonal = np.maximum(diagonal, SCALING_FLOOR * diagonal.mean())
    return MatrixFree(problem, current, gradient[None], scaling(diagonal[None]), blocks, products)


def _unit_blocks(problem: WholeNetwork, current: NetworkEvaluation) -> list[tuple[Array, Array]]:
    """(A A^T)[i, i] D_i^T D_i / n for each unit, on the first rows of the sample.  Collective."""
    units, w = problem.units, current.w[0]
    n_rows = min(PRECONDITIONER_ROWS, problem.rows)
    grouped = units.blocks()

    def moments(part: slice) -> Array:
        bound = units.bind(problem.images[problem.order[part]], problem.sigma)
        d = bound.jacobian(bound.lower(w)[None], current.problems, np.dtype(problem.dtype).name)[0]
        searched = bound.lower(np.arange(len(w)))
        if len(searched) < len(w):  # pixels that this block never lights
            narrow, d = d, np.zeros((len(d), len(w)), dtype=d.dtype)
            d[:, searched] = narrow
        own = [np.ascontiguousarray(d[:, where].transpose(1, 0, 2)) for where in grouped]
        return np.concatenate([(o.mT @ o).astype(np.float64).ravel() for o in own])

    parts = list(problem.map(moments, row_blocks(n_rows, BLOCK_ROWS, problem.comm)))
    shapes = [(*where.shape, where.shape[1]) for where in grouped]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    flat = problem.total(parts, (int(ends[-1]),)) / n_rows
    weight = units.per_parameter(np.sum(current.a[:-1] ** 2, axis=1))
    return [
        (where, flat[first:last].reshape(shape) * weight[where[:, :1]][:, :, None])
        for where, shape, first, last in zip(grouped, shapes, ends[:-1], ends[1:], strict=True)
    ]
