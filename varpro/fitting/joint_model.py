"""Several data sets as one problem: their rows below one another, their models' columns in blocks.

    [ Phi_1          s_1 L_1 ]        Phi_s  columns with amplitudes of their own
    [        Phi_2   s_2 L_2 ]        L_s    columns whose amplitudes are linked, s_s their scale, s_1 = 1

A row of t is (set, point).  Parameters are shared by all sets that have them, or belong to one set.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from varpro.arrays import Array
from varpro.fitting.model import Function


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
    """(t, w) -> Phi of all sets, with `pairs` and `columns` if every set's model has a derivative."""

    parts: tuple[Part, ...]
    layout: Layout
    parameter_names: tuple[str, ...] = field(init=False)
    column_names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.parameter_names, self.column_names = self.layout.parameters, self.layout.columns

    @property
    def derivative(self) -> tuple[Array, Function] | None:
        """(pairs, columns), or None if a set's model has none."""
        if any(part.derivative is None for part in self.parts):
            return None
        return np.array(self._places, dtype=int).reshape(-1, 2), self.slopes

    @property
    def _places(self) -> list[tuple[int, int]]:
        """The joint (column, parameter) of each derivative, each once, also where it serves all sets."""
        found: dict[tuple[int, int], None] = {}
        for s in range(len(self.parts)):
            found.update(dict.fromkeys(self._of_set(s)))
        return list(found)

    def _of_set(self, s: int) -> list[tuple[int, int]]:
        """The joint pairs of one set: those of its model, then those of its scale."""
        part, lay = self.parts[s], self.layout
        assert part.derivative is not None
        own = [(int(lay.of_columns[s][j]), int(lay.of_parameters[s][p])) for j, p in part.derivative[0]]
        if lay.scales[s] >= 0:
            own += [(int(j), lay.scales[s]) for j in lay.of_columns[s][lay.scaled[s]]]
        return own

    def _rows(self, t: Array, s: int) -> tuple[Array, Array]:
        """The rows of a set, and their points."""
        rows = np.flatnonzero(t[:, 0] == s)
        return rows, t[rows, 1] if self.parts[s].t.ndim == 1 else t[rows, 1:]

    def _factors(self, w: Array, s: int) -> Array:
        """What the columns of a set are multiplied by, (I_s,)."""
        place = self.layout.scales[s]
        return np.where(self.layout.scaled[s], w[place], 1.0) if place >= 0 else np.ones(len(self.layout.scaled[s]))

    def own(self, t: Array, w: Array, s: int) -> Array:
        """Phi_s (N_s, I_s) at points t of one set, scaled."""
        phi = np.asarray(self.parts[s].function(t, w[self.layout.of_parameters[s]]))
        return phi * self._factors(w, s)

    def __call__(self, t: Array, w: Array) -> Array:
        """Phi (N, I) from t (N, 1 + D) and w (P,)."""
        w, blocks = np.asarray(w), []
        for s in range(len(self.parts)):
            rows, points = self._rows(t, s)
            if len(rows):
                blocks.append((rows, self.layout.of_columns[s], self.own(points, w, s)))
        out = np.zeros((len(t), len(self.column_names)), dtype=np.result_type(float, *(b[2] for b in blocks)))
        for rows, columns, phi in blocks:
            out[np.ix_(rows, columns)] = phi
        return out

    def slopes(self, t: Array, w: Array) -> Array:
        """The derivatives (N, M) in the order of the pairs."""
        w, places, blocks = np.asarray(w), {pair: m for m, pair in enumerate(self._places)}, []
        for s, part in enumerate(self.parts):
            rows, points = self._rows(t, s)
            if not len(rows):
                continue
            assert part.derivative is not None
            pairs, columns = part.derivative
            v = w[self.layout.of_parameters[s]]
            d = np.asarray(columns(points, v)) * self._factors(w, s)[np.asarray(pairs)[:, 0]]
            if self.layout.scales[s] >= 0:
                phi = np.asarray(part.function(points, v))
                d = np.concatenate([d, phi[:, self.layout.scaled[s]]], axis=1)
            blocks.append((rows, [places[pair] for pair in self._of_set(s)], d))
        out = np.zeros((len(t), len(places)), dtype=np.result_type(float, *(b[2] for b in blocks)))
        for rows, where, d in blocks:
            for m, column in zip(where, d.T, strict=True):
                out[rows, m] += column  # a model with two parameters of one shared name has two derivatives here
        return out


def joint_rows(parts: Sequence[Part]) -> Array:
    """t (N, 1 + D) of all sets."""
    tables = [part.t[:, None] if part.t.ndim == 1 else part.t for part in parts]
    return np.concatenate([np.insert(table, 0, s, axis=1) for s, table in enumerate(tables)])
