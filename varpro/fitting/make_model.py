"""A user's function prepared for a fit: its shape, the source of its derivative, and how it is called."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from varpro.arrays import Array, ArrayLike
from varpro.errors import ConfigError, ShapeError
from varpro.fitting.fixed_term import TermColumn, WithFixedTerm, joined_columns
from varpro.fitting.model import Copying, Function, UserModel, wide
from varpro.fitting.parameters import Scale
from varpro.fitting.together import takes_many
from varpro.fitting.trial import first_guess, numeric_derivative
from varpro.models.separable import Column

Derivative = tuple[ArrayLike, Function] | Literal["complex-step", "differences"] | None
METHODS = (None, "complex-step", "differences")

Displaced = tuple[Array, Array, Array]
"""Limits (P,), lower and upper, that no displaced parameter leaves, and whether its derivative is wanted."""


def make_model(
    function: Function,
    t: Array,
    w0: Array,
    n_rows: int,
    *,
    own_t: bool,
    derivative: Derivative,
    batch: bool,
    scale: Array | None = None,
    displaced: Callable[[], Displaced] | None = None,
    ignored: Array | None = None,
) -> UserModel:
    """Call the model at w0 (B, P) to find its shape, its nonzero derivatives, and how it can be called.

    scale : (P,) typical changes of the parameters; NaN where not known.
    displaced : called if derivatives are numeric; says which parameters they may displace, and how far.
    ignored : (N,) bool, rows that no problem uses; None for none.
    Raises ShapeError if it does not return (N, I), ConfigError if no derivative can be found.
    """
    ready = _ready_model(function, t, w0, n_rows, own_t) if derivative is None else None
    if ready is not None:
        return ready
    model = UserModel(function, t, own_t, w0.shape[1], ignored=ignored)
    raw = np.asarray(model._call_one(function, w0[0], 0))
    if raw.ndim != 2 or raw.shape[0] != n_rows or raw.shape[1] < 1:
        raise ShapeError(
            f"the model returned shape {raw.shape} for t with {n_rows} points; it needs (N, I): "
            f"one row a point, one column a basis function"
        )
    first = np.array(wide(raw))
    model.shape, model.is_complex = (n_rows, first.shape[1]), np.iscomplexobj(first)
    given, method = _split(model, function, derivative, w0)
    if given is not None:
        _set_analytic(model, given, w0, first, raw)
    if batch:
        model.together = takes_many(model, w0, len(model.pairs))
    if method != "analytic":
        _set_numeric(model, method, w0, raw, batch=batch, scale=scale, displaced=displaced)
    return model


def _ready_model(function: Any, t: Array, w0: Array, n_rows: int, own_t: bool) -> UserModel | None:
    """A compiled model of varpro.models, which needs no trial call; None for any other."""
    names = getattr(function, "parameter_names", None)
    if names is None or not (hasattr(function, "program") or hasattr(function, "program_in")):
        return None
    if w0.shape[1] != len(names):
        raise ShapeError(f"w0 has {w0.shape[1]} values; the model has {len(names)} parameters: {', '.join(names)}")
    program, spans = _compiled_columns(function, t, own_t)
    if program is None or np.iscomplexobj(w0) or t.dtype != np.float64:
        return None
    model = UserModel(function, t, own_t, w0.shape[1], "analytic", function.pairs.astype(np.int32), function.columns)
    model.shape, model.program, model.spans = (n_rows, len(function.column_names)), program, spans
    model.together = spans is None
    return model


def _compiled_columns(function: Any, t: Array, own_t: bool) -> tuple[tuple[Column, ...] | None, Array | None]:
    """The columns for the compiled kernel, if it can make them, and their rows if these are not all."""
    if hasattr(function, "program_in"):
        return function.program_in(t) or (None, None)
    return (function.program() if t.ndim == 1 + own_t else None), None


def _split(
    model: UserModel, function: Any, derivative: Derivative, w0: Array
) -> tuple[tuple[ArrayLike, Function] | None, str | None]:
    """(pairs, columns) that are given, or None, and how the rest is differentiated: a method, or "analytic"."""
    term = function if isinstance(function, WithFixedTerm) else None
    plain = function if term is None else term.model
    if derivative is None and hasattr(plain, "pairs") and hasattr(plain, "columns"):
        derivative = (plain.pairs, plain.columns)
        program = plain.program() if hasattr(plain, "program") and term is None else None
        model.program = None if program is None or np.iscomplexobj(w0) else program
    if not isinstance(derivative, tuple) and derivative not in METHODS:
        raise ConfigError(f"derivative is {derivative!r}; give (pairs, columns), 'complex-step', 'differences' or None")
    if term is None:
        return (derivative, "analytic") if isinstance(derivative, tuple) else (None, derivative)
    last = np.stack([np.full(w0.shape[1], model.n_columns - 1), np.arange(w0.shape[1])], axis=1)
    if isinstance(derivative, tuple):
        pairs = np.asarray(derivative[0]).reshape(-1, 2)
        if term.derivative is not None:
            return (np.concatenate([pairs, last]), joined_columns(derivative[1], term.derivative)), "analytic"
        model.numeric_function, model.numeric_columns = TermColumn(term.term), 1
        return (pairs, derivative[1]), None
    if term.derivative is None:
        return None, derivative
    model.numeric_function, model.numeric_columns = term.model, model.n_columns - 1
    return (last, term.derivative), derivative


def _set_analytic(
    model: UserModel, derivative: tuple[ArrayLike, Function], w0: Array, first: Array, raw: Array
) -> None:
    """Check the pairs, and the columns at w0, where Phi is `first`, a copy of `raw`."""
    pairs = np.asarray(derivative[0])
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ShapeError(f"derivative: pairs have shape {pairs.shape}; they need (M, 2): column, parameter")
    for j, p in pairs.tolist():
        if not (0 <= j < model.n_columns and 0 <= p < model.n_parameters):
            raise ConfigError(
                f"derivative: pair {int(j), int(p)} is outside the model's {model.n_columns} columns "
                f"and {model.n_parameters} parameters"
            )
    model.pairs, model.columns_function, model.derivative = pairs.astype(np.int32), derivative[1], "analytic"
    d = np.asarray(model._call_one(derivative[1], w0[0], 0))
    if d.shape != (model.shape[0], len(pairs)):
        raise ShapeError(
            f"derivative's columns returned shape {d.shape}; "
            f"for {len(pairs)} pairs they must be {(model.shape[0], len(pairs))}"
        )
    model.tried = (w0[0].copy(), first, np.array(wide(d)))
    if np.may_share_memory(raw, d):  # one buffer for both: each call overwrites the other's result
        model.function, model.columns_function = Copying(model.function), Copying(derivative[1])


def _set_numeric(
    model: UserModel, method: str | None, w0: Array, raw: Array, *, batch: bool, scale: Array | None,
    displaced: Callable[[], Displaced] | None,
) -> None:  # fmt: skip
    """Find out how to differentiate the model, or the part of it that has no derivative, and add its pairs."""
    count = w0.shape[1]
    lower, upper, moving = np.full(count, -np.inf), np.full(count, np.inf), None
    if displaced is not None:
        lower, upper, moving = displaced()
    if not np.iscomplexobj(w0):
        w0 = np.clip(w0, lower, upper)  # a guessed start knows of no bounds
    target = model.numeric_function
    first = model._differentiated(w0[:1], np.zeros(1, dtype=int))[0]
    searched = np.ones(count, dtype=bool) if moving is None else moving
    of_term = isinstance(target, TermColumn)
    model.numeric = numeric_derivative(
        model._differentiated, w0, first, wanted=method, guess=first_guess(w0, lower, upper, scale),
        lower=lower, upper=upper, moving=searched, own_t=model.own_t,
        together=model.together, single=raw.dtype in (np.float32, np.complex64),
        real=not (model.is_complex or np.iscomplexobj(w0)), batch=batch and (target is None or of_term),
    )  # fmt: skip
    own = model.numeric.plan.pairs
    if of_term:
        own = own + np.array([[model.n_columns - 1, 0]])
    model.pairs = np.concatenate([model.pairs, own]).astype(np.int32)
    model.derivative = "complex-step" if model.numeric.exact else "differences"
    if not len(own) and model.columns_function is not None:  # no parameter moves the term, or the model
        model.numeric, model.numeric_function, model.derivative = None, None, "analytic"
    dead = np.setdiff1d(np.flatnonzero(searched), model.pairs[:, 1])
    if len(dead) and not batch:
        p = int(dead[0])
        raise ConfigError(
            f"parameter {p} moves no column of the model at w0 = {w0[0, p]:g}, nor near it; "
            "start where it has an effect, or leave it out"
        )


def scale_of(scale: Scale, names: Sequence[str]) -> Array | None:
    """(P,) typical sizes from one number, (P,) numbers or {name: number}; NaN where not given.  Raises ConfigError."""
    if scale is None:
        return None
    sizes = np.full(len(names), np.nan)
    if isinstance(scale, dict):
        for key, value in scale.items():
            if isinstance(key, str) and key not in names:
                raise ConfigError(f"scale: no parameter is called {key!r}; there are {', '.join(names)}")
            sizes[names.index(key) if isinstance(key, str) else key] = value
    else:
        given = np.asarray(scale, dtype=float)
        if given.shape not in ((), sizes.shape):
            raise ShapeError(f"scale has shape {given.shape}; it needs one for each of the {len(names)} parameters")
        sizes[:] = given
    wrong = np.flatnonzero(~(np.isnan(sizes) | ((sizes > 0) & np.isfinite(sizes))))
    if wrong.size:
        p = int(wrong[0])
        raise ConfigError(f"scale of {names[p]} is {sizes[p]:g}; it needs a finite number above 0")
    return sizes
