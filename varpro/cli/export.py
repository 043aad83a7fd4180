"""varpro-export: a trained model as C99, ONNX or PyTorch."""

from pathlib import Path

from varpro.cli._program import Add, Program, data_argument


def _arguments(add: Add) -> None:
    add("model", type=Path, help="model.h5 of a run")
    add("--c", type=Path, metavar="FILE", help="one file of C99, which needs only math.h")
    add("--int8", action="store_true", help="weights of one byte in the C file, which then reads bytes as pixels")
    add("--onnx", type=Path, metavar="FILE", help="an ONNX model")
    add("--torch", type=Path, metavar="FILE", help="a PyTorch program (.pt2), for torch.export.load")
    add("--images", metavar="SOURCE", help="a data set's name, or a .npz or .h5: training images to round int8 weights "
        "by, and test images to measure the accuracy on")  # fmt: skip
    data_argument(add)
    add("--overwrite", action="store_true", help="replace files that exist")


main = Program(
    "varpro-export",
    "Write a model of varpro-train as C99, ONNX or PyTorch.",
    _arguments,
    "varpro.cli._export_job",
    modules=("h5py", "pooch"),
    first_rank_only=True,
).main

if __name__ == "__main__":
    raise SystemExit(main())
