"""A trained network: units, their parameters, and the linear layer that glues them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError, ShapeError
from varpro.linalg.row_sums import BLOCK_ROWS
from varpro.models.units import Units
from varpro.models.units.images import planes


def one_hot(labels: Array, n_classes: int) -> Array:
    """Y (N, K) float64: 1 in the column of the label."""
    y = np.zeros((len(labels), n_classes))
    y[np.arange(len(labels)), labels] = 1.0
    return y


def readable_images(images: Any, shape: tuple[int, ...]) -> Array:
    """images (N, L, R) or (N, C, L, R) as (N, C, L, R) for a network that reads `shape`.

    Raises ShapeError for another shape, DataError if a pixel lies outside [0, 1] or is not finite.
    """
    x = planes(np.asarray(images))
    if x.shape[1:] != shape:
        raise ShapeError(f"images have shape {x.shape[1:]} (planes, rows, columns); this network reads {shape}")
    if x.dtype != np.uint8 and x.size and not (x.min() >= 0 and x.max() <= 1):
        raise DataError(
            f"pixels lie in [{x.min():g}, {x.max():g}]; the network reads [0, 1]: divide by the largest value"
        )
    return x


@dataclass(frozen=True, eq=False)
class Network:
    """scores(X) = Phi(X; w) A."""

    units: Units
    w: Array
    """(P,) float64"""
    sigma: str
    a: Array
    """(J + 1, K) float64, the constant's row last"""
    class_names: tuple[str, ...] = ()
    dataset: str = ""

    def scores(self, images: Array) -> Array:
        """Outputs (N, K) for images (N, L, R) or (N, C, L, R): floats in [0, 1], or bytes, read as value / 255.

        Raises ShapeError if the images are not of the shape that the network was trained on, DataError if a pixel lies
        outside [0, 1] or is not finite.
        """
        x = readable_images(images, self.units.shape)
        out = np.empty((len(x), self.a.shape[1]))
        for rows, phi in self.blocks(x):
            out[rows] = phi @ self.a
        return out

    def predict(self, images: Array) -> Array:
        """Labels (N,) int64: the largest score.  As `scores`."""
        return np.argmax(self.scores(images), axis=1)

    def blocks(self, images: Array) -> Iterator[tuple[slice, Array]]:
        """Phi by blocks of rows: the memory of a prediction is a block's times the number of columns."""
        at = self.units.at(self.w, self.sigma)
        for first in range(0, len(images), BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            yield rows, at.phi(images[rows])
