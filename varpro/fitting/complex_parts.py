"""Real and imaginary parts, handled separately so that each keeps its own NaN and infinity: their product gives NaN."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from varpro.arrays import Array


def joined(values: Array, is_complex: bool) -> Array:
    """Complex numbers from real parts followed by imaginary parts along axis 1; unchanged if not is_complex."""
    if not is_complex:
        return values
    half = values.shape[1] // 2
    return with_parts(values[:, :half], values[:, half:])


def with_parts(real: Array, imaginary: Array) -> Array:
    """Complex numbers with these parts."""
    out: Array = np.empty(real.shape, dtype=complex)
    out.real, out.imag = real, imaginary
    return out


def both_parts(function: Callable[..., Array], *values: Array) -> Array:
    """The function of the values; for complex values, of their real parts and of their imaginary parts."""
    if not any(map(np.iscomplexobj, values)):
        return np.asarray(function(*values))
    return with_parts(function(*(v.real for v in values)), function(*(v.imag for v in values)))


def one_after_another(values: Array) -> Array:
    """(P,) real numbers unchanged; complex ones as their real parts, then their imaginary parts (2 P,)."""
    return np.concatenate([values.real, values.imag]) if np.iscomplexobj(values) else values


@contextmanager
def without_discarding() -> Iterator[None]:
    """Here a warning that an imaginary part is discarded counts as an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        yield
