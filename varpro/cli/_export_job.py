"""What varpro-export does: check the files, describe the model, write it, and say what was written."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from varpro.arrays import Array
from varpro.cli._output import require_file
from varpro.distributed import Communicator
from varpro.errors import ConfigError, OutputError, unwritable
from varpro.export.c import c_source
from varpro.export.graph import Graph
from varpro.export.int8 import in_bytes
from varpro.export.onnx_model import onnx_model, require_onnx
from varpro.models.units.images import planes
from varpro.train.checkpoint.files import replaced
from varpro.train.data.datasets import load_dataset
from varpro.train.data.parts import DataSet
from varpro.train.data.published import DATASETS
from varpro.train.model_file import TrainedModel
from varpro.train.storage import load_model


def run_job(comm: Communicator, options: Namespace) -> int:
    """Exit code of an export with the options of the command line.  Raises VarproError."""
    print(export(options))
    return 0


def export(options: Namespace) -> str:
    """Write the files that the options name; returns the text for the user.  Raises VarproError."""
    _check(options)
    model = load_model(options.model)
    graph = Graph.of(model)
    images = None if options.images is None else Images.read(options.images, options.data, graph)
    units = sum(form.count for form in graph.forms)
    lines = [
        f"{options.model}: {units:,} units, {graph.n_classes} classes, {graph.multiply_adds:,} multiply-adds an image"
    ]
    in_c = graph
    if options.int8:
        in_c = in_bytes(graph, None if images is None else images.to_round_by)
    if options.c is not None:
        source = c_source(in_c, options.c.stem)
        _write(options.c, lambda part: part.write_text(source.text, encoding="ascii"))
        lines.append(
            f"C99      {options.c}: {'int8' if options.int8 else 'fp32'}, {source.weight_bytes:,} bytes of weights, "
            f"{source.scratch_bytes:,} bytes of stack, functions {source.name}_..."
        )
    if options.onnx is not None:
        made = onnx_model(graph).SerializeToString()
        _write(options.onnx, lambda part: part.write_bytes(made))
        lines.append(f"ONNX     {options.onnx}: {len(made):,} bytes")
    if options.torch is not None:
        from varpro.adapters.torch.network import network, save_program

        module = network(model)
        _write(options.torch, lambda part: save_program(module, part))
        lines.append(f"PyTorch  {options.torch}: {options.torch.stat().st_size:,} bytes")
    if images is not None:
        lines.append(images.accuracies(model, in_c, "int8" if options.int8 else "fp32"))
    return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images of the model's classes."""

    source: str
    to_round_by: Array
    """Training images (N, *shape)."""
    test: Array
    labels: Array

    @classmethod
    def read(cls, source: str, data_dir: Path | None, graph: Graph) -> "Images":
        """The images of a data set.  Raises DataError, ConfigError if they are not images for the network."""
        published = source.lower() in DATASETS or not Path(source).suffix
        found = load_dataset(source, data_dir, classes=None if published else graph.class_names)
        _require_fit(source, found, graph)
        return cls(source, planes(found.train.images), planes(found.test.images), found.test.labels)

    def accuracies(self, model: TrainedModel, graph: Graph, precision: str) -> str:
        """The shares of test images that the model and the arithmetic of the export find."""
        shares = [100 * np.mean(found.argmax(axis=1) == self.labels) for found in self._scores(model, graph)]
        return (
            f"accuracy on {len(self.labels):,} test images of {self.source}: {shares[0]:.2f} % by the model, "
            f"{shares[1]:.2f} % by the arithmetic of the {precision} export, {shares[0] - shares[1]:.2f} points lost"
        )

    def _scores(self, model: TrainedModel, graph: Graph) -> tuple[Array, Array]:
        # a file with int8 weights reads bytes: floats lose what lies between two of them, here as there
        as_read = np.round(255.0 * self.test) / 255.0 if graph.layer.dtype == np.int8 and self._floats else self.test
        return model.scores(self.test), graph.scores(as_read)

    @property
    def _floats(self) -> bool:
        return self.test.dtype != np.uint8


def _require_fit(source: str, dataset: DataSet, graph: Graph) -> None:
    if dataset.shape != graph.shape:
        shapes = (" x ".join(map(str, shape)) for shape in (dataset.shape, graph.shape))
        raise ConfigError("--images {}: its images are {}; the model reads {}".format(source, *shapes))
    if tuple(dataset.class_names) != graph.class_names:
        names = (", ".join(list(names)[:6]) for names in (dataset.class_names, graph.class_names))
        raise ConfigError("--images {}: its classes are {}; the model has {}".format(source, *names))


def _check(options: Namespace) -> None:
    """Raise a VarproError for options that cannot be met, before anything is read."""
    targets = {name: getattr(options, name) for name in ("c", "onnx", "torch") if getattr(options, name) is not None}
    if not targets:
        raise ConfigError("nothing to write; name a file with --c, --onnx or --torch")
    if options.int8 and options.c is None:
        raise ConfigError("--int8 is for the C file; name one with --c, or leave --int8 out")
    if len({path.resolve() for path in targets.values()}) < len(targets):
        raise OutputError("two formats cannot share a file; give each its own")
    for name, path in targets.items():
        require_file(f"--{name} {path}", path, options.model, overwrite=options.overwrite)
    if options.onnx is not None:
        require_onnx()
    if options.torch is not None:
        from varpro.adapters import torch  # noqa: F401  (raises BackendError if PyTorch is not installed)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """A whole file or none.  Raises OutputError."""
    try:
        with replaced(path) as part:
            write(part)
    except OSError as error:
        raise unwritable(str(path), error, "choose another file") from None
