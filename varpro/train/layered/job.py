"""The training of a network of layers as a job: its sizes need no PyTorch, only the training imports it."""

from pathlib import Path
from typing import TYPE_CHECKING

from varpro.config.layered import LayeredConfig
from varpro.report.progress import Display
from varpro.report.record import LayeredRecord
from varpro.train.data.prepared import Prepared
from varpro.train.job import Job, rounded
from varpro.train.layered import require_torch

if TYPE_CHECKING:
    from varpro.train.layered.network import LayeredNetwork

BACKWARD = 3.0
"""Cost of a step in forward passes, approximately."""


class LayeredJob(Job[LayeredConfig, "LayeredNetwork"]):
    """Steps on batches with PyTorch."""

    states_belong_to_ranks = True

    @property
    def threads(self) -> int:
        return self.config.threads or super().threads

    def require_backend(self) -> None:
        require_torch()
        from varpro.train.layered.trainer import require_device

        require_device(self.config.device)

    def forecast(self, prepared: Prepared[LayeredConfig]) -> list[tuple[str, str]]:
        config, dataset = prepared.config, prepared.dataset
        plan = config.plan(dataset.shape, dataset.n_classes)
        steps = max(1, len(prepared.split.train) // config.batch)
        weights = ", ".join(f"{factor:g} {name}" for name, factor in config.objective.active().items())
        return [
            ("network", f"{plan.name}: {plan.embedding} features{'' if plan.linear else ', no trained last layer'}"),
            ("parameters", f"{plan.parameters}"),
            ("objective", weights),
            ("steps", f"{config.epochs} epochs of {steps} batches of {config.batch}"),
            ("arithmetic", f"{rounded(BACKWARD * plan.gflop * steps * config.batch)} GFLOP an epoch, about"),
        ]

    def train(
        self, prepared: Prepared[LayeredConfig], display: Display
    ) -> "tuple[LayeredRecord, LayeredNetwork] | None":
        from varpro.train.layered.trainer import train

        return train(prepared, self.comm, display=display, threads=self.threads, checkpoint=self.checkpoint)

    def save(self, path: Path, network: "LayeredNetwork", prepared: Prepared[LayeredConfig]) -> None:
        from varpro.train.layered.storage import save_layered

        save_layered(path, network, prepared.dataset.class_names, prepared.dataset.name)
