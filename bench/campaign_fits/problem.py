"""A random problem from (seed, index) alone: a family, true values, options, noise, a start, all in natural units."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from campaign_fits.errors import deviations
from campaign_fits.families import FAMILIES, Draw, Family
from campaign_fits.options import Options, draw_options
from campaign_fits.truth import Reduced
from campaign_fits.units import Units, random_units

Array = np.ndarray
RESOLVED = 0.15
"""Largest standard error of a parameter, in its scale: where the noise hides more, there is less noise."""
NOISE = (1e-7, 0.2)
"""Standard deviation of the noise in the largest value of the signal, where it is not zero."""
DESCENDING = 0.15
"""Share of the problems whose points come in the other order, along which what decays grows."""
FAR = 3.0
"""Factor by which starts are off at most."""


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

    def hopeless(self, b: int) -> bool:
        """Data set b determines nothing, and no fit of it is a success."""
        return bool(self.options.nothing) and b == len(self.y) - 1

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
    if np.random.default_rng([seed, index, 1]).random() < DESCENDING and not family.equidistant:
        draw = replace(draw, t=draw.t[::-1].copy())
    options = draw_options(rng, family)
    units = random_units(rng, family, draw, plain=not options.ready)
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
    if o.nothing == "zeros":
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
    attempts = 12
    for attempt in range(attempts):
        problem.y = clean + level * top * noise
        problem.references = [reference(problem, b) for b in range(len(clean))]
        if (
            level == 0
            or attempt == attempts - 1
            or all(_resolved(problem, r, level * top, b) for b, r in enumerate(problem.references))
        ):
            break
        level /= 3.0
        if o.weights == "absolute":
            problem.weights = problem.weights * 3.0
    problem.noise = level
    if o.nothing == "zeros":
        problem.y[-1] = 0.0
    bad = np.broadcast_to(~problem.valid, problem.y.shape)
    rubbish = top * 10.0 ** rng.uniform(0, 3, problem.y.shape)
    problem.y = np.where(bad, rubbish, problem.y)


def _resolved(problem: Problem, reduced: Reduced, sigma: float, b: int) -> bool:
    if problem.hopeless(b):
        return True
    u = reduced.inside((problem.w[b] - reduced.constant)[_free(problem)])
    found = reduced.point(u)
    if not np.isfinite(found.objective):
        return False
    d = deviations(reduced, u, found.b)
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
    return Reduced(
        columns=family.columns, slopes=family.slopes, pairs=family.pairs, t=problem.t, rows=rows,
        y=problem.y[b][rows], weights=weights[rows], matrix=matrix, constant=constant, lower=lower, upper=upper,
        size=problem.scale()[free], fixed_term=family.fixed_term, fixed_slopes=family.fixed_slopes,
        complex_w=family.complex_w, complex_data=family.complex_data, ridge=o.ridge * len(rows),
        absolute=o.weights == "absolute", low=problem.low, high=problem.high, equality=problem.equality,
    )  # fmt: skip


def start_of(problem: Problem, reduced: Reduced, w: Any) -> Array:
    """(F,) free parameters of w (P,)."""
    return reduced.inside(np.asarray(w, dtype=float)[_free(problem)])
