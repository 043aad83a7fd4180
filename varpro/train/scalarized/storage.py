"""A network as one HDF5 file: what it is, not when or how long it was trained, so that equal runs write equal files."""

from pathlib import Path

import numpy as np

from varpro.errors import ConfigError, DataError
from varpro.models.units import find_kind, is_path
from varpro.train.model_file import not_a_model, opened, read_calibration, written
from varpro.train.scalarized.network import Network

OURS = ("w", "a", "calibration")
"""Arrays that do not belong to the kind of unit."""


def save_network(path: str | Path, network: Network) -> None:
    """Write a network, as a whole or not at all.  Raises OSError.

    Attributes: format, unit, shape (C, L, R) or (d1, .., dk), count, sigma, class_names, dataset.  Arrays: w, a, those
    of the kind of unit, and the calibration of the probabilities, if there is one.
    """
    units = network.units
    with written(path, network.calibration) as file:
        file.attrs["unit"] = units.kind
        file.attrs["shape"] = np.array(units.shape, dtype=np.int64)
        file.attrs["count"] = units.count
        file.attrs["sigma"] = network.sigma
        file.attrs["class_names"] = list(network.class_names)
        file.attrs["dataset"] = network.dataset
        file.create_dataset("w", data=network.w)
        file.create_dataset("a", data=network.a)
        for name, values in units.stored().items():
            file.create_dataset(name, data=values)


def load_network(path: str | Path) -> Network:
    """Read a network that `save_network` wrote.

    Units of one's own are found only if their module has been imported: opening a file runs no code.  Raises DataError.
    """
    with opened(path) as file:
        kind, shape = str(file.attrs["unit"]), tuple(int(n) for n in file.attrs["shape"])
        count, sigma = int(file.attrs["count"]), str(file.attrs["sigma"])
        names = tuple(str(name) for name in file.attrs.get("class_names", ()))
        w, a, dataset = file["w"][:], file["a"][:], str(file.attrs["dataset"])
        arrays = {name: values[:] for name, values in file.items() if name not in OURS}
        calibration = read_calibration(file)
    try:
        units = find_kind(kind, running=False).restored(shape, count, arrays)
    except Exception as error:
        if isinstance(error, ConfigError) and is_path(kind):
            raise DataError(f"{path}: {error}") from error
        raise not_a_model(path, error) from error
    if w.shape != (units.n_parameters,) or a.shape[0] != units.n_columns + 1:
        raise DataError(f"{path}: holds {w.size} parameters where {units.n_parameters} belong; the file is damaged")
    return Network(units, w, sigma, a, names, dataset, calibration)
