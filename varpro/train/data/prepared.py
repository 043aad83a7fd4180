"""A config with its data: loaded, split and checked once, for any kind of network."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from varpro.config.sections import TrainingConfig
from varpro.distributed import Communicator
from varpro.train.data.datasets import load_dataset
from varpro.train.data.parts import DataSet, Split

C = TypeVar("C", bound=TrainingConfig)


@dataclass(frozen=True)
class Prepared(Generic[C]):
    """What a training begins with."""

    config: C
    """The config, with the labels found in the user's own data."""
    dataset: DataSet
    split: Split
    seconds: float = 0.0
    """The time that loading took."""

    @classmethod
    def of(cls, config: C, dataset: DataSet, seconds: float = 0.0) -> "Prepared[C]":
        """Split a data set as the config says.  Raises DataError, ConfigError if the data do not suffice for the
        run."""
        split = dataset.split(config.data.validation, config.data.train, config.data.test)
        config.check_with_data(len(split.train), dataset.n_classes, dataset.shape)
        return cls(config.with_classes(dataset.class_names) if dataset.own else config, dataset, split, seconds)


def prepare(config: C, comm: Communicator, data_dir: Path | None) -> Prepared[C]:
    """The data named by a config, found in data_dir or in the usual places.  Collective.

    Raises DataError and ConfigError.
    """
    clock = time.perf_counter()
    dataset = load_dataset(config.data.source, data_dir, comm=comm, classes=config.data.classes)
    return Prepared.of(config, dataset, time.perf_counter() - clock)
