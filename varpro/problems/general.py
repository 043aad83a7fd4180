"""Fits with any number of columns and right-hand sides, by orthogonal factorisation."""

from dataclasses import dataclass

from varpro.arrays import Array
from varpro.gauss_newton import NormalEquations
from varpro.problems.curves import CurveBasis, SharedColumns
from varpro.problems.separable import Evaluation, SeparableProblem


@dataclass(frozen=True)
class GeneralProblem(SharedColumns):
    """The plainest kind: SeparableProblem with the basis of a fit."""

    basis: CurveBasis
    inner: SeparableProblem
    kind = "general"
    compiled = None

    @property
    def ridge(self) -> float:
        """The ridge mu."""
        return self.inner.ridge

    @property
    def rank_tolerance(self) -> float | None:
        """The tolerance that the projector takes."""
        return self.inner.rank_tolerance

    @property
    def weighted(self) -> Array:
        """Y (B, N, K)."""
        return self.inner.y

    @property
    def numbers(self) -> int:
        """The size of Phi and D."""
        return self.inner.y.shape[1] * (self.basis.n_columns + len(self.basis.columns))

    def evaluate(self, w: Array, problems: Array) -> Evaluation:
        """Linear parameters and cost at w (b, F)."""
        return self.inner.evaluate(w, problems)

    def linearise(self, current: Evaluation) -> NormalEquations:
        """H and g."""
        return self.inner.linearise(current)
