"""A trained network as plain arrays: what every writer reads, and its values in NumPy, to compare with.

scores = scale * (columns layer) + constant,      probabilities = softmax([scores 1] calibration)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.models.units.forms import Forms, Slide
from varpro.models.units.images import unit_floats

if TYPE_CHECKING:
    from varpro.train.model_file import TrainedModel
    from varpro.train.scalarized.network import Network

BLOCK_NUMBERS = 1 << 24
"""The most numbers of the patches and values of a block of images."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A network of units, with weights that are floats, or bytes with their scales in factors."""

    shape: tuple[int, ...]
    """The shape of an image, (C, L, R) or (d1, .., dk)."""
    forms: tuple[Forms, ...]
    layer: Array
    """The linear layer without the constant, (J, K)."""
    scale: Array
    """A factor on the outputs of the layer, (K,)."""
    constant: Array
    """The constant's part of the outputs, (K,)."""
    class_names: tuple[str, ...]
    dataset: str
    calibration: Array | None = None
    """The layer (K + 1, K) that makes logits of scores; None if the network is not calibrated."""

    @classmethod
    def of(cls, model: "TrainedModel") -> "Graph":
        """The description of a trained network.  Raises ConfigError if it has no units, or they have none."""
        if not hasattr(model, "units"):
            raise ConfigError(
                "this model is a network of PyTorch layers, not of units; export it with PyTorch's own means, from the "
                "`network` of what varpro.load returns"
            )
        network = cast("Network", model)
        k = network.a.shape[1]
        return cls(
            shape=tuple(network.units.shape),
            forms=tuple(network.units.forms(network.w, network.sigma)),
            layer=network.a[:-1],
            scale=np.ones(k),
            constant=network.a[-1],
            class_names=network.class_names or tuple(str(label) for label in range(k)),
            dataset=network.dataset,
            calibration=None if network.calibration is None else network.calibration.layer,
        )

    @property
    def inputs(self) -> int:
        """The number of pixels of an image."""
        return prod(self.shape)

    @property
    def n_classes(self) -> int:
        """The number K of outputs."""
        return len(self.constant)

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds for the scores of one image, one vector at a time."""
        return sum(form.multiply_adds(self.shape) for form in self.forms) + self.layer.size

    def parts(self) -> Iterator[tuple[Forms, slice]]:
        """Each group of units with its columns."""
        first = 0
        for form in self.forms:
            columns = slice(first, first + form.count * form.cells)
            yield form, columns
            first = columns.stop

    def columns(self, images: Array, dtype: type[np.floating] = np.float32) -> Iterator[tuple[slice, Array]]:
        """The columns (n, J) of blocks of images (N, *shape), bytes or floats in [0, 1]."""
        largest = max(_numbers(form) for form in self.forms)
        step = max(1, BLOCK_NUMBERS // largest)
        for first in range(0, len(images), step):
            rows = slice(first, first + step)
            x = unit_floats(images[rows], dtype)
            yield rows, np.concatenate([_columns(form, x) for form in self.forms], axis=1)

    def scores(self, images: Array, dtype: type[np.floating] = np.float32) -> Array:
        """Outputs (N, K) of images (N, *shape), bytes or floats in [0, 1]; the columns are computed in dtype."""
        out = np.empty((len(images), self.n_classes))
        for rows, phi in self.columns(images, dtype):
            out[rows] = phi @ self.layer.astype(np.float64) * self.scale + self.constant
        return out


def _numbers(form: Forms) -> int:
    """The numbers that an image's columns take while they are computed."""
    if form.slide is None:
        return prod(form.sides) + form.count
    return prod(form.slide.places) * (prod(form.sides) + 2 * form.count)


def _columns(form: Forms, x: Array) -> Array:
    """sigma(q), averaged over cells, (n, I cells), in the dtype of x (n, *shape)."""
    matrices, bias = form.matrices.astype(x.dtype), form.bias.astype(x.dtype)
    if form.slide is None:
        return squashed(x.reshape(len(x), -1) @ matrices + bias, form)
    patches = _patches(x, form.slide)
    n, down, across = patches.shape[:3]
    values = squashed(patches.reshape(n, down, across, -1) @ matrices + bias, form)
    weights = np.kron(form.slide.down, form.slide.across).astype(x.dtype)
    return np.ascontiguousarray((weights @ values.reshape(n, down * across, -1)).mT).reshape(n, -1)


def _patches(x: Array, slide: Slide) -> Array:
    """The patches (n, down, across, C, h, w) of images (n, C, L, R)."""
    (rows, columns), step = slide.padding, slide.stride
    padded = np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
    return sliding_window_view(padded, slide.patch, axis=(2, 3))[:, :, ::step, ::step].transpose(0, 2, 3, 1, 4, 5)


def squashed(q: Array, form: Forms) -> Array:
    """sigma(q)."""
    if form.squash == "tanh":
        return np.tanh(q)
    if form.squash == "logistic":
        return 0.5 * (1.0 + np.tanh(0.5 * q))
    if form.squash == "square":
        return q * q
    if form.squash == "smooth_abs":
        return np.sqrt(q * q + q.dtype.type(form.smoothing))
    assert form.squash == "softplus"
    return np.logaddexp(q.dtype.type(0), q)
