"""Data sets by name or by path, checked before anything is computed.

Pixels stay bytes if the files hold bytes; floats must lie in [0, 1].  Images are not changed in any other way.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError, DataError
from varpro.train.data.converted import is_converted, read_converted
from varpro.train.data.own_data import read_own
from varpro.train.data.parts import DataSet, Part, check_dataset
from varpro.train.data.published import DATASETS
from varpro.train.data.sources import require_file


class Barrier(Protocol):
    """What loading needs from a communicator."""

    @property
    def rank(self) -> int: ...

    @property
    def node_rank(self) -> int: ...

    def barrier(self) -> None: ...


def load_dataset(
    source: str,
    data_dir: Path | None = None,
    *,
    comm: Barrier | None = None,
    classes: Sequence[str] | None = None,
) -> DataSet:
    """A data set by name, or the user's own by the path of a .npz or .h5.  Collective if comm is given.

    classes : labels of the user's own data in the order of the classes; None = all that occur, sorted.
    Rank 0 downloads what is missing, then so does the first rank of every machine that cannot see it; the others wait.
    Raises DataError; ConfigError if classes are given for a set by name.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"--data {data_dir}: no such folder; name the one that holds mnist/, cifar10/, ...")
    name = _named(source.lower())
    if Path(source).suffix in (".npz", ".h5", ".hdf5"):
        path = Path(source) if Path(source).is_file() or data_dir is None else data_dir / source
        if is_converted(path):
            converted = check_dataset(read_converted(path, verify=comm is None or comm.node_rank == 0))
            if classes is not None and tuple(classes) != converted.class_names:
                raise ConfigError(f"{path} has the classes {', '.join(converted.class_names)}; remove data.classes")
            return converted
        own = read_own(path, classes)
        train, test = Part(*own.train), Part(*own.test)
        return check_dataset(DataSet(Path(source).stem, train, test, own.class_names, len(train) // 6, own.numbers))
    if classes is not None:
        raise ConfigError(f"data.classes is for your own images, data.source is {source}; remove data.classes")
    if name not in DATASETS:
        near = difflib.get_close_matches(name, [*DATASETS, *_aliases()], n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise DataError(
            f"data.source is {source}: no such data set; {hint}"
            f"names are {', '.join(DATASETS)}, or the path of a .npz or .h5"
        )
    return check_dataset(DATASETS[name].read(name, _files(name, data_dir, comm)))


def _aliases() -> dict[str, str]:
    """The name of a data set by each of its aliases."""
    return {alias: name for name in DATASETS for alias in DATASETS[name].aliases}


def _named(source: str) -> str:
    return _aliases().get(source, source)


def _files(name: str, data_dir: Path | None, comm: Barrier | None) -> list[Path]:
    published = DATASETS[name].files(name)

    def require() -> list[Path]:
        return [require_file(published, stem, data_dir) for stem in published.downloads]

    if comm is None or not published.downloads:
        return require()
    for first in ("rank", "node_rank"):  # one rank of all, then one on each machine that has its own disk
        if getattr(comm, first) == 0:
            require()
        comm.barrier()
    return require()


def label_values(class_names: Sequence[str], dataset: str, n_classes: int) -> Array:
    """The label of each class as written in the files that a model was trained on, (K,) int64 or text.

    The files of the public sets number their classes; a user's labels are numbers if all of them are.
    """
    published = DATASETS[dataset].class_names if dataset in DATASETS else None
    if not class_names or tuple(class_names) == published:
        return np.arange(n_classes)
    try:
        return np.array([int(name) for name in class_names])
    except ValueError:
        return np.array(class_names, dtype=str)
