"""Which units a report shows: those that weigh most in the linear layer, and where they fire."""

import numpy as np

from varpro.arrays import Array
from varpro.models.units.images import planes, unit_floats
from varpro.report.record import Fired, JsonObject
from varpro.train.data.parts import Part
from varpro.train.mistakes import shown
from varpro.train.scalarized.network import Network

SHOWN = 60
"""Units in the gallery."""
FIRING = 7
"""Units whose answers are shown place by place, on the first image of each class."""
CLASSES = 8
"""The most classes of which an image is shown."""
AT_ONCE = 1000
"""Units whose parts of the outputs are held at a time."""
SAMPLE = 200
"""Images from which a unit's weight is estimated."""


def units_shown(network: Network, train: Array, test: Part) -> JsonObject:
    """The fields of a `ScalarizedRecord` about units; train: the images (N, ...) of the training part."""
    units, w = network.units, network.w
    shares = variance_shares(network, planes(train[:: max(1, len(train) // SAMPLE)]))
    strongest = np.argsort(-shares, kind="stable")[:SHOWN]
    matrices = units.gallery(w, strongest, _spread(train))
    first = np.unique(test.labels, return_index=True)[1][:CLASSES]
    examples = planes(test.images[first])
    answers = units.answers(w, network.sigma, strongest[:FIRING], examples)
    fired = [
        Fired(picture, float(shares[i]), one.maps, one.area, one.cells)
        for picture, i, one in zip(matrices, strongest, answers, strict=False)
    ]
    return {
        "unit_matrices": matrices,
        "unit_shares": shares[strongest],
        "unit_count": units.count,
        "fired": fired,
        "fired_images": shown(test.images[first]),
        "fired_labels": test.labels[first],
    }


def variance_shares(network: Network, images: Array) -> Array:
    """What each unit contributes to the variance of the outputs, sum_k a_k^T Cov(Phi_i) a_k over its own columns,
    relative to the sum over all units, (I,)."""
    units = network.units
    phi = units.at(network.w, network.sigma, units.prediction_dtype).phi(images)[:, :-1]
    of_unit = (phi - phi.mean(axis=0)).reshape(len(phi), units.count, -1).transpose(1, 0, 2)
    layers = network.a[:-1].reshape(units.count, -1, network.a.shape[1])
    sums = np.empty(units.count)
    for first in range(0, units.count, AT_ONCE):  # all parts together would take SAMPLE x K numbers a unit
        some = slice(first, first + AT_ONCE)
        sums[some] = [np.vdot(part, part) for part in of_unit[some] @ layers[some]]
    shares: Array = sums / max(float(sums.sum()), np.finfo(float).tiny)
    return shares


def _spread(images: Array) -> Array:
    """Standard deviation (C, L, R) of each pixel over at most 5000 images."""
    spread: Array = unit_floats(images[:: max(1, len(images) // 5000)]).std(axis=0)
    return spread
