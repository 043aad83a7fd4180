"""Separable models: ready ones for curves, and the scalarized networks, whose units reduce an image to a number."""

from varpro.models.bilinear import BilinearUnits
from varpro.models.exponentials import Exponentials
from varpro.models.local_bilinear import LocalBilinearUnits
from varpro.models.peaks import Gaussians, Lorentzians, Voigt
from varpro.models.powers import Constant, Polynomial, Powers
from varpro.models.quadratic import QuadraticUnits
from varpro.models.rational import Rational
from varpro.models.separable import Column, Model, Sum
from varpro.models.sinusoids import DampedSinusoids
from varpro.models.units import BoundUnits, Units

KINDS: dict[str, type[Units]] = {kind.kind: kind for kind in (QuadraticUnits, BilinearUnits, LocalBilinearUnits)}
"""The unit kinds by the name they have in configs and model files."""

__all__ = [
    "KINDS",
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
