"""A run of `varpro-train` that is small enough to do in a test: made-up images of three classes, no file, no rank."""

import numpy as np

from varpro.config.scalarized import parse_config
from varpro.distributed.communicator import SerialCommunicator
from varpro.models.units import UNITS
from varpro.report.progress import Display
from varpro.train.data.parts import DataSet, Part
from varpro.train.scalarized.glue import Rows
from varpro.train.scalarized.run import Run

SHAPE, N_CLASSES = (1, 5, 5), 3


def part(n, seed):
    """A bright column for each class, in noise: units learn it, and not without errors."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % N_CLASSES
    images = 0.6 * rng.random((n, *SHAPE))
    for k in range(N_CLASSES):
        images[labels == k, 0, :, k] += 0.3
    return Part(images, labels)


def dataset(n_train=173, n_test=41):
    return DataSet("columns", part(n_train, 0), part(n_test, 1), ("left", "middle", "right"))


def config_of(**changes):
    base = {
        "data": {"source": "columns", "validation": 50},
        "subnetworks": 2,
        "units": 5,
        "samples": 61,
        "search": {"iterations": 3, "cost_tolerance": 0.0},
        "bootstrap": False,
        "control": False,
        "seed": 7,
    }
    return parse_config(base | changes, "test")


def model_of(unit, **options):
    """The section `model` of a config, with those of the options that the unit takes."""
    return {"unit": unit} | {name: value for name, value in options.items() if name in UNITS[unit].Options.names()}


def run_of(config):
    return Run(config, SerialCommunicator(), Display(), 1, SHAPE, N_CLASSES, ("left", "middle", "right"), "columns")


def rows_of(given):
    return Rows(given.images, given.labels)
