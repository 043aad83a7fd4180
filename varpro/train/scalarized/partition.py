"""Which images and which random start each sub-network gets, drawn from (seed, stream, index) alone.

So the result depends neither on the number of ranks nor on which rank took which task, and the control can draw exactly
the same untrained units again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError
from varpro.models.units import UnitOptions, Units, find_kind

TRAINING, BOOTSTRAP, GUESSES, REFINEMENT = range(4)
"""Streams of random numbers that never overlap."""


def bootstrap_stream(number: int) -> int:
    """The stream of a round of bootstrapping, counted from 0; those after the first lie beyond all others."""
    return BOOTSTRAP if number == 0 else REFINEMENT + number


def generator(seed: int, stream: int, index: int = 0, redrawn: int = 0) -> np.random.Generator:
    """The generator for one task of one stream; redrawn : 1 for another draw in the place of one that failed."""
    return np.random.default_rng([seed, stream, index, *([redrawn] if redrawn else [])])


@dataclass(frozen=True, slots=True)
class Design:
    """The units of a network before anything is learnt."""

    kind: str
    shape: tuple[int, ...]
    """The shape (C, L, R) of an image, or (d1, .., dk) of a tensor."""
    count: int
    """The number of units in a sub-network."""
    options: UnitOptions
    """The options of the kind of unit."""
    sigma: str

    def start(self, rng: np.random.Generator, images: Array) -> tuple[Units, Array]:
        """Units of this design and random parameters scaled to the images (N, C, L, R)."""
        units = find_kind(self.kind).create(self.shape, self.count, rng, self.options)
        return units, units.start(rng, images)


@dataclass(frozen=True, slots=True)
class Draw:
    """What one sub-network begins with."""

    rows: Array
    """Its images, (samples,) int64, ascending."""
    units: Units
    w: Array
    """Its initial parameters, (P,)."""


def drawn_rows(rng: np.random.Generator, n_images: int, samples: int) -> Array:
    """The images of a sub-network, (samples,) int64, ascending; the first thing that its generator draws."""
    return np.sort(rng.choice(n_images, size=min(samples, n_images), replace=False))


def draw(design: Design, images: Array, samples: int, seed: int, stream: int, index: int, redrawn: int = 0) -> Draw:
    """The draw of sub-network `index`.  images : (N, C, L, R), all that may be drawn."""
    rng = generator(seed, stream, index, redrawn)
    rows = drawn_rows(rng, len(images), samples)
    units, w = design.start(rng, images[rows])
    return Draw(rows, units, w)


def require_classes(
    labels: Array, class_names: Sequence[str], *, count: int, samples: int, seed: int, stream: int
) -> None:
    """Raise DataError if a class is missing from the mini-batch of one of `count` sub-networks.

    labels : (N,), of all images; class_names : (K,).
    Checked before anything is trained, because an output without an example could not be fitted.
    """
    for index in range(count):
        batch = labels[drawn_rows(generator(seed, stream, index), len(labels), samples)]
        missing = np.flatnonzero(np.bincount(batch, minlength=len(class_names)) == 0)
        if missing.size:
            have = int((labels == missing[0]).sum())
            raise DataError(
                f"sub-network {index}: none of its {len(batch)} images is of class {class_names[missing[0]]}, of which "
                f"the {len(labels)} training images hold {have}; raise samples, take fewer sub-networks, add images of "
                f"the class, or leave it out ({len(class_names)} classes are in the labels)"
            )


def join_units(parts: list[tuple[Units, Array]]) -> tuple[Units, Array]:
    """The units of all parts in sequence, and all their parameters."""
    (units, w), *others = parts
    return units.joined(others, w)
