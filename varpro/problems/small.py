"""Many problems with few columns and right-hand sides: the compiled one-pass kernel behind the search.

A problem whose basis is not finite or not of full rank is passed, for that evaluation, to the truncated factorisation.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.gauss_newton import NormalEquations, scaling
from varpro.kernels import small_fits
from varpro.linalg.incidence import symmetric
from varpro.problems.compiled_form import CompiledForm
from varpro.problems.curves import CurveBasis, SharedColumns
from varpro.problems.general import GeneralProblem


@dataclass(frozen=True, slots=True)
class SmallEvaluation:
    """What is known of b problems at u (b, F)."""

    problems: Array
    w: Array
    a: Array
    """The amplitudes, (b, I, K)."""
    cost: Array
    terms: Array
    rank: Array
    """The rank of the basis, (b,)."""
    phi: Array
    """Phi (b, N, I) while its derivatives are still to be computed, else (b, 0, 0)."""
    h: Array
    """H (b, F, F), with `gradient` and `natural` (b, F), if computed with the values, else (b, 0, 0)."""
    gradient: Array
    natural: Array


@dataclass(frozen=True)
class SmallProblem(SharedColumns):
    """B problems; `general` is the same problem by orthogonal factorisation."""

    basis: CurveBasis
    general: GeneralProblem
    """The same problem by orthogonal factorisation, with the weights multiplied into y."""
    form: CompiledForm
    """What the kernel is given."""
    kind = "small"

    @classmethod
    def of(cls, general: GeneralProblem, raw: Array) -> "SmallProblem":
        """The small form of a general problem; with compiled columns if the model has them and nothing alters them.

        raw : y before the weights.
        """
        basis, kaufman = general.basis, general.inner.kaufman
        form = CompiledForm.of(basis, general.weighted, raw, ridge=general.ridge, kaufman=kaufman)
        return cls(basis, general, form)

    @property
    def compiled(self) -> CompiledForm | None:
        """The form for a compiled search; None if that does not take so many parameters."""
        return self.form if self.form.searchable else None

    @property
    def ridge(self) -> float:
        """The ridge mu."""
        return self.general.ridge

    @property
    def kaufman(self) -> bool:
        """Whether the term in range(Phi) is left out of H."""
        return self.general.inner.kaufman

    @property
    def rank_tolerance(self) -> float | None:
        """The tolerance that the projector takes."""
        return self.general.rank_tolerance

    @property
    def weighted(self) -> Array:
        """Y (B, N, K)."""
        return self.general.weighted

    @property
    def numbers(self) -> int:
        """The size of the kernel's scratch, if everything is computed inside it."""
        return 256 if self.form.program is not None else self.general.numbers

    @property
    def ahead(self) -> bool:
        """Whether derivatives are computed with the values: compiled, they are nearly free, and in a batch a second
        pass over the problems' arrays would cost more than the derivatives of rejected steps."""
        return self.form.program is not None or self.basis.model.together

    def evaluate(self, w: Array, problems: Array) -> SmallEvaluation:
        """Linear parameters and cost at w (b, F); a compiled model also gets H and g in the same pass."""
        form, count = self.form, len(w)
        if form.program is not None:
            points, own = self.basis.points, self.basis.inside(w)
            out = small_fits.from_program(
                form.program, points, own, form.raw, problems, form.pairs,
                weights=form.weights, ridge=self.ridge, kaufman=self.kaufman, spans=form.spans,
                links=form.links, parts=form.parts,
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
        """H and g, computed now or with the values."""
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
            phi, d, self.form.y, problems, self.form.pairs, n_parameters, ridge=self.ridge, kaufman=self.kaufman
        )


def _nothing(count: int) -> tuple[Array, Array, Array]:
    return np.empty((count, 0, 0)), np.empty((count, 0)), np.empty((count, 0))


def _replace(out: small_fits.SmallFits, hard: Array, part: NormalEquations) -> None:
    """Put in H, g and natural scales of the problems `hard` (b,) from the orthogonal route; those that are not finite
    get values with which no step is made."""
    out.h[hard] = symmetric(part.h)
    out.gradient[hard] = part.gradient
    assert part.natural is not None
    out.natural[hard] = part.natural
