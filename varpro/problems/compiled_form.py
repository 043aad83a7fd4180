"""What a compiled search is given: the basis, the data and the options of problems that are small enough for it."""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.kernels.small_fits import MOST_PARAMETERS, Bounds, Links, Pairs
from varpro.problems.curves import CurveBasis


@dataclass(frozen=True)
class CompiledForm:
    """B problems whose searches run in kernels.small_fits."""

    basis: CurveBasis
    y: Array
    """The data with the weights multiplied in, (B, N, K)."""
    program: Array | None
    """The columns of a compiled model; None if the model is called."""
    spans: Array | None
    """The rows of each of these columns, (I, 2); None for all."""
    raw: Array
    """The data that go with a program, (B, N, K): unweighted, since the kernel makes the columns and weights them."""
    pairs: Pairs
    weights: Array | None
    """The weights that the kernel multiplies in, (1 or B, N); None if the columns have them or there are none."""
    ridge: float
    kaufman: bool
    """Whether the term in range(Phi) is left out of H."""
    limits: Bounds | None = None
    """Bounds on the amplitudes, (I',) twice."""

    @classmethod
    def of(
        cls,
        basis: CurveBasis,
        y: Array,
        raw: Array,
        *,
        ridge: float,
        kaufman: bool,
        limits: Bounds | None = None,
    ) -> "CompiledForm":
        """The form of a problem, with compiled columns if the model has them and nothing alters them."""
        program, pairs = basis.program, Pairs(basis.columns, basis.parameters)
        spans, weights = (None, None) if program is None else (basis.spans, basis.weights)
        return cls(basis, y, program, spans, raw, pairs, weights, ridge, kaufman, limits)

    @property
    def searchable(self) -> bool:
        """Whether the kernel searches so many parameters."""
        return self.basis.n_free <= MOST_PARAMETERS

    @property
    def box(self) -> Bounds | None:
        """Bounds on the parameters, (F,) twice."""
        return self.basis.box

    @property
    def parts(self) -> int:
        """The real numbers per value of the data."""
        return 2 if self.basis.complex_data else 1

    @property
    def links(self) -> Links | None:
        """How the parameters of the program follow the searched ones; None if they are those."""
        return self.basis.links

    def rank(self, a: Array) -> Array:
        """(b,) of the columns whose amplitudes a (b, I', K) are inside their bounds: the least over K."""
        if self.limits is None:
            return np.full(len(a), a.shape[1])
        lower, upper = self.limits
        inside = (a > lower[:, None]) & (a < upper[:, None])
        least: Array = inside.sum(axis=1).min(axis=1)
        return least
