"""Steps on a whole network: conjugate gradients on a damped Gauss-Newton system that is applied but never formed.

The preconditioner is each unit's own block of J^T J, estimated on a few rows and without the projection.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array, beside, is_device_array, namespace
from varpro.gauss_newton import Step
from varpro.linalg.conjugate_gradients import conjugate_gradients
from varpro.linalg.row_sums import ShardedRows
from varpro.problems.network_jacobian import D_BYTES, LayerJacobian, damping_scale, jacobian_of_units

if TYPE_CHECKING:
    from varpro.problems.network import NetworkEvaluation, WholeNetwork

PRECONDITIONER_ROWS = 2000
"""Rows on which the block preconditioner is estimated; its error costs products, not accuracy."""

Blocks = list[tuple[Array, Array]]
"""Indices (units, size) into w and symmetric blocks (units, size, size); units with equally many parameters are
stacked"""


@dataclass(frozen=True)
class MatrixFree:
    """Gradient and operator at an evaluation; the step comes from conjugate gradients."""

    problem: "WholeNetwork"
    evaluation: "NetworkEvaluation"
    gradient: Array
    """The gradient, (1, P)."""
    diagonal: Array
    """The scaling of the damping, (1, P)."""
    unit_blocks: Blocks
    """The blocks of J^T J, without the projection."""
    products: Array | None
    """G (P, c, K), or None for Kaufman's matrix."""
    j: LayerJacobian | None = None
    """J, if it is held."""
    natural: None = None

    @property
    def curvature(self) -> Array:
        """The diagonal, (1, P), which stands in for the curvature."""
        return self.diagonal

    def apply(self, v: Array) -> Array:
        """J^T J v (P,).  Collective."""
        out = self.problem.product(self.evaluation, v, self.j)
        if self.products is None:
            return out
        units, g = self.problem.units, self.products
        s = units.per_unit(g * v[:, None, None]).reshape(units.n_columns, -1)
        padded = np.concatenate([s, np.zeros((1, s.shape[1]))])  # the constant has no parameters
        t = self.evaluation.solver.solve(padded)[:-1]
        return out + _of_parameters(g, units.per_parameter(t.reshape(units.count, *g.shape[1:]))) / _rows(self.problem)

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


def linearise_network(problem: "WholeNetwork", current: "NetworkEvaluation") -> MatrixFree:
    """Gradient, damping scale and each unit's own block of J^T J.  Collective."""
    made, units = LayerJacobian(problem, current), problem.units
    j = made if made.held else None
    blocks = _unit_blocks(problem, current) if j is None else _unit_blocks_of(problem, j)
    if problem.kaufman:
        products, gradient = None, -problem.contract(current, current.residual, j)
    else:
        products = problem.residual_products(current)
        layer = current.a[:-1].reshape(units.count, *products.shape[1:])
        gradient = -_of_parameters(products, units.per_parameter(layer))
        blocks = _with_second_term(problem, current, products, blocks)
    gradient = gradient / _rows(problem)
    diagonal = np.empty_like(gradient)
    for where, block in blocks:
        diagonal[where] = np.einsum("upp->up", block)
    return MatrixFree(problem, current, gradient[None], damping_scale(diagonal)[None], blocks, products, j)


def _rows(problem: "WholeNetwork") -> int:
    return problem.sample.rows


def _of_parameters(a: Array, b: Array) -> Array:
    """sum_ck a[p, c, k] b[p, c, k], (P,)."""
    return np.einsum("pk,pk->p", a.reshape(len(a), -1), b.reshape(len(b), -1))


def _unit_blocks(problem: "WholeNetwork", current: "NetworkEvaluation") -> Blocks:
    """sum_cd (A A^T)[c, d] D_c^T D_d / n over the columns c, d of each unit, on the first rows of the sample.

    Collective.
    """
    units, w, c = problem.units, current.w[0], problem.units.columns_per_unit
    rows, images = problem.sample.first(PRECONDITIONER_ROWS), problem.sample.images
    grouped = units.blocks()
    pairs = [beside((where[:, None] * c + np.arange(c)[:, None]).reshape(len(where), -1), images) for where in grouped]

    def moments(block: Array) -> Array:
        d = jacobian_of_units(problem, current, problem.sample.pictures(block), w)
        weights = problem.row_weights(current, block)
        if weights is not None:  # one for all outputs of a row, which share D
            d = d * np.sqrt(np.mean(weights * weights, axis=1, keepdims=True)).astype(d.dtype)
        return _moments(d[:, which].transpose(1, 0, 2) for which in pairs)

    parts = rows.map(moments, problem.sample.blocks(rows))
    sums = _sums(rows, parts, [(len(where), c, where.shape[1], c, where.shape[1]) for where in grouped])
    layer = current.a[:-1].reshape(units.count, c, -1)
    weight = np.sum(layer[:, :, None] * layer[:, None], axis=3)
    owner = units.per_parameter(np.arange(units.count))
    return [
        (where, _weighed(blocks / rows.n_rows, weight[owner[where[:, 0]]]))
        for where, blocks in zip(grouped, sums, strict=True)
    ]


def _unit_blocks_of(problem: "WholeNetwork", j: LayerJacobian) -> Blocks:
    """The same from J: whichever ranks hold the first rows of the sample use what they hold.  Collective."""
    grouped, rows = problem.units.blocks(), problem.sample.sharded
    n = problem.sample.first(PRECONDITIONER_ROWS).n_rows

    def moments(index: int, block: slice) -> Array:
        part = j.block(index)[: n - block.start]
        weights = problem.row_weights(j.current, j.blocks[index][: len(part)])
        if weights is not None:
            part = part * weights[:, :, None].astype(part.dtype)
        flat = part.reshape(-1, part.shape[2])
        return _moments(own for where in grouped for own in _columns(flat, where))

    first = [(index, block) for index, block in enumerate(rows.blocks()) if block.start < n]
    parts = rows.map(moments, *([pair[k] for pair in first] for k in (0, 1)))
    sums = _sums(rows, parts, [(len(where), where.shape[1], where.shape[1]) for where in grouped])
    return [(where, blocks / n) for where, blocks in zip(grouped, sums, strict=True)]


def _columns(flat: Array, where: Array) -> Iterator[Array]:
    """Stacks (units, rows, size) of the columns of each unit.  On the host one by one, since J is the largest array; a
    device would wait for each of them."""
    many = max(1, D_BYTES // max(flat.itemsize * len(flat) * where.shape[1], 1)) if is_device_array(flat) else 1
    for first in range(0, len(where), many):
        yield flat[:, beside(where[first : first + many], flat)].transpose(1, 0, 2)


def _moments(own: Iterable[Array]) -> Array:
    """X^T X of stacks of matrices (units, rows, columns), one after another."""
    stacks = (namespace(a).ascontiguousarray(a) for a in own)
    parts = [(x.mT @ x).astype(np.float64).ravel() for x in stacks]
    return namespace(parts[0]).concatenate(parts)


def _sums(rows: ShardedRows, parts: Iterable[Array], shapes: list[tuple[int, ...]]) -> list[Array]:
    """The sums of `_moments` over the blocks of all ranks, each with its shape again.  Collective."""
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    flat = rows.total(list(parts), (int(ends[-1]),))
    return [flat[i:k].reshape(shape) for shape, i, k in zip(shapes, ends[:-1], ends[1:], strict=True)]


def _weighed(blocks: Array, weight: Array) -> Array:
    """sum_cd weight[u, c, d] blocks[u, c, p, d, q], (units, size, size)."""
    if weight.shape[1] == 1:
        return blocks[:, 0, :, 0] * weight
    return np.einsum("ucpdq,ucd->upq", blocks, weight, optimize=True)


def _with_second_term(problem: "WholeNetwork", current: "NetworkEvaluation", products: Array, blocks: Blocks) -> Blocks:
    """Add G_c (C^-1)[c, d] G_d^T for each unit's own columns c, d: the rest of Golub and Pereyra's matrix."""
    units, c = problem.units, problem.units.columns_per_unit
    inverse = current.solver.solve(np.eye(len(current.a)))[:-1, :-1]
    own = np.einsum("icid->icd", inverse.reshape(units.count, c, units.count, c))
    root = np.linalg.cholesky(own / _rows(problem))
    half = np.einsum("pck,pcd->pdk", products, units.per_parameter(root)).reshape(len(products), -1)
    return [(where, block + half[where] @ half[where].mT) for where, block in blocks]
