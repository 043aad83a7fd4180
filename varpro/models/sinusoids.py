"""Ringing: pairs of columns exp(-g t) cos(omega t), exp(-g t) sin(omega t)."""

from dataclasses import KW_ONLY, dataclass

import numpy as np

from varpro.arrays import Array
from varpro.models.guesses import Signal, best_start
from varpro.models.pencil import ringing
from varpro.models.quantities import FREQUENCY, RATE
from varpro.models.ready import MODELS
from varpro.models.repeated import Repeated


@MODELS.register("damped_sinusoids")
@dataclass(frozen=True, eq=False)
class DampedSinusoids(Repeated):
    """Columns exp(-g_i t) cos(omega_i t) and exp(-g_i t) sin(omega_i t), i = 1..n; w = (g_1, omega_1, g_2, ...).

    g in 1 / unit of t, omega in radians / unit of t; amplitude and phase are the two linear coefficients.
    offset : append a column of ones.
    Holomorphic in w.  `guess` by the matrix pencil (Hua and Sarkar, IEEE Trans. ASSP 38 (1990) 814-824), ascending in
    omega, g positive.  Raises ConfigError for n < 1.
    """

    n: int
    _: KW_ONLY
    offset: bool = False
    parameter_stems = ("damping", "omega")
    column_stems = ("cos", "sin")
    quantities = {"damping": RATE, "omega": FREQUENCY}  # noqa: RUF012

    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        g, omega = v
        decay = np.exp(-g * t)
        return decay * np.cos(omega * t), decay * np.sin(omega * t)

    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        cosine, sine = self.shape(t, *v)
        return -t * cosine, -t * sine, -t * sine, t * cosine

    def propose(self, x: Array, y: Array) -> Array:
        signal = Signal.of(x, y)
        starts = [ringing(signal, self.n, 2 * self.n + more) for more in (int(self.offset), 2, 6)]
        return best_start(self, x, y, [table.ravel() for table in starts])
