"""Which parameters of a fit ended on a bound, from what the search itself knows."""

import numpy as np

from varpro.arrays import Array
from varpro.fitting.result import FitResult


def sides(fit: FitResult) -> Array:
    """(P,) -1 where a lower bound holds a parameter, or one that it is tied to, 1 where an upper one does, 0 elsewhere.

    The search puts a parameter on its bound exactly, whatever the units are.  A standard error of NaN says less: it is
    NaN for every parameter where no degrees of freedom are left.
    """
    names, u = fit._solution.spec.names, fit._solution.u[0]
    side = (u >= names.upper).astype(int) - (u <= names.lower)
    follows: Array = np.where(names.source >= 0, np.sign(names.factor) * side[names.source], 0)
    return follows.astype(int)
