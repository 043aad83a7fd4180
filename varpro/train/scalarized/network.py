"""A trained network: its units, their parameters, and the linear layer that glues them together."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.linalg.row_sums import BLOCK_ROWS
from varpro.models.units import Units
from varpro.train.calibration import Calibration, calibrated
from varpro.train.data.pixels import readable_images
from varpro.train.scalarized.outputs import Outputs, shaped


def one_hot(labels: Array, n_classes: int) -> Array:
    """Y (N, K) float64, with 1 in the column of the label."""
    y = np.zeros((len(labels), n_classes))
    y[np.arange(len(labels)), labels] = 1.0
    return y


@dataclass(frozen=True, eq=False)
class Network:
    """scores(X) = Phi(X; w) A."""

    units: Units
    w: Array
    """The nonlinear parameters, (P,) float64."""
    sigma: str
    a: Array
    """The linear layer, (J + 1, K) float64, with the constant's row last."""
    class_names: tuple[str, ...] = ()
    dataset: str = ""
    calibration: Calibration | None = None
    """What makes probabilities of scores; None if there were no validation images."""

    def scores(self, images: Array, *, outputs: Outputs = "plain") -> Array:
        """Outputs (N, K) for images (N, L, R), (N, C, L, R) or (N, d1, .., dk): floats in [0, 1], or bytes,
        read as value / 255.

        outputs : plain, sum-1 (each row divided by its sum) or squashed (through a sigmoid).
        Raises ShapeError if the images do not have the shape that the network was trained on, DataError if a pixel lies
        outside [0, 1] or is not finite.
        """
        x = readable_images(images, self.units.shape)
        out = np.empty((len(x), self.a.shape[1]))
        for rows, phi in self.blocks(x):
            out[rows] = phi @ self.a
        return shaped(out, outputs)

    def predict(self, images: Array) -> Array:
        """Labels (N,) int64 of the largest scores; errors as in `scores`."""
        return np.argmax(self.scores(images), axis=1)

    def predict_proba(self, images: Array) -> Array:
        """Calibrated probabilities (N, K) float64, whose rows sum to 1; errors as in `scores`.

        Raises DataError if the network was trained without validation images.
        """
        return calibrated(self.calibration, self.scores(images))

    def blocks(self, images: Array) -> Iterator[tuple[slice, Array]]:
        """Phi by blocks of rows, so that a prediction needs memory for only one block."""
        at = self.units.at(self.w, self.sigma, self.units.prediction_dtype)
        for first in range(0, len(images), BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            yield rows, at.phi(images[rows])
