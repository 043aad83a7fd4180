"""Many small separable problems at once: linear parameters, cost, Gauss-Newton matrix and gradient in one pass.

The columns of Phi come from a ready model compiled in (a program), or from arrays.  Everything is summed from scalar
products of columns; the Gram matrix of unit columns is factored by Cholesky and its condition reported, so that the
kernel can go on by orthogonal factorisation beyond a limit.
"""

from dataclasses import dataclass

import numpy as np

from varpro import _cpu
from varpro.arrays import Array
from varpro.errors import ShapeError
from varpro.kernels._checks import doubles, require
from varpro.kernels.search import N_NUMBERS, NUMBERS, Rules

KINDS = ("power", "decay", "rate", "gaussian", "lorentzian")


@dataclass(frozen=True, slots=True)
class SmallFits:
    """What the kernel returns for b problems."""

    a: Array
    """(b, I, K)"""
    cost: Array
    """(b,)"""
    terms: Array
    """(b,) 1/2 (sum_j ||phi_j|| ||a_j||)^2, what the model is summed of"""
    condition: Array
    """(b,) kappa_1 of the scaled Gram matrix, about the square of Phi's; infinite where Phi is not finite or not of
    full rank to rounding, and nothing else of that problem is to be used"""
    h: Array
    """(b, P, P), both triangles"""
    gradient: Array
    """(b, P)"""
    natural: Array
    """(b, P) change of a parameter that changes its columns by their own size; infinite where it changes none"""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Column and parameter of each column of D, (M,) int32."""

    columns: Array
    parameters: Array


def encode(program: tuple[tuple[str, tuple[int, ...], float], ...]) -> Array:
    """(I, 4) int32 from (kind, parameters, constant) of each column."""
    rows = []
    for kind, parameters, constant in program:
        first, second = (*parameters, -1, -1)[:2]
        rows.append([KINDS.index(kind), first, second, int(constant)])
    return np.array(rows, dtype=np.int32).reshape(-1, 4)


def from_program(
    program: Array,
    t: Array,
    w: Array,
    y: Array,
    problems: Array,
    pairs: Pairs,
    *,
    weights: Array | None = None,
    ridge: float = 0.0,
    kaufman: bool = False,
    derivatives: bool = True,
) -> SmallFits:
    """Problems `problems` (b,) of the data at w (b, P).

    program : (I, 4) of `encode`.  t : (1 or B, N).  y : (B, N, K).  weights : (1 or B, N), times the residual, or None.
    """
    require(program.ndim == 2 and program.shape[1] == 4, f"program has shape {program.shape}; it needs (I, 4)")
    require(
        t.ndim == 2 and t.shape[0] in (1, len(y)) and t.shape[1] == y.shape[1],
        f"t has shape {t.shape}; y {y.shape} needs (1 or {len(y)}, {y.shape[1]})",
    )
    used = program[:, 1:3]
    highest = int(used.max(initial=-1))
    require(highest < w.shape[1], f"the program reads parameter {highest}; w has {w.shape[1]}")
    out = _outputs(len(problems), len(program), y.shape[2], w.shape[1], derivatives)
    _run(program, doubles(t), w, None, None, y, weights, problems, pairs, out, ridge, kaufman, derivatives)
    return out


def from_arrays(
    phi: Array,
    d: Array | None,
    y: Array,
    problems: Array,
    pairs: Pairs,
    n_parameters: int,
    *,
    weights: Array | None = None,
    ridge: float = 0.0,
    kaufman: bool = False,
) -> SmallFits:
    """As from_program for phi (b, N, I) and d (b, N, M), or None: then h and gradient are not made (shape (0, ...))."""
    require(
        phi.ndim == 3 and phi.shape[:2] == (len(problems), y.shape[1]),
        f"phi has shape {phi.shape}; it needs ({len(problems)}, {y.shape[1]}, I)",
    )
    require(
        d is None or d.shape == (*phi.shape[:2], len(pairs.columns)),
        f"d has shape {None if d is None else d.shape}; it needs {(*phi.shape[:2], len(pairs.columns))}",
    )
    out = _outputs(len(phi), phi.shape[2], y.shape[2], n_parameters, d is not None)
    w, program = np.empty((len(phi), n_parameters)), np.empty((0, 4), dtype=np.int32)
    wide = None if d is None else doubles(d)
    _run(program, None, w, doubles(phi), wide, y, weights, problems, pairs, out, ridge, kaufman, d is not None)
    return out


def from_arrays_reference(
    phi: Array,
    d: Array,
    y: Array,
    problems: Array,
    pairs: Pairs,
    n_parameters: int,
    *,
    weights: Array | None = None,
    ridge: float = 0.0,
    kaufman: bool = False,
) -> SmallFits:
    """The formulas by orthogonal factorisation, one problem after another."""
    parts = []
    incidence = np.zeros((len(pairs.columns), n_parameters))
    incidence[np.arange(len(pairs.columns)), pairs.parameters] = 1.0
    for b, number in enumerate(problems):
        weight = np.ones(y.shape[1]) if weights is None else weights[number % len(weights)]
        n_columns = phi.shape[2]
        rows = np.vstack([weight[:, None] * phi[b], np.sqrt(ridge) * np.eye(n_columns)])
        deriv = np.vstack([weight[:, None] * d[b], np.zeros((n_columns, d.shape[2]))])
        right = np.vstack([weight[:, None] * y[number], np.zeros((n_columns, y.shape[2]))])
        q, r = np.linalg.qr(rows)
        a = np.linalg.solve(r, q.T @ right)
        residual, inverse = right - rows @ a, np.linalg.inv(rows.T @ rows)
        projected, moment = deriv - q @ (q.T @ deriv), deriv.T @ residual
        h = (a @ a.T)[np.ix_(pairs.columns, pairs.columns)] * (projected.T @ projected)
        if not kaufman:
            h += inverse[np.ix_(pairs.columns, pairs.columns)] * (moment @ moment.T)
        gradient = -np.sum(moment * a[pairs.columns], axis=1)
        scale = 1.0 / np.linalg.norm(rows, axis=0)
        condition = np.linalg.cond(scale[:, None] * (rows.T @ rows) * scale, 1)
        of_d, of_phi = (np.sum((weight[:, None] * columns) ** 2, axis=0) for columns in (d[b], phi[b]))
        squares = of_d / of_phi[pairs.columns]
        with np.errstate(divide="ignore"):
            natural = 1.0 / np.sqrt(squares @ incidence)
        whole, slope = incidence.T @ h @ incidence, gradient @ incidence
        unprojected = (of_d * np.sum(a**2, axis=1)[pairs.columns]) @ incidence
        np.fill_diagonal(whole, np.maximum(np.diagonal(whole), UNSEEN * unprojected))
        norms = np.linalg.norm(weight[:, None] * phi[b], axis=0)
        terms = 0.5 * float(norms @ np.linalg.norm(a, axis=1)) ** 2
        parts.append((a, 0.5 * np.sum(residual**2), terms, condition, whole, slope, natural))
    return SmallFits(*(np.array(column) for column in zip(*parts, strict=True)))


def _outputs(b: int, i: int, k: int, p: int, derivatives: bool) -> SmallFits:
    made = b if derivatives else 0
    h, gradient, natural = np.empty((made, p, p)), np.empty((made, p)), np.empty((made, p))
    return SmallFits(np.empty((b, i, k)), np.empty(b), np.empty(b), np.empty(b), h, gradient, natural)


def _run(
    program: Array,
    t: Array | None,
    w: Array,
    phi: Array | None,
    d: Array | None,
    y: Array,
    weights: Array | None,
    problems: Array,
    pairs: Pairs,
    out: SmallFits,
    ridge: float,
    kaufman: bool,
    derivatives: bool,
) -> None:
    require(y.ndim == 3, f"y has shape {y.shape}; it needs (B, N, K)")
    require(
        weights is None or (weights.ndim == 2 and weights.shape[0] in (1, len(y)) and weights.shape[1] == y.shape[1]),
        f"weights have shape {None if weights is None else weights.shape}; they need (1 or {len(y)}, {y.shape[1]})",
    )
    scale = None if weights is None else doubles(weights)
    results = (out.a, out.cost, out.terms, out.h, out.gradient, out.natural, out.condition)
    _cpu.small_fits(
        program, t, doubles(w), phi, d, doubles(y), scale, problems, pairs.columns, pairs.parameters, *results,
        ridge, kaufman, derivatives,
    )  # fmt: skip


UNSEEN = 64 * float(np.finfo(np.float64).eps)
"""Of ||J_p||^2 without the projection: less than this is the rounding of the projection; small_algebra.hpp."""
GRAM_LIMIT = _cpu.gram_limit
"""kappa_1 of the scaled Gram matrix up to which scalar products of columns serve a search; small_fits.hpp."""
MOST_PARAMETERS = 16
"""Of a problem whose search is compiled."""
BEYOND = -1
"""Status of a problem whose basis was not of full rank somewhere, to rounding or, on a GPU, to what scalar products of
columns show: it is left to the truncated factorisation, from its start."""


class States:
    """The searches of b problems between two evaluations, a row of numbers each; see small_fits.hpp."""

    def __init__(self, w0: Array, n_columns: int, n_right: int) -> None:
        count, self.p = w0.shape
        require(self.p <= MOST_PARAMETERS, f"w0 has shape {w0.shape}; at most {MOST_PARAMETERS} parameters")
        self._shape, self.n_columns = (n_columns, n_right), n_columns
        self._end = 6 * self.p + self.p**2 + n_columns * n_right
        self.rows = np.zeros((count, self._end + N_NUMBERS))
        self.trial[:] = w0

    @property
    def w(self) -> Array:
        """(b, P) the best so far"""
        return self.rows[:, : self.p]

    @property
    def trial(self) -> Array:
        """(b, P) where the model is to be evaluated next"""
        return self.rows[:, self.p : 2 * self.p]

    @property
    def a(self) -> Array:
        """(b, I, K)"""
        return self.rows[:, self._end - self._shape[0] * self._shape[1] : self._end].reshape(-1, *self._shape)

    @property
    def natural(self) -> Array:
        """(b, P)"""
        return self.rows[:, 5 * self.p : 6 * self.p]

    @property
    def h(self) -> Array:
        """(b, P, P)"""
        return self.rows[:, 6 * self.p : 6 * self.p + self.p**2].reshape(-1, self.p, self.p)

    @property
    def gradient(self) -> Array:
        """(b, P)"""
        return self.rows[:, 3 * self.p : 4 * self.p]

    @property
    def numbers(self) -> Array:
        """(b,) of search.NUMBERS, a view"""
        offset, strides = self._end * self.rows.itemsize, self.rows.strides[:1]
        return np.ndarray(len(self.rows), NUMBERS, buffer=self.rows, offset=offset, strides=strides)

    @property
    def tail(self) -> Array:
        """(b, numbers) the same as plain numbers, which NumPy copies far faster; `named` gives them their names"""
        return self.rows[:, self._end :]

    @property
    def status(self) -> Array:
        """(b,) as result.Status, or BEYOND"""
        return self.numbers["status"]  # type: ignore[no-any-return]

    @property
    def cost(self) -> Array:
        """(b,)"""
        return self.numbers["cost"]  # type: ignore[no-any-return]

    @property
    def iterations(self) -> Array:
        """(b,)"""
        return self.numbers["iterations"]  # type: ignore[no-any-return]

    @property
    def evaluations(self) -> Array:
        """(b,)"""
        return self.numbers["evaluations"]  # type: ignore[no-any-return]


def named(tail: Array) -> Array:
    """(n,) of search.NUMBERS for (n, numbers), contiguous."""
    records: Array = tail.view(NUMBERS)[:, 0]
    return records


def search_program(
    program: Array,
    t: Array,
    y: Array,
    problems: Array,
    pairs: Pairs,
    states: States,
    rules: Rules,
    *,
    weights: Array | None = None,
    ridge: float = 0.0,
    kaufman: bool = False,
    n_logged: int = 0,
) -> Array:
    """The search of search.loop for problems of a program, from their states to the end, in place.

    n_logged : of a single problem, how many trials to log; the log (n,) of search.NUMBERS is returned.
    Other arguments as from_program.  The reference is the search loop itself.
    """
    require(
        t.ndim == 2 and t.shape[0] in (1, len(y)) and t.shape[1] == y.shape[1],
        f"t has shape {t.shape}; y {y.shape} needs (1 or {len(y)}, {y.shape[1]})",
    )
    highest = int(program[:, 1:3].max(initial=-1))
    require(highest < states.p, f"the program reads parameter {highest}; w has {states.p}")
    require(len(states.rows) == len(problems), f"{len(states.rows)} states for {len(problems)} problems")
    scale = None if weights is None else doubles(weights)
    log = np.empty((n_logged, N_NUMBERS))
    logged = _cpu.small_searches(
        program, doubles(t), doubles(y), scale, problems, pairs.columns, pairs.parameters, states.rows, states.p,
        rules.compiled, ridge, kaufman, log,
    )  # fmt: skip
    return named(log[:logged])


def advance(
    phi: Array,
    d: Array,
    y: Array,
    problems: Array,
    pairs: Pairs,
    states: States,
    rows: Array,
    rules: Rules,
    *,
    ridge: float = 0.0,
    kaufman: bool = False,
) -> None:
    """One trial step of search.loop for problems whose Phi (b, N, I) and D (b, N, M) at their trial w are given.

    rows : (b,) int64, the states of the problems, which are moved in place.
    """
    if phi.shape[:2] != (len(problems), y.shape[1]) or d.shape != (*phi.shape[:2], len(pairs.columns)):
        raise ShapeError(
            f"phi has shape {phi.shape}, d {d.shape}; they need ({len(problems)}, {y.shape[1]}, I) and "
            f"(..., {len(pairs.columns)})"
        )
    _cpu.small_advance(
        doubles(phi), doubles(d), y, None, problems, pairs.columns, pairs.parameters, states.rows, rows, states.p,
        rules.compiled, ridge, kaufman,
    )  # fmt: skip
