"""Separable models: y(t) ~ sum_i a_i phi_i(t, w), each a matrix Phi (N, I) with a compressed derivative.

Of the I P columns dphi_j/dw_p only the M that are not identically zero are computed: `pairs` says which, `columns`
gives them.  The same code serves one problem and a batch: w is indexed by parameter first, so w[p] is a number or
(b, 1) and broadcasts against t (N,) or (b, N).
"""

import abc
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from varpro.arrays import Array, namespace
from varpro.models.guesses import checked_points
from varpro.models.quantities import Frame, frame_of

if TYPE_CHECKING:
    from varpro.models.sums import Sum


class Column(NamedTuple):
    """How the compiled kernel computes one column; its derivatives follow the order of `parameters`."""

    kind: str
    """power: t**constant; decay: exp(-t / w); rate: exp(-w t); gaussian, lorentzian: center and width."""
    parameters: tuple[int, ...]
    """The indices of its parameters in w."""
    constant: float


class Model(abc.ABC):
    """Phi(t, w) with its compressed derivative; a subclass is a new model that every solver can use."""

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
        """A Column for each of the I columns, for the compiled kernel; None if it cannot make them."""
        return None

    @property
    def needs_grid(self) -> bool:
        """Whether rows of Phi depend on other rows of t, so that none may be left out; `guess` then gets NaN in y."""
        return False

    def natural_bounds(self, t: Array) -> tuple[Array, Array] | None:
        """(P,) twice, bounds in which w takes every shape once and inside which a fit stays; None if w is unlimited."""
        return None

    def folded(self, w: Array) -> Array:
        """The point within the natural bounds that has the same columns as w (..., P)."""
        return w

    def draws(self, t: Array) -> tuple[Array, Array, Array] | None:
        """(P,) three times: the interval from which further starts are drawn, and whether evenly in the logarithm.

        NaN for parameters about which the model knows nothing; None if that is all of them.
        """
        return None

    def __add__(self, other: "Model") -> "Sum":
        """The columns and parameters of both, one after another; clashing names are numbered."""
        from varpro.models.sums import Sum

        if not isinstance(other, Model):
            return NotImplemented
        return Sum([self, other])


class Framed(Model):
    """A model that guesses in a frame of the data, so that the units of t and y and the zero of t make no
    difference."""

    movable: ClassVar[bool] = True
    """Whether columns at t + c span the same space as those at t for correspondingly shifted w."""

    def guess(self, t: Array, y: Array) -> Array:
        t, y = checked_points(t, y)
        frame = frame_of(t, y, movable=self.movable)
        return self.at(self.propose(frame.points(t), frame.values(y)), frame)

    @abc.abstractmethod
    def propose(self, x: Array, y: Array) -> Array:
        """Starting values (P,) for points x and values y of order 1; always finite."""

    @abc.abstractmethod
    def at(self, w: Array, frame: Frame) -> Array:
        """The parameters for t = origin + unit x from those for x."""


def stacked(t: Array, w: Array, columns: Sequence[Array | float]) -> Array:
    """The columns, each of which broadcasts to (N,) or (b, N), on a new last axis; on a device if w is there."""
    shape = np.broadcast_shapes(t.shape, w.shape[1:])
    out: Array = namespace(w).empty((*shape, len(columns)), dtype=np.result_type(t.dtype, w.dtype, 1.0))
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
