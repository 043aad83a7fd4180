"""Trainings in float64 for test_layered_ranks.py, whose ranks run this file: `python layered_ranks.py FOLDER`."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

from varpro.cli import _guard
from varpro.config.layered import LayeredConfig
from varpro.distributed import Communicator
from varpro.report.progress import Display
from varpro.train.data.datasets import load_dataset
from varpro.train.layered.network import LayeredNetwork
from varpro.train.layered.objective import WeightedSum
from varpro.train.layered.training import Images, Loop

SGD = {"kind": "sgd", "rate": 0.02}
COMMON = {"data": {"source": "digits"}, "batch": 61, "epochs": 2, "optimiser": SGD}
CASES = {
    # feed_backward and separability take W directly, the centroids are parameters of the objective
    "terms": {
        "network": {"name": "simplenet_small", "embedding": 11, "xi": 0.5, "learnable_xi": True},
        "objective": {
            "cross_entropy": 1,
            "intraclass_variance": {"weight": 0.3, "mode": "learned"},
            "feed_backward": {"weight": 0.1},
            "separability": {"weight": 0.1},
        },
    },
    # no sums over samples: a rank that saw its own part only would go elsewhere
    "whole batches": {
        "network": {"name": "simplenet_small", "embedding": 12},
        "objective": {"cross_entropy": 0, "nullspace": {"ridge": 0.1}, "contrastive": 0.5},
        "balanced": True,
    },
    "eliminated layer": {
        "network": {"name": "simplenet_small", "embedding": 12},
        "objective": {"cross_entropy": 0, "varpro_head": {"memory": 0.5}},
    },
    # centroids that each call moves on, and a batch normalisation that sees a part of the batch
    "normalised": {
        "network": {"name": "intraclass_light", "embedding": 3},
        "objective": {"cross_entropy": 1, "intraclass_variance": {"mode": "proximal"}},
    },
}


def trained(name: str, comm: Communicator) -> dict[str, np.ndarray]:
    """The numbers of a network and its centroids after a few steps on the digits."""
    config = LayeredConfig.model_validate({**COMMON, **CASES[name]})
    part = load_dataset("digits").train
    torch.manual_seed(3)
    network = LayeredNetwork(config.plan((1, 8, 8), 10)).double()
    terms = WeightedSum(config, config.objective, 10, network.plan.embedding, comm).double()
    images = Images(torch.tensor(part.images[:211, None], dtype=torch.float64), torch.tensor(part.labels[:211]))
    Loop(config, comm, network, terms, images, name).run(Display(), lambda epoch: {})
    state = network.state_dict() | {
        f"terms.{key}": value for key, value in terms.state_dict().items() if isinstance(value, torch.Tensor)
    }
    return {key: value.numpy().copy() for key, value in state.items()}


def main(comm: Communicator) -> int:
    """Every case on these ranks; rank 0 keeps the numbers and tells whether all ranks have the same bits."""
    same = {}
    for name in CASES:
        state = trained(name, comm)
        digest = hashlib.sha256(b"".join(value.tobytes() for value in state.values())).hexdigest()
        same[name] = len(set(comm.allgather(digest))) == 1
        if comm.rank == 0:
            np.savez(Path(sys.argv[1]) / f"{name}.npz", **state)
    if comm.rank == 0:
        print(json.dumps(same))
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    raise SystemExit(_guard.run("layered_ranks", main))
