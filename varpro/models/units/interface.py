"""The interface of a kind of unit.  A unit scalarizes an image: it owns one or several columns of Phi.

    Phi = [columns of unit 1 | columns of unit 2 | ... | 1],    column i c + s: column s of unit i, c of them a unit

A parameter belongs to one unit and may move every column of it.  A kind is a class in its own module that registers its
name; it owns everything specific to it: options, checks, sizes, derivatives, pictures, storage, device form.  Nothing
outside this package asks which kind it has.
"""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import numpy.typing as npt

from varpro.arrays import Array
from varpro.errors import BackendError, ConfigError
from varpro.models.units.activation import SIGMAS
from varpro.models.units.forms import Forms
from varpro.models.units.options import UnitOptions
from varpro.registry import Registry

Shape = tuple[int, ...]
"""(C, L, R): planes, rows, columns of an image; (d1, .., dk) of tensors of higher order"""


class BoundUnits(abc.ABC):
    """Units bound to the images of one sub-network: a basis of B = 1 problems for the search."""

    columns: Array
    """The column of Phi that each pair (column, parameter) belongs to, (M,) int32."""
    parameters: Array | None = None
    """The searched parameter of each pair, (M,) int32; None if there is one pair for each parameter."""

    @abc.abstractmethod
    def basis(self, w: Array, problems: Array) -> Array:
        """Phi (1, N, J + 1) at w (1, searched parameters)."""

    @abc.abstractmethod
    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        """D (1, N, M): column m is the derivative of column columns[m] of Phi by parameter parameters[m]."""

    def lower(self, w: Array) -> Array:
        """The parameters, out of all (P,), that have an effect on these images."""
        return w

    def lift(self, w: Array) -> Array:
        """All parameters (P,) from those searched."""
        return w


class Scalarization(abc.ABC):
    """Units at one w, in one precision: their columns, the columns' change along a direction, and its transpose."""

    largest_value: float = 1.0
    """A bound on the entries of Phi, for sums that must be reproducible: 1 if sigma is a sigmoid."""
    largest_slope: float = 1.0
    """A bound on one row's `contraction` with weights of size 1: 1 if pixels and sigma' are at most 1."""

    @abc.abstractmethod
    def phi(self, images: Array) -> Array:
        """Phi (n, J + 1) = [columns | 1] on images (n, C, L, R), in the same memory as the images."""

    @abc.abstractmethod
    def direction(self, v: Array) -> Callable[[Array, Array], Array]:
        """For v (P,), a function of images and their Phi that gives D v (n, J)."""

    @property
    @abc.abstractmethod
    def contraction_size(self) -> int:
        """S, the length of a `contraction`."""

    @abc.abstractmethod
    def contraction(self, images: Array, phi: Array, weights: Array) -> Array:
        """The images' part (S,) float64 of sum_nj weights[n, j] dPhi_nj/dw, which the caller sums over all rows.

        weights : (n, J), or (n, 1) to weigh all columns alike; may be overwritten.
        """

    def layer_jacobian(self, images: Array, layer: Array) -> Array | None:
        """J (n, K, P), the derivative of Phi A for a linear layer A (J, K), from a kernel that never holds D; None if
        the kind has no such kernel."""
        return None

    @abc.abstractmethod
    def gradient(self, total: Array) -> Array:
        """The sum for each parameter (P,), from summed contractions (S,)."""


@dataclass(frozen=True, slots=True)
class UnitSize:
    """The size of one unit; a mean if it is random."""

    parameters: float
    multiplications: float
    """The number for the values on one image: the entries of the unit's matrix, if it has one."""
    columns: int = 1


@dataclass(frozen=True, eq=False)
class Answers:
    """What a unit that looks at many places of an image answers at each of them."""

    maps: Array
    """sigma(q) at the places of some images, (n, down, across)."""
    area: tuple[float, float, float, float]
    """Left, right, bottom and top edge of the map in pixels of the image, whose first pixel lies at 0."""
    cells: int
    """The number of parts per direction over which places are averaged."""


@dataclass(frozen=True)
class Units(abc.ABC):
    """I units of one kind on images of one shape; their parameters are kept separately in a flat vector w (P,)."""

    shape: Shape
    count: int
    """The number I of units."""
    kind: ClassVar[str]
    Options: ClassVar[type[UnitOptions]] = UnitOptions
    sigmas: ClassVar[tuple[str, ...]] = SIGMAS
    """The choices of sigma in a config."""
    prediction_dtype: ClassVar[npt.DTypeLike] = np.float64
    """The precision of Phi when a trained network predicts."""
    any_order: ClassVar[bool] = False
    """Whether units read tensors of any order; others read images (C, L, R)."""
    no_device: ClassVar[str | None] = "has no CUDA kernel"
    """Why sub-networks of this kind cannot be trained on a device; None if `gathered` and `clear_unlit` exist."""

    alike: ClassVar[bool] = True
    """Whether units made with the same options differ in their parameters only, not in places or sizes that were drawn:
    then sub-networks are searched side by side."""

    @classmethod
    @abc.abstractmethod
    def create(cls, shape: Shape, count: int, rng: np.random.Generator, options: Any = None) -> Self:
        """Units of this kind; rng draws what is fixed about them, such as places of windows.  options : of this kind,
        None for its defaults."""

    @classmethod
    @abc.abstractmethod
    def size_of_one(cls, shape: Shape, options: Any) -> UnitSize:
        """Parameters, arithmetic and columns of a unit, for the count before a run."""

    @classmethod  # noqa: B027 (most kinds take any image)
    def check(cls, shape: Shape, options: Any) -> None:
        """Raise ConfigError if units with these options cannot be made on images of this shape."""

    @property
    def columns_per_unit(self) -> int:
        """The number c of columns per unit."""
        return 1

    @property
    def n_columns(self) -> int:
        """J = I c, the number of columns of Phi without the constant."""
        return self.count * self.columns_per_unit

    @property
    @abc.abstractmethod
    def n_parameters(self) -> int:
        """The number P of parameters."""

    @abc.abstractmethod
    def start(self, rng: np.random.Generator, images: Array) -> Array:
        """Random parameters (P,), scaled to images (N, C, L, R)."""

    @abc.abstractmethod
    def at(self, w: Array, sigma: str, dtype: npt.DTypeLike = np.float64) -> Scalarization:
        """These units at w (P,), computing in dtype."""

    @abc.abstractmethod
    def bind(self, images: Array, sigma: str) -> BoundUnits:
        """The basis of a sub-network on images (N, C, L, R)."""

    @abc.abstractmethod
    def blocks(self) -> list[Array]:
        """Each unit's own parameters as indices into w, with units of equal size stacked: (units, size) int.  Within
        one size, units keep their order."""

    @abc.abstractmethod
    def per_parameter(self, values: Array) -> Array:
        """values (I, ...) of the units repeated for each of their parameters, (P, ...)."""

    @abc.abstractmethod
    def per_unit(self, values: Array) -> Array:
        """values (P, ...) of the parameters summed over each unit, (I, ...)."""

    @abc.abstractmethod
    def joined(self, others: list[tuple[Self, Array]], w: Array) -> tuple[Self, Array]:
        """These units followed by the others', and the parameters of all."""

    def taken(self, w: Array, which: Array) -> tuple[Self, Array]:
        """Some of these units, by their numbers in rising order, and their parameters.  Raises ConfigError for a kind
        that cannot be parted."""
        raise ConfigError(f"{self.kind} units cannot be dropped one by one; define `taken`, or leave prune out")

    @abc.abstractmethod
    def pictures(self, w: Array, which: Array) -> Array:
        """Images (g, rows, columns) of the given units: their matrices, in place, with planes stacked vertically."""

    def gallery(self, w: Array, which: Array, spread: Array) -> Array:
        """`pictures` as a report shows them: multiplied by the standard deviation (C, L, R) of the pixels they meet.

        A border pixel that is lit once in a thousand images gets a large weight, which would hide all others.
        """
        matrices = self.pictures(w, which)
        if spread.size != matrices[0].size:  # one matrix for all colour planes
            spread = spread.mean(axis=0)
        return matrices * spread.reshape(matrices.shape[1:])

    def answers(self, w: Array, sigma: str, which: Array, images: Array) -> list[Answers]:
        """What each of the given units answers at the places of images (n, C, L, R); empty for kinds that look at an
        image as a whole."""
        return []

    def forms(self, w: Array, sigma: str) -> list[Forms]:
        """What these units compute at w (P,), for programs that write it in another language; in the order of the
        columns.  Raises ConfigError for a kind whose form is code of its own."""
        raise ConfigError(
            f"{self.kind} units are computed by code of their own, which cannot be written in another language; use "
            "varpro.load where that code is installed, or train units of varpro's own kinds"
        )

    def stored(self) -> dict[str, Array]:
        """Arrays, by name, that a model file stores beside w."""
        return {}

    @classmethod
    def restored(cls, shape: Shape, count: int, arrays: Mapping[str, Array]) -> Self:
        """Units from the contents of a model file.  Raises KeyError for a missing array."""
        return cls(shape, count)

    def gathered(
        self, images: Array, index: Array, w: Array, *, sigma: str, jacobian: str | None
    ) -> tuple[Array, Array | None]:
        """Phi (B, n, J + 1) and, in dtype `jacobian`, D (B, n, M) of B sub-networks on a device.

        images : (rows, C, L, R) there, read in place by index (B, n) int32; w (B, P).
        """
        raise BackendError(f"{self.kind} units: this kind {self.no_device}")

    @classmethod
    def packed_numbers(cls, shape: Shape) -> int:
        """The numbers of an image as `packed` has it; 0 if values are computed from the images themselves."""
        return 0

    def packed(self, images: Array, index: Array) -> Array:
        """The images (B, n, E) of B sub-networks on a device, as `packed_values` reads them; see `gathered`."""
        raise NotImplementedError(f"{self.kind} units read images as they are")

    def packed_values(self, packed: Array, w: Array, sigma: str) -> Array:
        """Phi (B, n, J + 1) at w (B, P): what `gathered` gives, for less where many w are tried on the same images."""
        raise NotImplementedError(f"{self.kind} units read images as they are")

    def clear_unlit(self, w: Array, lit: Array) -> Array:
        """w (P,) with zero weights for pixels that are never lit; lit (C, L, R) bool."""
        return w


def pairs(units: Units) -> tuple[Array, Array]:
    """The column and the parameter (M,) int32 of every pair, ordered by parameter, then by the columns of its unit."""
    c, owner = units.columns_per_unit, units.per_parameter(np.arange(units.count, dtype=np.int32))
    columns = (owner[:, None] * c + np.arange(c, dtype=np.int32)).ravel().astype(np.int32)
    return columns, np.repeat(np.arange(units.n_parameters, dtype=np.int32), c)


UNITS: Registry[type[Units]] = Registry("model.unit", built_in=["varpro.models.units"])
"""The kinds, by the names used in configs and model files."""

U = TypeVar("U", bound=type[Units])


def unit_kind(name: str) -> Callable[[U], U]:
    """A decorator that registers a kind of unit under its name."""

    def put(kind: U) -> U:
        kind.kind = name
        return UNITS.register(name)(kind)

    return put


def features(units: Units, w: Array, sigma: str, images: Array, *, dtype: npt.DTypeLike = np.float64) -> Array:
    """Phi (n, J + 1) of units at w on images (n, C, L, R), in the same memory as the images; w on the host."""
    return units.at(w, sigma, dtype).phi(images)
