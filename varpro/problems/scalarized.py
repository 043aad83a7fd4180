"""What the problem of a whole network asks of its units; `varpro.models.units` tells more of each method."""

from collections.abc import Callable
from typing import Any, Protocol

from varpro.arrays import Array


class Scalarized(Protocol):
    """Units at one w, in one precision."""

    @property
    def largest(self) -> float:
        """A bound on the entries of the `contraction` of one row with weights of size 1."""

    @property
    def contraction_size(self) -> int:
        """S"""

    def phi(self, images: Array) -> Array:
        """Phi (n, J + 1) = [columns | 1]."""

    def direction(self, v: Array) -> Callable[[Array, Array], Array]:
        """For v (P,): a function of images and their Phi that gives D v (n, J)."""

    def contraction(self, images: Array, phi: Array, weights: Array) -> Array:
        """The part (S,) of images in sum_nj weights[n, j] dPhi_nj/dw."""

    def gradient(self, total: Array) -> Array:
        """The sum over parameters (P,) from summed contractions (S,)."""


class BoundToImages(Protocol):
    """Units bound to images: the columns of D themselves."""

    @property
    def columns(self) -> Array:
        """(M,) the column of Phi of each pair."""

    @property
    def parameters(self) -> Array | None:
        """(M,) the searched parameter of each pair; None where pairs and parameters are the same things."""

    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        """D (1, n, M)."""

    def lower(self, w: Array) -> Array:
        """The parameters that these images can move, out of all (P,)."""


class ScalarizedUnits(Protocol):
    """I units of c columns each; every parameter belongs to one unit."""

    @property
    def count(self) -> int:
        """I"""

    @property
    def columns_per_unit(self) -> int:
        """c"""

    @property
    def n_columns(self) -> int:
        """J = I c"""

    def at(self, w: Array, sigma: str, dtype: Any) -> Scalarized:
        """The units at w (P,)."""

    def bind(self, images: Array, sigma: str) -> BoundToImages:
        """The units on images."""

    def blocks(self) -> list[Array]:
        """Each unit's own parameters as indices into w, (units, size)."""

    def per_parameter(self, values: Array) -> Array:
        """values (I, ...) repeated for each parameter, (P, ...)."""

    def per_unit(self, values: Array) -> Array:
        """values (P, ...) summed over each unit, (I, ...)."""
