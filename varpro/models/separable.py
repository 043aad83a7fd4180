"""Separable models: y(t) ~ sum_i a_i phi_i(t, w), each a matrix Phi (N, I) with its derivative in compressed storage.

Of the I P columns dphi_j/dw_p only the M that are not identically zero are made: `pairs` says which, `columns` gives
them.  One code serves one problem and a batch: w is indexed by parameter first, so w[p] is a number or (b, 1), and
broadcasting against t (N,) or (b, N) does the rest.
"""

import abc
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.models.guesses import checked_points
from varpro.models.quantities import Frame, frame_of

if TYPE_CHECKING:
    from varpro.models.sums import Sum


class Column(NamedTuple):
    """How the compiled kernel makes one column; its derivatives follow the order of `parameters`."""

    kind: str
    """power: t**constant; decay: exp(-t / w); rate: exp(-w t); gaussian, lorentzian: center and width"""
    parameters: tuple[int, ...]
    """Indices into w"""
    constant: float


class Model(abc.ABC):
    """Phi(t, w) with its compressed derivative; a subclass is a model of its own, ready for every solver."""

    @property
    @abc.abstractmethod
    def parameter_names(self) -> tuple[str, ...]:
        """The P names of w, all different."""

    @property
    @abc.abstractmethod
    def column_names(self) -> tuple[str, ...]:
        """The I names of the columns, all different."""

    @property
    @abc.abstractmethod
    def pairs(self) -> Array:
        """(M, 2) int: column j(m) and parameter p(m) of each derivative that is not identically zero."""

    @abc.abstractmethod
    def __call__(self, t: Array, w: Array) -> Array:
        """Phi (N, I) from t (N,) and w (P,); (b, N, I) from t (N,) or (b, N) and w (P, b, 1)."""

    @abc.abstractmethod
    def columns(self, t: Array, w: Array) -> Array:
        """dphi_j(m) / dw_p(m), (N, M) or (b, N, M), in the order of `pairs`; shapes as in a call."""

    @abc.abstractmethod
    def guess(self, t: Array, y: Array) -> Array:
        """Starting values (P,) from t (N,) and y (N,) or (N, K); always finite, whatever y holds."""

    def program(self) -> tuple[Column, ...] | None:
        """What the compiled kernel needs, a Column for each of the I columns; None where it has no such kind."""
        return None

    @property
    def needs_grid(self) -> bool:
        """Whether rows of Phi depend on other rows of t, so that none may be left out: `guess` then gets NaN in y."""
        return False

    def natural_bounds(self, t: Array) -> tuple[Array, Array] | None:
        """(P,) twice, within which w takes every shape once; a fit stays inside.  None where w is not limited."""
        return None

    def folded(self, w: Array) -> Array:
        """The point within the natural bounds that has the same columns as w (..., P)."""
        return w

    def draws(self, t: Array) -> tuple[Array, Array, Array] | None:
        """(P,) three times: between what further starts are drawn, and whether evenly in the logarithm.

        NaN where the model does not know; None where it knows nothing.
        """
        return None

    def __add__(self, other: "Model") -> "Sum":
        """Columns and parameters of both, one after another; names that clash are numbered on."""
        from varpro.models.sums import Sum

        if not isinstance(other, Model):
            return NotImplemented
        return Sum([self, other])


class Framed(Model):
    """A model that guesses in a frame of the data: no unit of t or y, and no zero of t, changes what it finds."""

    movable: ClassVar[bool] = True
    """Columns at t + c span what those at t do, for w moved along"""

    def guess(self, t: Array, y: Array) -> Array:
        t, y = checked_points(t, y)
        frame = frame_of(t, y, movable=self.movable)
        return self.at(self.propose(frame.points(t), frame.values(y)), frame)

    @abc.abstractmethod
    def propose(self, x: Array, y: Array) -> Array:
        """Starting values (P,) for points x and values y of the size of 1; always finite."""

    @abc.abstractmethod
    def at(self, w: Array, frame: Frame) -> Array:
        """The parameters of t = origin + unit x from those of x."""


def stacked(t: Array, w: Array, columns: Sequence[Array]) -> Array:
    """Columns that broadcast to (N,) or (b, N) on a new last axis."""
    shape = np.broadcast_shapes(t.shape, w.shape[1:])
    out = np.empty((*shape, len(columns)), dtype=np.result_type(t, w, 1.0))
    for j, column in enumerate(columns):
        out[..., j] = column
    return out


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """tau_1, tau_2, tau_1 -> tau_1, tau_2, tau_3"""
    taken: dict[str, None] = {}
    for name in names:
        stem, number = re.sub(r"_\d+$", "", name), 1
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        taken[name] = None
    return tuple(taken)


def at_least(name: str, value: int, least: int) -> None:
    """Raises ConfigError unless value is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ConfigError(f"{name} is {value!r}; it must be an integer of at least {least}")
