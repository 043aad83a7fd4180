"""What varpro-predict does: read images, score them, write labels and scores."""

from argparse import Namespace
from pathlib import Path

import numpy as np

from varpro.arrays import Array
from varpro.cli._output import require_file
from varpro.distributed import Communicator
from varpro.errors import ConfigError, DataError, OutputError, unwritable
from varpro.models.units import import_units
from varpro.train.calibration import UNCALIBRATED, calibrated
from varpro.train.checkpoint.files import replaced
from varpro.train.data.datasets import label_values, load_dataset
from varpro.train.data.idx import read_cifar_batches, read_idx
from varpro.train.data.own_data import plain_labels, read_arrays
from varpro.train.data.pixels import check_pixels
from varpro.train.data.predictions import WRITERS, Writer
from varpro.train.storage import load_model


def run_job(comm: Communicator, options: Namespace) -> int:
    """Exit code of a prediction with the options of the command line.  Raises VarproError."""
    if options.units:
        try:
            import_units(options.units)
        except ValueError as error:
            raise ConfigError(f"--import {options.units}: it {error}") from None
    print(
        predict_file(
            options.model,
            options.input,
            options.output,
            options.data,
            overwrite=options.overwrite,
            with_probabilities=options.probabilities,
        )
    )
    return 0


def predict_file(
    model: Path,
    source: str,
    output: str | None,
    data_dir: Path | None,
    *,
    overwrite: bool,
    with_probabilities: bool = False,
) -> str:
    """Write labels and scores of the images in `source`; returns the text for the user.  Raises VarproError.

    output : .csv, .npz or .h5; None = <source>.predictions.csv in the working folder.
    with_probabilities : write calibrated probabilities too.
    """
    path = Path(output or f"{Path(source).name.partition('.')[0]}.predictions.csv")
    writer = _writer(path, source, model, overwrite=overwrite)
    network = load_model(model)
    if with_probabilities and network.calibration is None:
        raise DataError(f"--probabilities: {model} gives {UNCALIBRATED} and train again")
    images, labels = read_images(source, data_dir)
    scores = network.scores(images)
    values = label_values(network.class_names, network.dataset, scores.shape[1])
    predicted = values[np.argmax(scores, axis=1)]
    probabilities = calibrated(network.calibration, scores) if with_probabilities else None
    try:
        with replaced(path) as part:
            writer(part, predicted, scores, values, probabilities)
    except OSError as error:
        raise unwritable(str(path), error, "choose another file with --output") from None
    lines = [f"{len(predicted)} images -> {path}"]
    if labels is not None and len(labels):
        lines.append(_accuracy(source, predicted.astype(str), labels, values.astype(str)))
    return "\n".join(lines)


def _accuracy(source: str, predicted: Array, labels: Array, classes: Array) -> str:
    """The share of correct labels; labels that are not classes of the model are reported and count as wrong."""
    given = plain_labels(labels)
    if given is None:
        return f"the labels of {source} are {labels.dtype}; no accuracy"
    unknown = np.unique(given[~np.isin(given, classes)])
    listed = ", ".join(unknown[:6]) + (" ..." if unknown.size > 6 else "")
    if not np.isin(given, classes).any():
        return f"the labels of {source} ({listed}) are none of the model's ({', '.join(classes[:6])}): no accuracy"
    more = f" (of no class of the model, counted as wrong: {listed})" if unknown.size else ""
    return f"accuracy against the labels of {source}: {100 * np.mean(predicted == given):.2f} %{more}"


def read_images(source: str, data_dir: Path | None) -> tuple[Array, Array | None]:
    """Images and labels (or None), from a file or from the test part of a named data set.  Raises DataError."""
    path = Path(source)
    if path.is_dir():
        raise DataError(f"{source}: is a folder; name a file of images, or a data set and its folder with --data")
    if not path.is_file():
        if path.suffix or len(path.parts) > 1:
            raise DataError(f"{source}: no such file; name a data set, or a .npz, .h5, .npy, IDX or CIFAR-10 .bin file")
        test = load_dataset(source, data_dir).test
        return test.images, test.labels
    images, labels = _read_file(path)
    if images.dtype.kind not in "uif":
        raise DataError(f"{path}: images are {images.dtype}; numbers are needed")
    if images.ndim < 3:
        raise DataError(
            f"{path}: holds an array of shape {images.shape}; images (N, L, R) or (N, C, L, R) are needed, "
            "or (N, d1, .., dk)"
        )
    if labels is not None and labels.shape != images.shape[:1]:
        raise DataError(f"{path}: {len(images)} images but labels of shape {labels.shape}; save one an image, or none")
    check_pixels(f"{path}:", images)
    return images, labels


def _read_file(path: Path) -> tuple[Array, Array | None]:
    if path.suffix in (".npz", ".h5", ".hdf5"):
        arrays = read_arrays(path)
        if "images" not in arrays:
            raise DataError(f"{path}: holds no array called images; save them under that name")
        return arrays["images"], arrays.get("labels")
    if path.suffix == ".npy":
        try:
            return np.asarray(np.load(path, allow_pickle=False)), None
        except (ValueError, OSError, EOFError, MemoryError) as error:
            reason = "it holds Python objects" if "pickle" in str(error) else error
            raise DataError(f"{path}: cannot be read ({reason}); save an array of numbers with np.save") from None
    if ".bin" in path.suffixes:
        return read_cifar_batches([path])
    return read_idx(path), None


def _writer(path: Path, source: str, model: Path, *, overwrite: bool) -> Writer:
    """The function that writes the output.  Raises OutputError for an unknown ending, an existing file, or one that is
    read."""
    if path.suffix not in WRITERS:
        ending = path.suffix or "(none)"
        raise OutputError(f"--output {path}: the ending {ending} is not known; use {', '.join(WRITERS)}")
    require_file(f"--output {path}", path, Path(source), model, overwrite=overwrite)
    return WRITERS[path.suffix]
