"""The whole Gauss-Newton matrix of a network with few parameters, streamed over rows.

With J_k = sum_s D_s a[s, k], the Jacobian of Phi a_k (s: the columns of a parameter's unit), M_k = Phi^T J_k and
C = Phi^T Phi + mu I,

    H = sum_k (J_k - Phi C^-1 M_k)^T J_k  =  sum_k |J_k - Phi C^-1 M_k|^2 + mu |C^-1 M_k|^2       Kaufman's part
    H += sum_k B_k^T C^-1 B_k,   B_k[j, p] = sum_n D[n, (j, p)] R[n, k]                            the rest

The sums of squares are formed, not the difference of J^T J and M^T C^-1 M: those nearly cancel, and a Gram matrix
cannot lose its sign, so that single precision serves.  Two passes over the rows make J anew, unless it may be held; D
is never held.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from varpro.arrays import Array, beside, is_device_array, namespace, to_host
from varpro.gauss_newton import NormalEquations, Step
from varpro.linalg.cholesky import factor
from varpro.linalg.incidence import symmetric
from varpro.linalg.row_sums import grid_unit, over_ranks, round_to_grid
from varpro.problems.network_jacobian import LayerJacobian, damping_scale

if TYPE_CHECKING:
    from varpro.problems.network import NetworkEvaluation, WholeNetwork

Triple = tuple[int, Array, Array]
"""The number of a block, its Phi and its R"""


def linearise_exact(problem: "WholeNetwork", current: "NetworkEvaluation") -> NormalEquations:
    """H and gradient of the functional per row.  Collective."""
    sums = _Passes(problem, current)
    m, gradient, b = sums.first()
    columns, outputs, n = len(current.a), current.a.shape[1], problem.sample.rows
    back = current.solver.solve(m.reshape(columns, -1)).reshape(m.shape)
    h = sums.second(back)
    mu = problem.ridge * n
    for k in range(outputs):
        h += mu * (back[:, k].T @ back[:, k])
    if b is not None:
        for k in range(outputs):
            h += current.solver.inverse_product(b[:, k])
    h /= n
    kind = _OnDevice if is_device_array(h) else NormalEquations
    return kind(h[None], gradient[None] / n, damping_scale(to_host(namespace(h).diagonal(h)))[None])


@dataclass(frozen=True, slots=True)
class _OnDevice(NormalEquations):
    """H on a device; gradient, diagonal and steps on the host, where the search of one network is."""

    @property
    def curvature(self) -> Array:
        return to_host(namespace(self.h).diagonal(self.h[0]))[None]

    def solve(self, damping: Array) -> Step:
        damped, more = self.h[0].copy(), float(damping[0]) * self.diagonal
        damped.reshape(-1)[:: len(damped) + 1] += beside(more[0], damped)
        factored = factor(damped, 0.0, overwrite=True, conditioned=False)
        if factored is None:
            return Step(np.zeros_like(self.gradient), np.zeros(1), np.zeros(1, dtype=bool))
        delta = factored.solve(-self.gradient.T).T
        predicted = 0.5 * np.sum(delta * (more * delta - self.gradient), axis=1)
        return Step(delta, predicted, np.ones(1, dtype=bool))


class _Passes:
    """The two passes; each thread adds up its share of the blocks."""

    def __init__(self, problem: "WholeNetwork", current: "NetworkEvaluation") -> None:
        self.problem, self.current = problem, current
        self.rows, self.xp = problem.sample.sharded, namespace(problem.sample.images)
        self.units = problem.units
        self.p, self.columns, self.outputs = current.w.shape[1], len(current.a), current.a.shape[1]
        self.j = LayerJacobian(problem, current)
        triples = list(zip(range(len(current.phi)), current.phi, current.residual, strict=True))
        self.shares: list[Sequence[Triple]] = self.rows.shares(triples)
        (self.syrk,) = scipy.linalg.get_blas_funcs(("syrk",), dtype=problem.dtype)

    def first(self) -> tuple[Array, Array, Array | None]:
        """M (I, K, P), the gradient (P,) of the functional's sum, and B (I, K, P) unless Kaufman's part is enough."""
        at, dtype, full = self.current.at, self.problem.dtype, not self.problem.kaufman
        slope = at.largest_slope * max(1.0, float(np.abs(self.current.a).max()))
        unit = grid_unit(self.rows.n_rows * at.largest_value * slope)  # coarse, but H is stationary in M

        def share(triples: Sequence[Triple]) -> tuple[Array, list[Array], list[Array], list[Array]]:
            m, gradients, squares, b = self.xp.zeros((self.columns, self.outputs, self.p)), [], [], []
            for index, phi, r in triples:
                j, narrow = self.j.block(index), r.astype(dtype)
                for k in range(self.outputs):
                    m[:, k] += round_to_grid((phi.T @ j[:, k]).astype(np.float64), unit)
                gradients.append(-self.j.back(index, narrow))
                squares.append(np.einsum("nkp,nkp->p", j, j).astype(np.float64))
                if full:
                    d = self.j.d(self.j.blocks[index])
                    by_column = d.reshape(len(d), -1).T @ narrow
                    b.append(by_column.astype(np.float64).reshape(*d.shape[1:], -1))
            return m, gradients, squares, b

        parts = list(self.rows.map(share, self.shares))
        m = self._over_ranks([part[0] for part in parts])
        gradient = self._of_blocks([part[1] for part in parts], (self.p,))
        self.squares = self._of_blocks([part[2] for part in parts], (self.p,))
        if not full:
            return m, gradient, None
        g = self._of_blocks([part[3] for part in parts], (self.p, self.units.columns_per_unit, self.outputs))
        return m, gradient, self._by_column(g)

    def second(self, back: Array) -> Array:
        """sum_k |J_k - Phi C^-1 M_k|^2, both triangles; back: C^-1 M (I, K, P)."""
        narrow = self.xp.ascontiguousarray(back.transpose(1, 0, 2).astype(self.problem.dtype))
        unit = grid_unit(2.0 * float(self.squares.max()))  # a projection makes no column longer

        def share(triples: Sequence[Triple]) -> Array:
            h = self.xp.zeros((self.p, self.p))
            for index, phi, _ in triples:
                j = self.j.block(index)
                projected = np.matmul(phi, narrow)
                np.subtract(j.transpose(1, 0, 2), projected, out=projected)
                tall = projected.reshape(-1, self.p).T  # as BLAS sees it: (P, K n), its columns contiguous
                square = tall @ tall.T if is_device_array(tall) else self.syrk(1.0, tall, lower=1)
                h += round_to_grid(square.astype(np.float64), unit)
            return h

        return symmetric(self._over_ranks(list(self.rows.map(share, self.shares))))

    def _of_blocks(self, lists: list[list[Array]], shape: tuple[int, ...]) -> Array:
        return self.rows.total([part for parts in lists for part in parts], shape)

    def _over_ranks(self, parts: list[Array]) -> Array:
        total = parts[0]
        for part in parts[1:]:
            total += part
        return over_ranks(total, self.problem.sample.comm)

    def _by_column(self, g: Array) -> Array:
        """G (P, c, K) as B (I, K, P), where the images are: a parameter moves the columns of its own unit only."""
        c = self.units.columns_per_unit
        owner = self.units.per_parameter(np.arange(self.units.count))
        out = np.zeros((self.columns, self.outputs, self.p))
        for s in range(c):
            out[owner * c + s, :, np.arange(self.p)] = g[:, s]
        return beside(out, self.problem.sample.images)
