"""Problems of few columns and right-hand sides, many at a time: the compiled one-pass kernel behind the search.

A problem whose basis is not finite or not of full rank goes, for that evaluation, to the truncated factorisation.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.gauss_newton import NormalEquations, scaling
from varpro.kernels import small_fits
from varpro.linalg.incidence import symmetric
from varpro.problems.curves import CurveBasis, SharedColumns
from varpro.problems.general import GeneralProblem


@dataclass(frozen=True, slots=True)
class SmallEvaluation:
    """What is known of b problems at u (b, F)."""

    problems: Array
    w: Array
    a: Array
    """(b, I, K)"""
    cost: Array
    terms: Array
    rank: Array
    """(b,)"""
    phi: Array
    """(b, N, I) where the derivatives are still to be made, else (b, 0, 0)"""
    h: Array
    """(b, F, F), and (b, F) below, where they are made with the values, else (b, 0, 0)"""
    gradient: Array
    natural: Array


@dataclass(frozen=True)
class SmallProblem(SharedColumns):
    """B problems; y (B, N, K).  `general` is the same by orthogonal factorisation."""

    basis: CurveBasis
    general: GeneralProblem
    """with weights multiplied into y"""
    y: Array
    """(B, N, K) as the kernel gets it: not weighted where it makes the columns, and weights them, itself"""
    program: Array | None
    """columns of a compiled model; None where the model is called"""
    pairs: small_fits.Pairs
    weights: Array | None
    """(1 or B, N) that the kernel multiplies in; None where they are in the columns, or there are none"""
    kind = "small"

    @classmethod
    def of(cls, general: GeneralProblem, raw: Array) -> "SmallProblem":
        """From the general form; compiled columns where the model has them and nothing changes them.

        raw : y before the weights.
        """
        basis, inner = general.basis, general.inner
        program, pairs = basis.program, small_fits.Pairs(basis.columns, basis.parameters)
        if program is None:
            return cls(basis, general, inner.y, None, pairs, None)
        return cls(basis, general, raw, program, pairs, basis.weights)

    @property
    def compiled(self) -> "SmallProblem | None":
        """Itself, unless a step has bounds to keep, or the parameters are too many for the kernel."""
        return None if self.basis.bounded or self.basis.n_free > small_fits.MOST_PARAMETERS else self

    @property
    def ridge(self) -> float:
        """mu"""
        return self.general.ridge

    @property
    def kaufman(self) -> bool:
        """The term in range(Phi) is left out of H"""
        return self.general.inner.kaufman

    @property
    def rank_tolerance(self) -> float | None:
        """As the projector takes it"""
        return self.general.rank_tolerance

    @property
    def weighted(self) -> Array:
        """Y (B, N, K)"""
        return self.general.weighted

    @property
    def numbers(self) -> int:
        """Of the kernel's scratch, where nothing is made outside it."""
        return 256 if self.program is not None else self.general.numbers

    @property
    def ahead(self) -> bool:
        """Derivatives are made with the values: compiled, they are nearly free, and for a batch the second pass over
        the problems' arrays would cost more than the derivatives of steps that are rejected."""
        return self.program is not None or self.basis.model.together

    def evaluate(self, w: Array, problems: Array) -> SmallEvaluation:
        """Linear parameters and cost at w (b, F); with a compiled model H and g, too, in the same pass."""
        y, count = self.y, len(w)
        if self.program is not None:
            grid, own = self.basis.grid, self.basis.w(w, problems)
            out = small_fits.from_program(
                self.program, grid, own, y, problems, self.pairs,
                weights=self.weights, ridge=self.ridge, kaufman=self.kaufman,
            )  # fmt: skip
            phi = np.empty((count, 0, 0))
        elif self.ahead:
            phi, d = self.basis.both(w, problems)
            out = self._from_arrays(phi, d, problems, w.shape[1])
            phi = np.empty((count, 0, 0))
        else:
            phi = self.basis.basis(w, problems)
            out = self._from_arrays(phi, None, problems, w.shape[1])
        rank = np.full(count, out.a.shape[1])
        hard = ~np.isfinite(out.condition)
        if hard.any():
            slow = self.general.evaluate(w[hard], problems[hard])
            out.a[hard], out.cost[hard], rank[hard] = slow.a, slow.cost, slow.rank
            out.terms[hard] = slow.terms
            if self.ahead:
                _replace(out, hard, self.general.linearise(slow))
        cost = np.where(np.isfinite(out.cost), out.cost, np.inf)
        made = (out.h, out.gradient, out.natural) if self.ahead else _nothing(count)
        return SmallEvaluation(problems, w, out.a, cost, out.terms, rank, phi, *made)

    def linearise(self, current: SmallEvaluation) -> NormalEquations:
        """H and g, made now or with the values."""
        h, gradient, natural = current.h, current.gradient, current.natural
        if not self.ahead:
            d = self.basis.jacobian(current.w, current.problems)
            out = self._from_arrays(current.phi, d, current.problems, current.w.shape[1])
            hard = ~np.isfinite(out.condition)
            if hard.any():
                slow = self.general.evaluate(current.w[hard], current.problems[hard])
                _replace(out, hard, self.general.linearise(slow))
            h, gradient, natural = out.h, out.gradient, out.natural
        return NormalEquations(h, gradient, scaling(np.diagonal(h, axis1=1, axis2=2), 0.0), natural)

    def _from_arrays(self, phi: Array, d: Array | None, problems: Array, n_parameters: int) -> small_fits.SmallFits:
        return small_fits.from_arrays(
            phi, d, self.y, problems, self.pairs, n_parameters, ridge=self.ridge, kaufman=self.kaufman
        )


def _nothing(count: int) -> tuple[Array, Array, Array]:
    return np.empty((count, 0, 0)), np.empty((count, 0)), np.empty((count, 0))


def _replace(out: small_fits.SmallFits, hard: Array, part: NormalEquations) -> None:
    """H, g and natural scales of problems `hard` (b,) by the orthogonal route; those that are not finite get ones that
    no step is made with."""
    out.h[hard] = symmetric(part.h)
    out.gradient[hard] = part.gradient
    assert part.natural is not None
    out.natural[hard] = part.natural
