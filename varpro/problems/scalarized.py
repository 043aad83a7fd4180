"""What the problem of a whole network requires of its units; `varpro.models.units` describes each method."""

from collections.abc import Callable
from typing import Protocol

import numpy.typing as npt

from varpro.arrays import Array
from varpro.problems.separable import Basis


class Scalarized(Protocol):
    """Units at one w, in one precision: Phi (n, J + 1), D v (n, J) for v (P,), and sums against D, of length S."""

    @property
    def largest_value(self) -> float: ...

    @property
    def largest_slope(self) -> float: ...

    @property
    def contraction_size(self) -> int: ...

    def phi(self, images: Array) -> Array: ...

    def direction(self, v: Array) -> Callable[[Array, Array], Array]: ...

    def contraction(self, images: Array, phi: Array, weights: Array) -> Array: ...

    def layer_jacobian(self, images: Array, layer: Array) -> Array | None: ...

    def gradient(self, total: Array) -> Array: ...


class BoundToImages(Basis, Protocol):
    """Units bound to images: the columns of D themselves, and the parameters that can change on these images."""

    def lower(self, w: Array) -> Array: ...


class ScalarizedUnits(Protocol):
    """I units of c columns each, J = I c; every parameter belongs to one unit."""

    @property
    def count(self) -> int: ...

    @property
    def columns_per_unit(self) -> int: ...

    @property
    def n_columns(self) -> int: ...

    def at(self, w: Array, sigma: str, dtype: npt.DTypeLike) -> Scalarized: ...

    def bind(self, images: Array, sigma: str) -> BoundToImages: ...

    def gathered(
        self, images: Array, index: Array, w: Array, *, sigma: str, jacobian: str | None
    ) -> tuple[Array, Array | None]: ...

    def blocks(self) -> list[Array]: ...

    def per_parameter(self, values: Array) -> Array: ...

    def per_unit(self, values: Array) -> Array: ...
