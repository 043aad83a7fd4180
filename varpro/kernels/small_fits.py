"""Many small separable problems at once: linear parameters, cost, Gauss-Newton matrix and gradient in one pass.

The columns of Phi come from a ready model compiled in (a program), or from arrays.  Everything is summed from scalar
products of columns; the Gram matrix of unit columns is factored by Cholesky and its condition reported, so that the
caller can take problems beyond a limit to the orthogonal factorisation instead.
"""

from dataclasses import dataclass

import numpy as np

from varpro import _cpu
from varpro.arrays import Array
from varpro.kernels._checks import doubles, require

KINDS = ("power", "decay", "rate", "gaussian", "lorentzian")


@dataclass(frozen=True, slots=True)
class SmallFits:
    """What the kernel returns for b problems."""

    a: Array
    """(b, I, K)"""
    cost: Array
    """(b,)"""
    condition: Array
    """(b,) kappa_1 of the scaled Gram matrix, about the square of Phi's; infinite where Phi is not usable"""
    h: Array
    """(b, P, P), both triangles"""
    gradient: Array
    """(b, P)"""


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
        parts.append((a, 0.5 * np.sum(residual**2), condition, incidence.T @ h @ incidence, gradient @ incidence))
    return SmallFits(*(np.array(column) for column in zip(*parts, strict=True)))


def _outputs(b: int, i: int, k: int, p: int, derivatives: bool) -> SmallFits:
    made = b if derivatives else 0
    return SmallFits(np.empty((b, i, k)), np.empty(b), np.empty(b), np.empty((made, p, p)), np.empty((made, p)))


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
    results = (out.a, out.cost, out.h, out.gradient, out.condition)
    _cpu.small_fits(
        program, t, doubles(w), phi, d, doubles(y), scale, problems, pairs.columns, pairs.parameters, *results,
        ridge, kaufman, derivatives,
    )  # fmt: skip


MOST_PARAMETERS = 16
"""Of a problem whose search is compiled."""
BEYOND = -1
"""Status of a problem whose Gram matrix passed the limit: it is left to the orthogonal route, from its start."""


def search_program(
    program: Array,
    t: Array,
    w0: Array,
    y: Array,
    problems: Array,
    pairs: Pairs,
    rules: Array,
    max_iterations: int,
    *,
    weights: Array | None = None,
    ridge: float = 0.0,
    kaufman: bool = False,
    n_records: int = 0,
) -> tuple[Array, Array, Array, Array, Array]:
    """The search of solvers.loop for problems of a program, one after another, from w0 (b, P).

    rules : (13,) damping initial, smallest, largest, least gain; tolerances of cost, step, gradient; rounding; floor of
        the scaling; limit of the condition; bound on the step; factor on the damping after a sure step, and how sure.
    Returns w (b, P), a (b, I, K), cost (b,), counts (3, b): status, iterations, evaluations; records (n, 6): problem,
    iteration, cost, damping, gain, accepted, of the first n_records trials.  Its reference is the search loop itself.
    """
    require(
        w0.ndim == 2 and w0.shape[1] <= MOST_PARAMETERS,
        f"w0 has shape {w0.shape}; at most {MOST_PARAMETERS} parameters",
    )
    require(rules.shape == (13,), f"rules have shape {rules.shape}; they need (13,)")
    require(
        t.ndim == 2 and t.shape[0] in (1, len(y)) and t.shape[1] == y.shape[1],
        f"t has shape {t.shape}; y {y.shape} needs (1 or {len(y)}, {y.shape[1]})",
    )
    require(
        program[:, 1:3].max(initial=-1) < w0.shape[1], f"the program reads a parameter beyond the {w0.shape[1]} of w0"
    )
    count = len(problems)
    w, a, cost = np.array(w0, dtype=np.float64, order="C"), np.empty((count, len(program), y.shape[2])), np.empty(count)
    counts, records = np.zeros((3, count), dtype=np.int64), np.empty((n_records, 6))
    scale = None if weights is None else doubles(weights)
    recorded = _cpu.small_searches(
        program, doubles(t), w, doubles(y), scale, problems, pairs.columns, pairs.parameters, a, cost, counts, records,
        rules, ridge, kaufman, max_iterations,
    )  # fmt: skip
    return w, a, cost, counts, records[:recorded]
