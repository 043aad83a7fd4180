"""The data of varpro-fit: t, y and weights from a text file, a .npz or a .h5, checked."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from varpro.arrays import Array
from varpro.cli._fit_arrays import read_arrays
from varpro.cli._fit_text import read_text
from varpro.config.fit import FitConfig
from varpro.errors import ConfigError, DataError

TEXT = (".csv", ".tsv", ".txt", ".dat", ".asc", ".prn", ".xy", ".tab", ".lvm", ".dpt", ".log")
ARRAYS = (".npz", ".h5", ".hdf5")
TEXT_KEYS = ("skip_rows", "decimal", "delimiter", "comment", "encoding", "time_format")
FAR = 100.0
"""Distance from 0 in its own spans at which t is taken for a clock, as exp(-t / tau) would underflow there."""


@dataclass(frozen=True)
class FitData:
    """The data to be fitted: one problem if `shape` is empty, else the product of its entries, one after another."""

    t: Array
    """The points, (N,) or (B, N)."""
    y: Array
    """The values, (N,) or (N, K); for a batch (B, N) or (B, N, K)."""
    weights: Array | None
    """The weights, (N,) or with the shape of y."""
    shape: tuple[int, ...]
    """The leading dimensions of y in the file: (), (B,), (H, W), ..."""
    notes: tuple[str, ...] = ()
    """What was left out, converted or decided on reading the file, one sentence each."""

    @property
    def single(self) -> bool:
        """Whether there is only one problem."""
        return not self.shape


def read_data(source: str, config: FitConfig) -> FitData:
    """t, y and weights, as the config names them.  Raises DataError: one line with the file and the remedy."""
    path = Path(source)
    if not path.is_file():
        raise DataError(f"{source}: {'is a folder' if path.is_dir() else 'no such file'}; name a file of data")
    suffix = path.suffix.lower()
    if suffix not in TEXT + ARRAYS:
        raise DataError(f"{source}: the ending {suffix or '(none)'} is not known; use {', '.join(TEXT + ARRAYS)}")
    if suffix in TEXT:
        found = read_text(path, config)
    else:
        given = [key for key in TEXT_KEYS if getattr(config, key) not in (None, 0)]
        if given:
            raise ConfigError(f"{given[0]} is for text files, {source} holds arrays; remove the key")
        found = read_arrays(path, config)
    t, y, weights, notes = found
    trailing = 2 if config.shared else 1
    if y.ndim < trailing:
        raise DataError(f"{path}: y has shape {y.shape}; with shared: true it needs (N, K), or (..., N, K) for a batch")
    shape = y.shape[: y.ndim - trailing]
    flat = y.reshape(-1, *y.shape[len(shape) :]) if shape else y
    t = t.reshape(len(flat), -1) if shape and t.shape == y.shape[: len(shape) + 1] and t.ndim > 1 else t
    if weights is not None and shape and weights.shape[: len(shape)] == shape:
        weights = weights.reshape(len(flat), *weights.shape[len(shape) :])
    t, moved = _from_its_first(t, config)
    return FitData(t, flat, weights, shape, (*notes, *moved))


def _from_its_first(t: Array, config: FitConfig) -> tuple[Array, list[str]]:
    """t counted from its first value if it is a clock far from 0 and no nonlinear parameter depends on its origin.

    This is for Unix times and Julian dates: decay times stay the same, and amplitudes are those at the first t.
    """
    far = np.abs(t).min() > FAR * np.ptp(t) > 0 if t.size else False
    movable = all(part.kind in ("exponentials", "damped_sinusoids", "constant") for part in config.model)
    if not far or not movable or not isinstance(config.linear, str):
        return t, []
    first = t.min()
    return t - first, [f"t counted from its first value, {first:.12g}: amplitudes are those there"]
