"""A trained network: units, their parameters, and the linear layer that glues them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from varpro.arrays import Array, beside, namespace
from varpro.errors import DataError, ShapeError
from varpro.kernels import scalarize
from varpro.models import Units
from varpro.models.images import planes

BLOCK_ROWS = 1000
"""Images scored at a time: the memory of a prediction is this times the number of units."""


def features(units: Units, w: Array, sigma: str, images: Array, *, dtype: type[np.floating[Any]] = np.float64) -> Array:
    """Phi (n, I + 1) = [sigma(q) | 1] on images (n, C, L, R), where these lie; w on the host."""
    phi = namespace(images).empty((len(images), units.count + 1), dtype=dtype)
    phi[:, :-1] = units.forward(images, beside(units.matrices(w.astype(dtype, copy=False)), images))
    phi[:, -1] = 1.0
    scalarize.activate(phi, units.bias(w), sigma=sigma)
    return phi


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
    """(I + 1, K) float64, the constant's row last"""
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
        """Phi by blocks of rows."""
        for first in range(0, len(images), BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            yield rows, features(self.units, self.w, self.sigma, images[rows])
