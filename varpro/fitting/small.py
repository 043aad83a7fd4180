"""Problems of few columns and right-hand sides, many at a time: the compiled one-pass kernel behind the search.

A problem whose Gram matrix is too ill-conditioned goes, for that evaluation, to the orthogonal factorisation.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.fitting.basis import FitBasis
from varpro.gauss_newton import NormalEquations, linearise, scaling
from varpro.kernels import small_fits
from varpro.problem import SeparableProblem

CONDITION_LIMIT = 1e10
"""kappa_1 of the scaled Gram matrix, the square of Phi's: refined once, a is then as good as from QR."""


@dataclass(frozen=True, slots=True)
class SmallEvaluation:
    """What is known of b problems at u (b, F)."""

    problems: Array
    w: Array
    a: Array
    """(b, I, K)"""
    cost: Array
    rank: Array
    """(b,)"""
    phi: Array
    """(b, N, I) where the derivatives are still to be made, else (b, 0, 0)"""
    h: Array
    """(b, F, F) and (b, F) where they are made with the values, else (b, 0, 0)"""
    gradient: Array


@dataclass(frozen=True)
class SmallProblem:
    """B problems; y (B, N, K).  `general` is the same by orthogonal factorisation."""

    basis: FitBasis
    general: SeparableProblem
    """with weights multiplied into y"""
    y: Array
    """(B, N, K) as the kernel gets it: not weighted where it makes the columns, and weights them, itself"""
    program: Array | None
    """columns of a compiled model; None where the model is called"""
    pairs: small_fits.Pairs
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, basis: FitBasis, general: SeparableProblem, raw: Array) -> "SmallProblem":
        """From the general form; compiled columns where the model has them and nothing changes them.

        raw : y before the weights.
        """
        model = basis.model
        program = small_fits.encode(model.program) if model.program is not None and basis.plain else None
        pairs = small_fits.Pairs(basis.columns, basis.parameters)
        options: dict[str, Any] = {"ridge": general.ridge, "kaufman": general.kaufman}
        if program is not None:
            options["weights"] = basis.weights
        return cls(basis, general, general.y if program is None else raw, program, pairs, options)

    @property
    def ahead(self) -> bool:
        """Derivatives are made with the values: compiled, they are nearly free, and for a batch the second pass over
        the problems' arrays would cost more than the derivatives of steps that are rejected."""
        return self.program is not None or self.basis.model.together

    def evaluate(self, w: Array, problems: Array) -> SmallEvaluation:
        """Linear parameters and cost at w (b, F); with a compiled model H and g, too, in the same pass."""
        y, count = self.y, len(w)
        if self.program is not None:
            t = self.basis.model.t
            grid = t if self.basis.model.own_t else t[None]
            out = small_fits.from_program(self.program, grid, self.basis.w(w), y, problems, self.pairs, **self.options)
            phi, h, gradient = np.empty((count, 0, 0)), out.h, out.gradient
        elif self.ahead:
            phi, d = self.basis.basis(w, problems), self.basis.jacobian(w, problems)
            out = small_fits.from_arrays(phi, d, y, problems, self.pairs, w.shape[1], **self.options)
            phi, h, gradient = np.empty((count, 0, 0)), out.h, out.gradient
        else:
            phi = self.basis.basis(w, problems)
            out = small_fits.from_arrays(phi, None, y, problems, self.pairs, w.shape[1], **self.options)
            h, gradient = np.empty((count, 0, 0)), np.empty((count, 0))
        rank = np.full(count, out.a.shape[1])
        hard = ~(out.condition < CONDITION_LIMIT)
        if hard.any():
            slow = self.general.evaluate(w[hard], problems[hard])
            out.a[hard], out.cost[hard], rank[hard] = slow.a, slow.cost, slow.rank
            if self.ahead:
                part = self._equations(slow)
                h[hard], gradient[hard] = _symmetric(part.h), part.gradient
        cost = np.where(np.isfinite(out.cost), out.cost, np.inf)
        return SmallEvaluation(problems, w, out.a, cost, rank, phi, h, gradient)

    def _equations(self, slow: Any) -> NormalEquations:
        """H and g of problems by the orthogonal route; those that are not finite get ones that no step is made with."""
        return linearise(self.general, slow)

    def linearise(self, current: SmallEvaluation) -> NormalEquations:
        """H and g, made now or with the values."""
        h, gradient = current.h, current.gradient
        if not self.ahead:
            d = self.basis.jacobian(current.w, current.problems)
            size = current.w.shape[1]
            out = small_fits.from_arrays(current.phi, d, self.y, current.problems, self.pairs, size, **self.options)
            h, gradient = out.h, out.gradient
            hard = ~(out.condition < CONDITION_LIMIT)
            if hard.any():
                part = self._equations(self.general.evaluate(current.w[hard], current.problems[hard]))
                h[hard], gradient[hard] = _symmetric(part.h), part.gradient
        return NormalEquations(h, gradient, scaling(np.diagonal(h, axis1=1, axis2=2)))

    def renew(self, current: SmallEvaluation) -> SmallEvaluation:
        """Fixed data."""
        return current


def linearise_small(problem: SmallProblem, current: SmallEvaluation) -> NormalEquations:
    """As gauss_newton.linearise, for the search loop."""
    return problem.linearise(current)


def _symmetric(h: Array) -> Array:
    lower: Array = np.tril(h) + np.tril(h, -1).mT
    return lower
