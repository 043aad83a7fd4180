"""What is found out about a user's function before anything is fitted: scales, nonzero pairs, and whether the complex
step is right."""

from dataclasses import replace

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.agreement import AGREES, CLEARLY, disagreement
from varpro.fitting.complex_parts import without_discarding
from varpro.fitting.derivatives import IMAGINARY, Numeric
from varpro.fitting.scales import BURIED, EPS, Scales
from varpro.fitting.stencil import SECOND, STACKED, Plan, Values, largest, place

BESIDE = ((0.3, 1), (-0.37, 2))
"""Points beside the start: displacement over L, and the period of its signs."""
NOISES = (EPS, float(np.finfo(np.float32).eps), 1e-5)
"""Levels of rounding that are assumed one after another, relative to the columns."""
SEEN = 64.0
"""Change of a value, in eps of the value, above which a column counts as moving."""


class Guarded:
    """Columns at points that only a trial visits; where the function raises an exception they are NaN."""

    def __init__(self, values: Values, shape: tuple[int, int]) -> None:
        self.values, self.shape = values, shape

    def __call__(self, w: Array, problems: Array) -> Array:
        """The columns, (b, N, I), or NaN."""
        try:
            return self.values(w, problems)
        except Exception:  # a function may refuse values outside its domain in any way
            return np.full((len(w), *self.shape), np.nan)


def numeric_derivative(
    values: Values, w0: Array, first: Array, *, wanted: str | None, guess: Array, lower: Array, upper: Array,
    moving: Array, own_t: bool, together: bool, single: bool, real: bool,
    batch: bool,
) -> Numeric:  # fmt: skip
    """How to differentiate a function, from its behaviour at w0 (B, P) and nearby.

    first (N, I) : its result at the start.  guess (P,) > 0 : scales to begin with.  moving (P,) bool : the parameters
    that are searched.  single : whether values are float32.  real : whether the function's values and w0 are real.
    batch : a parameter that moves nothing gets all pairs.
    """
    start, one, shape = w0[:1], np.zeros(1, dtype=int), (len(first), first.shape[1])
    careful = Guarded(values, shape)
    searched = np.flatnonzero(moving)
    every = Plan.of(np.array([(j, p) for p in searched for j in range(shape[1])]).reshape(-1, 2), together=False)
    numeric = Numeric(every, Scales.unknown(1, guess), lower, upper)
    numeric.noise = float(np.finfo(np.float32).eps) if single else EPS
    numeric.stacked = max(1, STACKED // (shape[0] * shape[1])) if together else 0
    with np.errstate(all="ignore"):
        d, error = _first_slopes(numeric, careful, start)
        moves: Array = _seen(d[0], first, numeric.scales.step(4, numeric.noise)[0], every, shape[1])
        numeric.exact = wanted == "complex-step"
        if wanted == "complex-step":
            _require_exact(numeric, values, start, d, error, real)
        elif wanted is None and real:
            numeric.exact = _is_exact(numeric, values, start, d, error, AGREES)
        if not numeric.exact and numeric.noise == EPS:
            numeric.noise = _noise(numeric, careful, start)
        for share, period in BESIDE:
            known, doubtful = moves[:, searched].all(), numeric.exact and wanted is None
            if known and not doubtful:
                break  # nothing is left to be found out
            beside = _beside(numeric, start, share, period)
            columns = careful(beside, one)
            if not known:
                moves |= _moves(numeric, careful, beside, columns)
            if doubtful:
                numeric.exact = _exact_along(numeric, values, beside, columns)
            asleep = _unmoved(moves, searched)
            if len(asleep):  # no step showed an effect at the start, so the scale is still a guess
                moves |= _woken(numeric, careful, beside, asleep, shape[1])
        if batch:  # other problems may start where such a parameter has an effect
            moves[:, _unmoved(moves, searched)] = True
    numeric.plan = Plan.of(np.argwhere(moves).astype(np.int32))
    numeric.scales = _for_all(numeric.scales, len(w0), own_t)
    return numeric


def _unmoved(moves: Array, searched: Array) -> Array:
    """The searched parameters that move no column; moves (I, P) bool."""
    still: Array = np.asarray(~moves.any(axis=0))
    return searched[still[searched]]


def first_guess(w0: Array, lower: Array, upper: Array, scale: Array | None) -> Array:
    """(P,) > 0: the user's scale, else the size of the start or of the box; 1 if there is neither."""
    width = np.where(np.isfinite(upper - lower), upper - lower, np.inf)
    size = np.abs(w0[0])
    found = np.where(size > 0, np.minimum(size, width), np.where(np.isfinite(width), width, 1.0))
    nonzero = np.abs(w0).max(axis=0)
    found = np.where((size == 0) & (nonzero > 0), np.minimum(nonzero, width), found)
    return found if scale is None else np.where(np.isnan(scale), found, scale)


def _first_slopes(numeric: Numeric, values: Values, start: Array) -> tuple[Array, Array]:
    """D (1, N, M) at the start (1, P) and its error (1, M), with steps found by searching from the guess.

    A function less accurate than double precision, such as a solver of differential equations, looks rougher the
    shorter the step: if no step has a small error, more noise is assumed, and the best result is kept.
    """
    guess, least, best = numeric.scales.length[0].copy(), numeric.noise, None
    for noise in (level for level in NOISES if level >= least):
        numeric.noise, numeric.scales = noise, Scales.unknown(1, guess)
        d, error = numeric.fourth_order(values, start, np.zeros(1, dtype=int), attempts=40, guessed=start[0] == 0)
        worst = _worst(numeric.plan, d, error)
        if best is None or worst < best[0]:
            best = worst, noise, numeric.scales, d, error
        if best[0] <= 30.0 * noise**0.5:
            break
    assert best is not None
    numeric.noise, numeric.scales = best[1:3]
    return best[3], best[4]


def _worst(plan: Plan, d: Array, error: Array) -> float:
    """The largest relative error among the parameters, each with its best column; infinite if one is not finite."""
    slope, worst = largest(d)[0], 0.0
    for p in plan.parameters:
        mine = plan.pairs[:, 1] == p
        relative = error[0, mine][slope[mine] > 0] / slope[mine][slope[mine] > 0]
        worst = max(worst, float(relative.min(initial=np.inf)) if len(relative) else 0.0)
    return worst


def _seen(d: Array, base: Array, h: Array, plan: Plan, n_columns: int) -> Array:
    """(I, P) bool: whether a value of the column changes by more than its rounding.

    d (N, M); base (N, I), the columns; h (P,).
    """
    change = np.abs(d) * h[plan.pairs[:, 1]]
    seen = (change > SEEN * EPS * np.abs(base[:, plan.pairs[:, 0]])) & np.isfinite(change)
    moves: Array = np.zeros((n_columns, len(h)), dtype=bool)
    moved = seen.any(axis=0)
    moves[plan.pairs[moved, 0], plan.pairs[moved, 1]] = True
    return moves


def _moves(numeric: Numeric, values: Values, w: Array, base: Array) -> Array:
    """(I, P) bool: which columns change for a short step from w (1, P), where they are base (1, N, I)."""
    plan, one = numeric.plan, np.zeros(1, dtype=int)
    h, side = place(w, 4e-3 * numeric.scales.length, numeric.lower, numeric.upper, SECOND)
    step, d = np.where(side < 0, -h, h), np.zeros((base.shape[1], len(plan.pairs)), dtype=base.dtype)
    for group in plan.groups:
        moved = w.copy()
        moved[:, group.parameters] += step[:, group.parameters]
        change = values(moved, one)[0] - base[0]
        d[:, group.pairs] = change[:, group.columns] / h[0, group.of_pair]
    return _seen(d, base[0], h[0], plan, base.shape[2])


def _woken(numeric: Numeric, values: Values, w: Array, asleep: Array, n_columns: int) -> Array:
    """(I, P) bool: which columns the parameters `asleep` move at w (1, P), with steps found there; stores scales."""
    one = np.zeros(1, dtype=int)
    pairs = numeric.plan.pairs[np.isin(numeric.plan.pairs[:, 1], asleep)]
    part = replace(numeric, plan=Plan.of(pairs, together=False), scales=numeric.scales.of(slice(0, 1)))
    d, _ = part.fourth_order(values, w, one, attempts=40)
    numeric.scales.table[:, :, asleep] = part.scales.table[:, :, asleep]
    return _seen(d[0], values(w, one)[0], part.scales.step(4, part.noise)[0], part.plan, n_columns)


def _beside(numeric: Numeric, start: Array, share: float, period: int) -> Array:
    """(1, P) the start displaced by a share of each scale, signs alternating with the period, inside the bounds."""
    signs = np.where(np.arange(start.shape[1]) // period % 2, -1.0, 1.0)
    moving = _displaced(numeric)
    # no further than a third of the start itself: the model may not be defined beyond zero
    length = np.where(start != 0, np.minimum(numeric.scales.length, np.abs(start)), numeric.scales.length)
    moved = start + share * signs * length * moving
    if np.iscomplexobj(moved):
        return moved
    return np.clip(moved, numeric.lower, numeric.upper)


def _is_exact(numeric: Numeric, values: Values, w: Array, d: Array, error: Array, limit: float) -> bool:
    """Whether the complex step at w (1, P) equals the derivative d (1, N, M) within its error (1, M)."""
    exact = numeric.complex_step_or_none(values, w, np.zeros(1, dtype=int))
    if exact is None:
        return False
    off, size = disagreement(exact, d, error)
    return bool((off <= limit * size).all())


def _require_exact(numeric: Numeric, values: Values, w: Array, d: Array, error: Array, real: bool) -> None:
    """Raise ConfigError if the user asks for a complex step that the function does not allow."""
    cause: Exception | None = None
    why = "the model's values or parameters are complex"
    if real:
        why = "it differs from differences: abs, real parts or comparisons take part"
        try:
            off, size = disagreement(numeric.complex_step(values, w, np.zeros(1, dtype=int)), d, error)
            if (off <= CLEARLY * size).all():
                return
        except Exception as error_:  # each function refuses complex numbers in its own way
            cause, why = error_, f"the function refuses complex numbers ({type(error_).__name__}: {error_})"
    raise ConfigError(
        f"derivative='complex-step' is not right for this model: {why}; leave derivative out, or give 'differences'"
    ) from cause


def _exact_along(numeric: Numeric, values: Values, w: Array, base: Array) -> bool:
    """A rougher test at w, along one direction of all parameters; base (1, N, I) are the columns there."""
    along, one = Along(values, w, _displacement(numeric, w, 1e-6)), np.zeros(1, dtype=int)
    columns = np.unique(numeric.plan.pairs[:, 0])
    try:
        with without_discarding():
            exact = np.imag(along(np.full((1, 1), 1j * IMAGINARY), one)[:, :, columns]) / IMAGINARY
    except Exception:  # each function refuses complex numbers in its own way
        return False
    try:
        change = (along(np.ones((1, 1)), one) - base)[:, :, columns]
    except Exception:  # outside the function's domain, whatever it raises there
        return True
    off, size = disagreement(exact, change, numeric.noise * largest(base)[:, columns])
    return bool((off <= CLEARLY * size).all())


def _displaced(numeric: Numeric) -> Array:
    """(P,) bool: the parameters that have a pair."""
    moving: Array = np.zeros(len(numeric.lower), dtype=bool)
    moving[numeric.plan.pairs[:, 1]] = True
    return moving


def _displacement(numeric: Numeric, w: Array, share: float) -> Array:
    """(P,) a share of each scale, at least 16 units in the last place, away from the nearer bound."""
    above, below = numeric.upper - w[0].real, w[0].real - numeric.lower
    moving = _displaced(numeric)
    unlike = 1.0 - 0.2 * np.arange(w.shape[1]) % 0.7  # so that parameters do not cancel each other
    size = np.maximum(share * unlike * numeric.scales.length[0], 16.0 * np.spacing(np.abs(w[0])))
    step = np.where(moving, np.minimum(size, 0.4 * np.maximum(above, below)), 0.0)
    return ((w[0] + np.where(above >= below, step, -step)) - w[0]).real


class Along:
    """The columns along one direction (P,) from w, as a function of a single parameter."""

    def __init__(self, values: Values, w: Array, direction: Array) -> None:
        self.values, self.w, self.direction = values, w, direction

    def __call__(self, u: Array, problems: Array) -> Array:
        """The columns (b, N, I) at u (b, 1)."""
        return self.values(self.w + u * self.direction, problems)


def _noise(numeric: Numeric, values: Values, w: Array) -> float:
    """Rounding of the function relative to its columns, at least eps: second differences over steps too short to bend.

    Over 1e-8 of the scale a column bends by 1e-16; over 1e-6 by 1e-12, where a function that rounds to single precision
    internally shows it.
    """
    one = np.zeros(1, dtype=int)
    base = values(w, one)
    size, found = largest(base), EPS
    for step in (1e-8, 1e-6):
        displaced = _displacement(numeric, w, step)
        bends = 100.0 * float(np.max(np.abs(displaced) / numeric.scales.length[0], initial=0.0) ** 2)
        second = base - 2.0 * values(w + displaced, one) + values(w + 2.0 * displaced, one)
        with np.errstate(all="ignore"):
            worst = np.nanmax(np.where(size > 0, largest(second) / size, 0.0), initial=0.0) / np.sqrt(6.0)
        found = max(found, float(worst) if worst > bends else 0.0)
    return min(found, 1.0 / BURIED**2)


def _for_all(scales: Scales, count: int, own_t: bool) -> Scales:
    """The first problem's scales for all; they hold for any problem with the same t that starts nearby."""
    table = np.repeat(scales.table[:1], count, axis=0)
    if own_t:
        table[1:, 0] = np.nan
    return Scales(table)
