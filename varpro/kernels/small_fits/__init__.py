"""Many small separable problems at once: linear parameters, cost, Gauss-Newton matrix and gradient in one pass.

The columns of Phi come from a ready model compiled in (a program), or from arrays.  Everything is summed from scalar
products of columns; the Gram matrix of unit columns is factored by Cholesky and its condition reported, so that the
caller can switch to orthogonal factorisation beyond a limit.
"""

from dataclasses import dataclass

import numpy as np

from varpro import _cpu
from varpro.arrays import Array
from varpro.errors import ShapeError
from varpro.kernels._checks import doubles, require
from varpro.kernels.search import N_NUMBERS, Rules
from varpro.kernels.small_fits.program import KINDS, Links, check_program, encode
from varpro.kernels.small_fits.states import (
    BEYOND,
    GRAM_LIMIT,
    LINEARISE,
    MOST_PARAMETERS,
    UNSEEN,
    Past,
    States,
    named,
)


@dataclass(frozen=True, slots=True)
class SmallFits:
    """The results of the kernel for b problems."""

    a: Array
    """The linear parameters, (b, I, K)."""
    cost: Array
    """The cost, (b,)."""
    terms: Array
    """1/2 (sum_j ||phi_j|| ||a_j||)^2, (b,), the size of the model's terms."""
    condition: Array
    """kappa_1 of the scaled Gram matrix, (b,), about the square of Phi's; infinite if Phi is not finite or, to
    rounding, not of full rank, and then no other result of that problem is valid."""
    h: Array
    """The Gauss-Newton matrix, (b, P, P), both triangles."""
    gradient: Array
    """The gradient, (b, P)."""
    natural: Array
    """The change of a parameter that changes its columns by their own size, (b, P); infinite if it changes none."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """The column and the parameter of each column of D, (M,) int32."""

    columns: Array
    parameters: Array


Bounds = tuple[Array, Array]
"""Lower and upper bounds."""


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
    limits: Bounds | None = None,
    spans: Array | None = None,
    links: Links | None = None,
    parts: int = 1,
) -> SmallFits:
    """The problems `problems` (b,) of the data, at w (b, P).

    program : (I, 4) from `encode`.  t : (1 or B, N).  y : (B, N, K).  weights : (1 or B, N), factors on the residual,
        or None.  limits : (I,) twice, bounds on the linear parameters; each right-hand side has its own active set.
    spans : (I, 2) int64, for each column the first of its rows and the one after its last; it is 0 in the others.
        None: all rows.
    links : how the program's parameters follow w; None if they are w.
    parts : 2 for complex data, whose imaginary parts stand below the real ones in y (B, 2 N, K), as do those of the
        linear parameters (b, 2 I, K); the pairs of the imaginary parts come last, with columns from I on.
    """
    check_program(program, links, t, y, w.shape[1], len(pairs.columns), parts, spans)
    out = _outputs(len(problems), len(program) * parts, y.shape[2], w.shape[1], derivatives)
    _run(
        program, spans, links, doubles(t), w, None, None, y, weights, problems, pairs, out, ridge, kaufman, derivatives,
        limits, parts,
    )  # fmt: skip
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
    limits: Bounds | None = None,
) -> SmallFits:
    """The same for phi (b, N, I) and d (b, N, M); for d None, h and gradient are not computed (shape (0, ...))."""
    _check_trial(phi, d, y, problems, pairs)
    out = _outputs(len(phi), phi.shape[2], y.shape[2], n_parameters, d is not None)
    w, program = np.empty((len(phi), n_parameters)), np.empty((0, 4), dtype=np.int32)
    wide = None if d is None else doubles(d)
    _run(
        program, None, None, None, w, doubles(phi), wide, y, weights, problems, pairs, out, ridge, kaufman,
        d is not None, limits,
    )  # fmt: skip
    return out


def _outputs(b: int, i: int, k: int, p: int, derivatives: bool) -> SmallFits:
    made = b if derivatives else 0
    h, gradient, natural = np.empty((made, p, p)), np.empty((made, p)), np.empty((made, p))
    return SmallFits(np.empty((b, i, k)), np.empty(b), np.empty(b), np.empty(b), h, gradient, natural)


def _run(
    program: Array,
    spans: Array | None,
    links: Links | None,
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
    limits: Bounds | None,
    parts: int = 1,
) -> None:
    require(y.ndim == 3, f"y has shape {y.shape}; it needs (B, N, K)")
    require(
        weights is None or (weights.ndim == 2 and weights.shape[0] in (1, len(y)) and weights.shape[1] == y.shape[1]),
        f"weights have shape {None if weights is None else weights.shape}; they need (1 or {len(y)}, {y.shape[1]})",
    )
    scale = None if weights is None else doubles(weights)
    results = (out.a, out.cost, out.terms, out.h, out.gradient, out.natural, out.condition)
    _cpu.small_fits(
        program, spans, links and links.arrays, t, doubles(w), phi, d, doubles(y), scale, problems, pairs.columns,
        pairs.parameters, *results, ridge, kaufman, derivatives, _limits(limits, out.a.shape[1], ridge), parts,
    )  # fmt: skip


def _limits(limits: Bounds | None, n_columns: int, ridge: float) -> Bounds | None:
    """Bounds on the linear parameters as the kernel reads them.  Raises ShapeError."""
    require(limits is None or ridge == 0, f"the ridge is {ridge:g} with limits; put its rows below phi")
    return _both(limits, n_columns, "limits")


def _both(bounds: Bounds | None, count: int, what: str) -> Bounds | None:
    if bounds is None:
        return None
    lower, upper = (doubles(bound) for bound in bounds)
    require(
        lower.shape == upper.shape == (count,), f"{what} have shapes {lower.shape}, {upper.shape}; they need ({count},)"
    )
    return lower, upper


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
    limits: Bounds | None = None,
    box: Bounds | None = None,
    spans: Array | None = None,
    links: Links | None = None,
    parts: int = 1,
    n_logged: int = 0,
) -> Array:
    """The search of search.loop for problems of a program, from their states to the end, in place.

    box : (P,) twice, which the steps respect.
    n_logged : for a single problem, how many trials to log; the log (n,) of search.NUMBERS is returned.
    Other arguments as in from_program.  The reference is the search loop itself.
    """
    check_program(program, links, t, y, states.p, len(pairs.columns), parts, spans)
    require(len(states.rows) == len(problems), f"{len(states.rows)} states for {len(problems)} problems")
    scale = None if weights is None else doubles(weights)
    log = np.empty((n_logged, N_NUMBERS))
    logged = _cpu.small_searches(
        program, spans, links and links.arrays, doubles(t), doubles(y), scale, problems, pairs.columns,
        pairs.parameters, states.rows, states.p, rules.compiled, ridge, kaufman,
        _limits(limits, len(program) * parts, ridge), _both(box, states.p, "box"), parts, log,
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
    limits: Bounds | None = None,
    box: Bounds | None = None,
) -> None:
    """One trial step of search.loop for problems whose Phi (b, N, I) and D (b, N, M) at their trial w are given.

    rows : (b,) int64, the states of the problems, which are updated in place.  limits and box as above.
    """
    _check_trial(phi, d, y, problems, pairs)
    _cpu.small_advance(
        doubles(phi), doubles(d), y, None, problems, pairs.columns, pairs.parameters, states.rows, rows, states.p,
        rules.compiled, ridge, kaufman, _limits(limits, phi.shape[2], ridge), _both(box, states.p, "box"),
    )  # fmt: skip


def _check_trial(phi: Array, d: Array | None, y: Array, problems: Array, pairs: Pairs) -> None:
    count, n, m = len(problems), y.shape[1], len(pairs.columns)
    if phi.ndim != 3 or phi.shape[:2] != (count, n) or (d is not None and d.shape != (count, n, m)):
        given = None if d is None else d.shape
        raise ShapeError(f"phi has shape {phi.shape}, d {given}; they need ({count}, {n}, I) and ({count}, {n}, {m})")


def secants(
    phi: Array | None,
    d: Array | None,
    y: Array,
    problems: Array,
    pairs: Pairs,
    states: States,
    past: Past,
    rows: Array,
    rules: Rules,
    *,
    ridge: float = 0.0,
    kaufman: bool = False,
) -> None:
    """One trial step as in `advance` without D, which follows from Phi at the latest iterates; each column depends on
    one parameter only.

    phi : (b, N, I), at the trial w.  Where a state then asks to LINEARISE, it has to be called with d (b, N, M) at its
        iterate, which is its trial w, and without phi; a d whose columns are contiguous is not copied.
    """
    wanted, columns = (len(problems), y.shape[1], len(pairs.columns)), None
    if phi is not None:
        _check_trial(phi, None, y, problems, pairs)
        phi = doubles(phi)
    elif d is None or d.shape != wanted:
        raise ShapeError(f"d has shape {None if d is None else d.shape}; without phi it needs {wanted}")
    else:
        columns = doubles(d.mT)
    _cpu.small_secants(
        phi, columns, y, problems, pairs.columns, pairs.parameters, states.rows, rows, states.p, rules.compiled, ridge,
        kaufman, past.phi, past.slopes, past.before, past.rough,
    )  # fmt: skip


def differences(up: Array, base: Array, rows: Array, columns: Array, places: Array, inverse: Array, d: Array) -> bool:
    """Difference quotients of columns into some of the columns of D; returns whether all are finite.

        d[b, places[s]] = (up[b, :, columns[s]] - base[rows[b], :, columns[s]]) inverse[b, s]

    up (b, N, I) and base (any, N, I), in any layout, float64 or complex128, as is d (b, M, N), C-contiguous.  rows (b,)
    int64.  columns, places : (m,) int64.  inverse : (b, m), one over the steps.  Raises ShapeError.
    """
    (b, n, i), m = up.shape, len(columns)
    require(
        base.shape[1:] == (n, i) and len(rows) == b and inverse.shape == (b, m) and d.shape[::2] == (b, n),
        f"up has shape {up.shape}, base {base.shape}, rows {rows.shape}, inverse {inverse.shape}, d {d.shape}; they "
        f"need (b, N, I), (any, N, I), (b,), (b, {m}), (b, M, N)",
    )
    alike = up.dtype == base.dtype == d.dtype and up.dtype in (np.float64, np.complex128)
    require(alike and d.flags.c_contiguous, "up, base and d need one dtype, float64 or complex128, and d contiguous")
    return _cpu.small_differences(np.ascontiguousarray(up), base, rows, columns, places, doubles(inverse), d)


__all__ = [
    "BEYOND", "GRAM_LIMIT", "KINDS", "LINEARISE", "MOST_PARAMETERS", "UNSEEN", "Bounds", "Links", "Pairs", "Past",
    "SmallFits", "States", "advance", "differences", "encode", "from_arrays", "from_program", "search_program",
    "secants",
]  # fmt: skip
