"""The kinds of problem that a fit may become, behind one interface, and the plainest of them."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from varpro.arrays import Array
from varpro.fitting.basis import FitBasis
from varpro.gauss_newton import NormalEquations, linearise
from varpro.problems.columns import WeightedColumns, shared_columns
from varpro.problems.separable import Basis, Evaluation, SeparableProblem


class FitProblem(Protocol):
    """B problems of one shape, as the search and everything after it see them; u (b, F) are the free parameters."""

    @property
    def kind(self) -> str:
        """A word for people; nothing is decided by it."""

    @property
    def basis(self) -> FitBasis: ...

    @property
    def compiled(self) -> Any:
        """The problem as a SmallProblem, whose search may run in the kernel, or None."""

    @property
    def numbers(self) -> int:
        """Numbers that an evaluation of one problem makes, which decides how many go side by side."""

    def evaluate(self, w: Array, problems: Array) -> Any: ...

    def linearise(self, current: Any) -> NormalEquations: ...

    def renew(self, current: Any) -> Any: ...

    def size(self, problems: Array) -> Array:
        """(b,) 1/2 ||y||^2, weighted."""

    def amplitudes(self, found: Array, u: Array) -> Array:
        """(B, I', K) at u (B, F), where the search found `found` (B, I', K)."""

    def weighted_columns(self, u: Array, problems: Array, a: Array) -> WeightedColumns:
        """Columns of problems at u (b, F) with the amplitudes a (b, I', K), see WeightedColumns."""

    def own_columns(self, columns: Array, problems: Array) -> Array:
        """Columns (b, N', J) with the weights of each right-hand side, where they differ: (b K, N', J)."""

    def squares(self, cost: Array, u: Array, a: Array) -> Array:
        """(B,) residual sums of squares of a fit without a ridge, rows weighted, where its cost is (B,)."""


def half_square(y: Array) -> Array:
    """1/2 ||y||^2 of each problem, (b,), for y (b, N, K)."""
    out: Array = 0.5 * np.einsum("bnk,bnk->b", y, y)
    return out


def fit_problem(
    basis: Basis, y: Array, *, ridge: float, rank_tolerance: float | None, kaufman: bool
) -> SeparableProblem:
    """The separable problem of a fit: no floor under the scaling, natural scales for the first steps."""
    return SeparableProblem(
        model=basis,
        y=y,
        ridge=ridge,
        rank_tolerance=rank_tolerance,
        kaufman=kaufman,
        diagonal_floor=0.0,
        column_scales=True,
    )


class SharedColumns:
    """What the kinds of problem have in common in which every right-hand side has the same columns.

    Of a kind it uses `basis` and `ridge`.
    """

    basis: FitBasis

    @property
    def ridge(self) -> float:
        """mu"""
        raise NotImplementedError

    def renew(self, current: Any) -> Any:
        """Fixed data."""
        return current

    def amplitudes(self, found: Array, u: Array) -> Array:
        """As found."""
        return found

    def weighted_columns(self, u: Array, problems: Array, a: Array) -> WeightedColumns:
        """See columns.WeightedColumns."""
        return shared_columns(self.basis, self.ridge, u, problems, a)

    def own_columns(self, columns: Array, problems: Array) -> Array:
        """(b, N', J): all right-hand sides share them."""
        return columns

    def squares(self, cost: Array, u: Array, a: Array) -> Array:
        """(B,) residual sums of squares of a fit without a ridge, rows weighted."""
        return 2.0 * cost


@dataclass(frozen=True)
class GeneralProblem(SharedColumns):
    """Any number of columns and right-hand sides, by orthogonal factorisation."""

    basis: FitBasis
    inner: SeparableProblem
    kind = "general"
    compiled = None

    @property
    def ridge(self) -> float:
        """mu"""
        return self.inner.ridge

    @property
    def numbers(self) -> int:
        """Phi and D."""
        return self.inner.y.shape[1] * (self.basis.n_columns + len(self.basis.columns))

    def evaluate(self, w: Array, problems: Array) -> Evaluation:
        """Linear parameters and cost at w (b, F)."""
        return self.inner.evaluate(w, problems)

    def linearise(self, current: Evaluation) -> NormalEquations:
        """H and g."""
        return linearise(self.inner, current)

    def size(self, problems: Array) -> Array:
        """(b,) 1/2 ||y||^2"""
        return half_square(self.inner.y[problems])
