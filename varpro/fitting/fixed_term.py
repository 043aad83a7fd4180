"""A term without an amplitude, as a last column whose coefficient is pinned at 1."""

from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.model import COMPLEX_STEP, Derivative, Function


class WithFixedTerm:
    """(t, w) -> [model | term]; pickles where both do."""

    def __init__(self, model: Function, term: Function) -> None:
        self.model, self.term = model, term

    def __call__(self, t: Any, w: Any) -> Array:
        """(N, I + 1)"""
        return np.concatenate([self.model(t, w), np.asarray(self.term(t, w))[..., None]], axis=-1)


class ColumnsWithFixedTerm:
    """(t, w) -> [columns | derivative of the term]."""

    def __init__(self, columns: Function, term: Function, term_columns: Function | None) -> None:
        self.columns, self.term, self.term_columns = columns, term, term_columns

    def __call__(self, t: Any, w: Any) -> Array:
        """(N, M + P)"""
        return np.concatenate([np.asarray(self.columns(t, w)), self._term(t, w)], axis=-1)

    def _term(self, t: Any, w: Any) -> Array:
        if self.term_columns is not None:
            return np.asarray(self.term_columns(t, w))
        moved = []
        for p in range(len(w)):
            v = np.array(w, dtype=complex)
            v[p] += 1j * COMPLEX_STEP
            moved.append(np.imag(self.term(t, v)) / COMPLEX_STEP)
        return np.stack(moved, axis=-1)


def with_fixed_term(
    model: Any, derivative: Derivative, term: Function | None, term_derivative: Function | None
) -> tuple[Any, Derivative]:
    """The model with the term as its last column, and the derivative of both; unchanged where there is no term."""
    if term is None:
        if term_derivative is not None:
            raise ConfigError("fixed_term_derivative is given without a fixed_term")
        return model, derivative
    if derivative is None and hasattr(model, "pairs") and hasattr(model, "columns"):
        derivative = (model.pairs, model.columns)
    both = WithFixedTerm(model, term)
    if not isinstance(derivative, tuple):
        return both, derivative
    columns = ColumnsWithFixedTerm(derivative[1], term, term_derivative)
    return both, (LastColumn(np.asarray(derivative[0])), columns)


class LastColumn:
    """Pairs (M, 2) of the model; `complete` adds (last column, p) once the numbers of both are known."""

    def __init__(self, pairs: Array) -> None:
        self.pairs = pairs.reshape(-1, 2)

    def complete(self, n_columns: int, n_parameters: int) -> Array:
        """(M + P, 2)"""
        own = np.stack([np.full(n_parameters, n_columns - 1), np.arange(n_parameters)], axis=1)
        return np.concatenate([self.pairs, own])
