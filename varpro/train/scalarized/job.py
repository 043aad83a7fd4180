"""The training of a scalarized network as a job: its device, its cost, its file."""

from contextlib import nullcontext
from pathlib import Path

from varpro.config.scalarized import ScalarizedConfig
from varpro.report.progress import Display
from varpro.report.record import ScalarizedRecord
from varpro.train.data.prepared import Prepared
from varpro.train.job import Job, rounded
from varpro.train.scalarized.backend import Place, choose_place
from varpro.train.scalarized.cost import Plan, plan
from varpro.train.scalarized.device_subnetworks import (
    batch_share,
    batch_size,
    searched_side_by_side,
    subnetwork_bytes,
)
from varpro.train.scalarized.network import Network

FULL = "lower glue.block_rows, units or samples, or use --backend cpu"
"""What to do if the memory of a device is not sufficient."""


class ScalarizedJob(Job[ScalarizedConfig, Network]):
    """Sub-networks, gluing, refinement and bootstrapping, on CPUs or GPUs."""

    place = Place()

    def choose_device(self) -> None:
        self.place = choose_place(self.config, self.comm)

    def forecast(self, prepared: Prepared[ScalarizedConfig]) -> list[tuple[str, str]]:
        """Partition, device, arithmetic and memory.  Raises BackendError if a sub-network does not fit, ConfigError
        if soft labels have nothing to be calibrated on."""
        from varpro.train.scalarized.transduction import require_validation

        require_validation(prepared.config, len(prepared.split.validation))
        config, dataset, split, ranks = prepared.config, prepared.dataset, prepared.split, self.comm.size
        p = plan(
            config,
            dataset.shape,
            n_train=len(split.train),
            n_test=len(split.test),
            n_images=len(dataset.train) + len(dataset.test),
            n_classes=dataset.n_classes,
            ranks=ranks,
            threads=self.threads,
        )
        return [
            *_partition(config, ranks),
            *_device(config, p, dataset.shape, dataset.n_classes, ranks, self.place),
            ("parameters", f"{p.nonlinear} nonlinear ({p.parameters_per_unit:g} a unit), {p.linear} linear"),
            *_arithmetic(config, p),
            ("memory", f"about {p.rank_gigabytes:.2f} GB a rank"),
        ]

    def train(self, prepared: Prepared[ScalarizedConfig], display: Display) -> tuple[ScalarizedRecord, Network] | None:
        from varpro.train.scalarized.trainer import train

        device = self.place.device
        with device.told_when_full(FULL) if device else nullcontext():
            return train(prepared, self.comm, display=display, place=self.place, checkpoint=self.checkpoint)

    def save(self, path: Path, network: Network, prepared: Prepared[ScalarizedConfig]) -> None:
        from varpro.train.scalarized.storage import save_network

        save_network(path, network)


def _partition(config: ScalarizedConfig, ranks: int) -> list[tuple[str, str]]:
    if not config.subnetworks:
        return [("partition", f"none: one network of {config.units} units")]
    return [
        ("partition", f"{config.subnetworks} sub-networks x {config.units} units, {config.samples} images each"),
        ("", f"about {config.subnetworks / ranks:.3g} sub-networks a rank, taken as ranks become free"),
    ]


def _device(
    config: ScalarizedConfig, p: Plan, shape: tuple[int, ...], n_classes: int, ranks: int, place: Place
) -> list[tuple[str, str]]:
    device = place.device
    if device is None:
        return [("backend", "cpu"), *([("", f"no GPU: {place.why_cpu}")] if place.why_cpu else [])]
    named = ("backend", f"cuda, device {device.number}: {device.name}, {device.free_bytes / 1e9:.1f} GB free")
    if not config.subnetworks:
        return [named]
    if not searched_side_by_side(config.model.kind, p.columns_per_unit):
        return [named, ("", "sub-networks one after another, since their units differ or own several columns")]
    item = 8 if config.search.gn_precision == "fp64" else 4
    m = round(p.parameters_per_unit * config.units)
    packed = config.model.kind.packed_numbers(shape)
    one = subnetwork_bytes(n=config.samples, m=m, i=config.units, k=n_classes, item=item, packed=packed)
    size = batch_size(batch_share(config.subnetworks, ranks), one, device.free_bytes)
    return [named, ("", f"{size} sub-networks side by side on a rank, about {size * one / 1e9:.1f} GB")]


def _arithmetic(config: ScalarizedConfig, p: Plan) -> list[tuple[str, str]]:
    parts = [
        (p.subnetwork_gflop, "for the sub-networks, if none stops early"),
        (p.refine_gflop, "for the refinement, if no step is rejected"),
        (p.glue_gflop, f"for gluing{', trained and control' if config.control else ''}"),
        (p.bootstrap_gflop, "for bootstrapping"),
    ]
    lines = [f"{rounded(gflop):>8} GFLOP {what}" for gflop, what in parts if gflop]
    return [("arithmetic" if place == 0 else "", line) for place, line in enumerate(lines)]
