"""Linear problems with bounds on their coefficients: which ones are at a bound, and the projection onto the others."""

from typing import NamedTuple

import numpy as np

from varpro.arrays import Array
from varpro.linalg.projector import factor
from varpro.problems.bounded_amplitudes import bounded_solutions

Limits = tuple[Array, Array]
"""(I,) twice: lower and upper bounds of the coefficients that are not pinned"""


class Projection(NamedTuple):
    """The solutions of c linear problems with one right-hand side each."""

    a: Array
    """The coefficients, (c, I)."""
    passive: Array
    """Which coefficients are inside their bounds, (c, I) bool."""
    u: Array
    """Bases of the passive columns, (c, N, I); the other columns are zero."""
    inverse_gram: Array
    """The inverse Gram matrices, (c, I, I)."""
    rank: Array
    """The ranks, (c,)."""
    left_out: Array
    """The size of what truncation left out, (c,), as in linalg.projector.Factor."""
    projected: Array
    """Whether the passive coefficients are those of the projection, (c,) bool, so that U^T (y - Phi a) = 0."""


def solve_within(phi: Array, right: Array, limits: Limits, *, pinned: bool, rank_tolerance: float | None) -> Projection:
    """Solve each linear problem within its limits: phi (c, N, I) and right (c, N), the pinned column last.

    An unbounded solution that lies inside the bounds is also the bounded one; only the other problems need active sets.
    """
    count, n_rows, n_columns = phi.shape
    free = n_columns - pinned
    rest = right - phi[:, :, free:].sum(axis=2)
    part = factor(phi[:, :, :free], rank_tolerance=rank_tolerance)
    out = Projection(
        a=np.ones((count, n_columns)),
        passive=np.broadcast_to(np.arange(n_columns) < free, (count, n_columns)).copy(),
        u=np.concatenate([part.u, np.zeros((count, n_rows, n_columns - free))], axis=2),
        inverse_gram=np.zeros((count, n_columns, n_columns)),
        rank=part.rank,
        left_out=part.left_out,
        projected=np.ones(count, dtype=bool),
    )
    out.inverse_gram[:, :free, :free] = part.inverse_gram
    out.a[:, :free] = a = part.coefficients(rest[:, :, None])[:, :, 0]
    if np.isfinite(limits).any():
        inside = ((a > limits[0]) & (a < limits[1])).all(axis=1)
        outside = np.flatnonzero(part.finite & ~inside)
        if len(outside):
            _bring_inside(phi, right, rest, out, outside, limits, rank_tolerance)
    return out


def _bring_inside(
    phi: Array, right: Array, rest: Array, out: Projection, rows: Array, limits: Limits, rank_tolerance: float | None
) -> None:
    """Find the active sets of `rows` and project onto their passive columns, one group of equal sets at a time.

    Where the projection leaves the bounds, by rounding or because rank_tolerance truncates it, the bounded solution
    stays.
    """
    lower, upper = limits
    free = len(lower)
    for deep, reduce in ((out.rank[rows] < free, False), (out.rank[rows] == free, True)):
        some = rows[deep]
        columns, y = phi[some][:, :, :free], rest[some]
        if reduce:
            columns, y = _compressed(out.u[some][:, :, :free], columns, y)
        out.a[some, :free], out.passive[some, :free] = bounded_solutions(columns, y, lower, upper, out.a[some, :free])
    for pattern in np.unique(out.passive[rows], axis=0):
        mine = rows[(out.passive[rows] == pattern).all(axis=1)]
        on, off = np.flatnonzero(pattern), np.flatnonzero(~pattern)
        out.u[mine], out.inverse_gram[mine], out.rank[mine], out.left_out[mine] = 0.0, 0.0, 0, 0.0
        if not len(on):
            continue
        part = factor(phi[mine][:, :, on], rank_tolerance=rank_tolerance)
        others = right[mine] - np.einsum("bni,bi->bn", phi[mine][:, :, off], out.a[np.ix_(mine, off)])
        a = part.coefficients(others[:, :, None])[:, :, 0]
        inside = ((a >= lower[on]) & (a <= upper[on])).all(axis=1)
        out.a[np.ix_(mine[inside], on)] = a[inside]
        out.projected[mine] = inside
        out.u[mine[:, None], :, on] = np.moveaxis(part.u, 2, 1)
        out.inverse_gram[mine[:, None, None], on[:, None], on] = part.inverse_gram
        out.rank[mine], out.left_out[mine] = part.rank, np.where(inside, part.left_out, 0.0)


def _compressed(u: Array, phi: Array, y: Array) -> tuple[Array, Array]:
    """[U^T phi; 0] (b, I + 1, I) and [U^T y; ||y - U U^T y||], which have the same inner products as phi and y."""
    inside = u.mT @ y[:, :, None]
    outside = np.linalg.norm(y[:, :, None] - u @ inside, axis=1, keepdims=True)
    below = np.zeros((len(phi), 1, phi.shape[2]))
    return np.concatenate([u.mT @ phi, below], axis=1), np.concatenate([inside, outside], axis=1)[:, :, 0]
