"""varpro-predict: labels and scores of images by a trained model."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from varpro import __version__
from varpro.cli import require_modules
from varpro.cli._guard import ArgumentParser, run
from varpro.distributed import Communicator

PROGRAM = "varpro-predict"
MODULES = ("h5py", "pooch")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 2 for a mistake of the user's, 1 for one of ours."""
    return run(PROGRAM, lambda comm: _main(comm, argv))


def _main(comm: Communicator, argv: Sequence[str] | None) -> int:
    options = _parse(comm, argv)
    if comm.rank == 0:  # one rank has little to do, several have nothing to share
        require_modules(PROGRAM, MODULES)
        from varpro.cli._predictions import predict_file

        print(predict_file(options.model, options.input, options.output, options.data, overwrite=options.overwrite))
    return 0


def _parse(comm: Communicator, argv: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(comm, prog=PROGRAM, description="Labels and scores of images by a model of varpro-train.")
    add = parser.add_argument
    add("model", type=Path, help="model.h5 of a run")
    add("input", help="a data set's name (its test part), or a .npz, .h5, .npy, IDX or CIFAR-10 .bin file of images")
    add("--output", metavar="FILE", help=".csv, .npz or .h5 (default <input>.predictions.csv, here)")
    add("--data", type=Path, metavar="DIR", help="folder of the data sets (else $VARPRO_DATA, ./data, the cache)")
    add("--overwrite", action="store_true", help="replace the output file")
    add("--version", action="version", version=f"varpro {__version__}")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
