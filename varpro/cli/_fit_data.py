"""The data of varpro-fit: t, y and weights from a text file, a .npz or a .h5."""

import csv
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError
from varpro.fit_config import Column, FitConfig

TEXT, ARRAYS = (".csv", ".tsv", ".txt", ".dat"), (".npz", ".h5", ".hdf5")
MISSING = ("", "nan", "na", "n/a", "null", "none", "-")
SHOWN_NAMES = 12


@dataclass(frozen=True)
class FitData:
    """What is fitted: one problem where `shape` is empty, else as many as its product, one after another."""

    t: Array
    """(N,), or (B, N)"""
    y: Array
    """(N,) or (N, K); of a batch (B, N) or (B, N, K)"""
    weights: Array | None
    """(N,), or as y"""
    shape: tuple[int, ...]
    """Leading dimensions of y in the file: (), (B,), (H, W), ..."""

    @property
    def single(self) -> bool:
        """Whether it is one problem."""
        return not self.shape


def read_data(source: str, config: FitConfig) -> FitData:
    """t, y and weights as the config names them.  Raises DataError: one line with the file and the remedy."""
    path = Path(source)
    if not path.is_file():
        raise DataError(f"{source}: {'is a folder' if path.is_dir() else 'no such file'}; name a file of data")
    suffix = path.suffix.lower()
    if suffix not in TEXT + ARRAYS:
        raise DataError(f"{source}: the ending {suffix or '(none)'} is not known; use {', '.join(TEXT + ARRAYS)}")
    t, y, weights = _from_text(path, config) if suffix in TEXT else _from_arrays(path, config)
    for name, array in (("t", t), ("y", y), ("the weights", weights)):
        if array is not None and array.dtype.kind not in "fciub":
            raise DataError(f"{path}: {name} has dtype {array.dtype}; numbers are needed")
    trailing = 2 if config.shared else 1
    if y.ndim < trailing:
        raise DataError(f"{path}: y has shape {y.shape}; with shared: true it needs (N, K), or (..., N, K) for a batch")
    shape = y.shape[: y.ndim - trailing]
    flat = y.reshape(-1, *y.shape[len(shape) :]) if shape else y
    t = t.reshape(len(flat), -1) if shape and t.shape == y.shape[: len(shape) + 1] and t.ndim > 1 else t
    if weights is not None and shape and weights.shape[: len(shape)] == shape:
        weights = weights.reshape(len(flat), *weights.shape[len(shape) :])
    return FitData(t, flat, weights, shape)


def _from_arrays(path: Path, config: FitConfig) -> tuple[Array, Array, Array | None]:
    if config.columns.y is not None and len(config.columns.y) > 1:
        raise DataError(
            f"{path}: columns.y names {len(config.columns.y)} arrays; put all curves into one, such as (B, N)"
        )
    if isinstance(config.weights, list):
        raise DataError(f"{path}: weights is a list; name one array")
    y = "y" if config.columns.y is None else str(config.columns.y[0])
    t = "t" if config.columns.t is None else str(config.columns.t)
    wanted = {"columns.t": t, "columns.y": y} | ({} if config.weights is None else {"weights": str(config.weights)})
    try:
        held, found = (_read_npz if path.suffix.lower() == ".npz" else _read_hdf5)(path, tuple(wanted.values()))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = "it holds Python objects" if "pickle" in str(error) else " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read ({reason}); save arrays of numbers with np.savez or h5py") from None
    for key, name in wanted.items():
        if name not in found:
            listed = ", ".join(held[:SHOWN_NAMES]) or "none"
            raise DataError(f"{path}: holds no array called {name}; it holds {listed}; set {key}")
    return found[t], found[y], None if config.weights is None else found[str(config.weights)]


def _read_npz(path: Path, names: tuple[str, ...]) -> tuple[list[str], dict[str, Array]]:
    """All names, and those arrays of `names` that are there."""
    with np.load(path, allow_pickle=False) as file:
        return list(file.files), {name: file[name] for name in names if name in file.files}


def _read_hdf5(path: Path, names: tuple[str, ...]) -> tuple[list[str], dict[str, Array]]:
    import h5py

    with h5py.File(path, "r") as file:
        held: list[str] = []
        file.visititems(lambda name, item: held.append(name) if isinstance(item, h5py.Dataset) else None)
        return held, {name: np.asarray(file[name][()]) for name in names if isinstance(file.get(name), h5py.Dataset)}


def _from_text(path: Path, config: FitConfig) -> tuple[Array, Array, Array | None]:
    names, table = read_table(path)

    def column(key: Column, role: str) -> int:
        if isinstance(key, str) and key in names:
            return names.index(key)
        if isinstance(key, int) and -table.shape[1] <= key < table.shape[1]:
            return key % table.shape[1]
        listed = ", ".join(names[:SHOWN_NAMES]) if names else "none has a name"
        raise DataError(f"{path}: no column {key!r} for {role}; there are {table.shape[1]}, counted from 0 ({listed})")

    weights = config.weights if isinstance(config.weights, list) else [] if config.weights is None else [config.weights]
    w = [column(key, "weights") for key in weights]
    t = column(0 if config.columns.t is None else config.columns.t, "columns.t")
    if config.columns.y is None:
        y = [i for i in range(table.shape[1]) if i != t and i not in w]
    else:
        y = [column(key, "columns.y") for key in config.columns.y]
    if not y:
        raise DataError(f"{path}: has {table.shape[1]} column, none is left for y; check the delimiter and columns")
    if len(w) > 1 and len(w) != len(y):
        raise DataError(f"{path}: weights names {len(w)} columns, y has {len(y)}; give one for all, or one for each")
    values = table[:, y] if config.shared else table[:, y].T if len(y) > 1 else table[:, y[0]]
    spread = None if not w else table[:, w[0]] if len(w) == 1 else table[:, w] if config.shared else table[:, w].T
    return table[:, t], np.ascontiguousarray(values), spread


def read_table(path: Path) -> tuple[list[str], Array]:
    """Names (empty without a header) and numbers (rows, columns) of a text file; missing cells are NaN.

    Delimiter: semicolon, tab, comma or blanks, whichever the first lines agree on; with the others than the comma,
    1,5 is 1.5.  Lines that begin with # are comments, the last before the data a header if it has as many words.
    Raises DataError with the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise DataError(f"{path}: cannot be read ({reason}); name a text file of columns") from None
    numbered = [
        (i, line) for i, line in enumerate(lines, start=1) if line.strip() and not line.lstrip().startswith("#")
    ]
    if not numbered:
        raise DataError(f"{path}: holds no data; it needs lines of numbers")
    delimiter = _delimiter([line for _, line in numbered[:20]])
    cells = [(i, _split(line, delimiter)) for i, line in numbered]
    names: list[str] = []
    if not all(_number(cell, delimiter) is not None for cell in cells[0][1]):
        names, cells = cells[0][1], cells[1:]
    else:
        comments = [line.lstrip("# ") for line in lines[: cells[0][0] - 1] if line.strip()]
        words = _split(comments[-1], delimiter) if comments else []
        names = words if len(words) == len(cells[0][1]) else []
    width = len(names) or len(cells[0][1])
    table = np.empty((len(cells), width))
    for row, (line, parts) in enumerate(cells):
        if len(parts) != width:
            raise DataError(f"{path}, line {line}: {len(parts)} cells, {width} expected; mend the line")
        for place, part in enumerate(parts):
            value = _number(part, delimiter)
            if value is None:
                raise DataError(
                    f"{path}, line {line}, column {place}: {part!r} is no number; mend it or leave it empty"
                )
            table[row, place] = value
    if not len(table):
        raise DataError(f"{path}: holds a header, but no data; it needs lines of numbers")
    return names, table


def _delimiter(lines: list[str]) -> str | None:
    """None stands for blanks."""
    for candidate in (";", "\t", ","):
        counts = {len(_split(line, candidate)) for line in lines}
        if len(counts) == 1 and counts != {1}:
            return candidate
    return next((candidate for candidate in (";", "\t", ",") if candidate in lines[-1]), None)


def _split(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return re.split(r"\s+", line.strip())
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def _number(cell: str, delimiter: str | None) -> float | None:
    """None where it is no number."""
    if cell.lower() in MISSING:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        pass
    try:
        return float(cell.replace(",", ".")) if delimiter != "," else None
    except ValueError:
        return None
