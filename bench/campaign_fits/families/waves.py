"""Ringing and resonance, real and complex."""

import numpy as np

from campaign_fits.families.family import Draw, Parameter, amplitudes, grid, register, stack, uniform
from varpro import models

RATE = Parameter(power=-1.0)
OMEGA = Parameter(power=-1.0, positive=False)
SHIFT = Parameter(positive=False)


def ringing(t, w):
    parts = []
    for p in range(0, len(w), 2):
        decay = np.exp(-w[p] * t)
        parts += [decay * np.cos(w[p + 1] * t), decay * np.sin(w[p + 1] * t)]
    return stack(*parts)


def ringing_slopes(t, w):
    parts = []
    for p in range(0, len(w), 2):
        decay = np.exp(-w[p] * t)
        cosine, sine = decay * np.cos(w[p + 1] * t), decay * np.sin(w[p + 1] * t)
        parts += [-t * cosine, -t * sine, -t * sine, t * cosine]
    return stack(*parts)


def _tones(count):
    def draw(rng: np.random.Generator) -> Draw:
        omega = rng.uniform(3.0, 5.0) * np.cumprod([1.0, *rng.uniform(1.4, 1.9, count - 1)])
        damping = rng.uniform(0.1, 0.4, count)
        w = np.stack([damping, omega], axis=1).ravel()
        reach = np.stack([np.zeros(count), np.full(count, 0.25)], axis=1).ravel()
        return Draw(grid(rng, 0.0, 8.0, 80, 180), w, amplitudes(rng, 2 * count), reach)

    return draw


for count, name in ((1, "damped sinusoid"), (2, "two damped sinusoids")):
    register(
        name=name,
        columns=ringing,
        slopes=ringing_slopes,
        pairs=tuple((2 * i + q, 2 * i + p) for i in range(count) for p in (0, 1) for q in (0, 1)),
        parameters=(RATE, OMEGA) * count,
        draw=_tones(count),
        ready=lambda draw: models.DampedSinusoids(len(draw.w) // 2),
        ties=((2, 0),) if count > 1 else (),
    )


def phased(t, w):
    return stack(np.cos(w[0] * t + w[1]), np.ones_like(t))


def phased_slopes(t, w):
    slope = -np.sin(w[0] * t + w[1])
    return stack(slope * t, slope)


register(
    name="phase that crosses zero",
    columns=phased,
    slopes=phased_slopes,
    pairs=((0, 0), (0, 1)),
    parameters=(OMEGA, SHIFT),
    draw=lambda rng: Draw(
        grid(rng, -5.0, 5.0, 60, 160), uniform(rng, (2.0, 4.0), (-0.6, 0.6)), amplitudes(rng, 2), np.array([0.2, 0.9])
    ),
    tags=("crosses zero",),
)


def delayed(t, w):
    x = t - w[0]
    return stack(x * np.exp(-(x**2) / 2), np.ones_like(t))


def delayed_slopes(t, w):
    x = t - w[0]
    return stack((x**2 - 1) * np.exp(-(x**2) / 2))


register(
    name="delay that crosses zero",
    columns=delayed,
    slopes=delayed_slopes,
    pairs=((0, 0),),
    parameters=(Parameter(power=1.0, moves=True, positive=False),),
    draw=lambda rng: Draw(grid(rng, -5.0, 5.0, 40), uniform(rng, (-0.7, 0.7)), amplitudes(rng, 2), np.array([0.6])),
    tags=("crosses zero",),
)


def resonance(t, w):
    return stack(1.0 / (1.0 + 1j * (t - w[0]) / w[1]), np.ones_like(t) + 0j)


def resonance_slopes(t, w):
    inverse = 1.0 / (1.0 + 1j * (t - w[0]) / w[1])
    by_center = 1j / w[1] * inverse**2
    return stack(by_center, by_center * (t - w[0]) / w[1])


register(
    name="complex resonance",
    columns=resonance,
    slopes=resonance_slopes,
    pairs=((0, 0), (0, 1)),
    parameters=(Parameter(power=1.0, moves=True, positive=False), Parameter(power=1.0)),
    draw=lambda rng: Draw(
        grid(rng, 0.0, 10.0, 40), uniform(rng, (3.0, 7.0), (0.4, 1.2)), amplitudes(rng, 2), np.array([0.8, 0.0])
    ),
    complex_data=True,
    real_only=True,
)


def complex_tones(t, w):
    return stack(*(np.exp(v * t) for v in w))


def complex_tones_slopes(t, w):
    return stack(*(t * np.exp(v * t) for v in w))


def _complex_tones(rng: np.random.Generator) -> Draw:
    omega = np.array([rng.uniform(1.0, 2.0), -rng.uniform(1.0, 2.5)])
    w = np.concatenate([-rng.uniform(0.1, 0.5, 2), omega])
    return Draw(grid(rng, 0.0, 8.0, 50), w, amplitudes(rng, 2), np.array([0.1, 0.1, 0.25, 0.25]))


register(
    name="complex exponentials",
    columns=complex_tones,
    slopes=complex_tones_slopes,
    pairs=((0, 0), (1, 1)),
    parameters=(OMEGA,) * 4,
    draw=_complex_tones,
    complex_w=True,
    complex_data=True,
    real_only=True,
)
