"""The whole job: train, glue, refine, compare with the control, bootstrap over the test set, and report it all.

Collective from beginning to end; rank 0 returns the record for the report.
"""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from varpro.arrays import Array
from varpro.config.scalarized import ScalarizedConfig
from varpro.distributed.communicator import Communicator, Traffic
from varpro.distributed.threads import blas_threads, threads_per_rank
from varpro.linalg.cross_entropy import cross_entropy
from varpro.models.units import Units
from varpro.models.units.images import planes
from varpro.report.progress import Display
from varpro.report.record import JsonObject, ScalarizedRecord
from varpro.train.calibration import calibrate
from varpro.train.checkpoint import Checkpoint
from varpro.train.data.parts import Part
from varpro.train.data.prepared import Prepared
from varpro.train.scalarized.backend import Place
from varpro.train.scalarized.cycle import Cycle, learning_cycle, untrained
from varpro.train.scalarized.device_subnetworks import device_gemm_gflops
from varpro.train.scalarized.glue import Rows, all_scores, count_correct
from varpro.train.scalarized.network import Network
from varpro.train.scalarized.partition import TRAINING
from varpro.train.scalarized.prune import prune, require_validation_to_prune
from varpro.train.scalarized.record import assemble
from varpro.train.scalarized.run import Run, Score
from varpro.train.scalarized.subnetworks import measured_gemm_gflops
from varpro.train.scalarized.transduction import require_validation, transduce

CPU = Place()


@dataclass
class Findings:
    """Everything measured in a run; replicated, except for what `Cycle` has on rank 0 only."""

    cycle: Cycle
    gemm_gflops: float
    accuracy: dict[str, float]
    """The accuracy on train, validation and test, against true labels."""
    control: dict[str, float] | None
    scores: Array
    """The outputs on the test set, (N, K)."""
    pruned: JsonObject | None = None
    """The units dropped, and the curve of accuracy against parameters; None if none were to be."""
    bootstrap: JsonObject = field(default_factory=dict)
    bootstrap_cycle: Cycle | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    traffic: list[Traffic] = field(default_factory=list)
    """What each rank has moved and waited for, on rank 0."""


def train(
    prepared: Prepared[ScalarizedConfig],
    comm: Communicator,
    *,
    display: Display,
    place: Place = CPU,
    checkpoint: Checkpoint | None = None,
) -> tuple[ScalarizedRecord, Network] | None:
    """Run a config on its data.  Collective; (record, network before bootstrapping) on rank 0, None elsewhere.

    place : the GPU of this rank, by default none.  checkpoint : where to keep what is done; None = nowhere.
    """
    clock, config, split = time.perf_counter(), prepared.config, prepared.split
    require_validation(config, len(split.validation))
    parts = {name: _rows(getattr(split, name)) for name in ("train", "validation", "test")}
    run = _run(prepared, parts["train"].images.shape[1:], comm, display, place, checkpoint)
    if config.prune.enabled:
        require_validation_to_prune(run, parts["validation"])
    gemm = _gemm_rate(run)
    cycle = learning_cycle(
        run,
        parts["train"],
        stream=TRAINING,
        name="training",
        validation=parts["validation"],
        ridge=_ridge(config),
        score=_score(run, parts),
    )
    pruned = prune(run, cycle, parts["train"], parts["validation"], _ridge(config)) if config.prune.enabled else None
    scoring = time.perf_counter()
    with run.all_threads():
        scores = {name: _scores(run, cycle.network, parts[name]) for name in ("validation", "test")}
        accuracy = {name: _share_correct(of, parts[name].labels) for name, of in scores.items()}
        accuracy["train"] = _accuracy(run, cycle.network, parts["train"])
        cycle.network = _calibrated(run, cycle.network, scores["validation"], parts["validation"].labels)
        scoring = time.perf_counter() - scoring
        found = Findings(cycle, gemm, accuracy, _control(run, cycle, parts), scores["test"], pruned)
    if config.bootstrap.enabled:
        passed = transduce(run, cycle, found.scores, parts["test"])
        found.bootstrap, found.bootstrap_cycle = passed.metrics, passed.cycle
        found.seconds["bootstrap"] = passed.seconds
    found.seconds = {
        "load": prepared.seconds,
        **cycle.seconds,
        "scores": scoring,
        **found.seconds,
        "total": prepared.seconds + time.perf_counter() - clock,
    }
    found.traffic = comm.gather(comm.traffic) or []
    return (assemble(run, found, split), cycle.network) if comm.rank == 0 else None


def _run(
    prepared: Prepared[ScalarizedConfig],
    shape: tuple[int, ...],
    comm: Communicator,
    display: Display,
    place: Place,
    checkpoint: Checkpoint | None,
) -> Run:
    dataset = prepared.dataset
    return Run(
        prepared.config,
        comm,
        display,
        threads_per_rank(comm),
        shape,
        dataset.n_classes,
        tuple(dataset.class_names),
        dataset.name,
        place.device,
        checkpoint or Checkpoint(),
        place.why_cpu,
    )


def _rows(part: Part) -> Rows:
    return Rows(planes(part.images), part.labels)


def _ridge(config: ScalarizedConfig) -> float | None:
    return None if config.glue.ridge == "auto" else float(config.glue.ridge)


def _gemm_rate(run: Run) -> float:
    """GFLOP/s of matrix products on all threads of all ranks together, in the precision of the Gauss-Newton matrix; 0
    without sub-networks, whose efficiency it measures."""
    if not run.config.subnetworks:
        return 0.0
    dtype = "float64" if run.config.search.gn_precision == "fp64" else "float32"
    if run.device is not None:
        rate = device_gemm_gflops(run.device, dtype)
        return float(run.comm.allreduce(np.array([rate]))[0])
    with blas_threads(1):
        run.comm.barrier()
        with ThreadPoolExecutor(run.threads) as pool:
            rates = list(pool.map(lambda _: measured_gemm_gflops(dtype), range(run.threads)))
    return float(run.comm.allreduce(np.array([sum(rates)]))[0])


def _accuracy(run: Run, network: Network, rows: Rows) -> float:
    """The share of rows whose largest output is the true label.  Collective."""
    if not len(rows):
        return float("nan")
    return float(count_correct(run.streamed(network.units, network.w, rows), [network.a])[0]) / len(rows)


def _score(run: Run, parts: dict[str, Rows]) -> Score:
    """Accuracies along a refinement with its current linear layer, so that reporting needs no extra solve, and the cost
    on the validation images."""

    def score(units: Units, w: Array, a: Array) -> dict[str, float]:
        network, held = run.network(units, w, a), parts["validation"]
        with run.all_threads():
            outputs, test = _scores(run, network, held), _accuracy(run, network, parts["test"])
        return {
            "validation_accuracy": _share_correct(outputs, held.labels),
            "test_accuracy": test,
            "validation_cost": _cost(run, outputs, held),
        }

    return score


def _cost(run: Run, outputs: Array, rows: Rows) -> float:
    """What a refinement minimises, per row and without the ridge, of outputs (N, K); NaN without rows."""
    if not len(rows):
        return math.nan
    y = rows.y(slice(None), run.n_classes)
    if run.config.refine.loss == "cross_entropy":
        return cross_entropy(outputs, y)[0] / len(rows)
    return 0.5 * float(np.sum((y - outputs) ** 2)) / len(rows)


def _control(run: Run, cycle: Cycle, parts: dict[str, Rows]) -> dict[str, float] | None:
    """The same units untrained, glued in the same way on the same rows."""
    if not run.config.control:
        return None
    clock = time.perf_counter()
    run.display.phase("control: untrained units", 1)
    run.checkpoint.begin_phase()
    units, w = untrained(run, parts["train"], TRAINING, cycle.draws)
    glued = run.glued(units, w, parts["train"], parts["validation"], _ridge(run.config), "control-glue")
    test = _accuracy(run, run.network(units, w, glued.a), parts["test"])
    run.display.advance()
    return {"test_accuracy": test, "ridge": glued.ridge, "seconds": time.perf_counter() - clock}


def _share_correct(scores: Array, labels: Array) -> float:
    """The share of rows whose largest output (N, K) is the true label."""
    return float(np.mean(scores.argmax(axis=1) == labels)) if len(labels) else float("nan")


def _calibrated(run: Run, network: Network, scores: Array, labels: Array) -> Network:
    """The network with a calibration from its outputs on the validation images, if there are any; fitted on rank 0."""
    if not len(labels):
        return network
    found = calibrate(scores, labels) if run.comm.rank == 0 else None
    return replace(network, calibration=found)


def _scores(run: Run, network: Network, rows: Rows) -> Array:
    """Outputs (N, K), replicated.  Collective."""
    return all_scores(run.streamed(network.units, network.w, rows), network.a)
