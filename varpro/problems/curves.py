"""The problems of fits: their common interface, what they need from a model, and what most of them share."""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from varpro.arrays import Array
from varpro.gauss_newton import NormalEquations
from varpro.kernels.small_fits import Links
from varpro.linalg.projector import factor
from varpro.linalg.truncation import Triplets, residual_slopes, with_ridge_rows
from varpro.problems.columns import WeightedColumns, shared_columns
from varpro.problems.interface import Evaluated
from varpro.problems.separable import Basis, SeparableProblem

if TYPE_CHECKING:
    from varpro.problems.compiled_form import CompiledForm

Columns = Callable[[Array, Array], Array]
"""(t, w) -> columns"""
DirectBasis = Callable[[Array, Array], tuple[Array, Array]]
"""(w (1, P), problems (1,)) -> Phi (1, N, I) and D (1, N, M)"""


class CurveModel(Protocol):
    """The caller's model with its data's t, as much of it as compiled and device searches need besides the basis."""

    @property
    def t(self) -> Array: ...

    @property
    def own_t(self) -> bool:
        """Whether t has a row for each problem."""

    @property
    def together(self) -> bool:
        """Whether many problems are evaluated in one call."""

    @property
    def function(self) -> Columns: ...

    @property
    def columns_function(self) -> Columns | None: ...

    @property
    def pairs(self) -> Array:
        """The column and parameter of each derivative, (M, 2)."""

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (N, I) of the columns."""


class CurveBasis(Basis, Protocol):
    """Phi (b, N', I') and D (b, N', M') of problems at the free parameters u (b, F), weights multiplied in."""

    @property
    def weights(self) -> Array | None:
        """The row weights, (1 or B, N')."""

    @property
    def extra_rows(self) -> Array | None:
        """The rows (L, I') of a ridge, below Phi."""

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
    def box(self) -> tuple[Array, Array] | None:
        """Bounds on the free parameters, (F,) twice, or None."""

    @property
    def program(self) -> Array | None:
        """Columns for the compiled kernel, encoded by small_fits.encode; None if the model must be called."""

    @property
    def spans(self) -> Array | None:
        """The rows of each column of the program, (I, 2); None for all."""

    @property
    def points(self) -> Array:
        """t (1 or B, N) of the program."""

    @property
    def grid(self) -> Array:
        """The same for compiled columns of a device, where excluded rows are moved into the range of the others."""

    @property
    def links(self) -> Links | None:
        """How the program's parameters follow the free ones; None if they are those."""

    @property
    def complex_data(self) -> bool:
        """Whether columns are those of complex ones, real and imaginary parts apart."""

    @property
    def plain(self) -> bool:
        """Whether the model's columns and derivatives at the searched parameters are used unchanged."""

    @property
    def all_pairs(self) -> bool:
        """Whether every pair of the model is searched, unchanged."""

    @property
    def taken(self) -> Array:
        """(M,) the model's pair of each derivative."""

    def factors(self, u: Array, problems: Array) -> Array:
        """(M,) or (b, 1, M) what the model's derivatives, `taken`, are multiplied by."""

    def inside(self, u: Array) -> Array:
        """u (b, F) moved into the bounds."""

    def w(self, u: Array, problems: Array | None = None) -> Array:
        """The model's own parameters (b, P)."""

    def jacobian(self, w: Array, problems: Array, dtype: str = "float64", *, fine: bool = False) -> Array:
        """D; fine=True makes it as accurate as possible, for statistics."""

    def both(self, u: Array, problems: Array) -> tuple[Array, Array]:
        """Phi and D for a step of a search."""

    @property
    def has_secants(self) -> bool:
        """Whether D need not be computed where Phi is known at two u: each column depends on one parameter."""

    def slopes(self, u: Array, problems: Array, phi: Array, rows: Array) -> Array:
        """D for a step of a search, phi[rows] (b, N', I') being Phi."""

    def direct(self, problem: int) -> DirectBasis | None:
        """The caller's functions, called directly for one problem; None where their results need further work."""


Kind = TypeVar("Kind", bound=Evaluated)


class FoundCurves(Evaluated, Protocol):
    """An evaluation with linear parameters."""

    @property
    def a(self) -> Array:
        """The amplitudes, (b, I', K)."""


class CurveProblem(Protocol[Kind]):
    """B problems of one shape, as seen by the search and everything after it; u (b, F) are the free parameters."""

    @property
    def kind(self) -> str:
        """A word for the reader; no decision depends on it."""

    @property
    def basis(self) -> CurveBasis: ...

    @property
    def compiled(self) -> "CompiledForm | None":
        """The problem in a form whose search may run in the kernel, or None."""

    @property
    def ridge(self) -> float:
        """mu of the projector; 0 if a ridge is in the rows below Phi."""

    @property
    def numbers(self) -> int:
        """The size of an evaluation of one problem, which decides how many problems go side by side."""

    def evaluate(self, w: Array, problems: Array) -> Kind:
        """See Problem."""

    def linearise(self, current: Kind) -> NormalEquations:
        """See Problem."""

    def renew(self, current: Kind) -> Kind:
        """See Problem."""

    def size(self, problems: Array) -> Array:
        """See Problem."""

    def amplitudes(self, found: Array | None, u: Array) -> Array:
        """(B, I', K) at u (B, F); `found` (B, I', K) is from the search, or None if it does without amplitudes."""

    def weighted_columns(self, u: Array, problems: Array, a: Array) -> WeightedColumns:
        """Columns of problems at u (b, F) with the amplitudes a (b, I', K); see WeightedColumns."""

    def own_columns(self, columns: Array, problems: Array) -> Array:
        """Columns (b, N', J) with the weights of each right-hand side, (b K, N', J) where they differ."""

    def residual_slopes(self, current: Kind) -> Array:
        """(N', K, M') derivative of the residual of one problem by each pair, with the rows of a ridge below."""

    def squares(self, cost: Array, u: Array, a: Array) -> Array:
        """(B,) weighted residual sums of squares of a fit without a ridge whose cost is (B,)."""


AnyCurveProblem = CurveProblem[Any]
"""Any of the kinds, whose evaluations are passed back to it unexamined"""


def half_square(y: Array) -> Array:
    """1/2 ||y||^2 of each problem, (b,), for y (b, N, K)."""
    return 0.5 * np.einsum("bnk,bnk->b", y, y)


def fit_problem(
    basis: Basis, y: Array, *, ridge: float, rank_tolerance: float | None, kaufman: bool
) -> SeparableProblem:
    """The separable problem of a fit: the scaling has no floor, the first steps have natural scales."""
    return SeparableProblem(
        model=basis,
        y=y,
        ridge=ridge,
        rank_tolerance=rank_tolerance,
        kaufman=kaufman,
        diagonal_floor=0.0,
        column_scales=True,
    )


class FixedData(abc.ABC):
    """What is common to the kinds of problem that keep their data and their amplitudes."""

    @property
    @abc.abstractmethod
    def weighted(self) -> Array:
        """Y (B, N, K) with weights multiplied in."""

    def renew(self, current: Kind) -> Kind:
        """The evaluation itself, since the data are fixed."""
        return current

    def amplitudes(self, found: Array | None, u: Array) -> Array:
        """The amplitudes that the search found."""
        assert found is not None
        return found

    def size(self, problems: Array) -> Array:
        """(b,) 1/2 ||y||^2, weighted."""
        return half_square(self.weighted[problems])

    def squares(self, cost: Array, u: Array, a: Array) -> Array:
        """(B,) weighted residual sums of squares of a fit without a ridge."""
        return 2.0 * cost


class SharedColumns(FixedData):
    """What is common to the kinds of problem in which all right-hand sides have the same columns."""

    basis: CurveBasis

    @property
    @abc.abstractmethod
    def ridge(self) -> float:
        """The ridge mu."""

    @property
    @abc.abstractmethod
    def rank_tolerance(self) -> float | None:
        """The tolerance relative to the largest singular value; None truncates at the rounding of unit columns."""

    def weighted_columns(self, u: Array, problems: Array, a: Array) -> WeightedColumns:
        """See columns.WeightedColumns."""
        return shared_columns(self.basis, self.ridge, u, problems, a)

    def own_columns(self, columns: Array, problems: Array) -> Array:
        """(b, N', J), unchanged, since all right-hand sides share them."""
        return columns

    def residual_slopes(self, current: FoundCurves) -> Array:
        """(N, K, M) derivative of the residual of one problem by each pair, with the rows of a ridge below."""
        phi, d = self.basis.basis(current.w, current.problems), self.basis.jacobian(current.w, current.problems)[0]
        rank = factor(phi, ridge=self.ridge, rank_tolerance=self.rank_tolerance).rank[0]
        whole, y, d = with_ridge_rows(phi[0], self.ridge, self.weighted[current.problems[0]], d)
        return residual_slopes(Triplets.of(whole, int(rank)), y, d, self.basis.columns)
