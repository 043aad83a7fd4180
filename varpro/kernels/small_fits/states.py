"""The searches of many small problems between two evaluations, one row of numbers each."""

from copy import copy

import numpy as np

from varpro import _cpu
from varpro.arrays import Array
from varpro.kernels._checks import require
from varpro.kernels.search import N_NUMBERS, NUMBERS

UNSEEN = 64 * float(np.finfo(np.float64).eps)
"""Share of ||J_p||^2 before the projection below which all is rounding of the projection; small_fits_algebra.hpp."""
GRAM_LIMIT = _cpu.gram_limit
"""Largest kappa_1 of the scaled Gram matrix at which scalar products of columns suffice for a search;
small_fits.hpp."""
MOST_PARAMETERS = 16
"""Most parameters of a problem whose search is compiled."""
BEYOND = -1
"""Status of a problem whose basis was rank-deficient somewhere, up to rounding or, on a GPU, as far as scalar products
of columns show it: it is left to the truncated factorisation, from its start."""


LINEARISE = 2.0
"""What a search asks for, see search.hpp, where secants do not suffice: its derivatives at the iterate."""


class States:
    """The searches of b problems between two evaluations, one row of numbers each; see small_fits.hpp."""

    def __init__(self, w0: Array, n_columns: int, n_right: int) -> None:
        count, self.p = w0.shape
        require(self.p <= MOST_PARAMETERS, f"w0 has shape {w0.shape}; at most {MOST_PARAMETERS} parameters")
        self._shape, self.n_columns = (n_columns, n_right), n_columns
        self._end = 6 * self.p + self.p**2 + n_columns * n_right
        self.rows = np.zeros((count, self._end + N_NUMBERS))
        self.trial[:] = w0

    @property
    def w(self) -> Array:
        """The best parameters so far, (b, P)."""
        return self.rows[:, : self.p]

    @property
    def trial(self) -> Array:
        """Where the model is to be evaluated next, (b, P)."""
        return self.rows[:, self.p : 2 * self.p]

    @property
    def a(self) -> Array:
        """The linear parameters, (b, I, K)."""
        return self.rows[:, self._end - self._shape[0] * self._shape[1] : self._end].reshape(-1, *self._shape)

    @property
    def natural(self) -> Array:
        """The natural scales of the parameters, (b, P)."""
        return self.rows[:, 5 * self.p : 6 * self.p]

    @property
    def h(self) -> Array:
        """The Gauss-Newton matrix, (b, P, P)."""
        return self.rows[:, 6 * self.p : 6 * self.p + self.p**2].reshape(-1, self.p, self.p)

    @property
    def gradient(self) -> Array:
        """The gradient, (b, P)."""
        return self.rows[:, 3 * self.p : 4 * self.p]

    @property
    def numbers(self) -> Array:
        """The numbers of the decision, (b,) of search.NUMBERS, a view."""
        offset, strides = self._end * self.rows.itemsize, self.rows.strides[:1]
        return np.ndarray(len(self.rows), NUMBERS, buffer=self.rows, offset=offset, strides=strides)

    def holding(self, rows: Array) -> "States":
        """The states whose rows, (b, numbers), were taken from these."""
        other = copy(self)
        other.rows = rows
        return other

    @property
    def status(self) -> Array:
        """The status of each search, (b,), a result.Status or BEYOND."""
        return self.numbers["status"]

    @property
    def asks(self) -> Array:
        """What each search asks for, (b,)."""
        return self.numbers["asks"]

    @property
    def cost(self) -> Array:
        """The cost, (b,)."""
        return self.numbers["cost"]

    @property
    def iterations(self) -> Array:
        """The number of iterations, (b,)."""
        return self.numbers["iterations"]

    @property
    def evaluations(self) -> Array:
        """The number of evaluations, (b,)."""
        return self.numbers["evaluations"]


class Past:
    """What `secants` keeps of b problems between two calls: rows as those of their states."""

    def __init__(self, states: States, n: int, n_pairs: int) -> None:
        count = len(states.rows)
        self.phi = np.empty((count, states.n_columns, n))
        """Phi at the iterate, column by column, (b, I, N)."""
        self.slopes = np.empty((count, n_pairs, n))
        """The latest secants, or D, (b, M, N)."""
        self.before = np.empty((count, states.p))
        """The iterate before, (b, P)."""
        self.rough = np.zeros(count)
        """Whether H and g come from secants, (b,)."""


def named(tail: Array) -> Array:
    """Records (n,) of search.NUMBERS from (n, numbers), contiguous."""
    records: Array = tail.view(NUMBERS)[:, 0]
    return records
