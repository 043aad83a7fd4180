"""varpro-predict: labels and scores of images by a trained model."""

from pathlib import Path

from varpro.cli._program import Add, Program, data_argument


def _arguments(add: Add) -> None:
    add("model", type=Path, help="model.h5 of a run")
    add("input", help="a data set's name (its test part), or a .npz, .h5, .npy, IDX or CIFAR-10 .bin file of images")
    add("--output", metavar="FILE", help=".csv, .npz or .h5 (default <input>.predictions.csv, here)")
    data_argument(add)
    add("--import", dest="units", metavar="MODULE", help="module of the model's units, if they are of your own")
    add("--probabilities", action="store_true", help="write calibrated probabilities too")
    add("--overwrite", action="store_true", help="replace the output file")


main = Program(
    "varpro-predict",
    "Labels and scores of images by a model of varpro-train.",
    _arguments,
    "varpro.cli._predictions",
    modules=("h5py", "pooch"),
    first_rank_only=True,  # one rank has little to do, several have nothing to share
).main

if __name__ == "__main__":
    raise SystemExit(main())
