"""Separable models: ready ones for curves, and scalarized networks, whose units reduce an image to a number."""

from varpro.models.exponentials import Exponentials
from varpro.models.kernel import Kernel, dipolar_kernel
from varpro.models.kinetics import Kinetics
from varpro.models.lineshapes import Fano, Pearson, PseudoVoigt
from varpro.models.measured import MeasuredExponentials
from varpro.models.peaks import Gaussians, Lorentzians, Voigt
from varpro.models.powers import Constant, Polynomial, Powers
from varpro.models.rational import Rational
from varpro.models.relaxation import InversionRecovery
from varpro.models.response import SeenExponentials
from varpro.models.saturation import Hill, MichaelisMenten, Sigmoids
from varpro.models.separable import Column, Model
from varpro.models.sinusoids import DampedSinusoids
from varpro.models.spots import Spots
from varpro.models.stretched import StretchedExponentials
from varpro.models.sums import Sum
from varpro.models.units import (
    BilinearUnits,
    BoundUnits,
    LocalBilinearUnits,
    MultilinearUnits,
    OwnUnits,
    QuadraticUnits,
    Units,
)

__all__ = [
    "BilinearUnits",
    "BoundUnits",
    "Column",
    "Constant",
    "DampedSinusoids",
    "Exponentials",
    "Fano",
    "Gaussians",
    "Hill",
    "InversionRecovery",
    "Kernel",
    "Kinetics",
    "LocalBilinearUnits",
    "Lorentzians",
    "MeasuredExponentials",
    "MichaelisMenten",
    "Model",
    "MultilinearUnits",
    "OwnUnits",
    "Pearson",
    "Polynomial",
    "Powers",
    "PseudoVoigt",
    "QuadraticUnits",
    "Rational",
    "SeenExponentials",
    "Sigmoids",
    "Spots",
    "StretchedExponentials",
    "Sum",
    "Units",
    "Voigt",
    "dipolar_kernel",
]
