"""J of a whole network: the derivative of Phi A by the nonlinear parameters, block by block, held where it fits.

A row of J has K P numbers.  Once made, it gives a product with the Gauss-Newton matrix for the price of reading it
twice, a hundredth of what the units need; and its parts are each unit's own block of J^T J.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array, beside, is_device_array, namespace
from varpro.gauss_newton import scaling

if TYPE_CHECKING:
    from varpro.problems.network import NetworkEvaluation, WholeNetwork

SCALING_FLOOR = 1.0
"""Floor under the damping's scale, relative to its mean, for both kinds of step.  A unit whose A is nearly zero has
almost no curvature in Kaufman's matrix, and a step would send it far away.  On 1,000 digits, after eight steps, for
one seed, the cost was these multiples of that with 0.1:

    floor                             none     0.01     1
    12 filters, exact steps           0.998    0.995    1.017
    12 filters, conjugate gradients   0.994    0.995    1.015
    60 bilinear windows, exact steps  1.115    1.092    1.013

On MNIST, with 1,800 windows and conjugate gradients, three steps with 1 and with 0.1 go equally far.
"""
D_BYTES = 2**27
"""Bytes that D of some rows may take while J is made from it."""


def damping_scale(diagonal: Array) -> Array:
    """What multiplies lambda in a step, (P,), from the diagonal (P,) of the matrix or of the units' blocks of it."""
    scale: Array = scaling(np.maximum(diagonal, SCALING_FLOOR * diagonal.mean()))
    return scale


class LayerJacobian:
    """J at an evaluation; blocks are those of this rank's sample."""

    def __init__(self, problem: "WholeNetwork", current: "NetworkEvaluation") -> None:
        self.problem, self.current = problem, current
        self.blocks = problem.sample.blocks()
        self.layer = np.ascontiguousarray(current.a[:-1].astype(problem.dtype))
        self._layer_there = beside(self.layer, problem.sample.images)
        self._held: list[Array | None] | None = [None] * len(self.blocks) if fits(problem, current) else None

    @property
    def held(self) -> bool:
        """Whether blocks are kept once they are made."""
        return self._held is not None

    def block(self, index: int) -> Array:
        """J (n, K, P) of a block, which must not be changed."""
        if self._held is None:
            return self._make(self.blocks[index])
        kept = self._held[index]
        if kept is None:
            kept = self._held[index] = self._make(self.blocks[index])
        return kept

    def direction(self, v: Array) -> Callable[[int, Array], Array]:
        """A function of a block's number, and of its Phi, that gives J v (n, K)."""
        narrow = beside(v.astype(self.problem.dtype), self.problem.sample.images)

        def of(index: int, phi: Array) -> Array:
            j = self.block(index)
            out: Array = (j.reshape(-1, j.shape[2]) @ narrow).reshape(j.shape[:2])
            return out

        return of

    def back(self, index: int, u: Array) -> Array:
        """J^T u (P,) float64 of a block; u (n, K)."""
        j = self.block(index)
        out: Array = u.astype(j.dtype).ravel() @ j.reshape(-1, j.shape[2])
        return out.astype(np.float64)

    def _make(self, block: Array) -> Array:
        j = self.current.at.layer_jacobian(self.problem.sample.pictures(block), self._layer_there)
        return self._from_units(block) if j is None else j

    def _from_units(self, block: Array) -> Array:
        units, k = self.problem.units, self.layer.shape[1]
        c, p = units.columns_per_unit, self.current.w.shape[1]
        images = self.problem.sample.images
        layer = beside(units.per_parameter(self.layer.reshape(units.count, c, k)), images)
        j = namespace(images).empty((len(block), k, p), dtype=self.problem.dtype)
        step = max(1, D_BYTES // (8 * p * c))
        for first in range(0, len(block), step):
            rows = slice(first, first + step)
            d = self.d(block[rows])
            if c > 1:
                j[rows] = np.einsum("npc,pck->nkp", d, layer)
            else:
                np.multiply(d.transpose(0, 2, 1), layer[:, 0].T, out=j[rows])
        return j

    def d(self, block: Array) -> Array:
        """D (n, P, c) of some rows."""
        images = self.problem.sample.pictures(block)
        wide = jacobian_of_units(self.problem, self.current, images, self.current.w[0])
        return wide.reshape(len(block), self.current.w.shape[1], -1)


def fits(problem: "WholeNetwork", current: "NetworkEvaluation") -> bool:
    """Whether J of the whole sample stays within the problem's bytes; the same on every rank."""
    size = np.dtype(problem.dtype).itemsize * problem.sample.rows * current.a.shape[1] * current.w.shape[1]
    return size <= problem.held_bytes


def jacobian_of_units(problem: "WholeNetwork", current: "NetworkEvaluation", images: Array, w: Array) -> Array:
    """D of some images with a column for each parameter and column of its unit, (n, P c); zero where there is no
    pair."""
    if is_device_array(images):
        xp = namespace(images)
        index, there, dtype = xp.arange(len(images), dtype=np.int32)[None], xp.asarray(w[None]), np.dtype(problem.dtype)
        of_all = problem.units.gathered(images, index, there, sigma=problem.sigma, jacobian=dtype.name)[1]
        assert of_all is not None
        return of_all[0]
    bound = problem.units.bind(images, problem.sigma)
    d = bound.jacobian(bound.lower(w)[None], current.problems, np.dtype(problem.dtype).name)[0]
    c, searched = problem.units.columns_per_unit, bound.lower(np.arange(len(w)))
    moved = searched if bound.parameters is None else searched[bound.parameters]
    place = moved * c + bound.columns % c
    if np.array_equal(place, np.arange(len(w) * c)):
        return d
    wide = np.zeros((len(d), len(w) * c), dtype=d.dtype)
    wide[:, place] = d
    return wide
