"""A random problem from (seed, index) alone: a family, true values, options, noise, a start, all in natural units."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from campaign_fits.families import FAMILIES, Draw, Family
from campaign_fits.truth import Reduced
from campaign_fits.units import NATURAL, Units, random_units

Array = np.ndarray
RESOLVED = 0.15
"""Largest standard error of a parameter, in its scale: where the noise hides more, there is less noise."""
NOISE = (1e-7, 0.2)
"""Standard deviation of the noise in the largest value of the signal, where it is not zero."""
FAR = 3.0
"""Factor by which starts are off at most."""


@dataclass
class Options:
    """What is asked of the fit."""

    ready: bool = False
    style: str = "plain"
    """how a plain function is written: plain, preallocated, absolute, scalar, refilled"""
    derivative: bool = False
    weights: str = ""
    """'', rows, values (a column for each right-hand side), absolute"""
    missing: str = ""
    """'', nan, mask, zero weight, masked array"""
    bounds: str = ""
    """'', wide, active"""
    fixed: int | None = None
    tied: tuple[int, int, float, float] | None = None
    """follower, leader, factor, offset"""
    linear: str = "free"
    """free, nonnegative, bounded"""
    ridge: float = 0.0
    equality: bool = False
    right_hand_sides: int = 1
    batch: int = 0
    """problems of a batch; 0 for varpro.fit"""
    empty: bool = False
    """the last problem of the batch holds zeros only"""
    guess: bool = False
    multistart: int = 0
    kaufman: bool = False

    def names(self) -> list[str]:
        """Options that are not at their default, for the table."""
        out = ["ready model" if self.ready else f"function, {self.style}"]
        out.append("derivative" if self.derivative else "") if not self.ready else None
        out += [f"weights {self.weights}" if self.weights else "", f"missing: {self.missing}" if self.missing else ""]
        out += [f"bounds {self.bounds}" if self.bounds else "", "fixed" if self.fixed is not None else ""]
        out += ["tied" if self.tied else "", self.linear if self.linear != "free" else ""]
        out += ["ridge" if self.ridge else "", "equality" if self.equality else ""]
        out += ["many right-hand sides" if self.right_hand_sides > 4 else ""]
        out += ["right-hand sides" if 1 < self.right_hand_sides <= 4 else "", "batch" if self.batch else ""]
        out += ["empty pixel" if self.empty else "", "guess" if self.guess else ""]
        out += ["multistart" if self.multistart else "", "kaufman" if self.kaufman else ""]
        return [name for name in out if name]


@dataclass
class Problem:
    """All that a fit and its judge need; arrays in natural units.  B problems, 1 for varpro.fit."""

    seed: int
    index: int
    family: Family
    draw: Draw
    options: Options
    units: Units
    t: Array
    w: Array
    """(B, P) true values"""
    y: Array
    """(B, N, K) with noise and, where it is excluded, rubbish"""
    noise: float
    weights: Array | None
    """(N,) or (N, K)"""
    valid: Array
    """(N, K) what counts"""
    start: Array
    """(P,)"""
    lower: Array
    upper: Array
    """(P,)"""
    low: Array | None = None
    high: Array | None = None
    """(I,) limits of amplitudes"""
    equality: tuple[Array, Array] | None = None
    references: list[Reduced] = field(default_factory=list)

    @property
    def crosses(self) -> bool:
        return "crosses zero" in self.family.tags

    def scale(self) -> Array:
        """(P,) natural scales of the parameters."""
        return scales(self.family, self.draw)


def scales(family: Family, draw: Draw) -> Array:
    """(P,) the value of a positive parameter, else how far a start may be off."""
    positive = np.array([p.positive for p in family.parameters])
    reach = np.zeros(len(draw.w)) if draw.reach is None else draw.reach
    return np.where(positive, np.abs(draw.w), np.maximum(reach, 1e-3))


def make(seed: int, index: int) -> Problem:
    """The problem of this index; its family follows from the index, so that all have their turn."""
    rng = np.random.default_rng([seed, index])
    family = FAMILIES[index % len(FAMILIES)]
    draw = family.draw(rng)
    options = _options(rng, family)
    plain = not options.ready
    units = random_units(rng, family, draw, plain=plain)
    t = units.representable(draw.t)
    valid, weights = _valid_and_weights(rng, options, len(t))
    if options.tied:
        _tie(rng, family, draw, options)
    count = max(options.batch, 1)
    w = np.stack([draw.w if b == 0 else _neighbour(rng, family, draw, options) for b in range(count)])
    spare = len(draw.a) - 1 not in [j for j, _ in family.pairs]
    amplitudes = _amplitudes(rng, draw, options, count, spare)
    clean = np.stack([signal(family, t, w[b]) @ amplitudes[b] for b in range(count)])
    if family.fixed_term is not None:
        clean = clean + np.stack([family.fixed_term(t, _complex(family, w[b])) for b in range(count)])[..., None]
    problem = Problem(
        seed, index, family, draw, options, units, t, w, clean, 0.0, weights, valid,
        _start(rng, family, draw, options), *_box(rng, family, draw, options),
    )  # fmt: skip
    _limit_amplitudes(problem, amplitudes)
    problem.start = np.clip(problem.start, problem.lower, problem.upper)
    if options.fixed is not None:
        problem.start[options.fixed] = draw.w[options.fixed]
    _add_noise(rng, problem, clean)
    return problem


def signal(family: Family, t: Array, w: Array) -> Array:
    """Phi (N, I) at real parameters."""
    return family.columns(t, _complex(family, w))


def _complex(family: Family, w: Array) -> Array:
    half = len(w) // 2
    return w[:half] + 1j * w[half:] if family.complex_w else w


def _options(rng: np.random.Generator, family: Family) -> Options:
    """Each option by its own chance, one rare restriction at a time so that problems stay solvable."""
    o = Options(ready=family.ready is not None and rng.random() < 0.6)
    if not o.ready:
        o.derivative = bool(rng.random() < 0.4)
        styles = ["plain"] * 6 + ([] if family.complex_data else ["preallocated", "absolute", "scalar", "refilled"])
        o.style = str(rng.choice(styles))
    o.weights = str(rng.choice(["", "", "", "rows", "absolute"]))
    o.missing = str(rng.choice(["", "", "", "", "", "nan", "mask", "zero weight", "masked array"]))
    if family.equidistant and o.missing and o.ready:
        o.missing = "nan"
    o.kaufman = bool(rng.random() < 0.1)
    o.guess = bool(o.ready and rng.random() < 0.15)
    kind = rng.random()
    n_free = len(family.parameters)
    if kind < 0.15:
        o.bounds = str(rng.choice(["wide", "wide", "active"])) if not family.complex_w else ""
    elif kind < 0.22 and n_free > 1:
        o.fixed = int(rng.integers(n_free)) if not family.complex_w else None
    elif kind < 0.29 and family.ties:
        o.tied = (*family.ties[int(rng.integers(len(family.ties)))], 1.0, 0.0)
    elif kind < 0.37 and family.nonnegative:
        o.linear = str(rng.choice(["nonnegative", "nonnegative", "bounded"]))
    elif kind < 0.42 and not family.complex_data:
        o.ridge = 10.0 ** rng.uniform(-6, -2)
    elif kind < 0.47 and family.equality:
        o.equality = True
    elif kind < 0.60:
        o.right_hand_sides = int(rng.choice([2, 3, 4, 40]))
        if rng.random() < 0.3 and o.right_hand_sides < 40:
            o.weights = "values"
    elif kind < 0.75:
        o.batch = int(rng.integers(2, 6))
        o.empty = bool(rng.random() < 0.3) and family.fixed_term is None
        o.style = "plain" if o.style == "scalar" else o.style
    elif kind < 0.79:
        o.multistart = 3
    o.guess = o.guess and not (o.bounds or o.tied or o.fixed is not None or o.multistart)
    return o


def _valid_and_weights(rng: np.random.Generator, o: Options, n: int) -> tuple[Array, Array | None]:
    k = o.right_hand_sides
    valid = np.ones((n, k), bool)
    if o.missing:
        rows = rng.random((n, k if o.missing != "zero weight" else 1)) < rng.choice([0.03, 0.1])
        rows[: n // 4] &= False
        valid &= ~(rows if 1 < k <= 4 and rng.random() < 0.5 and o.missing != "zero weight" else rows[:, :1])
    if not o.weights and o.missing != "zero weight":
        return valid, None
    weights = 10.0 ** rng.uniform(-0.5, 0.5, (n, k if o.weights == "values" else 1))
    weights = np.ones_like(weights) if not o.weights else weights
    if o.missing == "zero weight":
        weights = np.where(valid[:, : weights.shape[1]], weights, 0.0)
    return valid, weights if o.weights == "values" else weights[:, 0]


def _tie(rng: np.random.Generator, family: Family, draw: Draw, o: Options) -> None:
    follower, leader = o.tied[:2]
    factor = draw.w[follower] / draw.w[leader]
    shift = rng.uniform(0.0, 0.5) * draw.w[follower] if rng.random() < 0.4 else 0.0
    o.tied = (follower, leader, (draw.w[follower] - shift) / draw.w[leader] if shift else factor, shift)


def _neighbour(rng: np.random.Generator, family: Family, draw: Draw, o: Options) -> Array:
    """Parameters of another problem of the batch."""
    positive = np.array([p.positive for p in family.parameters])
    size = scales(family, draw)
    w = np.where(positive, draw.w * 1.2 ** rng.uniform(-1, 1, len(draw.w)), draw.w + 0.2 * size * rng.uniform(-1, 1))
    return w


def _amplitudes(rng: np.random.Generator, draw: Draw, o: Options, count: int, spare: bool) -> Array:
    """(B, I, K), the first those of the draw; spare: the last column has no parameter, its amplitude may be 0."""
    a = np.repeat(draw.a[None, :, None], count, axis=0) * np.ones(o.right_hand_sides)
    other = 3.0 ** rng.uniform(-1, 1, a.shape)
    other[0, :, 0] = 1.0
    if o.linear == "nonnegative" and spare and rng.random() < 0.3:
        other[:, -1] = 0.0
    a = a * other
    if o.empty:
        a[-1] = 0.0
    return a


def _start(rng: np.random.Generator, family: Family, draw: Draw, o: Options) -> Array:
    positive = np.array([p.positive for p in family.parameters])
    reach = np.zeros(len(draw.w)) if draw.reach is None else draw.reach
    push = rng.uniform(-1, 1, len(draw.w))
    far = float(rng.choice([1.3, FAR]))
    return np.where(positive, draw.w * far**push, draw.w + push * reach)


def _box(rng: np.random.Generator, family: Family, draw: Draw, o: Options) -> tuple[Array, Array]:
    """Bounds (P,) of the parameters; an active one keeps the first parameter off its true value."""
    count, size = len(draw.w), scales(family, draw)
    lower, upper = np.full(count, -np.inf), np.full(count, np.inf)
    if o.bounds == "wide":
        positive = np.array([p.positive for p in family.parameters])
        lower = np.where(positive, 0.0 if rng.random() < 0.5 else draw.w / 5, draw.w - 4 * size)
        upper = np.where(positive, np.inf if rng.random() < 0.5 else draw.w * 5, draw.w + 4 * size)
        lower = np.where(lower == 0.0, 0.02 * size if family.exponents else 0.0, lower)
    if o.bounds == "active":
        p = int(rng.integers(count))
        if rng.random() < 0.5:
            lower[p] = draw.w[p] + 0.2 * size[p]
        else:
            upper[p] = draw.w[p] - 0.2 * size[p]
    return lower, upper


def _limit_amplitudes(problem: Problem, amplitudes: Array) -> None:
    o, count = problem.options, amplitudes.shape[1]
    if o.linear == "nonnegative":
        problem.low, problem.high = np.zeros(count), np.full(count, np.inf)
    if o.linear == "bounded":
        problem.low, problem.high = np.full(count, 0.0), np.full(count, 10.0)
        problem.high[0] = 0.8 * amplitudes[0, 0, 0]
    if o.equality:
        c = np.zeros((1, count))
        c[0, list(problem.family.equality)] = 1.0
        problem.equality = (c, c @ amplitudes[0, :, 0])


def _add_noise(rng: np.random.Generator, problem: Problem, clean: Array) -> None:
    """Noise that leaves every parameter resolved (the bound of Cramer and Rao at the true values), then rubbish."""
    o, family = problem.options, problem.family
    top = float(np.abs(clean).max()) or 1.0
    level = 0.0 if rng.random() < 0.08 else 10.0 ** rng.uniform(*np.log10(NOISE))
    noise = rng.standard_normal(clean.shape) + (1j * rng.standard_normal(clean.shape) if family.complex_data else 0)
    if problem.weights is not None:
        w = problem.weights if problem.weights.ndim == 2 else problem.weights[:, None]
        noise = noise / np.where(w > 0, w, 1.0)
    if o.weights == "absolute" and level:
        problem.weights = problem.weights / (level * top)
    for _ in range(12):
        problem.y = clean + level * top * noise
        problem.references = [reference(problem, b) for b in range(len(clean))]
        if level == 0 or all(_resolved(problem, r, level * top, b) for b, r in enumerate(problem.references)):
            break
        level /= 3.0
        if o.weights == "absolute":
            problem.weights = problem.weights * 3.0
    problem.noise = level
    if o.empty:
        problem.y[-1] = 0.0
    bad = np.broadcast_to(~problem.valid, problem.y.shape)
    rubbish = top * 10.0 ** rng.uniform(0, 3, problem.y.shape)
    problem.y = np.where(bad, rubbish, problem.y)


def _resolved(problem: Problem, reduced: Reduced, sigma: float, b: int) -> bool:
    if problem.options.empty and b == len(problem.references) - 1:
        return True
    u = reduced.inside((problem.w[b] - reduced.constant)[_free(problem)])
    found = reduced.point(u)
    if not np.isfinite(found.objective):
        return False
    d = reduced.deviations(u, found.b)
    size = problem.scale()
    return bool((np.nan_to_num(d.w, nan=0.0, posinf=np.inf) < RESOLVED * size).all() and d.condition < 1e6)


def _free(problem: Problem) -> Array:
    o = problem.options
    keep = np.ones(problem.w.shape[1], bool)
    if o.fixed is not None:
        keep[o.fixed] = False
    if o.tied:
        keep[o.tied[0]] = False
    return np.flatnonzero(keep)


def reference(problem: Problem, b: int) -> Reduced:
    """The reduced problem of one data set."""
    family, o = problem.family, problem.options
    free, count = _free(problem), problem.w.shape[1]
    matrix, constant = np.zeros((count, len(free))), np.zeros(count)
    matrix[free, np.arange(len(free))] = 1.0
    lower, upper = problem.lower[free].copy(), problem.upper[free].copy()
    if o.fixed is not None:
        constant[o.fixed] = problem.draw.w[o.fixed]
    if o.tied:
        follower, leader, factor, offset = o.tied
        matrix[follower] = factor * matrix[leader]
        constant[follower] = offset
    weights = np.ones((len(problem.t), 1)) if problem.weights is None else problem.weights.reshape(len(problem.t), -1)
    weights = weights * problem.valid if not (problem.valid == problem.valid[:, :1]).all() else weights
    weights = np.where(problem.valid[:, : weights.shape[1]], weights, 0.0)
    rows = np.flatnonzero((weights > 0).any(axis=1))
    real_columns = dict(low=problem.low, high=problem.high, equality=problem.equality)
    return Reduced(
        columns=family.columns, slopes=family.slopes, pairs=family.pairs, t=problem.t, rows=rows,
        y=problem.y[b][rows], weights=weights[rows], matrix=matrix, constant=constant, lower=lower, upper=upper,
        size=problem.scale()[free], fixed_term=family.fixed_term, fixed_slopes=family.fixed_slopes,
        complex_w=family.complex_w, complex_data=family.complex_data, ridge=o.ridge * len(rows),
        absolute=o.weights == "absolute", **real_columns,
    )  # fmt: skip


def start_of(problem: Problem, reduced: Reduced, w: Any) -> Array:
    """(F,) free parameters of w (P,)."""
    return reduced.inside(np.asarray(w, dtype=float)[_free(problem)])


__all__ = ["NATURAL", "Options", "Problem", "make", "reference", "start_of"]
