"""Several data sets as one problem: their rows below one another, their models' columns in blocks.

    [ Phi_1          s_1 L_1 ]        Phi_s  columns with amplitudes of their own
    [        Phi_2   s_2 L_2 ]        L_s    columns whose amplitudes are linked, s_s their scale, s_1 = 1

A row of t is (set, point).  Parameters are shared by all sets that have them, or belong to one set.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.axis import Clock
from varpro.fitting.model import Function
from varpro.fitting.stencil import Index, as_slice
from varpro.models.separable import Column


@dataclass(frozen=True)
class Part:
    """One data set with its model."""

    label: str
    function: Function
    t: Array
    """The points, (N,) or (N, D)."""
    y: Array
    """(N, K), 0 where a value is excluded."""
    weights: Array
    """(N, K), 0 where a value is excluded."""
    parameters: tuple[str, ...]
    """The names of the model's parameters."""
    columns: tuple[str, ...]
    """The names of its columns."""
    derivative: tuple[Array, Function] | None
    """The pairs and columns of its derivative."""
    clock: Clock | None = None
    """How its times were turned into numbers; None for numbers."""


@dataclass(frozen=True)
class Layout:
    """Which of the joint parameters and columns belong to each set."""

    parameters: tuple[str, ...]
    columns: tuple[str, ...]
    of_parameters: tuple[Array, ...]
    """For each set, the positions of its parameters, (P_s,)."""
    of_columns: tuple[Array, ...]
    """For each set, the positions of its columns, (I_s,)."""
    scales: tuple[int, ...]
    """For each set, the position of its scale; -1 where that is 1."""
    scaled: tuple[Array, ...]
    """For each set, which of its columns the scale multiplies, (I_s,) bool."""


def lay_out(parts: Sequence[Part], shared: Sequence[str], linked: Sequence[str], *, scales: bool) -> Layout:
    """The joint parameters and columns: those that are shared or linked under their names, the others as name[set]."""
    names: list[str] = []
    columns: list[str] = []

    def place(listed: list[str], name: str, together: bool, part: Part) -> int:
        whole = name if together else f"{name}[{part.label}]"
        if whole not in listed:
            listed.append(whole)
        return listed.index(whole)

    of_parameters, of_columns = [], []
    for part in parts:
        of_parameters.append(np.array([place(names, n, n in shared, part) for n in part.parameters], dtype=int))
        of_columns.append(np.array([place(columns, n, n in linked, part) for n in part.columns], dtype=int))
    scaled = tuple(np.array([n in linked for n in part.columns], dtype=bool) for part in parts)
    places = [-1] * len(parts)
    if scales:
        for s in range(1, len(parts)):
            if scaled[s].any():
                places[s] = len(names)
                names.append(f"scale[{parts[s].label}]")
    return Layout(tuple(names), tuple(columns), tuple(of_parameters), tuple(of_columns), tuple(places), scaled)


@dataclass
class JointModel:
    """(t, w) -> Phi of all sets."""

    parts: tuple[Part, ...]
    layout: Layout
    parameter_names: tuple[str, ...] = field(init=False)
    column_names: tuple[str, ...] = field(init=False)
    _rows_of: tuple[Array, list[tuple[int, Index]]] = field(init=False, repr=False)
    """The set (N,) of each row of the last t, and the rows of each set that has any."""

    def __post_init__(self) -> None:
        self.parameter_names, self.column_names = self.layout.parameters, self.layout.columns
        self._rows_of = np.empty(0), []

    @property
    def linked(self) -> bool:
        """Whether several sets have an amplitude in common."""
        return len(self.column_names) < sum(len(part.columns) for part in self.parts)

    @property
    def amplitude_groups(self) -> list[Array]:
        """The amplitudes (I_s,) of each set, along which a smooth ridge runs; one group where they are the same in all
        sets.  Raises ConfigError where sets have some in common."""
        groups = list(dict.fromkeys(tuple(own.tolist()) for own in self.layout.of_columns))
        if sum(map(len, groups)) > len(self.column_names):
            raise ConfigError("ridge: sets link some amplitudes; a smooth ridge needs all or none of them linked")
        return [np.array(own, dtype=int) for own in groups]

    def _divided(self, t: Array) -> Iterator[tuple[int, Index, Array]]:
        """The sets that have rows in t, with these rows and a copy of their points."""
        known, rows_of = self._rows_of
        if not np.array_equal(known, t[:, 0]):  # a search asks for the same t again and again
            every = [(s, np.flatnonzero(t[:, 0] == s)) for s in range(len(self.parts))]
            rows_of = [(s, as_slice(rows)) for s, rows in every if len(rows)]
            self._rows_of = t[:, 0].copy(), rows_of
        for s, rows in rows_of:
            yield s, rows, (t[rows, 1] if self.parts[s].t.ndim == 1 else t[rows, 1:]).copy()

    def factors(self, w: Array, s: int) -> Array:
        """What the columns of a set are multiplied by, (I_s,)."""
        place = self.layout.scales[s]
        return np.where(self.layout.scaled[s], w[place], 1.0) if place >= 0 else np.ones(len(self.layout.scaled[s]))

    def __call__(self, t: Array, w: Array) -> Array:
        """Phi (N, I) from t (N, 1 + D) and w (P,)."""
        w, blocks = np.asarray(w), []
        for s, rows, points in self._divided(t):
            phi = np.asarray(self.parts[s].function(points, w[self.layout.of_parameters[s]]))
            if self.layout.scales[s] >= 0:
                phi = phi * self.factors(w, s)
            blocks.append((rows, self.layout.of_columns[s], phi))
        out = np.zeros((len(t), len(self.column_names)), dtype=np.result_type(float, *(b[2].dtype for b in blocks)))
        for rows, columns, phi in blocks:
            out[_block(rows, columns)] = phi
        return out


@dataclass
class DifferentiatedJointModel(JointModel):
    """The same where every set's model has a derivative."""

    _listed: list[tuple[int, int]] = field(init=False, repr=False)
    """The joint (column, parameter) of each derivative, each once, also where it serves all sets."""
    _places: tuple[Array, ...] = field(init=False, repr=False)
    """For each set, the positions of its derivatives among them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        each = [self._of_set(s) for s in range(len(self.parts))]
        self._listed = list(dict.fromkeys(pair for own in each for pair in own))
        at = {pair: m for m, pair in enumerate(self._listed)}
        self._places = tuple(np.array([at[pair] for pair in own], dtype=int) for own in each)

    @property
    def pairs(self) -> Array:
        """(M, 2) joint column and parameter."""
        return np.array(self._listed, dtype=int).reshape(-1, 2)

    def _of_set(self, s: int) -> list[tuple[int, int]]:
        """The joint pairs of one set: those of its model, then those of its scale."""
        part, lay = self.parts[s], self.layout
        assert part.derivative is not None
        own = [(int(lay.of_columns[s][j]), int(lay.of_parameters[s][p])) for j, p in part.derivative[0]]
        if lay.scales[s] >= 0:
            own += [(int(j), lay.scales[s]) for j in lay.of_columns[s][lay.scaled[s]]]
        return own

    def columns(self, t: Array, w: Array) -> Array:
        """The derivatives (N, M) in the order of the pairs."""
        w, blocks = np.asarray(w), []
        for s, rows, points in self._divided(t):
            derivative = self.parts[s].derivative
            assert derivative is not None
            pairs, columns = derivative
            v = w[self.layout.of_parameters[s]]
            d = np.asarray(columns(points, v))
            if self.layout.scales[s] >= 0:
                phi = np.asarray(self.parts[s].function(points, v))
                d = np.concatenate([d * self.factors(w, s)[pairs[:, 0]], phi[:, self.layout.scaled[s]]], axis=1)
            blocks.append((rows, self._places[s], d))
        out = np.zeros((len(t), len(self._listed)), dtype=np.result_type(float, *(b[2].dtype for b in blocks)))
        for rows, places, d in blocks:
            if len(set(places)) < len(places):  # a model with two parameters of one shared name
                for m, column in zip(places, d.T, strict=True):
                    out[rows, m] += column
            else:
                out[_block(rows, places)] = d
        return out

    def program_in(self, t: Array) -> tuple[tuple[Column, ...], Array] | None:
        """The columns for the compiled kernel, and the rows (I, 2) that each is not zero in: its first, and the one
        after its last.  None if a column is in several sets, or one that the kernel does not know."""
        found: dict[int, tuple[Column, tuple[int, int]]] = {}
        rows_of = {s: rows for s, rows, _ in self._divided(t)}
        for s, part in enumerate(self.parts):
            program = part.function.program() if hasattr(part.function, "program") and part.t.ndim == 1 else None
            rows, own = rows_of.get(s), self.layout.of_columns[s]
            if program is None or not isinstance(rows, slice) or self.linked:
                return None
            places = self.layout.of_parameters[s]
            for j, (kind, parameters, constant) in zip(own, program, strict=True):
                column = Column(kind, tuple(int(places[p]) for p in parameters), constant)
                found[int(j)] = column, (rows.start, rows.stop)
        columns = tuple(found[j][0] for j in range(len(self.column_names)))
        if [(j, p) for j, column in enumerate(columns) for p in column.parameters] != self._listed:
            return None
        return columns, np.array([found[j][1] for j in range(len(columns))], dtype=np.int64)


def joint_model(parts: tuple[Part, ...], layout: Layout) -> JointModel:
    """The model of all sets, with a derivative if each set's model has one."""
    differentiated = all(part.derivative is not None for part in parts)
    return (DifferentiatedJointModel if differentiated else JointModel)(parts, layout)


def _block(rows: Index, columns: Array) -> Any:
    """The index of a block of a matrix."""
    return (rows, columns) if isinstance(rows, slice) else np.ix_(rows, columns)


def joint_rows(parts: Sequence[Part]) -> Array:
    """t (N, 1 + D) of all sets."""
    tables = [part.t[:, None] if part.t.ndim == 1 else part.t for part in parts]
    return np.concatenate([np.insert(table, 0, s, axis=1) for s, table in enumerate(tables)])
