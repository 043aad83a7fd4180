"""Saturation, sigmoids, growth curves, rational functions and powers."""

import numpy as np
import scipy.special

from campaign_fits.families.family import Draw, Parameter, amplitudes, grid, register, stack, uniform
from varpro import models

SCALE = Parameter(power=1.0)
PLACE = Parameter(power=1.0, moves=True, positive=False)
NUMBER = Parameter()


def saturation(t, w):
    return stack(t / (w[0] + t))


def saturation_slopes(t, w):
    return stack(-t / (w[0] + t) ** 2)


register(
    name="saturation (Michaelis-Menten)",
    columns=saturation,
    slopes=saturation_slopes,
    pairs=((0, 0),),
    parameters=(SCALE,),
    draw=lambda rng: Draw(grid(rng, 0.05, 5.0), uniform(rng, (0.5, 2.0)), amplitudes(rng, 1, signs=False)),
    nonnegative=True,
)


def two_sites(t, w):
    return stack(t / (w[0] + t), t / (w[1] + t))


def two_sites_slopes(t, w):
    return stack(*(-t / (v + t) ** 2 for v in w))


register(
    name="two binding sites",
    columns=two_sites,
    slopes=two_sites_slopes,
    pairs=((0, 0), (1, 1)),
    parameters=(SCALE, SCALE),
    draw=lambda rng: Draw(
        np.geomspace(0.01, 40.0, int(rng.integers(30, 90))),
        uniform(rng, (0.1, 0.4), (4.0, 10.0)),
        amplitudes(rng, 2, signs=False),
    ),
    ties=((1, 0),),
    equality=(0, 1),
    nonnegative=True,
)


def hill(t, w):
    return stack(1.0 / (1.0 + (w[0] / t) ** w[1]), np.ones_like(t))


def hill_slopes(t, w):
    power = (w[0] / t) ** w[1]
    common = -power / (1.0 + power) ** 2
    return stack(common * w[1] / w[0], common * np.log(w[0] / t))


register(
    name="Hill",
    columns=hill,
    slopes=hill_slopes,
    pairs=((0, 0), (0, 1)),
    parameters=(SCALE, NUMBER),
    draw=lambda rng: Draw(
        np.geomspace(0.02, 50.0, int(rng.integers(24, 80))), uniform(rng, (0.5, 2.0), (0.8, 2.5)), amplitudes(rng, 2)
    ),
)


def logistic(t, w):
    return stack(1.0 / (1.0 + np.exp(-(t - w[0]) / w[1])), np.ones_like(t))


def logistic_slopes(t, w):
    x = (t - w[0]) / w[1]
    bell = np.exp(-x) / (1.0 + np.exp(-x)) ** 2 / w[1]
    return stack(-bell, -bell * x)


def _step(low, high):
    return lambda rng: Draw(
        grid(rng, 0.0, 10.0, 30), uniform(rng, (3.0, 7.0), (low, high)), amplitudes(rng, 2), np.array([1.0, 0.0])
    )


register(
    name="logistic step",
    columns=logistic,
    slopes=logistic_slopes,
    pairs=((0, 0), (0, 1)),
    parameters=(PLACE, SCALE),
    draw=_step(0.4, 1.2),
)


def edge(t, w):
    return stack(scipy.special.erf((t - w[0]) / w[1]), np.ones_like(t))


def edge_slopes(t, w):
    x = (t - w[0]) / w[1]
    bell = -2.0 / np.sqrt(np.pi) * np.exp(-(x**2)) / w[1]
    return stack(bell, bell * x)


register(
    name="edge (erf)",
    columns=edge,
    slopes=edge_slopes,
    pairs=((0, 0), (0, 1)),
    parameters=(PLACE, SCALE),
    draw=_step(0.6, 2.0),
)


def gompertz(t, w):
    return stack(np.exp(-w[0] * np.exp(-t / w[1])))


def gompertz_slopes(t, w):
    inner = np.exp(-t / w[1])
    outer = np.exp(-w[0] * inner)
    return stack(-inner * outer, -w[0] * outer * inner * t / w[1] ** 2)


register(
    name="Gompertz",
    columns=gompertz,
    slopes=gompertz_slopes,
    pairs=((0, 0), (0, 1)),
    parameters=(NUMBER, SCALE),
    draw=lambda rng: Draw(grid(rng, 0.0, 6.0), uniform(rng, (2.0, 5.0), (0.7, 1.5)), amplitudes(rng, 1)),
)


def logarithm(t, w):
    return stack(np.log(1.0 + t / w[0]), np.ones_like(t))


def logarithm_slopes(t, w):
    return stack(-t / w[0] ** 2 / (1.0 + t / w[0]))


register(
    name="logarithm",
    columns=logarithm,
    slopes=logarithm_slopes,
    pairs=((0, 0),),
    parameters=(SCALE,),
    draw=lambda rng: Draw(grid(rng, 0.0, 6.0), uniform(rng, (0.4, 1.5)), amplitudes(rng, 2)),
)


def inhibition(t, w):
    return stack(t / (w[0] + t + t**2 / w[1]))


def inhibition_slopes(t, w):
    square = (w[0] + t + t**2 / w[1]) ** 2
    return stack(-t / square, t**3 / w[1] ** 2 / square)


register(
    name="inhibition (Haldane)",
    columns=inhibition,
    slopes=inhibition_slopes,
    pairs=((0, 0), (0, 1)),
    parameters=(SCALE, SCALE),
    draw=lambda rng: Draw(grid(rng, 0.05, 12.0), uniform(rng, (0.5, 1.0), (2.5, 5.0)), amplitudes(rng, 1)),
)


def rational(t, w):
    q = 1.0 + t * (w[0] + (t * w[1] if len(w) > 1 else 0.0))
    return stack(*(t**i / q for i in range(len(w) + 1)))


def rational_slopes(t, w):
    q = 1.0 + t * (w[0] + (t * w[1] if len(w) > 1 else 0.0))
    return stack(*(-(t ** (i + k)) / q**2 for i in range(len(w) + 1) for k in range(1, len(w) + 1)))


for degree, limits in ((1, ((0.3, 1.5),)), (2, ((0.2, 0.8), (0.3, 0.8)))):
    register(
        name=f"rational of degree {degree}",
        columns=rational,
        slopes=rational_slopes,
        pairs=tuple((i, k) for i in range(degree + 1) for k in range(degree)),
        parameters=tuple(Parameter(power=-1.0 - k) for k in range(degree)),
        draw=lambda rng, limits=limits: Draw(
            grid(rng, 0.0, 6.0, 40), uniform(rng, *limits), amplitudes(rng, len(limits) + 1)
        ),
        ready=lambda draw: models.Rational(len(draw.w), len(draw.w)),
        column_powers=tuple(range(degree + 1)),
        any_origin=False,
    )


def power_and_constant(t, w):
    return stack(t ** w[0], np.ones_like(t))


def power_slopes(t, w):
    return stack(t ** w[0] * np.log(t))


register(
    name="power and constant",
    columns=power_and_constant,
    slopes=power_slopes,
    pairs=((0, 0),),
    parameters=(NUMBER,),
    draw=lambda rng: Draw(grid(rng, 0.1, 4.0), uniform(rng, (0.4, 2.2)), amplitudes(rng, 2)),
    ready=lambda draw: models.Powers(1, offset=True),
    exponents=(0,),
    any_origin=False,
)


def powers(t, w):
    return stack(*(t**v for v in w))


def powers_slopes(t, w):
    return stack(*(t**v * np.log(t) for v in w))


register(
    name="two powers",
    columns=powers,
    slopes=powers_slopes,
    pairs=((0, 0), (1, 1)),
    parameters=(Parameter(positive=False), Parameter(positive=False)),
    draw=lambda rng: Draw(
        np.geomspace(0.05, 20.0, int(rng.integers(30, 90))),
        uniform(rng, (-1.0, -0.4), (0.7, 1.5)),
        amplitudes(rng, 2, signs=False),
        np.array([0.4, 0.5]),
    ),
    ready=lambda draw: models.Powers(2),
    exponents=(0, 1),
    any_origin=False,
)
register(
    name="exponent that crosses zero",
    columns=powers,
    slopes=powers_slopes,
    pairs=((0, 0),),
    parameters=(Parameter(positive=False),),
    draw=lambda rng: Draw(grid(rng, 0.2, 5.0), uniform(rng, (-0.6, 0.6)), amplitudes(rng, 1), np.array([1.0])),
    ready=lambda draw: models.Powers(1),
    exponents=(0,),
    any_origin=False,
    tags=("crosses zero",),
)
