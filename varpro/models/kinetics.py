"""Compartment schemes: species that turn into one another by first-order steps, and the spectra that belong to them.

    dc/dt = K c,   c(0) = c_0,   c(t) = V exp(Lambda t) V^-1 c_0,   K = V Lambda V^-1
    dc/dk = V [(V^-1 dK/dk V) o F(t)] V^-1 c_0,   F_ij = (exp(l_i t) - exp(l_j t)) / (l_i - l_j), or t exp(l_i t)

Phi holds the concentrations, one column for each species, so that the amplitudes are species-associated spectra.
Golub and Van Loan, Matrix Computations, 9.1; Najfeld and Havel, Adv. Appl. Math. 16 (1995) 321-375, for the derivative.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.models.exponentials import Exponentials
from varpro.models.guesses import remainder_at
from varpro.models.quantities import RATE, Frame, frame_of
from varpro.models.separable import Framed, unique_names

EQUAL = 1e-6
"""Relative difference of two eigenvalues below which their divided difference is taken at their mean."""
DEFECTIVE = 1e4
"""Condition of the eigenvectors above which the exponential is taken of the matrix, as for two equal rates in a row."""
ORDERS = 120
"""Most orders of the rates that a guess tries: those of five."""
ALIKE = 1e-9
"""Remainders that differ by less than this share of the data are equal: at one wavelength two orders of the rates are,
and then the faster step comes first."""
EXAMPLE = "such as [('A', 'B'), ('B', None)], where None is the ground state"

Step = tuple[str, str | None]


@dataclass(frozen=True, eq=False)
class Kinetics(Framed):
    """Concentrations of species that turn into one another; w = the rates of the steps, in 1 / unit of t.

    steps : (from, to) for each step, to = None for a loss to the ground state: [("A", "B"), ("B", None)] is a sequence,
        [("A", "B"), ("A", None)] a branch, [("A", "B"), ("B", "A")] an equilibrium.  Each is a parameter, k_A_B or k_A.
    initial : the concentrations at t = 0, {"A": 1.0}; by default 1 for the first species of the first step.
    The columns are the species in the order in which they appear; the amplitudes, (I, K) for K wavelengths, are the
    species-associated spectra.  t counts from the beginning of the reaction.  A fit keeps the rates at 0 or above.
    Data of one wavelength may not determine a branched scheme: then errors are infinite.
    Real w only.  Example: a photocycle.  `guess` from sums of exponentials, in the order of the rates that fits best,
    the fast first where several do.
    Raises ConfigError for what is no scheme.
    """

    steps: Iterable[Step]
    initial: Mapping[str, float] | None = None
    species: tuple[str, ...] = field(init=False)
    """The names of the species."""
    movable = False

    def __post_init__(self) -> None:
        steps = tuple(_step(given) for given in _listed(self.steps))
        if not steps:
            raise ConfigError(f"a scheme needs a step, {EXAMPLE}")
        if len(set(steps)) < len(steps):
            twice = next(step for step in steps if steps.count(step) > 1)
            raise ConfigError(f"the step {_name(twice)} is listed twice; leave one out")
        names = tuple(dict.fromkeys(name for step in steps for name in step if name is not None))
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "species", names)
        if self.initial is not None and not isinstance(self.initial, Mapping):
            raise ConfigError(f"initial is {self.initial!r}; give {{{names[0]!r}: 1.0}}, with any of the species")
        start = {names[0]: 1.0} if self.initial is None else dict(self.initial)
        for name, value in start.items():
            if name not in names:
                raise ConfigError(f"initial names {name!r}, which is no species; there are {', '.join(names)}")
            if not isinstance(value, Real) or not (np.isfinite(value) and value >= 0):
                raise ConfigError(f"initial of {name!r} is {value!r}; a concentration is a finite number of 0 or more")
        if not any(start.values()):
            raise ConfigError("initial is 0 for every species; nothing would happen")
        object.__setattr__(self, "initial", start)
        lost = [name for name in names if name not in self._reached]
        if lost:
            raise ConfigError(f"nothing ever becomes {lost[0]!r}; give it an initial concentration, or leave it out")

    @property
    def _steps(self) -> tuple[Step, ...]:
        return tuple(self.steps)

    @property
    def _reached(self) -> set[str]:
        found = {name for name, value in (self.initial or {}).items() if value > 0}
        for _ in self.species:
            found |= {end for begin, end in self._steps if begin in found and end is not None}
        return found

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return unique_names([f"k_{_name(step, '_')}" for step in self._steps])

    @property
    def column_names(self) -> tuple[str, ...]:
        return self.species

    @property
    def pairs(self) -> Array:
        return np.array([(i, p) for i in range(len(self.species)) for p in range(len(self._steps))], dtype=np.intp)

    @cached_property
    def _changes(self) -> Array:
        """dK / dk, (P, I, I)."""
        out = np.zeros((len(self._steps), len(self.species), len(self.species)))
        for p, (begin, end) in enumerate(self._steps):
            i = self.species.index(begin)
            out[p, i, i] = -1.0
            if end is not None:
                out[p, self.species.index(end), i] = 1.0
        return out

    @property
    def _first(self) -> Array:
        """c_0, (I,)."""
        assert self.initial is not None
        return np.array([self.initial.get(name, 0.0) for name in self.species])

    def __call__(self, t: Array, w: Array) -> Array:
        return self._each(np.asarray(t), np.asarray(w), self._concentrations)

    def columns(self, t: Array, w: Array) -> Array:
        return self._each(np.asarray(t), np.asarray(w), self._slopes)

    def _each(self, t: Array, w: Array, of: Callable[[Array, Array], Array]) -> Array:
        """(N, J) for one problem, (b, N, J) for w (P, b, 1)."""
        kind = np.result_type(t, w, np.float32)
        rates = np.asarray(w, dtype=float)
        with np.errstate(all="ignore"):
            if rates.ndim == 1:
                return of(t.astype(float), rates).astype(kind, copy=False)
            grid = np.broadcast_to(t, (rates.shape[1], t.shape[-1])).astype(float)
            each = [of(own, v) for own, v in zip(grid, rates[:, :, 0].T, strict=True)]
            return np.stack(each).astype(kind, copy=False)

    def _matrix(self, rates: Array) -> Array:
        """K (I, I)."""
        return np.einsum("p,pij->ij", rates, self._changes)

    def _concentrations(self, t: Array, rates: Array) -> Array:
        """(N, I)"""
        if not np.isfinite(rates).all():
            return np.full((len(t), len(self.species)), np.nan)
        modes = _modes(self._matrix(rates))
        if modes is None:
            grown = scipy.linalg.expm(t[:, None, None] * self._matrix(rates))
            return np.asarray(grown @ self._first)
        values, vectors, inverse = modes
        out: Array = ((np.exp(t[:, None] * values) * (inverse @ self._first)) @ vectors.T).real
        return out

    def _slopes(self, t: Array, rates: Array) -> Array:
        """(N, I P), by species, then by rate."""
        count, n_rates = len(self.species), len(rates)
        if not np.isfinite(rates).all():
            return np.full((len(t), count * n_rates), np.nan)
        modes = _modes(self._matrix(rates))
        if modes is None:
            return np.stack([self._by_blocks(t, rates, p) for p in range(n_rates)], axis=2).reshape(len(t), -1)
        values, vectors, inverse = modes
        f = _divided(t[:, None, None], values[:, None], values)
        inner = inverse @ self._changes @ vectors
        moved = np.einsum("pij,nij,j->npi", inner, f, inverse @ self._first)
        out: Array = np.einsum("si,npi->nsp", vectors, moved).real
        return out.reshape(len(t), -1)

    def _by_blocks(self, t: Array, rates: Array, p: int) -> Array:
        """(N, I) the derivative by one rate without eigenvectors: a block of exp of [[K, 0], [dK, K]]."""
        k, count = self._matrix(rates), len(self.species)
        whole = np.block([[k, np.zeros_like(k)], [self._changes[p], k]])
        grown = scipy.linalg.expm(t[:, None, None] * whole)
        return np.asarray(grown[:, count:, :count] @ self._first)

    def natural_bounds(self, t: Array) -> tuple[Array, Array] | None:
        return np.zeros(len(self._steps)), np.full(len(self._steps), np.inf)

    def draws(self, t: Array) -> tuple[Array, Array, Array] | None:
        frame, count = frame_of(t, np.ones(len(t)), movable=False), len(self._steps)
        low, high = np.sort(RATE.at(np.array(RATE.draws(len(t))), frame))
        return np.full(count, low), np.full(count, high), np.ones(count, dtype=bool)

    def at(self, w: Array, frame: Frame) -> Array:
        return np.nan_to_num(w / frame.unit)

    def propose(self, x: Array, y: Array) -> Array:
        count = len(self._steps)
        rates = np.sort(np.abs(Exponentials(count, rates=True).propose(x, y)))[::-1]
        orders = list(itertools.islice(itertools.permutations(rates), ORDERS))
        starts = [np.array(order) for order in orders]
        left = np.array([remainder_at(self, x, y, w) for w in starts])
        alike = left.min() + ALIKE * float(np.nansum(np.abs(y) ** 2))
        return starts[int(np.argmax(left <= alike))] if np.isfinite(left).any() else starts[0]


def _modes(k: Array) -> tuple[Array, Array, Array] | None:
    """Eigenvalues (I,), eigenvectors and their inverse (I, I) of K; None where these are nearly dependent."""
    values, vectors = np.linalg.eig(k)
    return (values, vectors, np.linalg.inv(vectors)) if np.linalg.cond(vectors) < DEFECTIVE else None


def _divided(t: Array, a: Array, b: Array) -> Array:
    """(exp(a t) - exp(b t)) / (a - b), and t exp(a t) where the two are equal."""
    near = np.abs(a - b) <= EQUAL * np.maximum(np.abs(a), np.abs(b))
    apart = np.where(near, 1.0, a - b)
    return np.where(near, t * np.exp(0.5 * (a + b) * t), (np.exp(a * t) - np.exp(b * t)) / apart)


def _listed(steps: object) -> list[object]:
    if isinstance(steps, str) or not isinstance(steps, Iterable):
        raise ConfigError(f"{steps!r} is no scheme; give its steps, {EXAMPLE}")
    return list(steps)


def _step(given: object) -> Step:
    """One step, checked."""
    if not isinstance(given, tuple | list) or len(given) != 2 or not isinstance(given[0], str):
        raise ConfigError(f"{given!r} is no step; a step is (from, to), {EXAMPLE}")
    begin, end = given
    if not (end is None or isinstance(end, str)):
        raise ConfigError(f"the step from {begin!r} leads to {end!r}; give a name, or None for the ground state")
    if begin == end:
        raise ConfigError(f"the step from {begin!r} leads to itself; leave it out")
    return begin, end


def _name(step: Step, between: str = " -> ") -> str:
    return between.join(name for name in step if name is not None)
