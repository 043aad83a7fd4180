"""One network from its random start to its results: trained, given a last layer if it has none, measured."""

from dataclasses import dataclass, field

import numpy as np
import torch

from varpro.arrays import Array
from varpro.config.layered import LayeredConfig, Objective
from varpro.distributed import Communicator
from varpro.report.progress import Display
from varpro.report.record import JsonObject
from varpro.train.calibration import calibrate, measured
from varpro.train.checkpoint import Checkpoint
from varpro.train.layered import evaluation
from varpro.train.layered.evaluation import Passed
from varpro.train.layered.network import LayeredNetwork
from varpro.train.layered.objective import WeightedSum
from varpro.train.layered.pictures import POINTS, principal_plane, spread_rows
from varpro.train.layered.plan import NetworkPlan
from varpro.train.layered.training import Images, Loop, TrainingLog, settle_norms

SETTLED = 4000
"""Training images from which batch normalisations take their means and variances."""
EPOCH_MEANS = 2000
"""Training images from which an epoch's line takes its class means and discriminant analysis."""
EPOCH_TEST = 4000
"""Test images used for an epoch's line; the final results use all of them."""
PANELS = 6
"""Epochs that are plotted."""


@dataclass(frozen=True, eq=False)
class LayeredRun:
    """What all parts of a run share."""

    config: LayeredConfig
    comm: Communicator
    display: Display
    device: torch.device
    train: Images
    validation: Images
    test: Images
    n_classes: int
    checkpoint: Checkpoint = field(default_factory=Checkpoint)

    def start(self, plan: NetworkPlan) -> LayeredNetwork:
        """A network at its random start, the same for a given seed on every rank and device."""
        torch.manual_seed(self.config.seed)
        network = LayeredNetwork(plan).to(self.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        state = np.random.SeedSequence((self.config.seed, self.comm.rank)).generate_state(1)
        torch.manual_seed(int(state[0]))  # for dropout
        return network

    def settle(self, network: LayeredNetwork) -> None:
        """Fit the statistics of batch normalisations to the current parameters.  Collective."""
        settle_norms(network, self.train.some(SETTLED), self.config.batch, self.comm)

    def passed(self, network: LayeredNetwork, images: Images) -> Passed:
        """Features and scores.  Collective."""
        return evaluation.pass_through(network, images, self.comm)


@dataclass(eq=False)
class Measured:
    """One network, trained and measured."""

    network: LayeredNetwork
    trained: TrainingLog
    test: Passed
    measured: JsonObject
    """The network's part of metrics.json."""
    panels: dict[int, tuple[Array, Array]]
    """The points (n, 2) of test images after some epochs, and their labels."""


def train_and_measure(run: LayeredRun, plan: NetworkPlan, objective: Objective, name: str) -> Measured:
    """Train a network for an objective and measure it.  Collective."""
    network = run.start(plan)
    terms = WeightedSum(run.config, objective, run.n_classes, plan.embedding, run.comm).to(run.device)
    drawn = set(np.linspace(0, run.config.epochs, PANELS).round().astype(int).tolist())
    panels: dict[int, tuple[Array, Array]] = {}

    def look(epoch: int) -> JsonObject:
        run.settle(network)
        test = run.passed(network, run.test.some(EPOCH_TEST))
        if epoch in drawn:
            rows = spread_rows(len(test.labels), POINTS)
            panels[epoch] = principal_plane(test.features[rows]), test.labels[rows]
        return _line(run, network, test)

    loop = Loop(run.config, run.comm, network, terms, run.train, name, run.checkpoint, panels)
    trained = loop.run(run.display, look)
    run.display.phase(f"measuring ({name})", 1)
    test, measured = _measure(run, network, terms, trained, objective)
    run.display.advance()
    return Measured(network, trained, test, measured, panels)


def _measure(
    run: LayeredRun, network: LayeredNetwork, terms: WeightedSum, trained: TrainingLog, objective: Objective
) -> tuple[Passed, JsonObject]:
    """The test images passed through the finished network, and its part of metrics.json."""
    train, test = run.passed(network, run.train), run.passed(network, run.test)
    last = _finish(network, terms, train, run.n_classes)
    train, test = (_scored(network, passed) for passed in (train, test))
    validation = run.passed(network, run.validation) if len(run.validation) else None
    if validation is not None and validation.scores is not None:
        network.calibration = calibrate(validation.scores, validation.labels)
    assert test.scores is not None
    return test, {
        "network": {
            "name": network.plan.name,
            "embedding": network.plan.embedding,
            "parameters": trained.parameters,
            "last_layer": last,
            "xi": network.xi,
            "objective": objective.active(),
        },
        "train": {
            "accuracy": evaluation.accuracy(train.scores, train.labels),
            "scatter_ratio": evaluation.scatter(train.features, train.labels)["scatter_ratio"],
        },
        "validation": {"accuracy": evaluation.accuracy(validation.scores, validation.labels) if validation else None},
        "test": {
            "accuracy": evaluation.accuracy(test.scores, test.labels),
            **evaluation.of_features(train, test, _learned(terms)),
        },
        "calibration": measured(network.calibration, test.scores, test.labels),
        "last_layer": evaluation.last_layer(network.last if last == "trained" else None, test),
        "degenerate": {"batches": trained.batches, "skipped": trained.skipped, "ridge": trained.ridged},
    }


def _line(run: LayeredRun, network: LayeredNetwork, test: Passed) -> JsonObject:
    """The line of an epoch: the current network on the test images; no decision depends on it."""
    means = run.passed(network, run.train.some(EPOCH_MEANS))
    line = evaluation.last_layer(network.last, test)
    return {
        "test_accuracy": evaluation.accuracy(test.scores, test.labels)
        if network.last is not None
        else evaluation.discriminant_accuracy(means, test),
        "nearest_centroid": evaluation.nearest_mean(means, test),
        **evaluation.scatter(test.features, test.labels),
        **{name: line[name] for name in ("separability", "separability_normalised", "cosine")},
        "xi": network.xi,
    }


def _finish(network: LayeredNetwork, terms: WeightedSum, train: Passed, n_classes: int) -> str:
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


def _scored(network: LayeredNetwork, passed: Passed) -> Passed:
    """The same images with the scores of the current last layer."""
    assert network.last is not None
    with torch.no_grad():
        scores: torch.Tensor = network.last(torch.from_numpy(passed.features).to(network.last.weight))
    return Passed(passed.features, scores.numpy(force=True), passed.labels)


def _learned(terms: WeightedSum) -> Array | None:
    """Centroids that were trained with the network, not eliminated."""
    if "intraclass_variance" not in terms.parts or terms.parts["intraclass_variance"].loss.mode == "eliminated":
        return None
    carried: Array = terms.parts["intraclass_variance"].C.detach().numpy(force=True)
    return carried
