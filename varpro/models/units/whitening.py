"""Random factors of a filter, drawn so that they see fine shapes as well as coarse ones.

Neighbouring pixels are alike, so a filter of independent entries answers mostly to the coarsest shapes of its patch.
The covariance of natural images is close to a product over rows, columns and planes, so whitening keeps a form
m (x) u v^T a product: each factor is multiplied by

    (R / r_0 + e 1)^(-1/2),     R_jk = r(|j - k|): the covariance of pixels |j - k| apart,   R of planes likewise

and e, the share of the pixels' variance that counts as noise, keeps shapes that hardly occur from being blown up.
Coates, Ng and Lee, AISTATS 2011, show what whitening does for random features of patches.
"""

import numpy as np
import scipy.linalg

from varpro.arrays import Array
from varpro.models.units.images import unit_floats


class Whitening:
    """The maps for filters on images like these (n, C, L, R)."""

    def __init__(self, images: Array, noise: float) -> None:
        pixels = unit_floats(images)
        self.pixels, self.noise = pixels - pixels.mean(axis=(0, 2, 3), keepdims=True), noise

    def down(self, size: int) -> Array:
        """(size, size) for the factor u of the rows."""
        return self._along(2, size)

    def across(self, size: int) -> Array:
        """(size, size) for the factor v of the columns."""
        return self._along(3, size)

    def planes(self) -> Array:
        """(C, C) for the weights of the planes."""
        count = self.pixels.shape[1]
        covariance = np.tensordot(self.pixels, self.pixels, axes=([0, 2, 3], [0, 2, 3]))
        return self._root(covariance, float(np.trace(covariance)) / count)

    def _along(self, axis: int, size: int) -> Array:
        x = np.moveaxis(self.pixels, axis, 0)
        # divided by the same number at every distance: that keeps the matrix from having negative eigenvalues
        sums = [float(np.vdot(x[: len(x) - k], x[k:])) if k < len(x) else 0.0 for k in range(size)]
        return self._root(scipy.linalg.toeplitz(sums), sums[0])

    def _root(self, covariance: Array, variance: float) -> Array:
        if not variance > 0:  # images without a shape
            return np.eye(len(covariance))
        values, vectors = np.linalg.eigh(covariance / variance)
        root: Array = (vectors / np.sqrt(np.maximum(values, 0.0) + self.noise)) @ vectors.T
        return root
