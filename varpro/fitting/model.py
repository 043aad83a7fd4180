"""The user's basis Phi(t, w), called for one problem or for many, with its compressed derivative from the best source.

A function written for one w often serves many at once: t is then given as (b, N) and each w[p] as (b, 1).  Whether it
does is found out by comparing with single calls, once, before anything is fitted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError, ShapeError

Function = Callable[[Any, Any], Any]
Derivative = tuple[Any, Function] | Literal["complex-step", "differences"] | None

COMPLEX_STEP = 1e-30
PROBED = 3
"""Problems whose single calls decide whether the function takes many at once."""


@dataclass
class UserModel:
    """Phi (b, N, I) and D (b, N, M) of problems at w (b, P); t (N, ...) shared or (B, N)."""

    function: Function
    t: Array
    own_t: bool
    """t has a row for each problem"""
    n_parameters: int
    derivative: str = ""
    """analytic, complex-step or differences"""
    pairs: Array = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int32))
    """(M, 2) column and parameter"""
    columns_function: Function | None = None
    together: bool = False
    """the function takes many problems in one call"""
    shape: tuple[int, int] = (0, 0)
    """(N, I)"""
    program: Any = None
    """columns for the compiled kernel; None where the function must be called"""
    tried: tuple[Array, Array, Array] | None = None
    """w (P,), Phi and D of the call that found the shapes, so that a search which begins there need not repeat it"""

    @property
    def n_columns(self) -> int:
        """I"""
        return self.shape[1]

    @property
    def counts(self) -> tuple[int, int]:
        """I and P"""
        return self.shape[1], self.n_parameters

    def values(self, w: Array, problems: Array) -> Array:
        """Phi (b, N, I)."""
        return self._call(self.function, w, problems, self.shape, "the model")

    def derivatives(self, w: Array, problems: Array) -> Array:
        """D (b, N, M)."""
        if self.columns_function is not None:
            wanted = (self.shape[0], len(self.pairs))
            return self._call(self.columns_function, w, problems, wanted, "derivative's columns")
        out = np.empty((len(w), self.shape[0], len(self.pairs)), dtype=self._result_type(w))
        for p in np.unique(self.pairs[:, 1]):
            mine = np.flatnonzero(self.pairs[:, 1] == p)
            out[:, :, mine] = self.along(w, problems, int(p))[:, :, self.pairs[mine, 0]]
        return out

    def along(self, w: Array, problems: Array, p: int) -> Array:
        """d Phi / d w_p, (b, N, I), by complex step or central differences."""
        if self.derivative == "complex-step":
            moved = w.astype(complex)
            moved[:, p] += 1j * COMPLEX_STEP
            return self.values(moved, problems).imag / COMPLEX_STEP
        step = np.cbrt(np.finfo(float).eps) * np.maximum(np.abs(w[:, p]), 1e-3)
        up, down = w.copy(), w.copy()
        up[:, p] += step
        down[:, p] -= step
        width = (up[:, p] - down[:, p])[:, None, None]
        return (self.values(up, problems) - self.values(down, problems)) / width

    def _result_type(self, w: Array) -> Any:
        return complex if np.iscomplexobj(w) or self.is_complex else float

    is_complex: bool = False

    def _call(self, function: Function | None, w: Array, problems: Array, wanted: tuple[int, int], what: str) -> Array:
        if function is None:
            raise ConfigError(
                "the model could not be pickled with this result (a lambda or a local function), and is needed here"
            )
        if self.together and len(w) > 1:
            return _checked(self._call_together(function, w, problems), (len(w), *wanted), what)
        parts = [_checked(self._call_one(function, v, b), wanted, what) for v, b in zip(w, problems, strict=True)]
        return parts[0][None] if len(parts) == 1 else np.stack(parts) if parts else np.empty((0, *wanted))

    def _call_one(self, function: Function, w: Array, problem: int) -> Any:
        return function(self.t[problem] if self.own_t else self.t, w)

    def _call_together(self, function: Function, w: Array, problems: Array) -> Any:
        t = self.t[problems] if self.own_t else np.broadcast_to(self.t, (len(w), len(self.t)))
        return function(t, w.T[:, :, None])


def _checked(result: Any, wanted: tuple[int, ...], what: str) -> Array:
    array = np.asarray(result)
    if array.shape != wanted:
        raise ShapeError(f"{what} returned shape {array.shape}; at this w it must be {wanted}, as at the start")
    return array


def make_model(
    function: Function, t: Array, w0: Array, n_rows: int, *, own_t: bool, derivative: Derivative, batch: bool
) -> UserModel:
    """Try the model at w0 (B, P), find its shape, its nonzero derivatives, and how to call it.

    Raises ShapeError where it does not return (N, I), ConfigError where no derivative can be had.
    """
    ready = _ready_model(function, t, w0, n_rows, own_t) if derivative is None else None
    if ready is not None:
        return ready
    model = UserModel(function, t, own_t, w0.shape[1])
    first = np.asarray(model._call_one(function, w0[0], 0))
    if first.ndim != 2 or first.shape[0] != n_rows or first.shape[1] < 1:
        raise ShapeError(
            f"the model returned shape {first.shape} for t with {n_rows} points; it needs (N, I): "
            f"one row a point, one column a basis function"
        )
    model.shape, model.is_complex = (n_rows, first.shape[1]), np.iscomplexobj(first)
    if derivative is None and hasattr(function, "pairs") and hasattr(function, "columns"):
        derivative = (function.pairs, function.columns)
        program = function.program() if hasattr(function, "program") else None
        model.program = None if program is None or np.iscomplexobj(w0) else program
    if batch and len(w0) > 1 and (own_t or t.ndim == 1):
        model.together = _takes_many(model, w0)
    if isinstance(derivative, tuple):
        _set_analytic(model, derivative, w0, first)
    else:
        _set_numeric(model, derivative, w0, batch=batch)
    return model


def _ready_model(function: Any, t: Array, w0: Array, n_rows: int, own_t: bool) -> UserModel | None:
    """A model of varpro.models that is compiled, which need not be tried; None for any other."""
    names = getattr(function, "parameter_names", None)
    if names is None or not hasattr(function, "program"):
        return None
    if w0.shape[1] != len(names):
        raise ShapeError(f"w0 has {w0.shape[1]} values; the model has {len(names)} parameters: {', '.join(names)}")
    program = function.program()
    if program is None or np.iscomplexobj(w0) or t.dtype != np.float64 or t.ndim != 1 + own_t:
        return None
    model = UserModel(function, t, own_t, w0.shape[1], "analytic", function.pairs.astype(np.int32), function.columns)
    model.shape, model.program, model.together = (n_rows, len(function.column_names)), program, True
    return model


def _takes_many(model: UserModel, w0: Array) -> bool:
    """Whether one call for a few problems gives what single calls give."""
    some = np.arange(min(PROBED, len(w0)))
    w = w0[some] * (1.0 + 1e-3 * some[:, None])
    try:
        with np.errstate(all="ignore"):
            together = np.asarray(model._call_together(model.function, w, some))
            single = np.stack(
                [np.asarray(model._call_one(model.function, v, int(b))) for v, b in zip(w, some, strict=True)]
            )
    except Exception:  # a function that cannot take arrays may fail in any way; it is then called one by one
        return False
    return together.shape == single.shape and bool(np.allclose(together, single, rtol=1e-12, atol=0, equal_nan=True))


def _set_analytic(model: UserModel, derivative: tuple[Any, Function], w0: Array, first: Array) -> None:
    """Check the pairs, and the columns at w0, where Phi is `first`."""
    given = derivative[0]
    pairs = given.complete(*model.counts) if hasattr(given, "complete") else np.asarray(given)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ShapeError(f"derivative: pairs have shape {pairs.shape}; they need (M, 2): column, parameter")
    outside = (pairs < 0).any(axis=1) | (pairs[:, 0] >= model.n_columns) | (pairs[:, 1] >= model.n_parameters)
    if outside.any():
        worst = tuple(int(v) for v in pairs[outside][0])
        raise ConfigError(
            f"derivative: pair {worst} is outside the model's {model.n_columns} columns "
            f"and {model.n_parameters} parameters"
        )
    model.pairs, model.columns_function, model.derivative = pairs.astype(np.int32), derivative[1], "analytic"
    d = _checked(model._call_one(derivative[1], w0[0], 0), (model.shape[0], len(pairs)), "derivative's columns")
    model.tried = (w0[0].copy(), first, d)


def _set_numeric(model: UserModel, wanted: str | None, w0: Array, *, batch: bool) -> None:
    """Choose complex step or differences and find the nonzero pairs: those that move at w0 or a little beside it."""
    if wanted not in (None, "complex-step", "differences"):
        raise ConfigError(f"derivative is {wanted!r}; give (pairs, columns), 'complex-step', 'differences' or None")
    model.derivative = wanted or ("complex-step" if _is_analytic(model, w0) else "differences")
    zero = np.zeros(1, dtype=int)
    moves = np.zeros((model.n_columns, model.n_parameters), dtype=bool)
    with np.errstate(all="ignore"):
        for shift in (0.0, 1e-2, -1.7e-2):
            w = w0[:1] * (1.0 + shift) + shift * 1e-2 * (w0[:1] == 0)
            for p in range(model.n_parameters):
                change = model.along(w, zero, p)[0]
                moves[:, p] |= (change != 0).any(axis=0) & ~np.isnan(change).all(axis=0)
    dead = np.flatnonzero(~moves.any(axis=0))
    if len(dead) and not batch:
        p = int(dead[0])
        raise ConfigError(
            f"parameter {p} moves no column of the model at w0 = {w0[0, p]:g}, nor near it; "
            "start where it has an effect, or leave it out"
        )
    moves[:, dead] = True  # the other problems of a batch may start where it has an effect
    model.pairs = np.argwhere(moves).astype(np.int32)


def _is_analytic(model: UserModel, w0: Array) -> bool:
    """Whether the function takes complex w and its complex step agrees with differences."""
    if np.iscomplexobj(w0) or model.is_complex:
        return False
    zero = np.zeros(1, dtype=int)
    try:
        with np.errstate(all="ignore"):
            for p in range(model.n_parameters):
                model.derivative = "complex-step"
                fine = model.along(w0[:1], zero, p)
                model.derivative = "differences"
                coarse = model.along(w0[:1], zero, p)
                size = np.abs(coarse).max(initial=0.0)
                if not np.allclose(fine, coarse, rtol=1e-4, atol=1e-6 * size + 1e-9, equal_nan=True):
                    return False
    except Exception:  # abs, comparisons, scipy.special: many functions refuse complex numbers, each in its own way
        return False
    return True


def check_derivative(
    model: Function, t: Any, w: Sequence[float] | Array, derivative: tuple[Any, Function] | None = None
) -> float:
    """Largest relative error of analytic derivative columns against central differences; raises where it is wrong.

    model : (t, w) -> (N, I).  derivative : (pairs, columns), or None for a model that brings its own.
    ConfigError names the pair whose column is wrong, or that is missing though the column moves.
    """
    w = np.atleast_1d(np.asarray(w))
    t = np.asarray(t)
    tried = make_model(model, t, w[None], len(t), own_t=False, derivative=derivative, batch=False)
    if tried.derivative != "analytic":
        raise ConfigError("check_derivative needs derivative=(pairs, columns), or a model with pairs and columns")
    reference = UserModel(model, t, False, len(w), "differences", shape=tried.shape, is_complex=tried.is_complex)
    zero, worst = np.zeros(1, dtype=int), 0.0
    given = tried.derivatives(w[None], zero)[0]
    for p in range(len(w)):
        change = reference.along(w[None], zero, p)[0]
        for j in range(tried.n_columns):
            ours = given[:, (tried.pairs[:, 0] == j) & (tried.pairs[:, 1] == p)].sum(axis=1)
            size = float(np.linalg.norm(change[:, j]))
            error = float(np.linalg.norm(ours - change[:, j]))
            scale = max(size, 1e-8 * float(np.linalg.norm(reference.values(w[None], zero)[0, :, j])))
            if not error <= 1e-5 * scale:
                listed = bool(((tried.pairs[:, 0] == j) & (tried.pairs[:, 1] == p)).any())
                what = "is wrong" if listed else "is missing from pairs, but the column moves"
                raise ConfigError(
                    f"derivative: pair (column {j}, parameter {p}) {what}: off by {error:.2g} of {size:.2g} "
                    f"against central differences"
                )
            worst = max(worst, error / scale if scale else 0.0)
    return worst
