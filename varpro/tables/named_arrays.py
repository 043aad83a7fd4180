"""Named arrays of a .npz or .h5; in HDF5, netCDF's conventions mark missing values and scale packed ones."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError

FREE_BYTES, MOST_COMPRESSED = 1 << 20, 2000
"""Bytes that an array may claim without having any, and how many for each that it has; zlib reaches 1000."""
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What readers raise for damaged files, and for those that claim more than there is memory."""
FILLED = ("_FillValue", "missing_value")
"""Attributes that mark a missing value in netCDF's conventions."""


@dataclass(frozen=True)
class NamedArrays:
    """The arrays of a file."""

    held: list[str]
    """The names of all arrays."""
    found: dict[str, Array]
    """The requested arrays that exist."""
    notes: list[str]
    """What was done to their values."""


def read_named_arrays(path: Path, names: tuple[str, ...], *, as_stored: bool = False) -> NamedArrays:
    """The arrays with these names, and the names of all arrays.  Raises DataError for a file that cannot be read.

    as_stored : leave values unchanged, whatever netCDF's attributes say.
    """
    try:
        return _read_npz(path, names) if path.suffix.lower() == ".npz" else _read_hdf5(path, names, as_stored)
    except UNREADABLE as error:
        pickled = "pickle" in str(error)
        reason = "it holds Python objects, as arrays of unlike shapes do" if pickled else " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read ({reason}); save arrays of numbers with np.savez or h5py") from error


def _read_npz(path: Path, names: tuple[str, ...]) -> NamedArrays:
    with np.load(path, allow_pickle=False) as file:
        return NamedArrays(list(file.files), {name: file[name] for name in names if name in file.files}, [])


def _read_hdf5(path: Path, names: tuple[str, ...], as_stored: bool) -> NamedArrays:
    import h5py

    notes: list[str] = []
    with h5py.File(path, "r") as file:
        held: list[str] = []
        file.visititems(lambda name, item: held.append(name) if isinstance(item, h5py.Dataset) else None)
        found = {}
        for name in names:
            if isinstance(file.get(name), h5py.Dataset):
                _require_content(name, file[name].nbytes, file[name].id.get_storage_size())
                attributes = {} if as_stored else dict(file[name].attrs)
                found[name], told = _unpacked(name, np.asarray(file[name][()]), attributes)
                notes += told
        return NamedArrays(held, found, notes)


def _require_content(name: str, claimed: int, stored: int) -> None:
    """Raise ValueError for an array that claims far more bytes than the file holds, before memory is taken for it."""
    if claimed > FREE_BYTES + MOST_COMPRESSED * stored:
        raise ValueError(f"{name} claims {claimed} bytes, and the file holds {stored} of them")


def _unpacked(name: str, values: Array, attributes: dict[str, object]) -> tuple[Array, list[str]]:
    """Values by netCDF's conventions (NaN for a fill value, scaled and shifted), and notes."""
    notes: list[str] = []
    if values.dtype.kind not in "fiu":
        return values, notes
    gone = np.zeros(values.shape, dtype=bool)
    for key in FILLED:
        if key in attributes:
            gone |= values == np.asarray(attributes[key]).ravel()[0]
    if gone.any():
        notes.append(f"{name}: {int(gone.sum())} values are {'/'.join(k for k in FILLED if k in attributes)}, missing")
    scale, shift = (np.asarray(attributes.get(k, v)).ravel()[0] for k, v in (("scale_factor", 1), ("add_offset", 0)))
    if scale != 1 or shift != 0:
        values = values * float(scale) + float(shift)
        notes.append(f"{name} scaled by scale_factor {scale:g} and add_offset {shift:g}")
    return (np.where(gone, np.nan, values) if gone.any() else values), notes
