"""Convolutional units at work: their columns, the change of these along a direction, its transpose, and D itself."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array, namespace
from varpro.kernels import convolve
from varpro.kernels.convolve import Patches
from varpro.models.units.interface import BoundUnits, Scalarization, pairs

if TYPE_CHECKING:
    from varpro.models.units.convolutional import ConvolutionalUnits


class Convolved(Scalarization):
    """Tables are made once for all blocks of images; contractions add up over the parameters themselves."""

    def __init__(self, units: "ConvolutionalUnits", w: Array, sigma: str, dtype: np.dtype) -> None:
        self.units, self.sigma, self.dtype = units, sigma, dtype
        self.tables = units.tables(w, sigma, dtype)
        self.largest_slope, self.largest_value = _bounds(self.tables, units)

    def phi(self, images: Array) -> Array:
        phi = namespace(images).ones((len(images), self.units.n_columns + 1), dtype=self.dtype)
        for (table, patches), columns in zip(self.tables, self._columns(), strict=True):
            phi[:, columns] = convolve.values(images, table, patches).reshape(len(images), -1)
        return phi

    def direction(self, v: Array) -> Callable[[Array, Array], Array]:
        along = self.units.tables(v, self.sigma, self.dtype)

        def of(images: Array, phi: Array) -> Array:
            change = namespace(images).empty((len(images), self.units.n_columns), dtype=self.dtype)
            for (table, patches), (dw, _), columns in zip(self.tables, along, self._columns(), strict=True):
                change[:, columns] = convolve.tangent(images, table, dw, patches).reshape(len(images), -1)
            return change

        return of

    @property
    def contraction_size(self) -> int:
        return self.units.n_parameters

    def contraction(self, images: Array, phi: Array, weights: Array) -> Array:
        c = self.units.columns_per_unit
        xp = namespace(images)
        weights = xp.broadcast_to(weights, (len(images), self.units.n_columns))
        parts = [
            convolve.contract(images, table, weights[:, columns].reshape(len(images), -1, c), patches).ravel()
            for (table, patches), columns in zip(self.tables, self._columns(), strict=True)
        ]
        return xp.concatenate(parts)

    def layer_jacobian(self, images: Array, layer: Array) -> Array:
        n, c, k = len(images), self.units.columns_per_unit, layer.shape[1]
        j = namespace(images).empty((n, k, self.units.n_parameters), dtype=self.dtype)
        for (table, patches), columns, (_, _, where) in zip(
            self.tables, self._columns(), self.units.parts(), strict=True
        ):
            part = convolve.layer_jacobian(images, table, layer[columns].reshape(-1, c, k), patches)
            j[:, :, where] = part.reshape(n, k, -1)
        return j

    def gradient(self, total: Array) -> Array:
        return total

    def _columns(self) -> Iterator[slice]:
        c = self.units.columns_per_unit
        for _, units, _ in self.units.parts():
            yield slice(units.start * c, units.stop * c)


def _bounds(tables: list[tuple[Array, Patches]], units: "ConvolutionalUnits") -> tuple[float, float]:
    """Bounds on an entry of one row's contraction with weights of size 1, and on a column, for pixels of at most 1."""
    largest, column = 1.0, 1.0
    for table, patches in tables:
        size, side = np.abs(table.astype(np.float64)), patches.height
        mix = np.maximum(size[patches.terms * 2 * side : -1].sum(axis=0), 1.0) if patches.mixed else 1.0
        sums = [
            (size[t * 2 * side :][:side].sum(axis=0), size[(2 * t + 1) * side :][:side].sum(axis=0))
            for t in range(patches.terms)
        ]
        q = mix * sum(u * v for u, v in sums) + size[-1]
        by = sum(mix * np.maximum(np.maximum(u, v), u * v) for u, v in sums) + 1.0
        slope = 2.0 * q if patches.sigma == "square" else 1.0
        values = {"square": q**2, "smooth_abs": np.sqrt(q**2 + patches.smoothing), "softplus": q + np.log(2.0)}
        largest = max(largest, float(np.max(units.columns_per_unit * slope * by)))
        column = max(column, float(np.max(values.get(patches.sigma, 1.0))))
    return largest, column


def gathered(
    units: "ConvolutionalUnits", images: Array, index: Array, w: Array, sigma: str, jacobian: str | None
) -> tuple[Array, Array | None]:
    """Phi (B, n, J + 1) and D (B, n, P c), ordered by parameter, then by cell: see Units.gathered."""
    xp, (count, n), c = namespace(images), index.shape, units.columns_per_unit
    phi = xp.ones((count, n, units.n_columns + 1))
    d = None if jacobian is None else xp.empty((count, n, units.n_parameters, c), dtype=jacobian)
    for side, own, where in units.parts():
        patches = units.options.patches(side, units.shape[0], sigma)
        table = w[:, where].reshape(count, -1, own.stop - own.start)
        columns, by = convolve.gathered(images, index, table, patches, jacobian=jacobian)
        phi[:, :, own.start * c : own.stop * c] = columns.reshape(count, n, -1)
        if d is not None and by is not None:
            d[:, :, where] = by.reshape(count, n, c, -1).swapaxes(2, 3)
    return phi, None if d is None else d.reshape(count, n, -1)


class BoundConvolution(BoundUnits):
    """Pairs are ordered by parameter, then by the cells of its unit."""

    def __init__(self, units: "ConvolutionalUnits", images: Array, sigma: str) -> None:
        self.units, self.images, self.sigma = units, images, sigma
        self.columns, self.parameters = pairs(units)

    def basis(self, w: Array, problems: Array) -> Array:
        return self.units.at(w[0], self.sigma).phi(self.images)[None]

    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        n, c = len(self.images), self.units.columns_per_unit
        d = np.empty((1, n, self.units.n_parameters, c), dtype=dtype)
        for (table, patches), (_, _, where) in zip(
            self.units.tables(w[0], self.sigma, dtype), self.units.parts(), strict=True
        ):
            d[0, :, where] = convolve.jacobian(self.images, table, patches).reshape(n, c, -1).transpose(0, 2, 1)
        return d.reshape(1, n, -1)
