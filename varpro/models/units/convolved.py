"""Convolutional units at work: their columns, the change of these along a direction, its transpose, and D itself."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from varpro.arrays import Array, beside, is_device_array, namespace
from varpro.cores import by_rows
from varpro.kernels import convolve
from varpro.kernels.convolve import Patches
from varpro.models.units.interface import Answers, BoundUnits, Scalarization, pairs

if TYPE_CHECKING:
    from varpro.models.units.convolutional import ConvolutionalUnits


T = TypeVar("T")

PART_ROWS = 64
"""Images of one part of a call, whose cells are held while smooth averages are made of them: hundreds of parts for
the threads, each of them milliseconds long, and none with idle lanes."""
DEVICE_ROWS = 200
"""The same on a device."""


def fine_cells(places: int, cells: int) -> int:
    """The number of boxes in one direction that smooth averages over `cells` cells are made of: the least that divides
    the places in that direction and is nearly twice as many."""
    wanted = max(2 * cells - 1, 1)
    return next((fine for fine in range(wanted, places + 1) if places % fine == 0), max(places, 1))


def blend(cells: int, fine: tuple[int, int]) -> Array | None:
    """The averages of the kernel's fine[0] x fine[1] cells that make a unit's columns, (cells^2, fine[0] fine[1]), rows
    of sum 1; None if the kernel's cells are the columns.
    """
    if fine == (cells, cells):
        return None
    down, across = (cell_weights(cells, boxes) for boxes in fine)
    return np.kron(down, across)


def cell_weights(cells: int, fine: int) -> Array:
    """The averages of the kernel's `fine` boxes in a direction that make a unit's cells, (cells, fine), rows of sum 1:
    Gaussian, their deviation half the distance of two cells; the boxes themselves where there are no more of them."""
    if fine == cells:
        return np.eye(cells)
    centres, boxes = (np.arange(cells) + 0.5) / cells, (np.arange(fine) + 0.5) / fine
    weights = np.exp(-0.5 * ((boxes - centres[:, None]) * (2 * cells)) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)


class Convolved(Scalarization):
    """Tables are made once for all blocks of images; contractions add up over the parameters themselves."""

    def __init__(self, units: "ConvolutionalUnits", w: Array, sigma: str, dtype: np.dtype) -> None:
        self.units, self.sigma, self.dtype = units, sigma, dtype
        self.tables = units.tables(w, sigma, dtype)
        self.blends = [_blend(units, patches, self.dtype) for _, patches in self.tables]
        self.largest_slope, self.largest_value = _bounds(self.tables, units)

    def phi(self, images: Array) -> Array:
        phi = namespace(images).ones((len(images), self.units.n_columns + 1), dtype=self.dtype)

        def of(part: slice) -> None:
            for (table, patches), columns, smooth in self._banks():
                phi[part, columns] = _averages(convolve.values(images[part], table, patches), smooth)

        _by_parts(of, images)
        return phi

    def direction(self, v: Array) -> Callable[[Array, Array], Array]:
        along = self.units.tables(v, self.sigma, self.dtype)

        def of(images: Array, phi: Array) -> Array:
            change = namespace(images).empty((len(images), self.units.n_columns), dtype=self.dtype)

            def of_part(part: slice) -> None:
                for ((table, patches), columns, smooth), (dw, _) in zip(self._banks(), along, strict=True):
                    change[part, columns] = _averages(convolve.tangent(images[part], table, dw, patches), smooth)

            _by_parts(of_part, images)
            return change

        return of

    @property
    def contraction_size(self) -> int:
        return self.units.n_parameters

    def contraction(self, images: Array, phi: Array, weights: Array) -> Array:
        c = self.units.columns_per_unit
        xp = namespace(images)
        weights = xp.broadcast_to(weights, (len(images), self.units.n_columns))

        def of(part: slice) -> Array:
            sums = xp.empty(self.units.n_parameters)
            for ((table, patches), columns, smooth), (_, _, where) in zip(
                self._banks(), self.units.parts(), strict=True
            ):
                of_cells = weights[part, columns].reshape(-1, table.shape[1], c)
                b = of_cells if smooth is None else of_cells @ beside(smooth, of_cells)
                sums[where] = convolve.contract(images[part], table, b, patches).ravel()
            return sums

        return sum(_by_parts(of, images), xp.zeros(self.units.n_parameters))

    def layer_jacobian(self, images: Array, layer: Array) -> Array:
        n, c, k = len(images), self.units.columns_per_unit, layer.shape[1]
        j = namespace(images).empty((n, k, self.units.n_parameters), dtype=self.dtype)
        of_cells = []
        for _, columns, smooth in self._banks():
            of_columns = layer[columns].reshape(-1, c, k)
            of_cells.append(of_columns if smooth is None else beside(smooth, of_columns).T @ of_columns)

        def of(part: slice) -> None:
            for (table, patches), own, (_, _, where) in zip(self.tables, of_cells, self.units.parts(), strict=True):
                convolve.layer_jacobian(images[part], table, own, patches, into=(j[part], where))

        _by_parts(of, images)
        return j

    def gradient(self, total: Array) -> Array:
        return total

    def _banks(self) -> Iterator[tuple[tuple[Array, Patches], slice, Array | None]]:
        """Each bank's table and patches, its columns of Phi, and how they are made of the kernel's cells."""
        c = self.units.columns_per_unit
        for table, smooth, (_, units, _) in zip(self.tables, self.blends, self.units.parts(), strict=True):
            yield table, slice(units.start * c, units.stop * c), smooth


def _by_parts(function: Callable[[slice], T], images: Array) -> list[T]:
    """The function of every part of the images: on the threads of a call, or one after another on a device."""
    if not is_device_array(images):
        return by_rows(function, len(images), PART_ROWS)
    return [function(slice(first, first + DEVICE_ROWS)) for first in range(0, len(images), DEVICE_ROWS)]


def _blend(units: "ConvolutionalUnits", patches: Patches, dtype: npt.DTypeLike) -> Array | None:
    weights = blend(units.options.cells, patches.cells)
    return None if weights is None else weights.astype(dtype)


def _averages(cells: Array, smooth: Array | None) -> Array:
    """The columns (n, F c) from the kernel's cells (n, F, G), image by image: an image's bits are its own."""
    averages: Array = cells if smooth is None else cells @ beside(smooth, cells).T
    return averages.reshape(len(cells), -1)


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
        patches = units.patches(side, sigma)
        table = w[:, where].reshape(count, -1, own.stop - own.start)
        columns, by = convolve.gathered(images, index, table, patches, jacobian=jacobian)
        smooth, fine = _blend(units, patches, np.float64), patches.cell_count
        averages = _averages(columns.reshape(count * n, -1, fine), smooth)
        phi[:, :, own.start * c : own.stop * c] = averages.reshape(count, n, -1)
        if d is not None and by is not None:
            of_cells = by.reshape(count, n, fine, -1)
            of_columns = of_cells if smooth is None else xp.matmul(beside(smooth.astype(d.dtype), d), of_cells)
            d[:, :, where] = of_columns.swapaxes(2, 3)
    return phi, None if d is None else d.reshape(count, n, -1)


def answers(units: "ConvolutionalUnits", w: Array, sigma: str, which: Array, images: Array) -> list[Answers]:
    """sigma(q) of some units at every place of images (n, C, L, R) on the host: each patch is an image of one place."""
    found: dict[int, Answers] = {}
    for (table, patches), (side, own, _) in zip(units.tables(w, sigma, np.float64), units.parts(), strict=True):
        wanted = [int(i) for i in which if own.start <= i < own.stop]
        (rows, columns), step = patches.padding, patches.stride
        padded = np.pad(images, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
        seen = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(2, 3))[:, :, ::step, ::step]
        n, planes, down, across = seen.shape[:4]
        alone = np.ascontiguousarray(seen.transpose(0, 2, 3, 1, 4, 5)).reshape(-1, planes, side, side)
        one = replace(patches, cells=(1, 1), stride=1, padding=(0, 0))
        values = convolve.values(alone, np.ascontiguousarray(table[:, [i - own.start for i in wanted]]), one)
        left, top = ((side - 1) / 2 - pad - step / 2 for pad in (columns, rows))
        area = (left, left + across * step, top + down * step, top)
        maps = values[:, :, 0].reshape(n, down, across, len(wanted))
        found |= {i: Answers(maps[..., k], area, units.options.cells) for k, i in enumerate(wanted)}
    return [found[int(i)] for i in which]


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
            of_cells, smooth = convolve.jacobian(self.images, table, patches), _blend(self.units, patches, dtype)
            of_columns = (
                of_cells if smooth is None else np.tensordot(of_cells, smooth, axes=(1, 1)).transpose(0, 3, 1, 2)
            )
            d[0, :, where] = of_columns.reshape(n, c, -1).transpose(0, 2, 1)
        return d.reshape(1, n, -1)
