"""Magnetic relaxation: inversion and saturation recovery, also from magnitude images, whose sign is lost."""

from dataclasses import KW_ONLY, dataclass

import numpy as np

from varpro.arrays import Array
from varpro.models.grids import decades, from_grid
from varpro.models.quantities import INVERSION, TIME
from varpro.models.ready import MODELS
from varpro.models.repeated import Repeated


@MODELS.register("inversion_recovery")
@dataclass(frozen=True, eq=False)
class InversionRecovery(Repeated):
    """phi_i = 1 - f_i exp(-t / T1_i), or its magnitude; w = (t1_1, inversion_1, t1_2, ...), t1 in the unit of t.

    f is 2 for a perfect inversion and 1 after saturation.  magnitude : phi_i = |1 - f_i exp(-t / T1_i)|, as magnitude
        images show it; the column has a kink where the signal passes through zero, t = T1 log f.
    offset : append a column of ones, such as the noise floor of magnitudes.  Without magnitude, Exponentials(1,
        offset=True) fits the same curves, and f is minus the ratio of its amplitudes.
    A fit keeps T1 > 0 and f between 0 and 3.  Real w only for magnitudes.  Example: T1 of tissue.
    `guess` by a grid search.  Raises ConfigError for n < 1.
    """

    n: int = 1
    _: KW_ONLY
    magnitude: bool = False
    offset: bool = False
    parameter_stems = ("t1", "inversion")
    column_stems = ("recovery",)
    quantities = {"t1": TIME, "inversion": INVERSION}  # noqa: RUF012
    movable = False

    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        t1, inversion = v
        signal = 1.0 - inversion * np.exp(-t / t1)
        return (np.abs(signal) if self.magnitude else signal,)

    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        t1, inversion = v
        decay = np.exp(-t / t1)
        sign = np.where(inversion * decay > 1.0, -1.0, 1.0).astype(decay.dtype) if self.magnitude else 1.0
        return -sign * inversion * decay * t / t1**2, -sign * decay

    def natural_bounds(self, t: Array) -> tuple[Array, Array] | None:
        return np.zeros(2 * self.n), np.tile([np.inf, 3.0], self.n)

    def propose(self, x: Array, y: Array) -> Array:
        factors = np.array([0.5, 1.0, 1.5, 1.7, 1.8, 1.9, 1.95, 2.0, 2.1])
        return from_grid(self, x, y, [decades(0.01, 3.0, 40), factors])
