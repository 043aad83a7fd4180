"""The 27 nonlinear regression problems of the NIST StRD as separable models, with their certified answers.

A problem is y = fixed_term(t, w) + model(t, w) @ a.  NIST numbers all parameters b1, b2, ... together: `start` and
`coefficients` take b to w and to a, `full` takes (w, a) back to b, `jacobian` is the derivative of `full`.
The data are kept in tests/fit/nist_data; where VARPRO_NIST names a folder of NIST's own .dat files, those are read.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.fit import nist_shapes as shapes
from tests.fit.nist_files import read_dat, read_kept
from tests.fit.nist_shapes import Array, Function


def directory() -> Path | None:
    """The folder of NIST's own files; None for those that are kept here."""
    return Path(os.environ["VARPRO_NIST"]) if "VARPRO_NIST" in os.environ else None


@dataclass(frozen=True)
class NistData:
    name: str
    x: Array  # (N,), or (N, 2) with two predictors
    y: Array
    starts: tuple[Array, Array]
    certified: Array
    deviations: Array  # certified standard deviations of the parameters
    rss: float
    rsd: float
    dof: int


def load(name: str, folder: Path | None = None) -> NistData:
    """The kept data of a problem, or those of NAME.dat in the folder given here or by VARPRO_NIST."""
    folder = folder or directory()
    facts = read_kept(name) if folder is None else read_dat(folder / f"{name}.dat")
    rows, (first, second) = np.array(facts["observations"]), np.array(facts["starts"])
    return NistData(
        name=name,
        x=rows[:, 1] if rows.shape[1] == 2 else rows[:, 1:],
        y=rows[:, 0],
        starts=(first, second),
        certified=np.array(facts["certified"]),
        deviations=np.array(facts["deviations"]),
        rss=facts["rss"],
        rsd=facts["rsd"],
        dof=len(rows) - len(first),  # Rat43.dat prints 9 where its deviations and RSD follow from 15 - 4
    )


@dataclass(frozen=True)
class NistProblem:
    linear: Sequence[int]  # NIST's numbers, from 1, of the parameters that enter linearly; the others form w, in order
    nonlinear: Sequence[int]
    model: Function  # (t, w) -> (N, I)
    pairs: Array  # (M, 2): column j depends on parameter p
    columns: Function  # (t, w) -> (N, M): the derivative of column j with respect to w_p, pair by pair
    fixed_term: Function | None = None
    fixed_columns: Function | None = None  # (t, w) -> (N, P)
    transform: Callable[[Array], Array] = field(default=lambda y: y)
    permuted: Sequence[Sequence[int]] = ()  # blocks of b that may be exchanged
    ranked: int = 0  # NIST lists the blocks by rising values at this place of a block,
    descending: bool = False  # or by falling ones
    even: Sequence[tuple[int, Sequence[int]]] = ()  # (k, flips): negating b_k and the b of flips changes nothing

    def start(self, b: Array) -> Array:
        return b[np.subtract(self.nonlinear, 1)]

    def coefficients(self, b: Array) -> Array:
        return b[np.subtract(self.linear, 1)]

    def full(self, w: Array, a: Array) -> Array:
        return self.jacobian(w, a) @ np.concatenate([w, a])

    def jacobian(self, w: Array, a: Array) -> Array:
        """The derivative of `full` with respect to (w, a): here a permutation."""
        size = len(self.nonlinear) + len(self.linear)
        matrix = np.zeros((size, size))
        matrix[np.subtract([*self.nonlinear, *self.linear], 1), np.arange(size)] = 1.0
        return matrix

    def symmetry(self, b: Array) -> tuple[Array, Array]:
        """(order, sign) of the equal minimum sign * b[order] that NIST lists."""
        order, sign = np.arange(len(b)), np.ones(len(b))
        for number, flips in self.even:
            if b[number - 1] < 0:
                sign[np.subtract([number, *flips], 1)] *= -1
        if self.permuted:
            blocks = np.subtract(self.permuted, 1)
            ranks = np.argsort((sign * b)[blocks[:, self.ranked]] * (-1 if self.descending else 1), kind="stable")
            order[blocks.ravel()] = blocks[ranks].ravel()
        return order, sign[order]

    def match(self, b: Array) -> Array:
        order, sign = self.symmetry(b)
        return sign * b[order]

    def predict(self, t: Array, w: Array, a: Array) -> Array:
        linear = self.model(t, w) @ a
        return linear if self.fixed_term is None else self.fixed_term(t, w) + linear

    def derivative(self, t: Array, w: Array, a: Array) -> Array:
        """(N, P + I): of `predict` with respect to (w, a), the design of the covariance."""
        nonlinear = np.zeros((len(t), len(w))) if self.fixed_columns is None else self.fixed_columns(t, w)
        for (j, p), column in zip(self.pairs, self.columns(t, w).T, strict=True):
            nonlinear[:, p] += column * a[j]
        return np.concatenate([nonlinear, self.model(t, w)], axis=1)


class Chwirut(NistProblem):
    """exp(-b1 x) / (b2 + b3 x) is separable in c = 1 / b2 and w = (b1, b3 / b2)."""

    def start(self, b: Array) -> Array:
        return np.array([b[0], b[2] / b[1]])

    def coefficients(self, b: Array) -> Array:
        return 1 / b[1:2]

    def full(self, w: Array, a: Array) -> Array:
        return np.array([w[0], 1 / a[0], w[1] / a[0]])

    def jacobian(self, w: Array, a: Array) -> Array:
        c = a[0]
        return np.array([[1, 0, 0], [0, 0, -1 / c**2], [0, 1 / c, -w[1] / c**2]])


def problem(linear: Sequence[int], nonlinear: Sequence[int], shape: shapes.Shape, **extra: Any) -> NistProblem:
    model, pairs, columns = shape
    kind = extra.pop("kind", NistProblem)
    return kind(linear, nonlinear, model, np.array(pairs, dtype=np.int64).reshape(-1, 2), columns, **extra)


_lanczos: Any = {"permuted": [(1, 2), (3, 4), (5, 6)], "ranked": 1}
_peaks: Any = {"permuted": [(3, 4, 5), (6, 7, 8)], "ranked": 1, "even": [(5, ()), (8, ())]}
_waves: Any = {"permuted": [(4, 5, 6), (7, 8, 9)], "descending": True, "even": [(4, [6]), (7, [9])]}
_roszman: Any = {"fixed_term": shapes.arctangent, "fixed_columns": shapes.arctangent_columns}

PROBLEMS: dict[str, NistProblem] = {
    **{name: problem([1], [2], shapes.SATURATION) for name in ("Misra1a", "BoxBOD")},
    "Misra1b": problem([1], [2], shapes.MISRA1B),
    "Misra1c": problem([1], [2], shapes.MISRA1C),
    "Misra1d": problem([1], [2], shapes.MISRA1D),
    "DanWood": problem([1], [2], shapes.POWER),
    "MGH10": problem([1], [2, 3], shapes.MGH10),
    "Bennett5": problem([1], [2, 3], shapes.BENNETT5),
    "Eckerle4": problem([1], [2, 3], shapes.ECKERLE4, even=[(2, [1])]),
    "Rat42": problem([1], [2, 3], shapes.RAT42),
    "Rat43": problem([1], [2, 3, 4], shapes.RAT43),
    "MGH09": problem([1], [2, 3, 4], shapes.MGH09),
    "Nelson": problem([1, 2], [3], shapes.nelson(), transform=np.log),
    "Roszman1": problem([1, 2], [3, 4], shapes.line(), **_roszman),
    "MGH17": problem([1, 2, 3], [4, 5], shapes.exponentials(2, constant=1), permuted=[(2, 4), (3, 5)], ranked=1),
    "Kirby2": problem([1, 2, 3], [4, 5], shapes.rational(2, 2)),
    **{name: problem([1, 2, 3, 4], [5, 6, 7], shapes.rational(3, 3)) for name in ("Hahn1", "Thurber")},
    **{f"Lanczos{k}": problem([1, 3, 5], [2, 4, 6], shapes.exponentials(3), **_lanczos) for k in (1, 2, 3)},
    **{f"Gauss{k}": problem([1, 3, 6], [2, 4, 5, 7, 8], shapes.decay_and_two_peaks(), **_peaks) for k in (1, 2, 3)},
    "ENSO": problem([1, 2, 3, 5, 6, 8, 9], [4, 7], shapes.seasons(), **_waves),
    **{f"Chwirut{k}": problem([2], [1, 3], shapes.CHWIRUT, kind=Chwirut) for k in (1, 2)},
}
