"""Inward scaling: features on a sphere of radius 1 / xi.

    s = sqrt(||x||^2 + eps),   xhat = x / (xi s),   (dxhat)^T g = (g - x (x.g) / s^2) / (xi s)

Scores of a layer W on xhat are at most ||w|| / xi, which bounds how far the cross-entropy can fall: a large xi slows
the last layer, it does not change the directions of the features.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError, DegenerateBatchError, ShapeError
from varpro.losses.batch import finite_matrix, in_precision_of, require_no_overflow


@dataclass(frozen=True, slots=True)
class InwardScale:
    """layer(x) -> xhat (N, D); layer.vjp(x, g) -> gradient for x, or {"x", "xi"} where xi is learnable.

    A zero row maps to zero with the Jacobian I / (xi sqrt(eps)), so eps = 0 refuses it.
    Raises ShapeError, NonFiniteError, DegenerateBatchError.
    """

    xi: float = 100.0
    """Inverse radius; a negative one would turn the features round."""
    eps: float = 1e-8
    """Added to ||x||^2."""
    learnable: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.xi) and self.xi > 0 and math.isfinite(self.eps) and self.eps >= 0):
            raise ConfigError(f"xi is {self.xi}, eps {self.eps}; they need xi > 0 and eps >= 0")

    @classmethod
    def paper(cls) -> "InwardScale":
        """xi = 100, fixed."""
        return cls(xi=100.0)

    def __call__(self, x: Any) -> Array:
        rows, s = self._rows(x)
        return in_precision_of(x, rows / (self.xi * s))

    def vjp(self, x: Any, g: Any) -> Array | Mapping[str, Any]:
        """Gradient with respect to the inputs, given the gradient g (N, D) with respect to xhat."""
        rows, s = self._rows(x)
        given = finite_matrix(g, "g")
        if given.shape != rows.shape:
            raise ShapeError(f"g has the shape {given.shape}, x has {rows.shape}")
        unit = rows / s
        along = np.einsum("ij,ij->i", unit, given)[:, None]
        gradient = in_precision_of(x, (given - unit * along) / (self.xi * s))
        return {"x": gradient, "xi": -float(along.sum()) / self.xi**2} if self.learnable else gradient

    def _rows(self, x: Any) -> tuple[Array, Array]:
        rows = finite_matrix(x, "x")
        with np.errstate(over="ignore"):
            s = np.sqrt(np.einsum("ij,ij->i", rows, rows) + self.eps)[:, None]
        require_no_overflow(float(s.max()), "x", rows.shape)
        if not s.min() > 0:
            row = int(s.argmin())
            raise DegenerateBatchError(f"row {row} of x (N = {len(rows)}, D = {rows.shape[1]}) is zero: take eps > 0")
        return rows, s


def cross_entropy_floor(n_classes: int, radius: float, xi: float = 1.0) -> float:
    """Least mean cross-entropy of scores W^T xhat with ||w_c|| = radius and no bias, reached on a simplex."""
    return math.log1p((n_classes - 1) * math.exp(-(radius / xi) * n_classes / (n_classes - 1)))


def largest_xi(n_classes: int, radius: float, probability: float) -> float:
    """The xi beyond which no sample can be given `probability` of its class, for ||w_c|| = radius."""
    if not 1 / n_classes < probability < 1:
        raise ConfigError(f"the probability is {probability}; it lies between 1/{n_classes} (chance) and 1")
    needed = (n_classes - 1) / n_classes * math.log(probability * (n_classes - 1) / (1 - probability))
    return radius / needed
