"""Separable models: ready ones for curves, and scalarized networks, whose units reduce an image to a number."""

from varpro.models.exponentials import Exponentials
from varpro.models.peaks import Gaussians, Lorentzians, Voigt
from varpro.models.powers import Constant, Polynomial, Powers
from varpro.models.rational import Rational
from varpro.models.separable import Column, Model
from varpro.models.sinusoids import DampedSinusoids
from varpro.models.sums import Sum
from varpro.models.units import BilinearUnits, BoundUnits, LocalBilinearUnits, QuadraticUnits, Units

__all__ = [
    "BilinearUnits",
    "BoundUnits",
    "Column",
    "Constant",
    "DampedSinusoids",
    "Exponentials",
    "Gaussians",
    "LocalBilinearUnits",
    "Lorentzians",
    "Model",
    "Polynomial",
    "Powers",
    "QuadraticUnits",
    "Rational",
    "Sum",
    "Units",
    "Voigt",
]
