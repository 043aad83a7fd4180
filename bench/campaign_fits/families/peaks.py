"""Lines of a spectrum on offsets: Gaussian, Lorentzian, Voigt; one that crosses zero; one in the plane."""

import numpy as np
import scipy.special

from campaign_fits.families.family import Draw, Parameter, amplitudes, grid, register, stack, uniform
from varpro import models

CENTER = Parameter(power=1.0, moves=True, positive=False)
WIDTH = Parameter(power=1.0)


def gaussian(t, w):
    return stack(np.exp(-0.5 * ((t - w[0]) / w[1]) ** 2), np.ones_like(t))


def gaussian_slopes(t, w):
    x = (t - w[0]) / w[1]
    by_center = np.exp(-0.5 * x**2) * x / w[1]
    return stack(by_center, by_center * x)


def _one(rng: np.random.Generator) -> Draw:
    w = uniform(rng, (3.0, 7.0), (0.5, 1.5))
    return Draw(grid(rng, 0.0, 10.0, 30), w, amplitudes(rng, 2), np.array([1.2 * w[1], 0.0]))


register(
    name="Gaussian",
    columns=gaussian,
    slopes=gaussian_slopes,
    pairs=((0, 0), (0, 1)),
    parameters=(CENTER, WIDTH),
    draw=_one,
    ready=lambda draw: models.Gaussians(1, offset=True),
)


def _around_zero(rng: np.random.Generator) -> Draw:
    w = uniform(rng, (-0.5, 0.5), (0.5, 1.2))
    return Draw(grid(rng, -4.0, 4.0, 30), w, amplitudes(rng, 2), np.array([1.2 * w[1], 0.0]))


register(
    name="Gaussian around zero",
    columns=gaussian,
    slopes=gaussian_slopes,
    pairs=((0, 0), (0, 1)),
    parameters=(CENTER, WIDTH),
    draw=_around_zero,
    ready=lambda draw: models.Gaussians(1, offset=True),
    any_origin=False,
    tags=("crosses zero",),
)


def two_gaussians(t, w):
    return stack(*(np.exp(-0.5 * ((t - v) / w[2]) ** 2) for v in w[:2]), np.ones_like(t))


def two_gaussians_slopes(t, w):
    x, y = (t - w[0]) / w[2], (t - w[1]) / w[2]
    first, second = np.exp(-0.5 * x**2) * x / w[2], np.exp(-0.5 * y**2) * y / w[2]
    return stack(first, second, first * x, second * y)


def _two(rng: np.random.Generator) -> Draw:
    width = rng.uniform(0.5, 1.0)
    first = rng.uniform(3.0, 4.5)
    w = np.array([first, first + rng.uniform(1.8, 4.0) * width, width])
    return Draw(grid(rng, 0.0, 10.0, 40), w, amplitudes(rng, 3, signs=False), np.array([width, width, 0.0]) * 0.6)


register(
    name="two Gaussians of one width",
    columns=two_gaussians,
    slopes=two_gaussians_slopes,
    pairs=((0, 0), (1, 1), (0, 2), (1, 2)),
    parameters=(CENTER, CENTER, WIDTH),
    draw=_two,
    ready=lambda draw: models.Gaussians(2, offset=True, shared_width=True),
    nonnegative=True,
)


def lorentzians(t, w):
    return stack(*(1.0 / (1.0 + ((t - w[p]) / w[p + 1]) ** 2) for p in (0, 2)), np.ones_like(t), t)


def lorentzians_slopes(t, w):
    parts = []
    for p in (0, 2):
        x = (t - w[p]) / w[p + 1]
        by_center = 2.0 * x / w[p + 1] / (1.0 + x**2) ** 2
        parts += [by_center, by_center * x]
    return stack(*parts)


def _lines(rng: np.random.Generator) -> Draw:
    widths = uniform(rng, (0.3, 0.8), (0.3, 0.8))
    first = rng.uniform(2.0, 4.0)
    second = first + rng.uniform(2.0, 4.0) * widths.max()
    w = np.array([first, widths[0], second, widths[1]])
    reach = 0.8 * np.array([widths[0], 0.0, widths[1], 0.0])
    return Draw(grid(rng, 0.0, 10.0, 50, 160), w, amplitudes(rng, 4, signs=False) * [2, 2, 1, 0.1], reach)


register(
    name="two Lorentzians on a line",
    columns=lorentzians,
    slopes=lorentzians_slopes,
    pairs=((0, 0), (0, 1), (1, 2), (1, 3)),
    parameters=(CENTER, WIDTH, CENTER, WIDTH),
    draw=_lines,
    ready=lambda draw: models.Lorentzians(2) + models.Polynomial(1),
    column_powers=(0, 0, 0, 1),
    ties=((3, 1),),
    any_origin=False,  # the polynomial is in t, not in t less its origin
)


def voigt(t, w):
    z = (t - w[0] + 1j * np.abs(w[2])) / (np.sqrt(2.0) * np.abs(w[1]))
    return stack(scipy.special.wofz(z).real, np.ones_like(t))


def voigt_slopes(t, w):
    z = (t - w[0] + 1j * np.abs(w[2])) / (np.sqrt(2.0) * np.abs(w[1]))
    slope = (2j / np.sqrt(np.pi) - 2.0 * z * scipy.special.wofz(z)) / (np.sqrt(2.0) * np.abs(w[1]))
    by_sigma = -(slope * (t - w[0] + 1j * np.abs(w[2]))).real / w[1]
    return stack(-slope.real, by_sigma, -slope.imag * np.sign(w[2]))


def _voigt(rng: np.random.Generator) -> Draw:
    w = uniform(rng, (4.0, 6.0), (0.4, 0.8), (0.3, 0.8))
    return Draw(grid(rng, 0.0, 10.0, 60, 160), w, amplitudes(rng, 2), np.array([0.8, 0.0, 0.0]))


register(
    name="Voigt",
    columns=voigt,
    slopes=voigt_slopes,
    pairs=((0, 0), (0, 1), (0, 2)),
    parameters=(CENTER, WIDTH, WIDTH),
    draw=_voigt,
    ready=lambda draw: models.Voigt(1, offset=True),
    real_only=True,
)


def spot(t, w):
    x, y = (t[..., 0] - w[0]) / w[2], (t[..., 1] - w[1]) / w[2]
    return stack(np.exp(-0.5 * (x**2 + y**2)), np.ones_like(x))


def spot_slopes(t, w):
    x, y = (t[..., 0] - w[0]) / w[2], (t[..., 1] - w[1]) / w[2]
    bell = np.exp(-0.5 * (x**2 + y**2)) / w[2]
    return stack(bell * x, bell * y, bell * (x**2 + y**2))


def _spot(rng: np.random.Generator) -> Draw:
    side = np.linspace(-3.0, 3.0, int(rng.integers(7, 12)))
    t = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    w = uniform(rng, (-0.8, 0.8), (-0.8, 0.8), (0.6, 1.2))
    return Draw(t, w, amplitudes(rng, 2, signs=False), np.array([0.8, 0.8, 0.0]))


register(
    name="spot in the plane",
    columns=spot,
    slopes=spot_slopes,
    pairs=((0, 0), (0, 1), (0, 2)),
    parameters=(CENTER, CENTER, WIDTH),
    draw=_spot,
    any_origin=False,
    tags=("crosses zero",),
)
