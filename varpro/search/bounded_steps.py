"""A damped step inside a box: the quadratic model is minimised over the free parameters of an active set.

A parameter on its bound whose gradient points outwards stays there.  One whose step would leave the box is put on the
bound, and the others are solved for again with that in place, so their step takes the bound into account and nothing is
clipped afterwards.  Bertsekas, SIAM J. Control Optim. 20 (1982) 221-246.
"""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from varpro.arrays import Array
from varpro.gauss_newton import NormalEquations, Step
from varpro.linalg.damped import damped_step
from varpro.linalg.incidence import symmetric
from varpro.problems.interface import Evaluated, Problem


@dataclass(frozen=True, slots=True)
class BoundedEquations:
    """Normal equations of b problems at w (b, P) with lower, upper (b, P)."""

    h: Array
    """The Gauss-Newton matrix, (b, P, P) symmetric."""
    full_gradient: Array
    diagonal: Array
    w: Array
    lower: Array
    upper: Array
    natural: Array | None = None

    @property
    def curvature(self) -> Array:
        """(b, P) diag H; infinite where a bound holds a parameter, since the bound then determines it."""
        return np.where(self._held, np.inf, np.diagonal(self.h, axis1=1, axis2=2))

    @property
    def gradient(self) -> Array:
        """(b, P) the projected gradient: zero where a bound holds the parameter back."""
        return np.where(self._held, 0.0, self.full_gradient)

    @property
    def _held(self) -> Array:
        outward_low = (self.w <= self.lower) & (self.full_gradient > 0)
        outward_high = (self.w >= self.upper) & (self.full_gradient < 0)
        return outward_low | outward_high

    def solve(self, damping: Array) -> Step:
        """The damped step that stays in the box, (b, P)."""
        n_parameters = self.w.shape[1]
        fixed, delta = self._held, np.zeros_like(self.w)
        solved = np.ones(len(self.w), dtype=bool)
        for _ in range(n_parameters + 1):
            delta, solved = self._solve_free(damping, fixed, np.where(fixed, delta, 0.0))
            below, above = self.w + delta < self.lower, self.w + delta > self.upper
            outside = (below | above) & ~fixed
            if not outside.any():
                break
            delta = np.where(outside, np.where(below, self.lower, self.upper) - self.w, delta)
            fixed = fixed | outside
        curvature = np.einsum("bp,bpq,bq->b", delta, self.h, delta)
        predicted = -np.einsum("bp,bp->b", self.full_gradient, delta) - 0.5 * curvature
        return Step(delta, predicted, solved)

    def _solve_free(self, damping: Array, fixed: Array, held: Array) -> tuple[Array, Array]:
        """(H_FF + lambda d_F) s_F = -g_F - H_FB s_B with s_B = held; fixed rows and columns become the identity."""
        rhs = np.where(fixed, 0.0, -self.full_gradient - np.einsum("bpq,bq->bp", self.h, held))
        free = ~fixed
        h = self.h * (free[:, :, None] & free[:, None, :]) + np.eye(self.w.shape[1]) * fixed[:, :, None]
        step, solved = damped_step(h, np.where(fixed, 1.0, self.diagonal), damping, rhs)
        return np.where(fixed, held, step), solved


Kind = TypeVar("Kind", bound=Evaluated)


class NormalProblem(Problem[Kind], Protocol[Kind]):
    """A problem whose linearisation is a matrix H."""

    def linearise(self, current: Kind) -> NormalEquations: ...


@dataclass(frozen=True)
class InBox(Generic[Kind]):
    """A problem whose steps stay within lower, upper (P,)."""

    problem: NormalProblem[Kind]
    lower: Array
    upper: Array

    def evaluate(self, w: Array, problems: Array) -> Kind:
        """The evaluation, which bounds do not affect."""
        return self.problem.evaluate(w, problems)

    def linearise(self, current: Kind) -> BoundedEquations:
        """The normal equations with the bounds."""
        return inside(self.problem.linearise(current), current.w, self.lower, self.upper)

    def renew(self, current: Kind) -> Kind:
        """The renewed evaluation, which bounds do not affect."""
        return self.problem.renew(current)

    def size(self, problems: Array) -> Array:
        """The size, which bounds do not affect."""
        return self.problem.size(problems)


def inside(model: NormalEquations, w: Array, lower: Array, upper: Array) -> BoundedEquations:
    """Normal equations at w (b, P) with bounds (P,)."""
    wide = [np.broadcast_to(bound, w.shape) for bound in (lower, upper)]
    return BoundedEquations(symmetric(model.h), model.gradient, model.diagonal, w, wide[0], wide[1], model.natural)
