"""The problems of fits: what every kind of them answers, what they ask of a model, and what most have in common."""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from varpro.arrays import Array
from varpro.gauss_newton import NormalEquations
from varpro.linalg.projector import factor
from varpro.linalg.truncation import Triplets, residual_slopes, with_ridge_rows
from varpro.problems.columns import WeightedColumns, shared_columns
from varpro.problems.interface import Evaluated
from varpro.problems.separable import Basis, SeparableProblem

if TYPE_CHECKING:
    from varpro.problems.small import SmallProblem

Columns = Callable[[Array, Array], Array]
"""(t, w) -> columns"""
DirectBasis = Callable[[Array, Array], tuple[Array, Array]]
"""(w (1, P), problems (1,)) -> Phi (1, N, I) and D (1, N, M)"""


class CurveModel(Protocol):
    """The caller's model with its data's t, as far as compiled and device searches look behind the basis."""

    @property
    def t(self) -> Array: ...

    @property
    def own_t(self) -> bool:
        """t has a row for each problem"""

    @property
    def together(self) -> bool:
        """many problems are evaluated in one call"""

    @property
    def function(self) -> Columns: ...

    @property
    def columns_function(self) -> Columns | None: ...

    @property
    def pairs(self) -> Array:
        """(M, 2)"""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, I)"""


class CurveBasis(Basis, Protocol):
    """Phi (b, N', I') and D (b, N', M') of problems at the free parameters u (b, F), weights multiplied in."""

    @property
    def weights(self) -> Array | None:
        """(1 or B, N') of rows"""

    @property
    def extra_rows(self) -> Array | None:
        """(L, I') below Phi, of a ridge"""

    @property
    def model(self) -> CurveModel: ...

    @property
    def parameters(self) -> Array:
        """(M',) int32: the free parameter of each pair."""

    @property
    def n_columns(self) -> int:
        """I'"""

    @property
    def n_free(self) -> int:
        """F"""

    @property
    def bounded(self) -> bool:
        """Whether free parameters have bounds."""

    @property
    def program(self) -> Array | None:
        """Columns for the compiled kernel, as small_fits.encode makes them; None where the model must be called."""

    @property
    def grid(self) -> Array:
        """t (1 or B, N) for compiled columns."""

    def w(self, u: Array, problems: Array | None = None) -> Array:
        """The model's own parameters (b, P)."""

    def jacobian(self, w: Array, problems: Array, dtype: str = "float64", *, fine: bool = False) -> Array:
        """D; fine: to the last digit, for statistics."""

    def both(self, u: Array, problems: Array) -> tuple[Array, Array]:
        """Phi and D for a step of a search."""

    def direct(self, problem: int) -> DirectBasis | None:
        """The caller's functions with nothing between, for one problem; None where something has to be done."""


Kind = TypeVar("Kind", bound=Evaluated)


class FoundCurves(Evaluated, Protocol):
    """An evaluation that has linear parameters."""

    @property
    def a(self) -> Array:
        """(b, I', K)"""


class CurveProblem(Protocol[Kind]):
    """B problems of one shape, as the search and everything after it see them; u (b, F) are the free parameters."""

    @property
    def kind(self) -> str:
        """A word for people; nothing is decided by it."""

    @property
    def basis(self) -> CurveBasis: ...

    @property
    def compiled(self) -> "SmallProblem | None":
        """The problem in the form whose search may run in the kernel, or None."""

    @property
    def ridge(self) -> float:
        """mu of the projector; 0 where a ridge stands in rows below Phi."""

    @property
    def numbers(self) -> int:
        """Numbers that an evaluation of one problem makes, which decides how many go side by side."""

    def evaluate(self, w: Array, problems: Array) -> Kind:
        """See Problem."""

    def linearise(self, current: Kind) -> NormalEquations:
        """See Problem."""

    def renew(self, current: Kind) -> Kind:
        """See Problem."""

    def size(self, problems: Array) -> Array:
        """See Problem."""

    def amplitudes(self, found: Array | None, u: Array) -> Array:
        """(B, I', K) at u (B, F), where the search found `found` (B, I', K), None if it goes without them."""

    def weighted_columns(self, u: Array, problems: Array, a: Array) -> WeightedColumns:
        """Columns of problems at u (b, F) with the amplitudes a (b, I', K), see WeightedColumns."""

    def own_columns(self, columns: Array, problems: Array) -> Array:
        """Columns (b, N', J) with the weights of each right-hand side, where they differ: (b K, N', J)."""

    def residual_slopes(self, current: Kind) -> Array:
        """(N', K, M') derivative of the residual of one problem by each pair, rows of a ridge below."""

    def squares(self, cost: Array, u: Array, a: Array) -> Array:
        """(B,) residual sums of squares of a fit without a ridge, rows weighted, where its cost is (B,)."""


AnyCurveProblem = CurveProblem[Any]
"""One kind or another, whose evaluations go back to it unseen"""


def half_square(y: Array) -> Array:
    """1/2 ||y||^2 of each problem, (b,), for y (b, N, K)."""
    return 0.5 * np.einsum("bnk,bnk->b", y, y)


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


class SharedColumns(abc.ABC):
    """What the kinds of problem have in common in which every right-hand side has the same columns."""

    basis: CurveBasis

    @property
    @abc.abstractmethod
    def ridge(self) -> float:
        """mu"""

    @property
    @abc.abstractmethod
    def rank_tolerance(self) -> float | None:
        """Relative to the largest singular value; None: rounding of unit columns."""

    @property
    @abc.abstractmethod
    def weighted(self) -> Array:
        """Y (B, N, K) with weights multiplied in"""

    def renew(self, current: Kind) -> Kind:
        """Fixed data."""
        return current

    def amplitudes(self, found: Array | None, u: Array) -> Array:
        """As found."""
        assert found is not None
        return found

    def weighted_columns(self, u: Array, problems: Array, a: Array) -> WeightedColumns:
        """See columns.WeightedColumns."""
        return shared_columns(self.basis, self.ridge, u, problems, a)

    def own_columns(self, columns: Array, problems: Array) -> Array:
        """(b, N', J): all right-hand sides share them."""
        return columns

    def size(self, problems: Array) -> Array:
        """(b,) 1/2 ||y||^2, weighted."""
        return half_square(self.weighted[problems])

    def residual_slopes(self, current: FoundCurves) -> Array:
        """(N, K, M) derivative of the residual of one problem by each pair, rows of a ridge below."""
        phi, d = self.basis.basis(current.w, current.problems), self.basis.jacobian(current.w, current.problems)[0]
        rank = factor(phi, ridge=self.ridge, rank_tolerance=self.rank_tolerance).rank[0]
        whole, y, d = with_ridge_rows(phi[0], self.ridge, self.weighted[current.problems[0]], d)
        return residual_slopes(Triplets.of(whole, int(rank)), y, d, self.basis.columns)

    def squares(self, cost: Array, u: Array, a: Array) -> Array:
        """(B,) residual sums of squares of a fit without a ridge, rows weighted."""
        return 2.0 * cost
