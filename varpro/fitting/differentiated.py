"""A user's function of one problem and its complex step, without the arrays of a batch: in a search of a curve, those
take longer than the function."""

from collections.abc import Callable

import numpy as np

from varpro.arrays import Array
from varpro.fitting.complex_parts import without_discarding
from varpro.fitting.derivatives import Numeric
from varpro.problems.curves import DirectBasis


class Differentiated:
    """(w (1, P), problems) -> Phi (1, N', I) and D (1, N', M); the arrays are overwritten by the next call.

    function : w (P,) -> (N, I).  extra : rows (N' - N, I) below Phi, beside zeros of D.
    otherwise : called wherever the complex step may not be right, or the result has another shape; it finds out.
    """

    def __init__(
        self,
        function: Callable[[Array], Array],
        shape: tuple[int, int],
        numeric: Numeric,
        extra: Array | None,
        otherwise: DirectBasis,
    ) -> None:
        self.function, self.shape, self.numeric, self.otherwise = function, shape, numeric, otherwise
        n_rows = shape[0] + (0 if extra is None else len(extra))
        self.phi, self.d = np.zeros((1, n_rows, shape[1])), np.zeros((1, n_rows, len(numeric.plan.pairs)))
        if extra is not None:
            self.phi[0, shape[0] :] = extra

    def __call__(self, w: Array, problems: Array) -> tuple[Array, Array]:
        """Phi and D."""
        if not self.numeric.trusted_at(w):
            return self.otherwise(w, problems)
        n_rows = self.shape[0]
        values = np.asarray(self.function(w[0].copy()))  # the function may keep it
        if values.shape != self.shape or np.iscomplexobj(values):
            return self.otherwise(w, problems)
        self.phi[0, :n_rows] = values
        try:
            self._differentiate(w[0], self.d[0, :n_rows])
        except Exception:  # each function refuses complex numbers in its own way
            return self.otherwise(w, problems)
        # past a kink, abs or a real part makes it zero
        if not self.d[0, :n_rows].any(axis=0).all():
            return self.otherwise(w, problems)
        return self.phi, self.d

    def _differentiate(self, w: Array, d: Array) -> None:
        """D (N, M) of the function at w (P,)."""
        h = self.numeric.imaginary_steps(slice(0, 1))[0]
        with without_discarding():
            for group in self.numeric.plan.groups:
                moved = w.astype(complex)
                moved[group.parameters] += 1j * h[group.parameters]
                values = np.asarray(self.function(moved))
                d[:, group.pairs] = values.imag[:, group.columns] / h[group.of_pair]
