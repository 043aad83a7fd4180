"""Many right-hand sides that share w, at the cost of a few: exact compression by the range of the basis.

    Phi = Q Phi_s,  D = Q D_s,  Q orthonormal (N x s)
    f(w) = 1/2 ||P_perp(Phi_s) L||^2 + 1/2 (||Y||^2 - ||Q^T Y||^2)

with Q^T Y = L V^T, L (s x s) triangular: all K columns enter through s numbers each, then through L alone.  Q holds the
range of every Phi and D met so far and grows whenever a new one leaves it, so the only error is what lies outside Q,
which is below rounding.  Smooth models need few columns, since neighbouring w span nearly the same space.
"""

from dataclasses import dataclass, field

import numpy as np

from varpro.arrays import Array
from varpro.gauss_newton import NormalEquations
from varpro.kernels.few_rows import few_rows
from varpro.linalg.one_pool import one_blas_pool
from varpro.linalg.projector import Factor
from varpro.problems.columns import sums_of_squares
from varpro.problems.curves import CurveBasis, SharedColumns, fit_problem
from varpro.problems.separable import Evaluation, SeparableProblem

LEAVES_RANGE = (1e-13, 1e-10)
"""A column extends Q if its part outside Q, relative to the column, is larger: a thousandth of the tolerance on the
cost, since it changes the cost by no more than that, within these limits."""

CANCELS = float(np.sqrt(np.finfo(np.float64).eps))
"""Residual sum of squares, relative to ||Y||^2, from which the difference of sums has eight digits of it."""


@dataclass
class Range:
    """Q and the part of Y that lies in it.  y (N, K) is read only when Q grows."""

    y: Array
    tolerance: float = LEAVES_RANGE[0]
    total: float = field(init=False)
    """||Y||^2"""
    outside: float = field(init=False)
    """||Y||^2 - ||Q^T Y||^2; its error, eps ||Y||^2, is the same for every w, so it cancels in differences of costs."""
    q: Array = field(default_factory=lambda: np.empty((0, 0)))
    """Q^T (s, N), one basis vector per row."""
    projected: Array = field(default_factory=lambda: np.empty((0, 0)))
    """Q^T Y (s, K)."""
    triangle: Array = field(default_factory=lambda: np.empty((0, 0)))
    """L (s, min(s, K))."""

    def __post_init__(self) -> None:
        self.total = self.outside = float(np.vdot(self.y, self.y))
        self.q, self.projected = np.empty((0, len(self.y))), np.empty((0, self.y.shape[1]))

    def include(self, columns: Array) -> None:
        """Extend Q so that columns (N, J) lie in it."""
        new = self._outside(columns)
        if not len(new):
            return
        added = few_rows(new, self.y)
        self.outside = max(self.outside - float(np.vdot(added, added)), 0.0)
        self.q = np.concatenate([self.q, new])
        self.projected = np.concatenate([self.projected, added])
        self.triangle = np.asarray(np.linalg.qr(self.projected.T, mode="r")).T

    def _outside(self, columns: Array) -> Array:
        """Orthonormal rows that span the parts of columns (N, J) outside Q."""
        rest = np.ascontiguousarray(columns.T)
        size = np.sqrt(np.einsum("jn,jn->j", rest, rest))
        keep = np.isfinite(size) & (size > 0)
        rest = rest[keep] / size[keep, None]
        for _ in range(2):
            rest -= (rest @ self.q.T) @ self.q
            rest = rest[np.einsum("jn,jn->j", rest, rest) > self.tolerance**2]
            if not len(rest):
                return rest
        new, r = np.linalg.qr(rest.T)
        largest = np.abs(r).max(axis=1)
        new = new.T[largest > self.tolerance]
        if largest.min() > 1e-4:
            return new
        new -= (new @ self.q.T) @ self.q  # normalising small columns has magnified what was left of Q in them
        return np.asarray(np.linalg.qr(new.T)[0].T)

    def coefficients(self, fac: Factor) -> Array:
        """A (1, I, K) of all right-hand sides, for the factor of Phi in the coordinates of Q."""
        return fac.coefficients(self.projected[None])


@dataclass
class CompressedProblem(SharedColumns):
    """One problem with y (1, N, K), K large; its evaluations are in the coordinates of Q."""

    basis: CurveBasis
    y: Array
    ridge: float = 0.0
    rank_tolerance: float | None = None
    kaufman: bool = False
    cost_tolerance: float = 0.0
    kind = "compressed"
    compiled = None
    range: Range = field(init=False)
    _small: tuple[Array, Array, SeparableProblem] | None = field(init=False, default=None)
    """Phi, Q and the compressed problem made from them."""
    _last: tuple[Array, Array, Array] | None = field(init=False, default=None)
    """w, Phi and D of the latest evaluation, which is the one to be linearised."""

    def __post_init__(self) -> None:
        least, most = LEAVES_RANGE
        self.range = Range(np.ascontiguousarray(self.y[0]), min(most, max(least, 1e-3 * self.cost_tolerance)))

    def evaluate(self, w: Array, problems: Array) -> Evaluation:
        """The evaluation of the compressed problem, with the cost of the whole one."""
        phi, d = self._columns(w, problems)
        self.range.include(np.concatenate([phi, d], axis=1))
        small = self._compressed(phi, d)
        evaluation = small.evaluate(w, problems)
        return Evaluation(
            problems=problems,
            w=w,
            factor=evaluation.factor,
            a=evaluation.a,
            residual=evaluation.residual,
            cost=evaluation.cost + 0.5 * self.range.outside,
            terms=evaluation.terms,
            squares=evaluation.squares,
        )

    def linearise(self, current: Evaluation) -> NormalEquations:
        """H and g; an evaluation made before Q grew is repeated in the new coordinates."""
        phi, d = self._columns(current.w, current.problems)
        small = self._compressed(phi, d)
        if current.residual.shape[1] != len(self.range.q):
            current = small.evaluate(current.w, current.problems)
        return small.linearise(current)

    @property
    def numbers(self) -> int:
        """The size of Phi and D."""
        return self.y.shape[1] * (self.basis.n_columns + len(self.basis.columns))

    @property
    def weighted(self) -> Array:
        """Y (1, N, K)."""
        return self.y

    def size(self, problems: Array) -> Array:
        """(1,) 1/2 ||y||^2, weighted."""
        return np.array([0.5 * self.range.total])

    @one_blas_pool()
    def amplitudes(self, found: Array | None, u: Array) -> Array:
        """A (1, I, K) of all right-hand sides at u (1, F); the search does not compute them."""
        if not np.isfinite(u).all():
            return np.full((1, self.basis.n_columns, self.y.shape[2]), np.nan)
        phi, d = self._columns(u, np.zeros(1, dtype=int))
        self.range.include(phi)
        small = self._compressed(phi, d)
        return self.range.coefficients(small.evaluate(u, np.zeros(1, dtype=int)).factor)

    @one_blas_pool()
    def squares(self, cost: Array, u: Array, a: Array) -> Array:
        """(1,) residual sum of squares; the search's own is a difference of sums, accurate only to eps ||Y||^2, so Y is
        read once more where that is not enough."""
        if self.ridge == 0 and 2.0 * cost[0] > CANCELS * self.range.total:
            return 2.0 * cost
        if not np.isfinite(u).all():
            return np.full(1, np.nan)
        phi, _ = self._columns(u, np.zeros(1, dtype=int))
        return np.array([sums_of_squares(self.y[0], phi, a[0])])

    def _columns(self, w: Array, problems: Array) -> tuple[Array, Array]:
        """Phi (N, I) and D (N, M)."""
        if self._last is None or not np.array_equal(self._last[0], w):
            self._last = (w.copy(), self.basis.basis(w, problems)[0], self.basis.jacobian(w, problems)[0])
        return self._last[1:]

    def _compressed(self, phi: Array, d: Array) -> SeparableProblem:
        q = self.range.q
        if self._small is not None and self._small[0] is phi and self._small[1] is q:
            return self._small[2]
        fixed = _Fixed((q @ phi)[None], (q @ d)[None], self.basis.columns, self.basis.parameters)
        small: SeparableProblem = fit_problem(
            fixed, self.range.triangle[None], ridge=self.ridge, rank_tolerance=self.rank_tolerance, kaufman=self.kaufman
        )
        self._small = (phi, q, small)
        return small


@dataclass(frozen=True)
class _Fixed:
    """Phi and D at one w, in the coordinates of Q."""

    phi: Array
    d: Array
    columns: Array
    parameters: Array

    def basis(self, w: Array, problems: Array) -> Array:
        return self.phi

    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        return self.d
