"""Steepest descent on the variable projection functional, and the squashed outputs of Pereyra's appendix.

    s = -g / (lambda kappa),    kappa = ||g||^2 / f

lambda = 1 is Polyak's step for a minimum of zero, so the search's rules for lambda hold without a scale from the user;
nothing of the Gauss-Newton matrix is made.  With squash, the outputs O = Phi A of the linear solution are bent by a
sigmoid S before they are compared with Y, and the columns move both O and A:

    f = 1/2 ||S(O) - Y||^2,    G = (S(O) - Y) o S'(O),    df = <(I - U U^T) G A^T + R (Phi^+ G)^T, dPhi>

Sections 8.1 and 8.2 of the paper; B. T. Polyak, USSR Comput. Math. Math. Phys. 9 (1969) 14-29.
"""

from dataclasses import dataclass, replace

import numpy as np

from varpro.arrays import Array, beside, namespace, to_host
from varpro.gauss_newton import Step
from varpro.linalg.truncation import NEGLIGIBLE
from varpro.problems.separable import Evaluation, SeparableProblem

STEEPNESS = 4.0
"""S(o) = 1 / (1 + exp(-4 (o - 1/2))) has slope 1 at o = 1/2: it agrees with o there, and stays in (0, 1)."""


def squashed(outputs: Array) -> Array:
    """S of outputs of any shape."""
    half = 0.5 * namespace(outputs).tanh(0.5 * STEEPNESS * (outputs - 0.5))
    found: Array = half + 0.5
    return found


@dataclass(frozen=True, slots=True)
class Slope:
    """What is known of b problems if only the gradient is: H is taken as kappa I."""

    gradient: Array
    """The gradient g, (b, P)."""
    diagonal: Array
    """kappa for each parameter, (b, P)."""
    natural: None = None

    @property
    def curvature(self) -> Array:
        """kappa for each parameter, (b, P)."""
        return self.diagonal

    def solve(self, damping: Array) -> Step:
        """-g / (lambda kappa) for damping (b,); the model promises half of -g^T s."""
        weight = beside(damping[:, None], self.gradient) * self.diagonal
        moving = weight > 0
        delta = np.where(moving, -self.gradient / np.where(moving, weight, 1.0), 0.0)
        predicted = -0.5 * np.einsum("bp,bp->b", delta, self.gradient)
        return Step(delta, to_host(predicted), np.ones(len(damping), dtype=bool))


@dataclass(frozen=True, kw_only=True)
class DescentProblem(SeparableProblem):
    """The problems of `SeparableProblem`, linearised to their gradient alone."""

    squash: bool = False
    """Whether outputs pass S before they are compared with Y; a ridge then only acts on A."""

    def evaluate(self, w: Array, problems: Array) -> Evaluation:
        found = SeparableProblem.evaluate(self, w, problems)
        if not self.squash:
            return found
        missed = squashed(self._y(problems) - found.residual) - self._y(problems)
        cost = to_host(0.5 * np.einsum("bnk,bnk->b", missed, missed))
        return replace(found, cost=np.where(np.isfinite(cost), cost, np.inf))

    def linearise(self, current: Evaluation) -> Slope:  # type: ignore[override]
        """The gradient and its scale; D in the dtype of `gn_precision`, sums in float64."""
        model, xp = self.model, namespace(current.w)
        dtype = "float32" if self.gn_precision == "tf32" else self.gn_precision
        d = model.jacobian(current.w, current.problems, dtype)
        by_columns = self._by_columns(current)
        gradient = xp.stack(
            [np.einsum("nm,nm->m", one, of[:, model.columns]) for one, of in zip(d, by_columns, strict=True)]
        )
        cut = np.flatnonzero(to_host(current.factor.left_out) > NEGLIGIBLE)
        if len(cut) and not self.squash:
            gradient[beside(cut, gradient)] = self._truncated_gradient(current, d, cut)
        if model.parameters is not None:
            incidence = xp.zeros((len(model.parameters), current.w.shape[1]))
            incidence[xp.arange(len(model.parameters)), model.parameters] = 1.0
            gradient = gradient @ incidence
        square = np.einsum("bp,bp->b", gradient, gradient)
        cost = beside(np.maximum(current.cost, np.finfo(float).tiny), square)
        return Slope(gradient, (square / cost)[:, None] * xp.ones(gradient.shape[1]))

    def _by_columns(self, current: Evaluation) -> Array:
        """df / dPhi, (b, N, I)."""
        if not self.squash:
            return -current.residual @ current.a.mT
        y, u = self._y(current.problems), current.factor.u
        bent = squashed(y - current.residual)
        g = (bent - y) * STEEPNESS * bent * (1.0 - bent)
        outside = g - u @ (u.mT @ g)
        return outside @ current.a.mT + current.residual @ current.factor.coefficients(g).mT

    def _y(self, problems: Array) -> Array:
        """The right-hand sides of problems, (b, N, K)."""
        return self.y if len(problems) == len(self.y) else self.y[beside(problems, self.y)]
