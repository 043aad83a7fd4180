"""varpro-data: data sets of any size for varpro-train, from the files that they come in."""

from pathlib import Path

from varpro.cli._program import Add, Program


def _arguments(add: Add) -> None:
    add("action", choices=("convert",), help="what to do")
    add("source", type=Path, help="IDX images, CIFAR-10 .bin, .npz, .h5, .parquet, or a folder of pictures by class")
    add("output", type=Path, help="the .h5 file to write, for data.source")
    add("--labels", type=Path, metavar="FILE", help="the IDX file of labels")
    add("--test", type=Path, metavar="SOURCE", help="the test images (default: a sixth of the source is held out)")
    add("--test-labels", type=Path, metavar="FILE", help="their IDX file of labels")
    add("--label-column", metavar="NAME", help="the column of labels in Parquet files (default: label, class, ...)")
    add("--shape", metavar="3x32x32", help="the shape of an image in Parquet files, planes first (default: a square)")
    add(
        "--overwrite",
        action="store_true",
        help="replace the output file, and parts that other files have left",
    )
    add("--quiet", action="store_true", help="no progress")


main = Program(
    "varpro-data",
    "Convert images and labels to one checksummed file; a conversion that was stopped goes on.",
    _arguments,
    "varpro.cli._data",
    modules=("h5py", "pooch", "pydantic", "rich"),
    first_rank_only=True,
).main

if __name__ == "__main__":
    raise SystemExit(main())
