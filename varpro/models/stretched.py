"""Stretched exponentials: relaxation with a distribution of lifetimes, after Kohlrausch, Williams and Watts."""

from dataclasses import KW_ONLY, dataclass

import numpy as np

from varpro.arrays import Array
from varpro.models.grids import decades, from_grid
from varpro.models.quantities import STRETCH, TIME
from varpro.models.ready import MODELS
from varpro.models.repeated import Repeated

BETAS = np.array([0.3, 0.5, 0.7, 0.85, 1.0, 1.4, 2.0])
LIMITS = (0.02, 20.0)
"""Bounds of beta: below, the column is a constant but for t = 0; above, a step."""


@MODELS.register("stretched_exponentials")
@dataclass(frozen=True, eq=False)
class StretchedExponentials(Repeated):
    """phi_i = exp(-(t / tau_i)^beta_i) for t >= 0; w = (tau_1, beta_1, tau_2, ...), tau in the unit of t.

    beta < 1 stretches the decay, beta > 1 compresses it; at beta = 1 it is an exponential, whose mean lifetime is
    tau Gamma(1 / beta) / beta in general.  offset : append a column of ones.
    A fit keeps tau > 0 and beta between 0.02 and 20.  Holomorphic in w; negative t gives nan.  Example: the decay of a
    glass's dielectric polarisation.  `guess` by a grid search.  Raises ConfigError for n < 1.
    """

    n: int
    _: KW_ONLY
    offset: bool = False
    parameter_stems = ("tau", "beta")
    column_stems = ("stretched",)
    quantities = {"tau": TIME, "beta": STRETCH}  # noqa: RUF012
    movable = False

    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        tau, beta = v
        return (np.exp(-((_since(t) / tau) ** beta)),)

    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        tau, beta = v
        ratio = _since(t) / tau
        u = ratio**beta
        slope = np.exp(-u) * u
        return slope * beta / tau, -slope * np.log(np.where(t == 0, 1.0, ratio))

    def natural_bounds(self, t: Array) -> tuple[Array, Array] | None:
        return np.tile([0.0, LIMITS[0]], self.n), np.tile([np.inf, LIMITS[1]], self.n)

    def propose(self, x: Array, y: Array) -> Array:
        return from_grid(self, x, y, [decades(0.005, 3.0, 18), BETAS])


def _since(t: Array) -> Array:
    """t, NaN below 0: there the power exists for whole beta only, from which a search could not move."""
    return np.where(t < 0, np.nan, t)
