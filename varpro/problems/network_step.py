"""Steps on a whole network: conjugate gradients on a damped Gauss-Newton system that is applied but never formed.

The preconditioner is each unit's own block of J^T J, estimated on a few rows and without the projection.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array, beside, is_device_array, namespace
from varpro.gauss_newton import Step
from varpro.linalg.conjugate_gradients import conjugate_gradients
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
    blocks = _unit_blocks(problem, current, j)
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


def _unit_blocks(problem: "WholeNetwork", current: "NetworkEvaluation", j: LayerJacobian | None) -> Blocks:
    """Each unit's own block of J^T J / n, on some rows of the sample; from J where it is held.  Collective."""
    grouped, rows = problem.units.blocks(), problem.sample.sharded
    n, some = problem.sample.some(PRECONDITIONER_ROWS)
    moments = _moments_of_units(problem, current, grouped) if j is None else _moments_of(problem, j, grouped)
    parts = rows.map(lambda pair: moments(*pair), some)
    ends = np.cumsum([0, *(where.size * where.shape[1] for where in grouped)])
    flat = rows.total(list(parts), (int(ends[-1]),)) / n
    return [
        (where, flat[first:last].reshape(*where.shape, -1))
        for where, first, last in zip(grouped, ends[:-1], ends[1:], strict=True)
    ]


Moments = Callable[[int, int], Array]
"""Of the number of a block and how many of its rows: all units' blocks of J^T J, one after another, flat."""


def _moments_of_units(problem: "WholeNetwork", current: "NetworkEvaluation", grouped: list[Array]) -> Moments:
    """sum_cd (A A^T)[c, d] D_c^T D_d over the columns c, d of each unit."""
    units, w, c = problem.units, current.w[0], problem.units.columns_per_unit
    images, blocks = problem.sample.images, problem.sample.blocks()
    pairs = [beside((where[:, None] * c + np.arange(c)[:, None]).reshape(len(where), -1), images) for where in grouped]
    layer = current.a[:-1].reshape(units.count, c, -1)
    owner = units.per_parameter(np.arange(units.count))
    weight = np.sum(layer[:, :, None] * layer[:, None], axis=3)
    weights = [beside(weight[owner[where[:, 0]]], images) for where in grouped]

    def moments(index: int, count: int) -> Array:
        rows = blocks[index][:count]
        d = jacobian_of_units(problem, current, problem.sample.pictures(rows), w)
        counts = problem.row_weights(current, rows)
        if counts is not None:  # one for all outputs of a row, which share D
            d = d * np.sqrt(np.mean(counts * counts, axis=1, keepdims=True)).astype(d.dtype)
        squares = _squares(d[:, which].transpose(1, 0, 2) for which in pairs)
        shapes = [(len(where), c, where.shape[1], c, where.shape[1]) for where in grouped]
        weighed = (_weighed(x.reshape(s), v) for x, s, v in zip(squares, shapes, weights, strict=True))
        return _one_after_another(weighed)

    return moments


def _moments_of(problem: "WholeNetwork", j: LayerJacobian, grouped: list[Array]) -> Moments:
    def moments(index: int, count: int) -> Array:
        part = j.block(index)[:count]
        weights = problem.row_weights(j.current, j.blocks[index][:count])
        if weights is not None:
            part = part * weights[:, :, None].astype(part.dtype)
        flat = part.reshape(-1, part.shape[2])
        return _one_after_another(_squares(own for where in grouped for own in _columns(flat, where)))

    return moments


def _columns(flat: Array, where: Array) -> Iterator[Array]:
    """Stacks (units, rows, size) of the columns of each unit.  On the host one by one, since J is the largest array; a
    device would wait for each of them."""
    many = max(1, D_BYTES // max(flat.itemsize * len(flat) * where.shape[1], 1)) if is_device_array(flat) else 1
    for first in range(0, len(where), many):
        yield flat[:, beside(where[first : first + many], flat)].transpose(1, 0, 2)


def _squares(own: Iterable[Array]) -> Iterator[Array]:
    """X^T X of stacks of matrices (units, rows, columns)."""
    for stack in own:
        x = namespace(stack).ascontiguousarray(stack)
        yield (x.mT @ x).astype(np.float64)


def _one_after_another(blocks: Iterable[Array]) -> Array:
    flat = [block.ravel() for block in blocks]
    return namespace(flat[0]).concatenate(flat)


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
