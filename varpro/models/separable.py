"""Separable models: y(t) ~ sum_i a_i phi_i(t, w), each a matrix Phi (N, I) with its derivative in compressed storage.

Of the I P columns dphi_j/dw_p only the M that are not identically zero are made: `pairs` says which, `columns` gives
them.  One code serves one problem and a batch: w is indexed by parameter first, so w[p] is a number or (b, 1), and
broadcasting against t (N,) or (b, N) does the rest.
"""

import abc
import re
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.models.guesses import amplitudes, best_start, checked_points, finite_rows
from varpro.models.quantities import Frame, Quantity, frame_of

Guess = Callable[[Array, Array], Array]
"""(t, y) -> w (P,)"""


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


class Sum(Model):
    """Phi = [Phi_1 | Phi_2 | ...], w = (w_1, w_2, ...).

    The columns should stay independent: two parts with an offset each make Phi rank deficient.
    """

    def __init__(self, parts: Sequence[Model]) -> None:
        """parts : models, sums among them are taken apart.  Raises ConfigError if there is none."""
        apart = [part.parts if isinstance(part, Sum) else (part,) for part in parts]
        self.parts: tuple[Model, ...] = tuple(part for group in apart for part in group)
        if not self.parts:
            raise ConfigError("a sum of 0 models has no columns; it needs at least 1")
        self._parameters = _starts([len(p.parameter_names) for p in self.parts])
        self._columns = _starts([len(p.column_names) for p in self.parts])

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return unique_names([name for part in self.parts for name in part.parameter_names])

    @property
    def column_names(self) -> tuple[str, ...]:
        return unique_names([name for part in self.parts for name in part.column_names])

    @property
    def pairs(self) -> Array:
        firsts = zip(self._columns, self._parameters, strict=True)
        return np.concatenate([part.pairs + np.array(first) for part, first in zip(self.parts, firsts, strict=False)])

    def split(self, w: Array) -> list[Array]:
        """w by parts."""
        return [w[a:b] for a, b in zip(self._parameters[:-1], self._parameters[1:], strict=True)]

    def __call__(self, t: Array, w: Array) -> Array:
        w = np.asarray(w)
        return np.concatenate([part(t, v) for part, v in zip(self.parts, self.split(w), strict=True)], axis=-1)

    def columns(self, t: Array, w: Array) -> Array:
        w = np.asarray(w)
        return np.concatenate([part.columns(t, v) for part, v in zip(self.parts, self.split(w), strict=True)], axis=-1)

    def program(self) -> tuple[Column, ...] | None:
        out: list[Column] = []
        for part, first in zip(self.parts, self._parameters, strict=False):
            program = part.program()
            if program is None:
                return None
            out += [c._replace(parameters=tuple(first + p for p in c.parameters)) for c in program]
        return tuple(out)

    @property
    def needs_grid(self) -> bool:
        return any(part.needs_grid for part in self.parts)

    def natural_bounds(self, t: Array) -> tuple[Array, Array] | None:
        found = [part.natural_bounds(t) for part in self.parts]
        if not any(bounds is not None for bounds in found):
            return None
        sizes = [len(part.parameter_names) for part in self.parts]
        none = [(np.full(size, -np.inf), np.full(size, np.inf)) for size in sizes]
        lower, upper = zip(*(own or open_ for own, open_ in zip(found, none, strict=True)), strict=True)
        return np.concatenate(lower), np.concatenate(upper)

    def folded(self, w: Array) -> Array:
        parts = zip(self.parts, self._parameters[:-1], self._parameters[1:], strict=True)
        return np.concatenate([part.folded(w[..., a:b]) for part, a, b in parts], axis=-1)

    def draws(self, t: Array) -> tuple[Array, Array, Array] | None:
        found = [part.draws(t) for part in self.parts]
        sizes = [len(part.parameter_names) for part in self.parts]
        none = [(np.full(size, np.nan), np.full(size, np.nan), np.zeros(size, dtype=bool)) for size in sizes]
        lower, upper, log = zip(*(own or open_ for own, open_ in zip(found, none, strict=True)), strict=True)
        return np.concatenate(lower), np.concatenate(upper), np.concatenate(log)

    def guess(self, t: Array, y: Array) -> Array:
        """Each part on y minus the fit of those before it, in both orders, then each on y minus all the others."""
        t, y = checked_points(t, y)
        framed = [part for part in self.parts if isinstance(part, Framed)]
        if len(framed) < len(self.parts):
            return np.concatenate(self._proposed(t, y, [part.guess for part in self.parts]))
        frame = frame_of(t, y, movable=all(part.movable for part in framed))
        found = self._proposed(frame.points(t), frame.values(y), [part.propose for part in framed])
        return np.concatenate([part.at(w, frame) for part, w in zip(framed, found, strict=True)])

    def _proposed(self, t: Array, y: Array, guesses: Sequence[Guess]) -> list[Array]:
        forward = self._in_turn(t, y, guesses, range(len(self.parts)))
        backward = self._in_turn(t, y, guesses, range(len(self.parts))[::-1])
        more = [self._once_more(t, y, guesses, start) for start in (forward, backward)]
        return self.split(best_start(self, t, y, [np.concatenate(start) for start in [forward, backward, *more]]))

    def _in_turn(self, t: Array, y: Array, guesses: Sequence[Guess], order: Sequence[int]) -> list[Array]:
        found: dict[int, Array] = {}
        rest = y
        for i in order:
            found[i] = guesses[i](t, rest)
            phi = np.concatenate([self.parts[j](t, v) for j, v in found.items()], axis=-1)
            rest = y - _fit(phi, y)
        return [found[i] for i in range(len(self.parts))]

    def _once_more(self, t: Array, y: Array, guesses: Sequence[Guess], start: list[Array]) -> list[Array]:
        found = list(start)
        for i in range(len(self.parts)):
            phis = [p(t, v) for p, v in zip(self.parts, found, strict=True)]
            own = np.zeros(sum(phi.shape[-1] for phi in phis), dtype=bool)
            own[self._columns[i] : self._columns[i + 1]] = True
            found[i] = guesses[i](t, y - _fit(np.concatenate(phis, axis=-1), y, ~own))
        return found


class Repeated(Framed):
    """n shapes of one kind with parameters of their own, then a column of ones if there is an offset."""

    n: int
    offset: bool
    parameter_stems: ClassVar[tuple[str, ...]]
    """Names of the parameters of one shape"""
    column_stems: ClassVar[tuple[str, ...]]
    """Names of the columns of one shape"""
    quantities: ClassVar[Mapping[str, Quantity]]
    """What the parameters are, by their stems"""

    @abc.abstractmethod
    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        """The columns of one shape at its parameters v."""

    @abc.abstractmethod
    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        """Their derivatives: those of the first column by each parameter, then of the second, ..."""

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(f"{stem}_{i + 1}" for i in range(self.n) for stem in self.parameter_stems)

    @property
    def column_names(self) -> tuple[str, ...]:
        names = tuple(f"{stem}_{i + 1}" for i in range(self.n) for stem in self.column_stems)
        return (*names, "offset") if self.offset else names

    @property
    def indices(self) -> list[tuple[int, ...]]:
        """Where the parameters of each shape stand in w."""
        size = len(self.parameter_stems)
        return [tuple(range(i * size, (i + 1) * size)) for i in range(self.n)]

    @property
    def pairs(self) -> Array:
        size = len(self.column_stems)
        listed = [(i * size + j, p) for i, own in enumerate(self.indices) for j in range(size) for p in own]
        return np.array(listed, dtype=np.intp)

    def __call__(self, t: Array, w: Array) -> Array:
        t, w = np.asarray(t), np.asarray(w)
        with np.errstate(all="ignore"):  # a trial step may overflow; the solvers look at what comes out
            out = [column for own in self.indices for column in self.shape(t, *(w[p] for p in own))]
        return stacked(t, w, [*out, np.ones(1)] if self.offset else out)

    def columns(self, t: Array, w: Array) -> Array:
        t, w = np.asarray(t), np.asarray(w)
        with np.errstate(all="ignore"):
            out = [slope for own in self.indices for slope in self.slopes(t, *(w[p] for p in own))]
        return stacked(t, w, out)

    @property
    def _kinds(self) -> list[Quantity]:
        """(P,) what each parameter is."""
        return [self.quantities[re.sub(r"_\d+$", "", name)] for name in self.parameter_names]

    def at(self, w: Array, frame: Frame) -> Array:
        with np.errstate(over="ignore"):
            return np.nan_to_num([kind.at(value, frame) for kind, value in zip(self._kinds, w, strict=True)])

    def draws(self, t: Array) -> tuple[Array, Array, Array] | None:
        frame = frame_of(t, np.ones(len(t)), movable=self.movable)
        x = [np.array(kind.draws(len(t))) for kind in self._kinds]
        ends = np.array([np.sort(kind.at(end, frame)) for kind, end in zip(self._kinds, x, strict=True)])
        return ends[:, 0], ends[:, 1], np.array([bool(kind.dimension) and not kind.place for kind in self._kinds])

    def _program(self, kind: str) -> tuple[Column, ...]:
        shapes = tuple(Column(kind, own, 0.0) for own in self.indices)
        return (*shapes, Column("power", (), 0.0)) if self.offset else shapes


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


def _starts(sizes: list[int]) -> list[int]:
    return [0, *np.cumsum(sizes).tolist()]


def _fit(phi: Array, y: Array, keep: Array | None = None) -> Array:
    """Phi A of the best A; of its columns `keep` only, if given.  Zero where phi is not finite."""
    rows = finite_rows(phi, y)
    a = amplitudes(phi[rows], y[rows])
    if keep is not None:
        a, phi = a[keep], phi[:, keep]
    out = np.zeros(y.shape, dtype=np.result_type(y, a))
    out[rows] = phi[rows] @ a
    return out
