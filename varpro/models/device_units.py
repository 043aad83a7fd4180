"""Units of many sub-networks side by side on a device: a basis of B problems that read one set of images in place."""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, beside, namespace, to_host
from varpro.errors import BackendError
from varpro.kernels.scalarize import cuda as on_device
from varpro.models.bilinear import BilinearUnits
from varpro.models.quadratic import QuadraticUnits
from varpro.models.units import Units

KINDS = (QuadraticUnits, BilinearUnits)


@dataclass(frozen=True)
class DeviceUnits:
    """Sub-networks of equal shape.  Every parameter is searched; `lift` clears those of pixels that never light."""

    units: Units
    """of one sub-network"""
    images: Array
    """(rows, C, L, R) on the device, bytes or floats, shared by all"""
    index: Array
    """(B, n) int32 on the device: the images of each"""
    sigma: str
    columns: Array
    """(P,) int32 on the device"""
    parameters: None = None

    @classmethod
    def bind(cls, units: Units, images: Array, rows: Array, sigma: str) -> "DeviceUnits":
        """rows : (B, n) whole numbers on the host.  Raises BackendError for units without a kernel."""
        require_kernel(type(units))
        columns = np.tile(np.arange(units.count, dtype=np.int32), units.n_parameters // units.count)
        xp = namespace(images)
        return cls(units, images, xp.asarray(rows.astype(np.int32)), sigma, xp.asarray(columns))

    def basis(self, w: Array, problems: Array) -> Array:
        """Phi (b, n, I + 1) float64."""
        return self._run(w, problems, None)[0]

    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        """D (b, n, P) of dtype."""
        d = self._run(w, problems, dtype)[1]
        assert d is not None
        return d

    def _run(self, w: Array, problems: Array, dtype: str | None) -> tuple[Array, Array | None]:
        index = self.index if len(problems) == len(self.index) else self.index[beside(problems, self.index)]
        table = w.reshape(len(problems), -1, self.units.count)
        if isinstance(self.units, QuadraticUnits):
            return on_device.quadratic(self.images, index, table, sigma=self.sigma, jacobian=dtype)
        stacked = self.images.reshape(len(self.images), -1, self.images.shape[3])
        return on_device.bilinear(stacked, index, table, sigma=self.sigma, jacobian=dtype)

    def lift(self, w: Array) -> Array:
        """Parameters (B, P) on the host; weights of pixels that a sub-network's images never light are zero."""
        lit = np.stack([to_host((self.images[rows] != 0).any(axis=0)) for rows in self.index])  # (B, C, L, R)
        table = to_host(w).reshape(len(w), -1, self.units.count)
        down, across = np.any(lit, axis=3), np.any(lit, axis=(1, 2))
        if isinstance(self.units, QuadraticUnits):
            seen = np.any(down, axis=1) | across
        else:
            seen = np.concatenate([down.reshape(len(w), -1), across], axis=1)
        kept = np.ones(table.shape[:2], dtype=bool)
        kept[:, : seen.shape[1]] = seen
        return np.where(kept[:, :, None], table, 0.0).reshape(len(w), -1)


def has_kernel(kind: type[Units]) -> bool:
    """Whether units of this kind can be trained on a device."""
    return kind in KINDS


def require_kernel(kind: type[Units]) -> None:
    """Raise BackendError unless units of this kind can be trained on a device."""
    if not has_kernel(kind):
        raise BackendError(
            f"model.unit is {kind.kind}, which has no CUDA kernel; choose {' or '.join(k.kind for k in KINDS)}, "
            "or --backend cpu"
        )
