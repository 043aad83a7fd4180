"""What --dry-run prints: the resolved config, the data, and what the run will take."""

from pathlib import Path
from typing import Any

import yaml

from varpro.train.data.prepared import Prepared
from varpro.train.job import Job


def describe(job: Job[Any, Any], prepared: Prepared[Any]) -> str:
    """The text, several lines.  Raises BackendError if the run does not fit on its device."""
    config, dataset = prepared.config, prepared.dataset
    sizes = ", ".join(f"{len(getattr(prepared.split, part))} {part}" for part in ("train", "validation", "test"))
    table = [
        ("data", f"{dataset.name}: {sizes} {_what(dataset.shape)}; {dataset.n_classes} classes"),
        ("ranks", f"{job.comm.size}, {job.threads} thread{'s' if job.threads > 1 else ''} each"),
        *job.forecast(prepared),
        ("output", _output_line(Path(config.output or "runs"))),
    ]
    lines = [f"{name:<14}{text}" for name, text in table]
    return "\n".join([yaml.safe_dump(config.as_dict(), sort_keys=False), *lines])


def _what(shape: tuple[int, ...]) -> str:
    """Images of one shape, in words."""
    if len(shape) != 3:
        return f"tensors of {' x '.join(map(str, shape))}"
    planes, rows, columns = shape
    return f"images of {rows} x {columns}{f' x {planes} planes' if planes > 1 else ''}"


def _output_line(folder: Path) -> str:
    """The output folder, and anything that prevents writing there."""
    if folder.exists() and not folder.is_dir():
        return f"{folder}, which is a file: choose another with --output"
    full = folder.is_dir() and any(folder.iterdir())
    return f"{folder}{' (not empty: needs --overwrite)' if full else ''}; nothing was written"
