"""The results of a scalarized training as states of a checkpoint, and back: sub-networks and linear layers."""

from dataclasses import asdict

import numpy as np

from varpro.models.units import find_kind
from varpro.report.record import JsonObject
from varpro.result import IterationRecord, Status
from varpro.train.checkpoint import State
from varpro.train.scalarized.glue import Glued
from varpro.train.scalarized.subnetworks import Failed, Trained

UNIT = "unit."
"""Begins the names of the arrays that belong to the kind of unit."""
PLAIN = ("index", "iterations", "evaluations", "cost", "gflop", "started", "seconds", "redrawn")


def state_of(result: Trained | Failed, rank: int) -> State:
    """One sub-network, trained or left out, and the rank that worked on it."""
    if isinstance(result, Failed):
        return State({"failed": asdict(result), "rank": rank})
    units = result.units
    values = {name: getattr(result, name) for name in PLAIN}
    values |= {"status": int(result.status), "rank": rank}
    values |= {"kind": units.kind, "shape": list(units.shape), "count": units.count}
    history = np.array(result.history, dtype=np.float64).reshape(-1, len(IterationRecord._fields))
    stored = {f"{UNIT}{name}": values for name, values in units.stored().items()}
    return State(values, {"w": result.w, "history": history, **stored})


def result_of(state: State) -> tuple[Trained | Failed, int]:
    """The sub-network of a state, and the rank."""
    values = state.values
    if "failed" in values:
        return Failed(**values["failed"]), int(values["rank"])
    arrays = {name.removeprefix(UNIT): a for name, a in state.arrays.items() if name.startswith(UNIT)}
    shape = tuple(int(n) for n in values["shape"])
    units = find_kind(values["kind"], running=False).restored(shape, int(values["count"]), arrays)
    history = [
        IterationRecord(int(b), int(i), cost, damping, gain, bool(accepted), int(rank))
        for b, i, cost, damping, gain, accepted, rank in state.arrays["history"].tolist()
    ]
    plain: JsonObject = {name: values[name] for name in PLAIN}
    trained = Trained(units=units, w=state.arrays["w"], status=Status(values["status"]), history=history, **plain)
    return trained, int(values["rank"])


def state_of_layer(glued: Glued) -> State:
    """A linear layer."""
    values = {name: getattr(glued, name) for name in ("ridge", "rank", "condition", "residual")}
    return State(values, {"a": glued.a})


def layer_of(state: State) -> Glued:
    """The linear layer of a state."""
    return Glued(state.arrays["a"], **state.values)
