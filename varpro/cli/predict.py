"""varpro-predict: labels and scores of images by a trained model."""

import csv
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np

from varpro import __version__
from varpro.arrays import Array
from varpro.cli._guard import ArgumentParser, run
from varpro.distributed import Communicator
from varpro.errors import DataError, OutputError
from varpro.train.datasets import NAMES, load_dataset
from varpro.train.idx import read_idx
from varpro.train.own_data import read_arrays
from varpro.train.storage import load_network

PROGRAM = "varpro-predict"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run(PROGRAM, lambda comm: _main(comm, argv))


def _main(comm: Communicator, argv: Sequence[str] | None) -> int:
    options = _parse(comm, argv)
    if comm.rank != 0:  # one rank has little to do, several have nothing to share
        return 0
    output = Path(options.output or f"{Path(options.input).name.split('.')[0]}.predictions.csv")
    writer = _writer(output)
    if output.exists() and not options.overwrite:
        raise OutputError(f"{output} exists; choose another file with --output, or add --overwrite")
    network = load_network(options.model)
    images, labels = read_images(options.input, options.data)
    scores = network.scores(images)
    predicted = np.argmax(scores, axis=1)
    try:
        writer(output, predicted, scores)
    except OSError as error:
        raise OutputError(f"{output} cannot be written ({error.strerror or error}); choose another file with --output") from None
    print(f"{len(predicted)} images -> {output}")
    if labels is not None:
        print(f"accuracy against the labels of {options.input}: {100 * np.mean(predicted == labels):.2f} %")
    return 0


def _parse(comm: Communicator, argv: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(comm, prog=PROGRAM, description="Labels and scores of images by a model of varpro-train.")
    parser.add_argument("model", type=Path, help="model.h5 of a run")
    parser.add_argument("input", help="a data set's name (its test part), or a .npz, .h5, .npy or IDX file of images")
    parser.add_argument("--output", metavar="FILE", help=".csv, .npz or .h5 (default <input>.predictions.csv)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the data sets")
    parser.add_argument("--overwrite", action="store_true", help="replace the output file")
    parser.add_argument("--version", action="version", version=f"varpro {__version__}")
    return parser.parse_args(argv)


def read_images(source: str, data_dir: Path | None) -> tuple[Array, Array | None]:
    """Images and, where they are there, labels.  Raises DataError."""
    path = Path(source)
    if not path.is_file():
        if path.suffix and source.lower() not in NAMES:
            raise DataError(f"{source}: no such file; name a data set or a .npz, .h5, .npy or IDX file of images")
        test = load_dataset(source, data_dir).test
        return test.images, test.labels
    if path.suffix in (".npz", ".h5", ".hdf5"):
        arrays = read_arrays(path)
        if "images" not in arrays:
            raise DataError(f"{path}: holds no array called images")
        return _numbers(path, arrays["images"]), arrays.get("labels")
    if path.suffix == ".npy":
        try:
            return _numbers(path, np.load(path, allow_pickle=False)), None
        except (ValueError, OSError, EOFError) as error:
            raise DataError(f"{path}: cannot be read ({error}); save an array of numbers with np.save") from None
    return read_idx(path), None


def _numbers(path: Path, images: Array) -> Array:
    if images.dtype.kind not in "uif":
        raise DataError(f"{path}: images are {images.dtype}; numbers are needed")
    return images if images.dtype == np.uint8 else images.astype(np.float64)


def _writer(output: Path) -> Callable[[Path, Array, Array], None]:
    writers = {".csv": _write_csv, ".npz": _write_npz, ".h5": _write_h5}
    if output.suffix not in writers:
        raise OutputError(f"--output {output}: the ending {output.suffix or '(none)'} is not known; use {', '.join(writers)}")
    return writers[output.suffix]


def _write_csv(path: Path, labels: Array, scores: Array) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["index", "label", *(f"score_{k}" for k in range(scores.shape[1]))])
        for index, (label, row) in enumerate(zip(labels, scores, strict=True)):
            table.writerow([index, int(label), *(f"{value:.9g}" for value in row)])


def _write_npz(path: Path, labels: Array, scores: Array) -> None:
    np.savez(path, labels=labels, scores=scores)


def _write_h5(path: Path, labels: Array, scores: Array) -> None:
    with h5py.File(path, "w") as file:
        file["labels"], file["scores"] = labels, scores


if __name__ == "__main__":
    sys.exit(main())
