"""Anderson's acceleration of a fixed-point iteration x -> g(x), for many problems, each with its own history.

    f_k = g(x_k) - x_k,   x_(k+1) = g_k - sum_j gamma_j (g_(j+1) - g_j)
    gamma = argmin ||f_k - sum_j gamma_j (f_(j+1) - f_j)||

f may live in another space than x, which keeps the norm free of the units of x.
Walker and Ni, SIAM J. Numer. Anal. 49 (2011) 1715-1735.
"""

import numpy as np

from varpro.arrays import Array

RELATIVE = 1e-10
"""Smallest eigenvalue kept of the differences' correlation matrix; smaller ones are squares of rounding errors."""


class Mixing:
    """The history of b problems, at most `depth` differences deep."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self._last: tuple[Array, Array] | None = None
        self._valid: Array | None = None
        self._steps: list[tuple[Array, Array]] = []

    def next(self, g: Array, f: Array) -> Array:
        """x (b, M) from g (b, M) and f (b, n); g itself as long as there is no history."""
        if self._last is not None and self._valid is not None:
            valid = self._valid[:, None]
            df = np.where(valid, f - self._last[0], 0.0)
            dg = np.where(valid, g - self._last[1], 0.0)
            self._steps = [*self._steps[1 - self.depth :], (df, dg)] if self.depth > 1 else [(df, dg)]
        self._last, self._valid = (f, g), np.ones(len(g), dtype=bool)
        if not self._steps:
            return g
        df = np.stack([step[0] for step in self._steps], axis=2)
        size = np.linalg.norm(df, axis=1, keepdims=True)
        df = np.divide(df, size, out=np.zeros_like(df), where=(size > 0) & np.isfinite(size))
        gram = np.linalg.pinv(df.mT @ df, rcond=RELATIVE, hermitian=True)
        gamma = (gram @ (df.mT @ f[:, :, None]))[:, :, 0]
        gamma = np.divide(gamma, size[:, 0], out=np.zeros_like(gamma), where=size[:, 0] > 0)
        return g - sum(gamma[:, j, None] * step[1] for j, step in enumerate(self._steps))

    def forget(self, which: Array, *, last: bool = False) -> None:
        """Drop the history of the problems (b,) bool; last=True drops the last point too, if g itself has changed."""
        if not which.any():
            return
        keep = ~which[:, None]
        self._steps = [(df * keep, dg * keep) for df, dg in self._steps]
        if last and self._valid is not None:
            self._valid = self._valid & ~which

    def take(self, which: Array) -> None:
        """Keep only the problems (b,) bool."""
        if which.all() or self._last is None or self._valid is None:
            return
        self._steps = [(df[which], dg[which]) for df, dg in self._steps]
        self._last, self._valid = (self._last[0][which], self._last[1][which]), self._valid[which]
