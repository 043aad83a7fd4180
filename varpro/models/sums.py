"""Sums of models: their columns and parameters side by side, and a guess that fits the parts one after another."""

from collections.abc import Callable, Sequence

import numpy as np

from varpro.arrays import Array, as_array
from varpro.errors import ConfigError
from varpro.models.guesses import amplitudes, best_start, checked_points, finite_rows
from varpro.models.quantities import frame_of
from varpro.models.separable import Column, Framed, Model, unique_names

Guess = Callable[[Array, Array], Array]
"""(t, y) -> w (P,)"""


class Sum(Model):
    """Phi = [Phi_1 | Phi_2 | ...], w = (w_1, w_2, ...).

    The columns should stay independent: two parts with an offset each make Phi rank deficient.
    """

    def __init__(self, parts: Sequence[Model]) -> None:
        """parts : models; sums among them are flattened.  Raises ConfigError if there are none."""
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
        """w split into parts."""
        return [w[a:b] for a, b in zip(self._parameters[:-1], self._parameters[1:], strict=True)]

    def __call__(self, t: Array, w: Array) -> Array:
        w = as_array(w)
        return np.concatenate([part(t, v) for part, v in zip(self.parts, self.split(w), strict=True)], axis=-1)

    def columns(self, t: Array, w: Array) -> Array:
        w = as_array(w)
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
        """Guess each part on y minus the fit of those before it, in both orders, then on y minus all the others."""
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


def _starts(sizes: list[int]) -> list[int]:
    return [0, *np.cumsum(sizes).tolist()]


def _fit(phi: Array, y: Array, keep: Array | None = None) -> Array:
    """Phi A for the best A, or only the part of the columns `keep`; zero where phi is not finite."""
    rows = finite_rows(phi, y)
    a = amplitudes(phi[rows], y[rows])
    if keep is not None:
        a, phi = a[keep], phi[:, keep]
    out = np.zeros(y.shape, dtype=np.result_type(y, a))
    out[rows] = phi[rows] @ a
    return out
