"""Kinds of units, one module each; a kind registers its name and owns everything specific to it."""

from varpro.models.units.imported import find_kind, import_kind, import_units, is_path
from varpro.models.units.interface import (
    UNITS,
    Answers,
    BoundUnits,
    Scalarization,
    Units,
    UnitSize,
    features,
    unit_kind,
)
from varpro.models.units.options import OptionError, UnitOptions, option

# the default, named first in messages
from varpro.models.units.quadratic import QuadraticUnits  # isort: skip
from varpro.models.units.bilinear import BilinearUnits  # isort: skip
from varpro.models.units.local_bilinear import LocalBilinearUnits  # isort: skip
from varpro.models.units.convolutional import ConvolutionalUnits  # isort: skip
from varpro.models.units.multilinear import MultilinearUnits  # isort: skip
from varpro.models.units.own import OwnUnits  # isort: skip

__all__ = [
    "UNITS",
    "Answers",
    "BilinearUnits",
    "BoundUnits",
    "ConvolutionalUnits",
    "LocalBilinearUnits",
    "MultilinearUnits",
    "OptionError",
    "OwnUnits",
    "QuadraticUnits",
    "Scalarization",
    "UnitOptions",
    "UnitSize",
    "Units",
    "features",
    "find_kind",
    "import_kind",
    "import_units",
    "is_path",
    "option",
    "unit_kind",
]
