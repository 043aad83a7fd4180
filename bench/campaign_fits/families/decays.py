"""Decays and growth: sums of exponentials, with backgrounds, an instrument's response, stretched, activated."""

import numpy as np

from campaign_fits.families.family import Draw, Parameter, amplitudes, grid, register, stack, uniform
from varpro import models

TAU = Parameter(power=1.0)
RATE = Parameter(power=-1.0, positive=False)


def decays(t, w):
    return stack(*(np.exp(-t / v) for v in w), np.ones_like(t))


def decays_slopes(t, w):
    return stack(*(t / v**2 * np.exp(-t / v) for v in w))


def _decays(*limits):
    def draw(rng: np.random.Generator) -> Draw:
        w = uniform(rng, *limits)
        return Draw(grid(rng, 0.0, 4 * w.max()), w, amplitudes(rng, len(w) + 1, signs=False))

    return draw


def _close(rng: np.random.Generator) -> Draw:
    first = rng.uniform(0.8, 1.2)
    w = first * np.cumprod([1.0, *rng.uniform(1.2, 2.0, 1)])
    return Draw(grid(rng, 0.0, 5 * w.max(), 60, 160), w, amplitudes(rng, len(w) + 1, signs=False))


for count, name, draw in (
    (1, "one decay", _decays((0.5, 2.0))),
    (2, "two decays", _decays((0.3, 1.0), (2.0, 5.0))),
    (2, "two close decays", _close),
    (3, "three decays", _decays((0.2, 0.4), (1.0, 1.8), (4.0, 9.0))),
):
    register(
        name=name,
        columns=decays,
        slopes=decays_slopes,
        pairs=tuple((i, i) for i in range(count)),
        parameters=(TAU,) * count,
        draw=draw,
        ready=lambda draw: models.Exponentials(len(draw.w), offset=True),
        ties=((1, 0),) if count > 1 else (),
        equality=tuple(range(count)),
        nonnegative=True,
    )


def rates(t, w):
    return stack(*(np.exp(-v * t) for v in w))


def rates_slopes(t, w):
    return stack(*(-t * np.exp(-v * t) for v in w))


def _growth_and_decay(rng: np.random.Generator) -> Draw:
    w = np.array([rng.uniform(0.8, 2.5), -rng.uniform(0.05, 0.6)])
    return Draw(grid(rng, 0.0, 4.0), w, amplitudes(rng, 2, signs=False), np.array([0.7 * w[0], 0.8]))


register(
    name="growth and decay",
    columns=rates,
    slopes=rates_slopes,
    pairs=((0, 0), (1, 1)),
    parameters=(RATE, RATE),
    draw=_growth_and_decay,
    ready=lambda draw: models.Exponentials(2, rates=True),
    nonnegative=True,
)
register(
    name="rate that crosses zero",
    columns=rates,
    slopes=rates_slopes,
    pairs=((0, 0),),
    parameters=(RATE,),
    draw=lambda rng: Draw(grid(rng, 0.0, 3.0), uniform(rng, (-0.5, 0.5)), amplitudes(rng, 1), np.array([1.0])),
    ready=lambda draw: models.Exponentials(1, rates=True),
    tags=("crosses zero",),
)


def stretched(t, w):
    return stack(np.exp(-((t / w[0]) ** w[1])), np.ones_like(t))


def stretched_slopes(t, w):
    x = t / w[0]
    power = x ** w[1]
    by_tau = np.exp(-power) * power * w[1] / w[0]
    return stack(by_tau, -np.exp(-power) * power * np.log(x))


register(
    name="stretched exponential",
    columns=stretched,
    slopes=stretched_slopes,
    pairs=((0, 0), (0, 1)),
    parameters=(TAU, Parameter()),
    draw=lambda rng: Draw(grid(rng, 0.02, 6.0), uniform(rng, (0.7, 1.8), (0.5, 1.6)), amplitudes(rng, 2)),
)


def activated(t, w):
    return stack(np.exp(-w[0] / t), np.ones_like(t))


def activated_slopes(t, w):
    return stack(-np.exp(-w[0] / t) / t)


register(
    name="activated (Arrhenius)",
    columns=activated,
    slopes=activated_slopes,
    pairs=((0, 0),),
    parameters=(TAU,),
    draw=lambda rng: Draw(grid(rng, 0.4, 3.0), uniform(rng, (1.0, 3.0)), amplitudes(rng, 2)),
    any_origin=False,
)


def on_line(t, w):
    return stack(np.exp(-t / w[0]), np.ones_like(t), t)


def on_line_slopes(t, w):
    return stack(t / w[0] ** 2 * np.exp(-t / w[0]))


register(
    name="decay on a line",
    columns=on_line,
    slopes=on_line_slopes,
    pairs=((0, 0),),
    parameters=(TAU,),
    draw=lambda rng: Draw(grid(rng, 0.0, 5.0), uniform(rng, (0.4, 1.2)), amplitudes(rng, 3) * [1, 1, 0.3]),
    ready=lambda draw: models.Exponentials(1) + models.Polynomial(1),
    column_powers=(0, 0, 1),
)


def response(t):
    x = (t - t[..., :1]) / (t[..., -1:] - t[..., :1])
    irf = np.exp(-0.5 * ((x - 0.12) / 0.03) ** 2)
    return irf / irf.sum(axis=-1, keepdims=True)


def through_instrument(t, w):
    lag = np.arange(t.shape[-1])
    place = lag[:, None] - lag
    late = np.where(place >= 0, np.take(t - t[..., :1], np.maximum(place, 0), axis=-1), np.inf)
    seen = (np.exp(-late / np.asarray(w[0])[..., None]) @ response(t)[..., None])[..., 0]
    return stack(seen, np.ones_like(t))


def through_instrument_slopes(t, w):
    lag = np.arange(t.shape[-1])
    place = lag[:, None] - lag
    late = np.where(place >= 0, np.take(t - t[..., :1], np.maximum(place, 0), axis=-1), 0.0)
    tau = np.asarray(w[0])[..., None]
    slope = np.where(place >= 0, late / tau**2 * np.exp(-late / tau), 0.0)
    return stack((slope @ response(t)[..., None])[..., 0])


def _seen(rng: np.random.Generator) -> Draw:
    n = int(rng.integers(40, 120))
    return Draw(np.linspace(0.0, 8.0, n), uniform(rng, (0.6, 2.0)), amplitudes(rng, 2, signs=False))


register(
    name="decay through an instrument",
    columns=through_instrument,
    slopes=through_instrument_slopes,
    pairs=((0, 0),),
    parameters=(TAU,),
    draw=_seen,
    ready=lambda draw: models.Exponentials(1, convolve=response(draw.t), offset=True),
    equidistant=True,
    nonnegative=True,
)


def known_height(t, w):
    return stack(np.exp(-t / w[1]), np.ones_like(t))


def known_height_slopes(t, w):
    return stack(t / w[1] ** 2 * np.exp(-t / w[1]))


def known_decay(t, w):
    return 2.0 * np.exp(-t / w[0]) + 0 * w[1]


def known_decay_slopes(t, w):
    return stack(2.0 * t / w[0] ** 2 * np.exp(-t / w[0]), np.zeros_like(t))


register(
    name="decay of known height",
    columns=known_height,
    slopes=known_height_slopes,
    pairs=((0, 1),),
    parameters=(TAU, TAU),
    draw=lambda rng: Draw(grid(rng, 0.0, 8.0), uniform(rng, (0.3, 0.8), (2.0, 4.0)), amplitudes(rng, 2, signs=False)),
    fixed_term=known_decay,
    fixed_slopes=known_decay_slopes,
)


def rise_and_decay(t, w):
    return stack(np.exp(-t / w[1]) - np.exp(-t / w[0]), np.ones_like(t))


def rise_and_decay_slopes(t, w):
    rise, fall = (t / v**2 * np.exp(-t / v) for v in (w[0], w[1]))
    return stack(-rise, fall)


register(
    name="rise and decay",
    columns=rise_and_decay,
    slopes=rise_and_decay_slopes,
    pairs=((0, 0), (0, 1)),
    parameters=(TAU, TAU),
    draw=lambda rng: Draw(grid(rng, 0.0, 9.0), uniform(rng, (0.3, 0.8), (1.8, 3.0)), amplitudes(rng, 2)),
)
