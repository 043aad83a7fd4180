"""Labels and scores of a prediction as a file: a table to read, or arrays for further work."""

import csv
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from varpro.arrays import Array


def _write_csv(path: Path, labels: Array, scores: Array, classes: Array) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["index", "label", *(f"score_{name}" for name in classes)])
        for index, (label, row) in enumerate(zip(labels, scores, strict=True)):
            table.writerow([index, label, *(f"{value:.9g}" for value in row)])


def _write_npz(path: Path, labels: Array, scores: Array, classes: Array) -> None:
    np.savez(path, labels=labels, scores=scores, classes=classes)


def _write_h5(path: Path, labels: Array, scores: Array, classes: Array) -> None:
    with h5py.File(path, "w") as file:
        file["scores"] = scores
        for name, values in (("labels", labels), ("classes", classes)):
            file[name] = values if values.dtype.kind != "U" else values.astype(h5py.string_dtype())


WRITERS: dict[str, Callable[[Path, Array, Array, Array], None]] = {
    ".csv": _write_csv,
    ".npz": _write_npz,
    ".h5": _write_h5,
}
"""By the ending of the file: write(path, labels (N,), scores (N, K), classes (K,)), with labels as written in the
user's files.  Raise OSError."""
