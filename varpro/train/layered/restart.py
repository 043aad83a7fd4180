"""Where a training by steps is, as a state of a checkpoint: network, optimiser, objective, generators, the epoch.

Parameters are the same on every rank; what a batch normalisation has averaged, and the generator of dropout, belong to
a rank, so a training is continued on as many ranks.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from varpro.arrays import Array
from varpro.report.record import JsonObject
from varpro.train.checkpoint import Checkpoint, State

if TYPE_CHECKING:
    from varpro.train.layered.training import Loop, TrainingLog

Panels = dict[int, tuple[Array, Array]]


@dataclass
class Place:
    """A point between two steps, and the sums of the epoch up to there."""

    epoch: int = 1
    step: int = 0
    """Batches done in the epoch."""
    sums: dict[str, float] = field(default_factory=dict)
    right: int = 0
    seen: int = 0
    seconds: float = 0.0
    """The time of the epoch's steps."""
    before: dict[str, int] = field(default_factory=dict)
    """The objective's counts at the beginning of the epoch."""


@dataclass
class KeptTraining:
    """The states of one loop."""

    checkpoint: Checkpoint
    loop: "Loop"
    optimiser: torch.optim.Optimizer
    log: "TrainingLog"
    panels: Panels

    @property
    def name(self) -> str:
        """The name of the state."""
        return f"{self.loop.name}-steps"

    def load(self) -> Place | None:
        """Put everything back as an earlier process has kept it; None if it has not.  Collective."""
        state = self.checkpoint.load(self.name)
        if state is None:
            return None
        loop, values, arrays = self.loop, state.values, state.arrays
        loop.network.load_state_dict(unpacked(values["network"], arrays, "network."))
        loop.objective.load_state_dict(unpacked(values["objective"], arrays, "objective."))
        loop.objective.statuses = Counter(values["statuses"])
        self._load_optimiser(unpacked(values["optimiser"], arrays, "optimiser."))
        own = unpacked({}, arrays, f"rank.{loop.comm.rank}.")
        buffers = dict(loop.network.named_buffers())
        for key, value in own.items():
            if key.startswith("buffer."):
                buffers[key.removeprefix("buffer.")].copy_(value)
        torch.set_rng_state(own["generator"])
        if "device_generator" in own:
            torch.cuda.set_rng_state(own["device_generator"], loop.images.labels.device)
        log = values["log"]
        self.log.history[:], self.log.batches, self.log.seconds = log["history"], log["batches"], log["seconds"]
        for epoch in values["panels"]:
            self.panels[epoch] = arrays[f"panel.{epoch}.points"], arrays[f"panel.{epoch}.labels"]
        return Place(**values["place"])

    def moment(self, place: Place) -> None:
        """A point between two steps; keep it if it is time.  Collective."""
        parameters = sum(p.numel() for p in self.loop.parameters())
        self.checkpoint.moment(self.name, 12 * parameters, lambda: self._state(place))

    def end(self) -> None:
        """Keep the end of the training.  Collective."""
        state = self._state(Place(epoch=self.loop.config.epochs + 1))
        if state is not None:
            self.checkpoint.save(self.name, state)

    def _state(self, place: Place) -> State | None:
        loop, arrays = self.loop, dict[str, Array]()
        own = {"generator": torch.get_rng_state()}
        if loop.images.labels.device.type == "cuda":
            own["device_generator"] = torch.cuda.get_rng_state(loop.images.labels.device)
        own |= {f"buffer.{key}": value for key, value in loop.network.named_buffers()}
        everyone = loop.comm.gather({key: value.numpy(force=True).copy() for key, value in own.items()})
        if everyone is None:
            return None
        for rank, part in enumerate(everyone):
            arrays |= {f"rank.{rank}.{key}": value for key, value in part.items()}
        values: JsonObject = {"place": vars(place), "statuses": dict(loop.objective.statuses)}
        for name, module in (("network", loop.network), ("objective", loop.objective)):
            values[name] = packed(module.state_dict(), arrays, f"{name}.")
        values["optimiser"] = packed(self.optimiser.state_dict()["state"], arrays, "optimiser.")
        log = self.log
        values["log"] = {"history": log.history, "batches": log.batches, "seconds": log.seconds}
        values["panels"] = list(self.panels)
        for epoch, (points, labels) in self.panels.items():
            arrays |= {f"panel.{epoch}.points": points, f"panel.{epoch}.labels": labels}
        return State(values, arrays)

    def _load_optimiser(self, state: JsonObject) -> None:
        """Each parameter's part, in the parameter's own order in memory, so that arithmetic goes the same way."""
        whole = self.optimiser.state_dict()
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        whole["state"] = {}
        for number, part in state.items():
            p = parameters[int(number)]
            whole["state"][int(number)] = {
                key: torch.empty_like(p).copy_(v) if isinstance(v, torch.Tensor) and v.shape == p.shape else v
                for key, v in part.items()
            }
        self.optimiser.load_state_dict(whole)


def packed(tree: Mapping[str, object], arrays: dict[str, Array], above: str) -> JsonObject:
    """A tree of tensors, numbers and mappings: tensors go to `arrays` under dotted names, the others are returned."""
    values: JsonObject = {}
    for key, value in tree.items():
        if isinstance(value, torch.Tensor):
            arrays[f"{above}{key}"] = value.numpy(force=True).copy()
            values[str(key)] = TENSOR
        elif isinstance(value, Mapping):
            values[str(key)] = packed(value, arrays, f"{above}{key}.")
        else:
            values[str(key)] = value
    return values


TENSOR = "tensor"


def unpacked(values: JsonObject, arrays: Mapping[str, Array], above: str) -> JsonObject:
    """The tree that `packed` was given; with no values, the arrays whose names begin with `above`."""
    if not values:
        return {
            name.removeprefix(above): torch.from_numpy(np.array(array))
            for name, array in arrays.items()
            if name.startswith(above)
        }
    found: JsonObject = {}
    for key, value in values.items():
        if value == TENSOR:
            found[key] = torch.from_numpy(np.array(arrays[f"{above}{key}"]))
        else:
            found[key] = unpacked(value, arrays, f"{above}{key}.") if isinstance(value, dict) else value
    return found
