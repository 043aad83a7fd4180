"""From the findings of a run to the record that the report, the files and the screen show."""

from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array
from varpro.report.record import JsonObject, ScalarizedRecord
from varpro.train.calibration import measured
from varpro.train.mistakes import mistakes
from varpro.train.scalarized.attempts import history_lines
from varpro.train.scalarized.cycle import Cycle
from varpro.train.scalarized.run import Run
from varpro.train.scalarized.subnetworks import Trained
from varpro.train.scalarized.units_shown import units_shown

if TYPE_CHECKING:
    from varpro.train.data.parts import Split
    from varpro.train.scalarized.trainer import Findings


def assemble(run: Run, found: "Findings", split: "Split") -> ScalarizedRecord:
    """The record of a run; called on rank 0."""
    network = found.cycle.network
    return ScalarizedRecord(
        metrics=_metrics(run, found, split.test.labels),
        config=run.config.as_dict(),
        history=_history(found),
        class_names=list(run.class_names),
        **mistakes(found.scores, split.test.labels, split.test.images),
        **units_shown(network, split.train.images, split.test),
        partition=_partition(found.cycle, run.config.samples),
        rank_seconds=_rank_seconds(found.cycle, run.comm.size),
        timeline=_timeline(found.cycle, run.display.timeline()),
    )


def _metrics(run: Run, found: "Findings", labels: Array) -> JsonObject:
    cycle, seconds, boot = found.cycle, found.seconds, found.bootstrap
    refined = cycle.refined
    gflop = sum(t.gflop for t in cycle.trained)
    here = sum(t.gflop for t in cycle.trained if t.index not in cycle.restored)
    rate = here / seconds["subnetworks"] if here else 0.0
    unset = dict.fromkeys(("ambiguous_fraction", "guess_accuracy", "agreement_with_guesses", "test_accuracy"))
    return {
        "dataset": run.dataset,
        "class_names": list(run.class_names),
        "backend": "cuda" if run.device else "cpu",
        "device": run.device.name if run.device else None,
        "no_gpu": run.why_cpu,
        "ranks": run.comm.size,
        "threads_per_rank": run.threads,
        "seed": run.config.seed,
        "parameters": {"nonlinear": len(cycle.network.w), "linear": cycle.network.a.size},
        **{name: {"accuracy": value} for name, value in found.accuracy.items()},
        "calibration": measured(cycle.network.calibration, found.scores, labels),
        "control": found.control or {"test_accuracy": None},
        "bootstrap": {**unset, **boot},
        "glue": {
            "ridge": cycle.glued.ridge,
            "rank": cycle.glued.rank,
            "condition": cycle.glued.condition,
            "residual": cycle.glued.residual,
        },
        "refine": {
            "iterations": refined.iterations if refined else 0,
            "best_iteration": refined.best if refined else 0,
            "products": refined.products if refined else 0,
            "test_accuracy": found.accuracy["test"] if refined else None,
        },
        **({"prune": found.pruned} if found.pruned is not None else {}),
        "seconds": {
            name: seconds.get(name, 0.0)
            for name in ("load", "subnetworks", "glue", "refine", "scores", "bootstrap", "total")
        }
        | {"control": found.control["seconds"] if found.control else 0.0},
        "work": {
            "gflop": gflop,
            "gflops": rate,
            "gemm_gflops_measured": found.gemm_gflops,
            "efficiency": rate / found.gemm_gflops if gflop else 0.0,
        },
        "subnetworks": [_subnetwork(t, rank) for t, rank in zip(cycle.trained, cycle.task_ranks, strict=False)],
        "checkpoint": {**(kept := run.checkpoint.account()), "share": kept["seconds"] / seconds["total"]},
        "scheduling": _scheduling(found, run.threads),
        "traffic": [
            {
                "rank": rank,
                "bytes": traffic.bytes,
                "waited_seconds": traffic.seconds,
                "idle_seconds": traffic.idle_seconds,
                "queue_seconds": traffic.queue_seconds,
            }
            for rank, traffic in enumerate(found.traffic)
        ],
        "left_out": [{"index": failed.index, "reason": failed.reason} for failed in cycle.failed],
    }


def _scheduling(found: "Findings", threads: int) -> JsonObject:
    """What handing out sub-networks has cost: the time threads waited for the next one, and the queue's own work."""
    spent = sum(traffic.idle_seconds + traffic.queue_seconds for traffic in found.traffic)
    again = 0.0 if found.bootstrap_cycle is None else found.bootstrap_cycle.seconds["subnetworks"]
    computed = threads * len(found.traffic) * (found.seconds["subnetworks"] + again)
    return {"seconds": spent, "share": spent / computed if computed > 0 else 0.0}


def _subnetwork(trained: Trained, rank: int) -> JsonObject:
    return {
        "index": trained.index,
        "rank": rank,
        "iterations": trained.iterations,
        "evaluations": trained.evaluations,
        "cost": trained.cost,
        "status": trained.status.label,
        "seconds": trained.seconds,
    }


def _history(found: "Findings") -> list[JsonObject]:
    lines: list[JsonObject] = []
    for phase, cycle in (("train", found.cycle), ("bootstrap", found.bootstrap_cycle)):
        if cycle is None:
            continue
        for trained in cycle.trained:
            lines.extend(history_lines(phase, trained))
        if cycle.refined is not None:
            name = "refine" if phase == "train" else "bootstrap-refine"
            lines.extend({"phase": name, **line} for line in cycle.refined.history)
    return lines


def _partition(cycle: Cycle, samples: int) -> list[JsonObject]:
    first = min((t.started for t in cycle.trained), default=0.0)
    return [
        {**_subnetwork(t, rank), "units": t.units.count, "samples": samples, "start": t.started - first}
        for t, rank in zip(cycle.trained, cycle.task_ranks, strict=False)
    ]


def _timeline(cycle: Cycle, phases: list[JsonObject]) -> list[JsonObject]:
    """The phases, with times that count from the start of the first sub-network, as those of the partition."""
    first = min([t.started for t in cycle.trained] or [phase["start"] for phase in phases[:1]], default=0.0)
    return [{**phase, "start": phase["start"] - first} for phase in phases]


def _rank_seconds(cycle: Cycle, size: int) -> Array:
    busy = np.zeros(max([size, *(rank + 1 for rank in cycle.task_ranks)]))  # an earlier process may have had more
    for trained, rank in zip(cycle.trained, cycle.task_ranks, strict=False):
        busy[rank] += trained.seconds
    return busy
