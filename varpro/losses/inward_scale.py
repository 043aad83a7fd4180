"""Inward scaling: features on a sphere of radius 1 / xi.

    s = sqrt(||x||^2 + eps),   xhat = x / (xi s),   (dxhat)^T g = (g - x (x.g) / s^2) / (xi s)

Scores of a layer W on xhat are at most ||w|| / xi, which limits how far the cross-entropy can fall: a large xi slows
down the last layer but does not change the directions of the features.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, namespace
from varpro.errors import ConfigError, DegenerateBatchError, ShapeError
from varpro.kernels.inward_scale import inward_scale, inward_scale_vjp
from varpro.losses.batch import in_precision_of, real_matrix, require_finite, require_no_overflow, require_one_side


@dataclass(frozen=True, slots=True)
class InwardScale:
    """layer(x) -> xhat (N, D); layer.vjp(x, g) -> gradient for x, or {"x", "xi"} if xi is learnable.

    A zero row maps to zero with the Jacobian I / (xi sqrt(eps)), so eps = 0 rejects it.
    Raises ShapeError, NonFiniteError, DegenerateBatchError.
    """

    xi: float = 100.0
    """Inverse radius; it must be positive, since a negative one would invert the features."""
    eps: float = 1e-8
    """The number added to ||x||^2."""
    learnable: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.xi) and self.xi > 0 and math.isfinite(self.eps) and self.eps >= 0):
            raise ConfigError(f"xi is {self.xi}, eps {self.eps}; they need xi > 0 and eps >= 0")

    @classmethod
    def paper(cls) -> "InwardScale":
        """xi = 100, fixed."""
        return cls(xi=100.0)

    def __call__(self, x: Array) -> Array:
        rows = real_matrix(x, "x")
        scaled, s = inward_scale(rows, self.xi, self.eps)
        self._require(rows, s)
        return scaled

    def vjp(self, x: Array, g: Array) -> Array | Mapping[str, Array | float]:
        """The gradient with respect to the inputs, given the gradient g (N, D) with respect to xhat."""
        require_one_side(x=x, g=g)
        rows, given = real_matrix(x, "x"), real_matrix(g, "g")
        if given.shape != rows.shape:
            raise ShapeError(f"g has the shape {given.shape}, x has {rows.shape}")
        if rows.dtype != given.dtype:
            rows, given = rows.astype(np.float64, copy=False), given.astype(np.float64, copy=False)
        gradient, s, along = inward_scale_vjp(rows, given, self.xi, self.eps)
        self._require(rows, s)
        if not bool(namespace(along).isfinite(along).all()):
            require_finite(given, "g")
        gradient = in_precision_of(x, gradient)
        return {"x": gradient, "xi": -float(along.sum()) / self.xi**2} if self.learnable else gradient

    def _require(self, rows: Array, s: Array) -> None:
        """Raise for what makes a root s useless: NaN and infinity, squares that overflow, a zero row without eps."""
        largest = float(s.max())
        if not np.isfinite(largest):
            require_finite(rows, "x")
        require_no_overflow(largest, "x", rows.shape)
        if not float(s.min()) > 0:
            row = int(s.argmin())
            raise DegenerateBatchError(f"row {row} of x (N = {len(rows)}, D = {rows.shape[1]}) is zero: take eps > 0")


def cross_entropy_floor(n_classes: int, radius: float, xi: float = 1.0) -> float:
    """Least mean cross-entropy of scores W^T xhat with ||w_c|| = radius and no bias, reached on a simplex."""
    return math.log1p((n_classes - 1) * math.exp(-(radius / xi) * n_classes / (n_classes - 1)))


def largest_xi(n_classes: int, radius: float, probability: float) -> float:
    """The xi beyond which no sample can reach `probability` for its class, for ||w_c|| = radius."""
    if not 1 / n_classes < probability < 1:
        raise ConfigError(f"the probability is {probability}; it lies between 1/{n_classes} (chance) and 1")
    needed = (n_classes - 1) / n_classes * math.log(probability * (n_classes - 1) / (1 - probability))
    return radius / needed
