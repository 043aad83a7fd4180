"""A term without an amplitude, as a last column whose coefficient is pinned at 1."""

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.model import Function


class WithFixedTerm:
    """(t, w) -> [model | term]; pickles if both do.  derivative : that of the term, (t, w) -> (N, P), or None."""

    def __init__(self, model: Function, term: Function, derivative: Function | None = None) -> None:
        self.model, self.term, self.derivative = model, term, derivative

    def __call__(self, t: Array, w: Array) -> Array:
        """The model's columns and the term, (N, I + 1)."""
        columns = np.array(self.model(t, w))  # a copy, since both may refill one buffer
        return np.concatenate([columns, np.asarray(self.term(t, w))[..., None]], axis=-1)


class TermColumn:
    """(t, w) -> the term as one column."""

    def __init__(self, term: Function) -> None:
        self.term = term

    def __call__(self, t: Array, w: Array) -> Array:
        """The term, (N, 1)."""
        return np.asarray(self.term(t, w))[..., None]


class JoinedColumns:
    """(t, w) -> [columns | derivative of the term]."""

    def __init__(self, columns: Function, term_columns: Function) -> None:
        self.columns, self.term_columns = columns, term_columns

    def __call__(self, t: Array, w: Array) -> Array:
        """Both derivatives side by side, (N, M + P)."""
        own = np.array(self.columns(t, w))
        return np.concatenate([own, np.asarray(self.term_columns(t, w))], axis=-1)


def joined_columns(columns: Function, term_columns: Function) -> Function:
    """Both derivatives in one function."""
    return JoinedColumns(columns, term_columns)


def with_fixed_term(model: Function, term: Function | None, term_derivative: Function | None) -> Function:
    """The model with the term as its last column; the model itself if there is no term."""
    if term is None:
        if term_derivative is not None:
            raise ConfigError("fixed_term_derivative is given without a fixed_term")
        return model
    return WithFixedTerm(model, term, term_derivative)
