"""The whole job: train, glue, refine, compare with the control, bootstrap over the test set, and report it all.

Collective from beginning to end; rank 0 returns the record for the report.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from varpro.arrays import Array, beside, to_host
from varpro.config.scalarized import ScalarizedConfig
from varpro.distributed.communicator import Communicator, Traffic
from varpro.distributed.threads import blas_threads, threads_per_rank
from varpro.models.units import Units
from varpro.models.units.images import planes
from varpro.report.progress import Display
from varpro.report.record import JsonObject, ScalarizedRecord
from varpro.train.checkpoint import Checkpoint
from varpro.train.data.parts import Part
from varpro.train.data.prepared import Prepared
from varpro.train.scalarized.backend import Place
from varpro.train.scalarized.bootstrap import guess_labels
from varpro.train.scalarized.cycle import Cycle, Run, Score, learning_cycle, untrained
from varpro.train.scalarized.device_subnetworks import device_gemm_gflops
from varpro.train.scalarized.glue import Rows, count_correct
from varpro.train.scalarized.network import Network
from varpro.train.scalarized.partition import GUESSES, TRAINING, bootstrap_stream, generator
from varpro.train.scalarized.record import assemble
from varpro.train.scalarized.subnetworks import measured_gemm_gflops

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
    clock = time.perf_counter()
    config, dataset, split = prepared.config, prepared.dataset, prepared.split
    parts = {name: _rows(getattr(split, name)) for name in ("train", "validation", "test")}
    run = Run(
        config,
        comm,
        display,
        threads_per_rank(comm),
        parts["train"].images.shape[1:],
        dataset.n_classes,
        tuple(dataset.class_names),
        dataset.name,
        place.device,
        checkpoint or Checkpoint(),
        place.why_cpu,
    )
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
    with blas_threads(run.sum_threads()):
        accuracy = {name: _accuracy(run, cycle.network, rows) for name, rows in parts.items()}
        found = Findings(
            cycle, gemm, accuracy, _control(run, cycle, parts), _all_scores(run, cycle.network, parts["test"])
        )
    if config.bootstrap.enabled:
        _bootstrap(run, found, parts["test"])
    found.seconds = {
        "load": prepared.seconds,
        **cycle.seconds,
        **found.seconds,
        "total": prepared.seconds + time.perf_counter() - clock,
    }
    found.traffic = comm.gather(comm.traffic) or []
    return (assemble(run, found, split), cycle.network) if comm.rank == 0 else None


def _rows(part: Part) -> Rows:
    return Rows(planes(part.images), part.labels)


def _ridge(config: ScalarizedConfig) -> float | None:
    return None if config.glue.ridge == "auto" else float(config.glue.ridge)


def _gemm_rate(run: Run) -> float:
    """GFLOP/s of matrix products on all threads of all ranks together, in the precision of the Gauss-Newton matrix."""
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
    """Accuracies along a refinement with its current linear layer, so that reporting needs no extra solve."""

    def score(units: Units, w: Array, a: Array) -> dict[str, float]:
        network = run.network(units, w, a)
        return {f"{name}_accuracy": _accuracy(run, network, parts[name]) for name in ("validation", "test")}

    return score


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


def _all_scores(run: Run, network: Network, rows: Rows) -> Array:
    """Outputs (N, K), replicated; each block comes from the rank that owns it.  Collective."""
    streamed = run.streamed(network.units, network.w, rows)
    a = beside(network.a, streamed.rows.images)
    parts = [to_host(phi @ a) for phi, _ in streamed.blocks()]
    return np.concatenate([block for part in run.comm.allgather(parts) for block in part])


def _bootstrap(run: Run, found: Findings, test: Rows) -> None:
    """Section 5 of the paper, as often as the config says; each round guesses with the network of the one before."""
    clock, scores, rounds = time.perf_counter(), found.scores, []
    for number in range(run.config.bootstrap.rounds):
        told, scores = _bootstrap_round(run, found, test, scores, number)
        rounds.append(told)
    found.bootstrap = {"variant": run.config.bootstrap.variant, **rounds[-1], "rounds": rounds}
    found.seconds["bootstrap"] = time.perf_counter() - clock


def _bootstrap_round(
    run: Run, found: Findings, test: Rows, scores: Array, number: int
) -> tuple[dict[str, float], Array]:
    """Guess labels from outputs, train a full cycle on the guesses, read off the labels; and the new outputs."""
    settings = run.config.bootstrap
    rng = generator(run.config.seed, GUESSES, number)
    guesses = guess_labels(scores, margin=settings.margin, variant=settings.variant, rng=rng)
    used = Rows(test.images[guesses.used], guesses.labels[guesses.used])
    cycle = learning_cycle(
        run,
        used,
        stream=bootstrap_stream(number),
        name="bootstrapping" if number == 0 else f"bootstrapping.{number + 1}",
        validation=None,
        ridge=found.cycle.glued.ridge,
        score=None,
    )
    with blas_threads(run.sum_threads()):
        again = _all_scores(run, cycle.network, test)
    final = np.argmax(again, axis=1)
    found.bootstrap_cycle = cycle
    told = {
        "ambiguous_fraction": float(guesses.ambiguous.mean()),
        "guess_accuracy": float(np.mean(guesses.labels == test.labels)),
        "agreement_with_guesses": float(np.mean(final[guesses.used] == guesses.labels[guesses.used])),
        "test_accuracy": float(np.mean(final == test.labels)),
    }
    return told, again
