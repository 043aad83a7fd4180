"""What --dry-run prints: the resolved config, the partition, and what the run will take."""

from pathlib import Path

import yaml

from varpro.arrays import Device
from varpro.config.scalarized import ScalarizedConfig
from varpro.distributed import Communicator, threads_per_rank
from varpro.train.data.datasets import DataSet, Split
from varpro.train.scalarized.cost import Plan, plan
from varpro.train.scalarized.device_subnetworks import batch_size, subnetwork_bytes


def describe(
    config: ScalarizedConfig, dataset: DataSet, split: Split, comm: Communicator, device: Device | None = None
) -> str:
    """The text, several lines.  Raises BackendError where a sub-network does not fit on the device."""
    threads = threads_per_rank(comm)
    p = plan(
        config,
        dataset.shape,
        n_train=len(split.train),
        n_test=len(split.test),
        n_images=len(dataset.train) + len(dataset.test),
        n_classes=dataset.n_classes,
        ranks=comm.size,
        threads=threads,
    )
    planes, rows, columns = dataset.shape
    sizes = ", ".join(f"{len(getattr(split, part))} {part}" for part in ("train", "validation", "test"))
    colour = f" x {planes} planes" if planes > 1 else ""
    table = [
        ("data", f"{dataset.name}: {sizes} images of {rows} x {columns}{colour}; {dataset.n_classes} classes"),
        ("ranks", f"{comm.size}, {threads} thread{'s' if threads > 1 else ''} each"),
        *_partition(config, comm.size),
        *_device(config, dataset, p, comm.size, device),
        ("parameters", f"{p.nonlinear} nonlinear ({p.parameters_per_unit:g} a unit), {p.linear} linear"),
        *_arithmetic(config, p),
        ("memory", f"about {p.rank_gigabytes:.2f} GB a rank"),
        ("output", output_line(Path(config.output or "runs"))),
    ]
    lines = [f"{name:<14}{text}" for name, text in table]
    return "\n".join([yaml.safe_dump(config.as_dict(), sort_keys=False), *lines])


def _partition(config: ScalarizedConfig, ranks: int) -> list[tuple[str, str]]:
    if not config.subnetworks:
        return [("partition", f"none: one network of {config.units} units")]
    return [
        ("partition", f"{config.subnetworks} sub-networks x {config.units} units, {config.samples} images each"),
        ("", f"about {config.subnetworks / ranks:.3g} sub-networks a rank, taken as ranks become free"),
    ]


def _device(
    config: ScalarizedConfig, dataset: DataSet, p: Plan, ranks: int, device: Device | None
) -> list[tuple[str, str]]:
    if device is None:
        return [("backend", "cpu")]
    item = 8 if config.search.gn_precision == "fp64" else 4
    m = round(p.parameters_per_unit * config.units)
    one = subnetwork_bytes(n=config.samples, m=m, i=config.units, k=dataset.n_classes, item=item)
    size = batch_size(-(-config.subnetworks // ranks), one, device.free_bytes)
    return [
        ("backend", f"cuda, device {device.number}: {device.name}, {device.free_bytes / 1e9:.1f} GB free"),
        ("", f"{size} sub-networks side by side on a rank, about {size * one / 1e9:.1f} GB"),
    ]


def _arithmetic(config: ScalarizedConfig, p: Plan) -> list[tuple[str, str]]:
    parts = [
        (p.subnetwork_gflop, "for the sub-networks, if none stops early"),
        (p.refine_gflop, "for the refinement, if no step is rejected"),
        (p.glue_gflop, f"for glueing{', trained and control' if config.control else ''}"),
        (p.bootstrap_gflop, "for bootstrapping"),
    ]
    lines = [f"{rounded(gflop):>8} GFLOP {what}" for gflop, what in parts if gflop]
    return [("arithmetic" if place == 0 else "", line) for place, line in enumerate(lines)]


def rounded(gflop: float) -> str:
    """A number of operations to show: whole, or two digits."""
    return f"{gflop:,.0f}" if gflop >= 100 else f"{gflop:.2g}"


def output_line(folder: Path) -> str:
    """The output folder and what stands in its way."""
    if folder.exists() and not folder.is_dir():
        return f"{folder}, which is a file: choose another with --output"
    full = folder.is_dir() and any(folder.iterdir())
    return f"{folder}{' (not empty: needs --overwrite)' if full else ''}; nothing was written"
