"""The training loop: batches, steps and their records, on one rank or several.

for each epoch:  for each batch:  features, scores = network(own images);  gathered;  objective;  step
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch

from varpro.adapters.torch.sampler import ClassBalancedSampler
from varpro.arrays import Array
from varpro.config.layered import LayeredConfig, Optimiser
from varpro.distributed import Communicator
from varpro.errors import NonFiniteError
from varpro.report.progress import Display
from varpro.report.record import JsonObject
from varpro.train.checkpoint import Checkpoint
from varpro.train.layered.network import LayeredNetwork
from varpro.train.layered.objective import WeightedSum
from varpro.train.layered.parallel import agree_on_buffers, gather_rows, sum_gradients
from varpro.train.layered.pictures import spread_rows
from varpro.train.layered.restart import KeptTraining, Panels, Place

AfterEpoch = Callable[[int], JsonObject]
"""What to add to the line of an epoch, where 0 is before the first step.  Collective."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images (N, C, L, R), bytes or floats in [0, 1], and their labels (N,), both on the device."""

    pixels: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def some(self, count: int) -> "Images":
        """At most this many, spread evenly, since files may be sorted by class."""
        rows = torch.from_numpy(spread_rows(len(self), count)).to(self.labels.device)
        return self if len(self) <= count else Images(self.pixels[rows], self.labels[rows])

    def batch(self, rows: torch.Tensor | slice) -> torch.Tensor:
        """Floats in [0, 1], planes last in memory, which makes convolutions on a CPU up to twice as fast."""
        chosen = self.pixels[rows]
        floats = chosen.float().div_(255.0) if chosen.dtype == torch.uint8 else chosen
        return floats.contiguous(memory_format=torch.channels_last)


@dataclass
class TrainingLog:
    """What a training leaves behind, apart from the network itself."""

    history: list[JsonObject] = field(default_factory=list)
    """One line per epoch, the first before any step."""
    parameters: int = 0
    """The number of trained parameters, including centroids."""
    batches: int = 0
    skipped: int = 0
    ridged: int = 0
    seconds: float = 0.0
    """The time of the steps alone."""


@dataclass(frozen=True, eq=False)
class Loop:
    """One training of one network."""

    config: LayeredConfig
    comm: Communicator
    network: LayeredNetwork
    objective: WeightedSum
    images: Images
    name: str
    """The name of the phase in the history and on the screen."""
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    panels: Panels = field(default_factory=dict)
    """What `after_epoch` has drawn so far, kept with the rest."""

    def run(self, display: Display, after_epoch: AfterEpoch) -> TrainingLog:
        """Train for the epochs of the config, or go on where an earlier process was.  Collective.

        Raises NonFiniteError, DegenerateBatchError.
        """
        optimiser = make_optimiser(self.config.optimiser, self)
        found = TrainingLog(parameters=sum(p.numel() for p in self.parameters()))
        kept = KeptTraining(self.checkpoint, self, optimiser, found, self.panels)
        labels = self.images.labels.numpy(force=True)
        place = kept.load()
        if place is None:
            found.history.append({"phase": self.name, "epoch": 0, **after_epoch(0)})
            place = Place()
        for told in found.history:
            display.line(told)
        display.phase(self.name, self.config.epochs * n_batches(self.config, len(labels)))
        display.advance(n=found.batches)
        self.checkpoint.begin_phase()
        for epoch in range(place.epoch, self.config.epochs + 1):
            rate = rate_of(self.config.optimiser, epoch)
            for group in optimiser.param_groups:
                group["lr"] = rate
            line = self._epoch(place, labels, optimiser, display, found, kept)
            clock = time.perf_counter()
            agree_on_buffers(self.network, self.comm)
            self._require_finite_parameters(epoch)
            seconds = place.seconds + time.perf_counter() - clock
            found.seconds += seconds
            line |= {"rate": rate, "seconds": seconds}
            found.history.append({"phase": self.name, "epoch": epoch, **line, **after_epoch(epoch)})
            display.line(found.history[-1])
            place = Place(epoch + 1)
            if epoch < self.config.epochs:
                kept.moment(place)
        kept.end()
        found.skipped, found.ridged = (self.objective.statuses[kind] for kind in ("skipped", "ridge"))
        return found

    def parameters(self) -> list[torch.nn.Parameter]:
        """Everything that is trained."""
        return [*self.network.parameters(), *self.objective.parameters()]

    def _epoch(
        self,
        place: Place,
        labels: Array,
        optimiser: torch.optim.Optimizer,
        display: Display,
        found: TrainingLog,
        kept: KeptTraining,
    ) -> JsonObject:
        """The steps of an epoch from `place` on, which moves along."""
        self.network.train()
        self.objective.train()
        if not place.step:
            place.before = dict(self.objective.statuses)
        for rows in islice(batches(self.config, labels, place.epoch), place.step, None):
            clock = time.perf_counter()
            total, correct = self._step(rows, optimiser, place.epoch)
            for name, value in {"loss": total, **self.objective.values}.items():
                place.sums[name] = place.sums.get(name, 0.0) + value * len(rows)
            place.right, place.seen, place.step = place.right + correct, place.seen + len(rows), place.step + 1
            found.batches += 1
            place.seconds += time.perf_counter() - clock
            display.advance(total)
            kept.moment(place)
        changed = self.objective.statuses - Counter(place.before)
        line: JsonObject = {name: value / place.seen for name, value in place.sums.items()}
        line["batch_accuracy"] = place.right / place.seen if self.network.last is not None else None
        return line | {"skipped": changed["skipped"], "ridged": changed["ridge"]}

    def _step(self, rows: Array, optimiser: torch.optim.Optimizer, epoch: int) -> tuple[float, int]:
        """The value of the objective on a batch, and how many of its images had the highest score at their class."""
        parts = [rows[rank :: self.comm.size] for rank in range(self.comm.size)]  # batches may be sorted by class
        place = self.images.labels.device
        own = torch.from_numpy(parts[self.comm.rank]).to(place)
        y = self.images.labels[torch.from_numpy(np.concatenate(parts)).to(place)]
        features, scores = self.network(self.images.batch(own))
        features = gather_rows(features, self.comm)
        scores = None if scores is None else gather_rows(scores, self.comm)
        weight = None if self.network.last is None else self.network.last.weight
        total = self.objective(features, scores, y, weight)
        value = float(total.detach())
        if not np.isfinite(value):
            raise NonFiniteError(self._not_finite(f"the loss is {value}", epoch))
        if self.objective.live:  # else only momentum would move the parameters
            optimiser.zero_grad()
            total.backward()
            self.objective.own_gradients_counted_once()
            sum_gradients(self.parameters(), self.comm)
            optimiser.step()
        return value, 0 if scores is None else int((scores.detach().argmax(dim=1) == y).sum())

    def _require_finite_parameters(self, epoch: int) -> None:
        for name, p in self.network.named_parameters():
            if not bool(torch.isfinite(p.detach()).all()):
                raise NonFiniteError(self._not_finite(f"the parameter {name} is no longer finite", epoch))

    def _not_finite(self, what: str, epoch: int) -> str:
        rate = self.config.optimiser.rate
        return f"{self.name}: {what} in epoch {epoch} of {self.config.epochs}; lower optimiser.rate, which is {rate:g}"


def settle_norms(network: LayeredNetwork, images: Images, batch: int, comm: Communicator) -> None:
    """Give batch normalisations the means and variances of these images under the current parameters.  Collective.

    The moving averages of the training begin at 0 and 1 and lag behind: after 30 steps they are not yet usable.
    """
    norms = [module for module in network.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    network.eval()
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # plain means over the batches
    own = torch.arange(comm.rank, len(images), comm.size, device=images.labels.device)
    count = max(1, len(own) * comm.size // batch)
    with torch.no_grad():
        for part in range(count):
            network(images.batch(own[part::count]))
    agree_on_buffers(network, comm)
    for norm, kept in zip(norms, momentum, strict=True):
        norm.momentum = kept
    network.eval()


def n_batches(config: LayeredConfig, n_images: int) -> int:
    """The number of batches per epoch."""
    return max(1, n_images // config.batch)


def batches(config: LayeredConfig, labels: Array, epoch: int) -> Iterator[Array]:
    """The rows of each batch of an epoch, the same on every rank and in every repetition."""
    if config.balanced:
        n_classes = len(np.unique(labels))
        sampler = ClassBalancedSampler(labels, n_classes, config.batch // n_classes, config.seed)
        sampler.set_epoch(epoch)
        yield from (np.array(rows) for rows in sampler)
        return
    order = np.random.default_rng((config.seed, epoch)).permutation(len(labels))
    for first in range(0, len(order) - config.batch + 1, config.batch):
        yield order[first : first + config.batch]


def rate_of(chosen: Optimiser, epoch: int) -> float:
    """The learning rate in an epoch, counted from 1."""
    return chosen.rate * chosen.factor ** sum(epoch > milestone for milestone in chosen.milestones)


def make_optimiser(chosen: Optimiser, loop: Loop) -> torch.optim.Optimizer:
    """An optimiser of body, last layer and the objective's own parameters, each with its own weight decay."""
    last = [] if loop.network.last is None else list(loop.network.last.parameters())
    kept = {id(p) for p in last}
    decays_last = chosen.decay_last_layer
    if decays_last is None:
        decays_last = loop.config.network.xi is None
    groups: list[dict[str, object]] = [
        {"params": [p for p in loop.network.parameters() if id(p) not in kept], "weight_decay": chosen.weight_decay},
        {"params": last, "weight_decay": chosen.weight_decay if decays_last else 0.0},
        {"params": list(loop.objective.parameters()), "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if chosen.kind == "adam":
        return torch.optim.Adam(groups, lr=chosen.rate, betas=(chosen.momentum, 0.999))
    return torch.optim.SGD(groups, lr=chosen.rate, momentum=chosen.momentum)
