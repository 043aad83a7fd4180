"""Separable models: the scalarized networks, whose units reduce an image to a number before the sigmoid."""

from varpro.models.bilinear import BilinearUnits
from varpro.models.local_bilinear import LocalBilinearUnits
from varpro.models.quadratic import QuadraticUnits
from varpro.models.units import BoundUnits, Units

KINDS: dict[str, type[Units]] = {kind.kind: kind for kind in (QuadraticUnits, BilinearUnits, LocalBilinearUnits)}
"""The unit kinds by the name they have in configs and model files."""

__all__ = ["KINDS", "BilinearUnits", "BoundUnits", "LocalBilinearUnits", "QuadraticUnits", "Units"]
