"""Units of many sub-networks side by side on a device: a basis of B problems that all read one set of images."""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, beside, namespace, to_host
from varpro.errors import BackendError
from varpro.models.units.interface import UNITS, Units, pairs


@dataclass(eq=False)
class DeviceUnits:
    """Sub-networks of equal shape.  Every parameter is searched; `lift` clears those of pixels that are never lit."""

    units: Units
    """The units of one sub-network."""
    images: Array
    """The shared images, (rows, C, L, R) on the device, bytes or floats."""
    index: Array
    """The images of each sub-network, (B, n) int32 on the device."""
    sigma: str
    columns: Array
    """The column of each pair, (M,) int32 on the device."""
    parameters: Array | None = None
    """The parameter of each pair, (M,) int32 there; None if every parameter moves one column."""
    _packed: tuple[Array, Array] | None = None
    """The problems whose values were asked for last, and their images for values alone."""

    @classmethod
    def bind(cls, units: Units, images: Array, rows: Array, sigma: str) -> "DeviceUnits":
        """rows : (B, n) whole numbers on the host.  Raises BackendError for units without a kernel."""
        require_kernel(type(units))
        xp, (columns, parameters) = namespace(images), pairs(units)
        moved = None if units.columns_per_unit == 1 else xp.asarray(parameters)
        return cls(units, images, xp.asarray(rows.astype(np.int32)), sigma, xp.asarray(columns), moved)

    def basis(self, w: Array, problems: Array) -> Array:
        """Phi (b, n, I + 1) float64."""
        if not self.units.packed_numbers(self.units.shape):
            return self._run(w, problems, None)[0]
        if self._packed is None or not np.array_equal(self._packed[0], problems):
            self._packed = None  # before the next are made: they are the largest array beside D
            self._packed = problems.copy(), self.units.packed(self.images, self._index(problems))
        return self.units.packed_values(self._packed[1], w, self.sigma)

    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        """D (b, n, M) of dtype."""
        d = self._run(w, problems, dtype)[1]
        assert d is not None
        return d

    def _run(self, w: Array, problems: Array, dtype: str | None) -> tuple[Array, Array | None]:
        return self.units.gathered(self.images, self._index(problems), w, sigma=self.sigma, jacobian=dtype)

    def _index(self, problems: Array) -> Array:
        return self.index if len(problems) == len(self.index) else self.index[beside(problems, self.index)]

    def lift(self, w: Array) -> Array:
        """Parameters (B, P) on the host, with zero weights for pixels that are never lit in a sub-network's images."""
        lit = [to_host((self.images[rows] != 0).any(axis=0)) for rows in self.index]  # (C, L, R) each
        return np.stack([self.units.clear_unlit(v, seen) for v, seen in zip(to_host(w), lit, strict=True)])


def has_kernel(kind: type[Units]) -> bool:
    """Whether units of this kind can be trained on a device."""
    return kind.no_device is None


def require_kernel(kind: type[Units]) -> None:
    """Raise BackendError unless units of this kind can be trained on a device."""
    if not has_kernel(kind):
        others = ", ".join(name for name in UNITS if has_kernel(UNITS[name]))
        raise BackendError(f"model.unit is {kind.kind}, which {kind.no_device}; choose {others} or --backend cpu")
