"""Small networks of every kind of unit, glued together from two, with layers and calibrations drawn at random."""

import numpy as np

from varpro.models.units import UNITS
from varpro.train.calibration import Calibration
from varpro.train.scalarized.network import Network

CASES = {
    "quadratic": ("quadratic", (1, 7, 7), {}, "tanh"),
    "quadratic in colour": ("quadratic", (3, 6, 6), {}, "logistic"),
    "bilinear": ("bilinear", (1, 7, 5), {}, "logistic"),
    "bilinear of rank 3 in colour": ("bilinear", (2, 7, 5), {"rank": 3}, "tanh"),
    "local-bilinear": ("local-bilinear", (1, 9, 8), {"window": (2, 5)}, "tanh"),
    "local-bilinear in colour": ("local-bilinear", (3, 9, 8), {"window": (2, 5)}, "logistic"),
    "multilinear": ("multilinear", (3, 4, 5, 2), {"rank": 2}, "tanh"),
    "multilinear, shared": ("multilinear", (4, 4, 4), {"rank": 2, "shared": True}, "tanh"),
    "multilinear on vectors": ("multilinear", (1, 1, 11), {}, "tanh"),
    "convolutional": ("convolutional", (1, 12, 8), {"filter": (3, 5), "cells": 2}, "smooth_abs"),
    "convolutional, boxes": (
        "convolutional",
        (1, 12, 12),
        {"filter": (3,), "cells": 3, "pooling": "boxes"},
        "softplus",
    ),
    "convolutional, valid": ("convolutional", (1, 13, 13), {"filter": (4,), "cells": 2, "padding": "valid"}, "square"),
    "convolutional, stride": (
        "convolutional",
        (1, 12, 12),
        {"filter": (5,), "cells": 2, "stride": 2, "rank": 2},
        "tanh",
    ),
    "convolutional, mix": ("convolutional", (3, 12, 12), {"filter": (5, 3), "cells": 2, "rank": 2}, "smooth_abs"),
    "convolutional, planes": (
        "convolutional",
        (3, 12, 12),
        {"filter": (5,), "cells": 2, "colour": "planes"},
        "logistic",
    ),
}
"""The kind, the shape of an image, options and sigma by a name."""
CLASSES = ("plain", 'a "name"?\\', "ünïcode")


def images_of(name, count=29, seed=3):
    """Random bytes (count, *shape)."""
    return np.random.default_rng(seed).integers(0, 256, (count, *CASES[name][1])).astype(np.uint8)


def network_of(name):
    """Seven units and four, glued together, as sub-networks are."""
    kind, shape, options, sigma = CASES[name]
    rng, cls = np.random.default_rng(5), UNITS[kind]
    images = images_of(name, 60, seed=4) / 255.0
    made = []
    for count in (7, 4):
        units = cls.create(shape, count, rng, cls.Options(**options))
        made.append((units, units.start(rng, images)))
    units, w = made[0][0].joined(made[1:], made[0][1])
    a = rng.standard_normal((units.n_columns + 1, len(CLASSES))) / np.sqrt(units.n_columns)
    calibration = Calibration("logistic", rng.standard_normal((len(CLASSES) + 1, len(CLASSES))))
    return Network(units, w, sigma, a, CLASSES, "made */ up", calibration)


def close(found, expected, tolerance=1e-5):
    """Whether arrays agree to a tolerance relative to the largest number expected."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())
