"""Labels, scores and probabilities of a prediction as a file: a table to read, or arrays for further work."""

import csv
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from varpro.arrays import Array
from varpro.train.checkpoint.hdf5 import written_hdf5


def _write_csv(path: Path, labels: Array, scores: Array, classes: Array, probabilities: Array | None = None) -> None:
    columns = [f"score_{name}" for name in classes]
    if probabilities is not None:
        columns += [f"probability_{name}" for name in classes]
        scores = np.concatenate([scores, probabilities], axis=1)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["index", "label", *columns])
        for index, (label, row) in enumerate(zip(labels, scores, strict=True)):
            table.writerow([index, label, *(f"{value:.9g}" for value in row)])


def _write_npz(path: Path, labels: Array, scores: Array, classes: Array, probabilities: Array | None = None) -> None:
    arrays: dict[str, Any] = {"labels": labels, "scores": scores, "classes": classes}
    if probabilities is not None:
        arrays["probabilities"] = probabilities
    with path.open("wb") as file:  # given a name without that ending, NumPy would add it
        np.savez(file, **arrays)


def _write_h5(path: Path, labels: Array, scores: Array, classes: Array, probabilities: Array | None = None) -> None:
    with written_hdf5(path) as file:
        file["scores"] = scores
        if probabilities is not None:
            file["probabilities"] = probabilities
        for name, values in (("labels", labels), ("classes", classes)):
            file[name] = values if values.dtype.kind != "U" else values.astype(h5py.string_dtype())


class Writer(Protocol):
    """Writes the file of a prediction.  Raises OSError."""

    def __call__(
        self, path: Path, labels: Array, scores: Array, classes: Array, probabilities: Array | None = None
    ) -> None:
        """labels (N,), as written in the user's files; scores (N, K); classes (K,); probabilities (N, K) if wanted."""


WRITERS: dict[str, Writer] = {
    ".csv": _write_csv,
    ".npz": _write_npz,
    ".h5": _write_h5,
}
"""By the ending of the file."""
