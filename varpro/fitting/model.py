"""The user's basis Phi(t, w), called for one problem or many, and its compressed derivative from the best source.

A function written for one w often works for many at once, if t is given as (b, N) and each w[p] as (b, 1).  Whether it
does is tested once against single calls, before anything is fitted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from varpro.arrays import Array, ArrayLike
from varpro.errors import ConfigError, ShapeError
from varpro.fitting.derivatives import Numeric
from varpro.fitting.differentiated import Differentiated
from varpro.models.separable import Column
from varpro.problems.curves import DirectBasis

Function = Callable[[Any, Any], Any]
"""(t, w) -> (N, I), in whatever arrays the caller works with"""


@runtime_checkable
class Guesses(Protocol):
    """A model that proposes where to begin a search."""

    def guess(self, t: Array, y: Array) -> ArrayLike:
        """A start (P,) from t (N, ...) and y (N,) or (N, K)."""


@dataclass
class UserModel:
    """Phi (b, N, I) and D (b, N, M) of problems at w (b, P); t is (N, ...), shared, or (B, N)."""

    function: Function
    """The user's function, (t, w) -> (N, I)."""
    t: Array
    own_t: bool
    """Whether t has a row for each problem."""
    n_parameters: int
    derivative: str = ""
    """Where the derivative comes from: analytic, complex-step or differences."""
    pairs: Array = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int32))
    """The column and parameter of each derivative, (M, 2): those of columns_function, then those of `numeric`."""
    columns_function: Function | None = None
    together: bool = False
    """Whether the function takes many problems in one call."""
    shape: tuple[int, int] = (0, 0)
    """The shape (N, I) of its result."""
    program: tuple[Column, ...] | None = None
    """The columns for the compiled kernel; None if the function must be called."""
    spans: Array | None = None
    """Where the program is that of several data sets, whose number stands before each point of t: the rows of each
    column, (I, 2).  None: all rows."""
    tried: tuple[Array, Array, Array] | None = None
    """w (P,), Phi and D of the trial call, so that a search that starts there need not repeat it."""
    numeric: Numeric | None = None
    """The derivatives that no function provides."""
    numeric_function: Function | None = None
    """The function that is differentiated numerically; None for `function`."""
    numeric_columns: int = 0
    """The number of columns of that function."""
    ignored: Array | None = None
    """Rows that no problem uses, (N,) bool: what the function gives there must not decide the steps of differences."""
    is_complex: bool = False
    copies: bool = False
    """Whether the function refills one buffer, so that its results have to be copied."""
    _last: Array | None = field(default=None, repr=False)

    @property
    def n_columns(self) -> int:
        """I"""
        return self.shape[1]

    @property
    def points(self) -> Array:
        """t as the columns of a program see it, (1 or B, N)."""
        if self.spans is not None:
            return self.t[None, :, 1]
        return self.t if self.own_t else self.t[None]

    @property
    def counts(self) -> tuple[int, int]:
        """I and P"""
        return self.shape[1], self.n_parameters

    def values(self, w: Array, problems: Array) -> Array:
        """Phi (b, N, I)."""
        return self._call(self.function, w, problems, self.shape, "the model")

    def derivatives(self, w: Array, problems: Array, *, fine: bool = False) -> Array:
        """D (b, N, M).

        fine : as accurate as possible, for statistics.  Without it, many problems at once are differentiated by real
        differences of second order, since complex exponentials cost ten times as much; so is a single one, unless its
        complex step is exact.
        """
        given = self._given(w, problems)
        if self.numeric is None:
            assert given is not None
            return given
        cheap = self.together and len(w) > 1
        d = self.numeric.derivatives(self._differentiated, w, problems, fine=fine, cheap=cheap)
        if not self.numeric.exact:
            self.derivative = "differences"
        return d if given is None else np.concatenate([given, d], axis=2)

    def both(self, w: Array, problems: Array) -> tuple[Array, Array]:
        """Phi and D for a step of a search; differences are of first order here, since they reuse Phi."""
        phi = self.values(w, problems)
        if not self._by_differences or len(w) < 2:
            return phi, self.derivatives(w, problems)
        return phi, self.slopes(w, problems, phi, np.arange(len(w)))

    def slopes(self, w: Array, problems: Array, phi: Array, rows: Array) -> Array:
        """D by differences of first order from Phi, phi[rows] (b, N, I), for one problem of a batch as for many."""
        assert self.numeric is not None
        return self.numeric.forward(self._differentiated, w, problems, self._heeded(phi), rows)

    @property
    def _by_differences(self) -> bool:
        """Whether every column of a batch is differentiated by differences."""
        whole, numeric = self.columns_function is None and self.numeric_function is None, self.numeric
        return numeric is not None and whole and self.together and not (numeric.given and numeric.exact)

    @property
    def has_secants(self) -> bool:
        """Whether a step from one w to the next tells D: each column then depends on one parameter only."""
        return self._by_differences and len(set(self.pairs[:, 0].tolist())) == len(self.pairs)

    def _given(self, w: Array, problems: Array) -> Array | None:
        """The columns of the user's derivative; None if there are none."""
        if self.columns_function is None and (self.numeric is not None or self.derivative != "analytic"):
            return None
        assert self.columns_function is not None
        count = len(self.pairs) - (0 if self.numeric is None else len(self.numeric.plan.pairs))
        return self._call(self.columns_function, w, problems, (self.shape[0], count), "derivative's columns")

    def _differentiated(self, w: Array, problems: Array) -> Array:
        """The columns that `numeric` differentiates, (b, N, J)."""
        if self.numeric_function is None:
            return self._heeded(self.values(w, problems))
        wanted = self.shape[0], self.numeric_columns
        return self._heeded(self._call(self.numeric_function, w, problems, wanted, "fixed_term"))

    def _heeded(self, columns: Array) -> Array:
        """Columns (b, N, J) with 0 in rows that are ignored."""
        return columns if self.ignored is None else np.where(self.ignored[:, None], 0.0, columns)

    def _call(self, function: Function, w: Array, problems: Array, wanted: tuple[int, int], what: str) -> Array:
        if self.together and len(w) > 1:
            result = _checked(self._call_together(function, w, problems), (len(w), *wanted), what)
            return result.copy() if self.copies else result
        parts = [self._kept(self._call_one(function, v, b), wanted, what) for v, b in zip(w, problems, strict=True)]
        return parts[0][None] if len(parts) == 1 else np.stack(parts) if parts else np.empty((0, *wanted))

    def _kept(self, result: ArrayLike, wanted: tuple[int, int], what: str) -> Array:
        """The result, copied if the next call would overwrite it; the first is always copied, before that is known."""
        array = _checked(result, wanted, what)
        if self.copies:
            return array.copy()
        last, self._last = self._last, array
        if last is None:
            return array.copy()
        if np.may_share_memory(last, array):
            self.copies, self._last = True, None
            return array.copy()
        return array

    def _call_one(self, function: Function, w: Array, problem: int) -> ArrayLike:
        return function(self.t[problem] if self.own_t else self.t, w.copy())  # the function may change or keep it

    def _call_together(self, function: Function, w: Array, problems: Array) -> ArrayLike:
        t = self.t[problems] if self.own_t else np.broadcast_to(self.t, (len(w), len(self.t)))
        return function(t, w.T.copy()[:, :, None])

    def direct(self, problem: int, otherwise: DirectBasis) -> DirectBasis:
        """(w (1, P), problems) -> Phi and D of one problem: the functions' own results, not copied.

        otherwise : called when these have other shapes; it reports what is wrong with them.
        """
        function, columns = self.function, self.columns_function
        assert columns is not None
        t = self.t[problem] if self.own_t else self.t
        shape, pairs = self.shape, (self.shape[0], len(self.pairs))
        tried = [self.tried]  # the first call, if the search begins where the model was tried

        def evaluate(w: Array, problems: Array) -> tuple[Array, Array]:
            first = tried.pop() if tried else None
            if first is not None and np.array_equal(first[0], w[0]):
                return first[1][None], first[2][None]
            v = w[0].copy()  # the function may keep it
            phi, d = np.asarray(function(t, v), dtype=np.float64), np.asarray(columns(t, v), dtype=np.float64)
            return (phi[None], d[None]) if phi.shape == shape and d.shape == pairs else otherwise(w, problems)

        return evaluate

    def differentiated(self, problem: int, extra: Array | None, otherwise: DirectBasis) -> DirectBasis | None:
        """The same where the derivative is a complex step; None where it is not.  extra : rows below Phi."""
        numeric, t = self.numeric, self.t[problem] if self.own_t else self.t
        whole = self.columns_function is None and self.numeric_function is None
        if numeric is None or not numeric.exact or not whole or len(numeric.scales.table) > 1:
            return None
        return Differentiated(lambda w: self.function(t, w), self.shape, numeric, extra, otherwise)

    def at(self, t: Array, n_rows: int) -> "UserModel":
        """The same model of one problem at other t (n_rows, ...)."""
        shape, numeric = (n_rows, self.shape[1]), self.numeric
        numeric = None if numeric is None else numeric.elsewhere()
        return replace(
            self, t=t, own_t=False, together=False, shape=shape, numeric=numeric, tried=None, program=None, spans=None,
            ignored=None, _last=None,
        )  # fmt: skip

    def of(self, problem: int) -> "UserModel":
        """The model of one problem of a batch."""
        numeric = None if self.numeric is None else self.numeric.of(problem)
        t = self.t[problem] if self.own_t else self.t
        return replace(self, t=t, own_t=False, together=False, numeric=numeric, tried=None, _last=None)

    def __getstate__(self) -> dict[str, object]:
        """For pickle."""
        return {**self.__dict__, "_last": None}


def _checked(result: ArrayLike, wanted: tuple[int, ...], what: str) -> Array:
    array = wide(result)
    if array.shape != wanted:
        raise ShapeError(f"{what} returned shape {array.shape}; at this w it must be {wanted}, as at the start")
    return array


def wide(result: ArrayLike) -> Array:
    """The result of a user's function in double precision; it may be lists, integers or float32."""
    array = np.asarray(result)
    if array.dtype in (np.float64, np.complex128):
        return array
    return array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)


def left_behind(t: Array, w: Array) -> Array:
    """Stands in for a function that does not pickle.  Raises ConfigError."""
    raise ConfigError("the model could not be pickled with this result (a lambda or a local function)")


class Copying:
    """(t, w) -> a copy of what the function returns; pickles if the function does."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def __call__(self, t: Array, w: Array) -> Array:
        """A copy of the function's result."""
        return np.array(self.function(t, w))
