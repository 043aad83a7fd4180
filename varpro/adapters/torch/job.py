"""A whole run: the network, its control and its untrained self on the same images, and everything measured of them.

Collective from beginning to end; rank 0 returns the record that the report is made from.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from varpro.adapters.torch import evaluation
from varpro.adapters.torch.evaluation import Passed
from varpro.adapters.torch.networks import Network
from varpro.adapters.torch.terms import WeightedSum
from varpro.adapters.torch.training import Images, Loop, Trained
from varpro.arrays import Array
from varpro.distributed import Communicator, blas_threads, threads_per_rank
from varpro.errors import BackendError
from varpro.models.images import planes
from varpro.network_config import NetworkConfig, Objective, check_with_data
from varpro.report.network_record import NetworkRecord
from varpro.report.progress import Display
from varpro.train.architectures import Plan, plan_network
from varpro.train.datasets import DataSet, Part

EPOCH_MEANS = 2000
"""Training images that the centroids of an epoch's line are means of."""


@dataclass(eq=False)
class Outcome:
    """One network, trained and measured."""

    network: Network
    trained: Trained
    train: Passed
    test: Passed
    last: str
    """Where its last layer came from: trained, varpro or discriminant"""
    learned: Array | None
    """Centroids that were trained"""
    measured: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Run:
    """What all parts of a run share."""

    config: NetworkConfig
    comm: Communicator
    display: Display
    device: torch.device
    train: Images
    validation: Images
    test: Images
    n_classes: int

    def start(self, plan: Plan) -> Network:
        """A network at its random start, the same for a seed on every rank and device."""
        torch.manual_seed(self.config.seed)
        network = Network(plan).to(self.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        state = np.random.SeedSequence((self.config.seed, self.comm.rank)).generate_state(1)
        torch.manual_seed(int(state[0]))  # of dropout
        return network


def train_network(
    config: NetworkConfig, comm: Communicator, *, dataset: DataSet, display: Display, load_seconds: float = 0.0
) -> tuple[NetworkRecord, Network] | None:
    """Run a config on a data set.  Collective; (record, network) on rank 0, None elsewhere."""
    clock = time.perf_counter()
    threads = config.threads or threads_per_rank(comm)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with blas_threads(threads), torch.random.fork_rng():
            run = _prepare(config, comm, dataset, display)
            plan = check_with_data(config, len(run.train), dataset.n_classes, dataset.shape)
            untrained = _untrained(run, plan)
            found = _outcome(run, plan, config.objective, "training")
            control = _control(run, plan)
    finally:
        torch.set_num_threads(before)
    if comm.rank > 0:
        return None
    metrics = {
        "kind": "network",
        "dataset": dataset.name,
        "backend": run.device.type,
        "ranks": comm.size,
        "threads_per_rank": threads,
        "seed": config.seed,
        "epochs": config.epochs,
        "batch": config.batch,
        **found.measured,
        "control": None if control is None else control.measured,
        "untrained": {"test": untrained},
    }
    seconds = {
        "load": load_seconds,
        "training": found.trained.seconds,
        "control": control.trained.seconds if control else 0.0,
        "epoch": float(np.median([line["seconds"] for line in found.trained.history[1:]])),
        "total": load_seconds + time.perf_counter() - clock,
    }
    history = found.trained.history + (control.trained.history if control else [])
    return NetworkRecord({**metrics, "seconds": seconds}, config.as_dict(), history), found.network


def _prepare(config: NetworkConfig, comm: Communicator, dataset: DataSet, display: Display) -> Run:
    device = _device(config.device, comm)
    split = dataset.split(config.data.validation, config.data.train, config.data.test)
    train, validation, test = (_images(part, device) for part in (split.train, split.validation, split.test))
    return Run(config, comm, display, device, train, validation, test, dataset.n_classes)


def require_device(wanted: str) -> None:
    """Raises BackendError for a device that is not there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise BackendError("device is cuda, but PyTorch finds no GPU here; set device: auto or --backend cpu")


def _device(wanted: str, comm: Communicator) -> torch.device:
    require_device(wanted)
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", comm.node_rank % torch.cuda.device_count())


def _images(part: Part, device: torch.device) -> Images:
    pixels = planes(part.images)
    if pixels.dtype != np.uint8:
        pixels = pixels.astype(np.float32, copy=False)
    return Images(torch.tensor(pixels, device=device), torch.tensor(part.labels, device=device))


def _untrained(run: Run, plan: Plan) -> dict[str, Any]:
    """What the features of the random start are worth to rules that need no training."""
    run.display.phase("untrained network", 1)
    network = run.start(plan)
    train, test = (evaluation.pass_through(network, images, run.comm) for images in (run.train, run.test))
    found: dict[str, Any] = {
        **evaluation.rules(train, test),
        **evaluation.retrieval(test),
        **evaluation.scatter(test.features, test.labels),
    }
    run.display.advance()
    return found


def _control(run: Run, plan: Plan) -> Outcome | None:
    """Cross-entropy alone on the same batches; None where that is what was trained, or it is switched off."""
    config = run.config
    alone = config.objective.active().keys() == {"cross_entropy"}
    other = config.baseline.name
    if not config.baseline.enabled or (alone and config.network.xi is None and other is None):
        return None
    same = config.network.model_dump(exclude={"name"}) | ({"xi": None, "learnable_xi": False} if alone else {})
    options = {} if other else same
    planned = plan_network(other or config.network.name, plan.shape, run.n_classes, **options, linear=True)
    return _outcome(run, planned, Objective(cross_entropy=1.0), "control")


def _outcome(run: Run, plan: Plan, objective: Objective, name: str) -> Outcome:
    """Train a network for an objective and measure it."""
    network = run.start(plan)
    terms = WeightedSum(run.config, objective, run.n_classes, plan.embedding, run.comm).to(run.device)
    loop = Loop(run.config, run.comm, network, terms, run.train, name)
    trained = loop.run(run.display, lambda epoch: _look(run, network))
    run.display.phase(f"measuring ({name})", 1)
    train, test = (evaluation.pass_through(network, images, run.comm) for images in (run.train, run.test))
    last = _finish(network, terms, train, run.n_classes)
    train, test = (_scored(network, passed) for passed in (train, test))
    validation = evaluation.pass_through(network, run.validation, run.comm) if len(run.validation) else None
    learned = _learned(terms)
    found = Outcome(network, trained, train, test, last, learned, {})
    found.measured = _measured(found, objective, validation)
    run.display.advance()
    return found


def _look(run: Run, network: Network) -> dict[str, Any]:
    """A line's worth of the network as it stands, on the test images; nothing is chosen by it."""
    test = evaluation.pass_through(network, run.test, run.comm)
    some = Images(run.train.pixels[:EPOCH_MEANS], run.train.labels[:EPOCH_MEANS])
    means = evaluation.pass_through(network, some, run.comm)
    line = evaluation.last_layer(network.last, test)
    return {
        "test_accuracy": evaluation.accuracy(test.scores, test.labels),
        "nearest_centroid": evaluation.nearest_mean(means, test),
        **evaluation.scatter(test.features, test.labels),
        **{name: line[name] for name in ("separability", "separability_normalised", "cosine")},
        "xi": network.xi,
    }


def _finish(network: Network, terms: WeightedSum, train: Passed, n_classes: int) -> str:
    """Give the network a last layer if none was trained: the eliminated one, or discriminant analysis."""
    if network.last is not None:
        return "trained"
    head = terms.head
    if head is None:
        network.set_last(evaluation.linear_rule(evaluation.discriminant(train), n_classes))
        return "discriminant"
    head.reset()
    head.partial_fit(torch.from_numpy(train.features), train.labels)
    network.set_last(head.A)
    return "varpro"


def _scored(network: Network, passed: Passed) -> Passed:
    """With the scores of the last layer as it is now."""
    assert network.last is not None
    with torch.no_grad():
        scores: torch.Tensor = network.last(torch.from_numpy(passed.features).to(network.last.weight))
    return Passed(passed.features, scores.numpy(force=True), passed.labels)


def _learned(terms: WeightedSum) -> Array | None:
    if "intraclass_variance" not in terms.parts or terms.parts["intraclass_variance"].loss.mode == "eliminated":
        return None
    return terms.parts["intraclass_variance"].C.detach().numpy(force=True)


def _measured(found: Outcome, objective: Objective, validation: Passed | None) -> dict[str, Any]:
    network, trained, plan = found.network, found.trained, found.network.plan
    test = {
        "accuracy": evaluation.accuracy(found.test.scores, found.test.labels),
        **evaluation.rules(found.train, found.test, found.learned),
        **evaluation.retrieval(found.test),
        **evaluation.scatter(found.test.features, found.test.labels),
    }
    return {
        "network": {
            "name": plan.name,
            "embedding": plan.embedding,
            "parameters": trained.parameters,
            "last_layer": found.last,
            "xi": network.xi,
            "objective": objective.active(),
        },
        "train": {
            "accuracy": evaluation.accuracy(found.train.scores, found.train.labels),
            "scatter_ratio": evaluation.scatter(found.train.features, found.train.labels)["scatter_ratio"],
        },
        "validation": {"accuracy": evaluation.accuracy(validation.scores, validation.labels) if validation else None},
        "test": test,
        "last_layer": evaluation.last_layer(network.last if found.last == "trained" else None, found.test),
        "degenerate": {"batches": trained.batches, "skipped": trained.skipped, "ridge": trained.ridged},
    }
