"""What --dry-run prints of a network: the resolved config, its size, and what the run will take."""

from pathlib import Path

import yaml

from varpro.cli._dry_run import output_line, rounded
from varpro.config.layered import LayeredConfig
from varpro.distributed import Communicator, threads_per_rank
from varpro.train.data.datasets import DataSet, Split
from varpro.train.layered.plan import NetworkPlan

BACKWARD = 3.0
"""A step costs about this many forward passes."""


def describe_network(
    config: LayeredConfig, dataset: DataSet, split: Split, plan: NetworkPlan, comm: Communicator
) -> str:
    """The text, several lines."""
    threads = config.threads or threads_per_rank(comm)
    planes, rows, columns = dataset.shape
    sizes = ", ".join(f"{len(getattr(split, part))} {part}" for part in ("train", "validation", "test"))
    colour = f" x {planes} planes" if planes > 1 else ""
    steps = max(1, len(split.train) // config.batch)
    weights = ", ".join(f"{factor:g} {name}" for name, factor in config.objective.active().items())
    table = [
        ("data", f"{dataset.name}: {sizes} images of {rows} x {columns}{colour}; {dataset.n_classes} classes"),
        ("ranks", f"{comm.size}, {threads} thread{'s' if threads > 1 else ''} each"),
        ("network", f"{plan.name}: {plan.embedding} features{'' if plan.linear else ', no trained last layer'}"),
        ("parameters", f"{plan.parameters}"),
        ("objective", weights),
        ("steps", f"{config.epochs} epochs of {steps} batches of {config.batch}"),
        ("arithmetic", f"{rounded(BACKWARD * plan.gflop * steps * config.batch)} GFLOP an epoch, about"),
        ("output", output_line(Path(config.output or "runs"))),
    ]
    lines = [f"{name:<14}{text}" for name, text in table]
    return "\n".join([yaml.safe_dump(config.as_dict(), sort_keys=False), *lines])
