"""Networks under Adam for the page of results: a perceptron, LeNet-5, a small modern CNN, and our own units.

Adam with a one-cycle rate, batches of 256, cross-entropy, no augmentation; the rate is chosen on the validation images
where there is more than one to choose from.  Time spent on measuring accuracy is not counted.
"""

import copy
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from varpro.arrays import Array
from varpro.config.scalarized import ScalarizedConfig
from varpro.config.training import load_config
from varpro.models.units.convolutional import ConvolutionalUnits
from varpro.models.units.convolved import blend
from varpro.models.units.images import planes
from varpro.train.data.parts import Part, Split

BATCH = 256


def perceptron(shape: tuple[int, int, int], k: int) -> nn.Module:
    """One hidden layer of 800 (Simard, Steinkraus and Platt 2003)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 800), nn.ReLU(), nn.Linear(800, k))


def lenet5(shape: tuple[int, int, int], k: int) -> nn.Module:
    """LeCun et al. 1998, with maxima and ReLU in place of their subsampling and tanh."""
    first = [nn.Conv2d(shape[0], 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    features = nn.Sequential(*first, nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2))
    size = features(torch.zeros(1, *shape)).numel()
    layers = [nn.Linear(size, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, k)]
    return nn.Sequential(features, nn.Flatten(), *layers)


def cnn(shape: tuple[int, int, int], k: int) -> nn.Module:
    """Six 3 x 3 convolutions with batch normalisation, halved twice, and global average pooling."""

    def block(inside: int, outside: int) -> list[nn.Module]:
        return [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]

    return nn.Sequential(
        *block(shape[0], 32), *block(32, 32), nn.MaxPool2d(2),
        *block(32, 64), *block(64, 64), nn.MaxPool2d(2),
        *block(64, 128), *block(128, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, k),
    )  # fmt: skip


class OurUnits(nn.Module):
    """The convolutional units of mnist_fast.yaml, from the same kind of random start, with a linear layer."""

    def __init__(self, units: ConvolutionalUnits, w: Array, k: int) -> None:
        super().__init__()
        self.tables = nn.ParameterList()
        self.patches = []
        for table, patches in units.tables(w, "smooth_abs", np.float32):
            self.tables.append(nn.Parameter(torch.from_numpy(table)))
            self.patches.append(patches)
        self.channels = units.shape[0]
        blends = [blend(units.options.cells, p.cells) for p in self.patches]
        self.blends = [None if b is None else torch.from_numpy(b.astype(np.float32)) for b in blends]
        self.last = nn.Linear(units.n_columns, k)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        columns = []
        for table, patches, smooth in zip(self.tables, self.patches, self.blends, strict=True):
            q = nn.functional.conv2d(x, self._forms(table, patches), table[-1], patches.stride, patches.padding)
            size = nn.functional.adaptive_avg_pool2d(torch.sqrt(q * q + patches.smoothing), patches.cells).flatten(2)
            columns.append((size if smooth is None else size @ smooth.T).flatten(1))
        out: torch.Tensor = self.last(torch.cat(columns, dim=1))
        return out

    def _forms(self, table: torch.Tensor, patches: Any) -> torch.Tensor:
        """The filters as dense forms (F, C, h, w): a convolution library is fastest with these."""
        h, w = patches.height, patches.width
        terms = [table[t * (h + w) :][: h + w] for t in range(patches.terms)]
        form = sum(torch.einsum("if,jf->fij", term[:h], term[h:]) for term in terms)
        if not patches.mixed:
            return form[:, None]
        return torch.einsum("fij,cf->fcij", form, table[patches.terms * (h + w) : -1])


def our_units(shape: tuple[int, int, int], k: int, images: Array, seed: int) -> nn.Module:
    """The filters of mnist_fast.yaml, scaled by the data."""
    config = load_config("mnist_fast")
    assert isinstance(config, ScalarizedConfig)
    assert config.model.sigma == "smooth_abs"
    units = ConvolutionalUnits.create(shape, config.units, np.random.default_rng(seed), config.model.options)
    return OurUnits(units, units.start(np.random.default_rng(seed), images), k)


@dataclass(frozen=True)
class Plan:
    """How long a network trains, and with which peaks of the rate."""

    epochs: int
    rates: tuple[float, ...]


PLANS = {
    "perceptron": Plan(15, (1e-3,)),
    "lenet5": Plan(15, (3e-3,)),
    "cnn": Plan(3, (1e-2,)),
    "units": Plan(5, (3e-3, 1e-2, 3e-2)),
}


def trained(name: str, split: Split, seed: int, seconds: float | None = None) -> dict[str, Any]:
    """The network with the rate that is best on the validation images.

    seconds : how long it may train at most; the cycle of the rate is then as long as that allows.
    """
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    shape = planes(split.train.images[:1]).shape[1:]
    k, plan = int(split.train.labels.max()) + 1, PLANS[name]
    makers: dict[str, Callable[[], nn.Module]] = {
        "perceptron": lambda: perceptron(shape, k),
        "lenet5": lambda: lenet5(shape, k),
        "cnn": lambda: cnn(shape, k),
        "units": lambda: our_units(shape, k, planes(split.train.images[:1000]), seed),
    }
    runs = []
    for rate in plan.rates:
        torch.manual_seed(seed)
        net = makers[name]()
        runs.append((_train(net, split, rate, plan.epochs, seed, seconds), rate))
    curve, rate = max(runs, key=lambda run: run[0][-1]["validation"])
    parameters = sum(p.numel() for p in net.parameters())
    of = f" of {', '.join(f'{r:g}' for r in plan.rates)}" if len(plan.rates) > 1 else ""
    return {
        "test": curve[-1]["test"],
        "validation": curve[-1]["validation"],
        "seconds": curve[-1]["seconds"],
        "parameters": parameters,
        "kilobytes": 4 * parameters / 1024,
        "chosen": f"{_length(curve[-1])}, rate {rate:g}{of}",
        "curve": curve,
    }


def _length(end: dict[str, float]) -> str:
    """How long a network has trained, for the reader."""
    return f"{end['epochs']:.3g} epoch{'' if end['epochs'] == 1 else 's'}"


def _train(
    net: nn.Module, split: Split, rate: float, epochs: int, seed: int, seconds: float | None
) -> list[dict[str, float]]:
    """The curve, a line for each epoch and one for the end."""
    x, y = _tensors(split.train)
    held = {"validation": _tensors(split.validation), "test": _tensors(split.test)}
    each = -(-len(x) // BATCH)
    steps = epochs * each if seconds is None else min(epochs * each, _steps_within(seconds, net, x, y))
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    order = torch.Generator().manual_seed(seed)
    spent, curve, done = 0.0, [], 0
    while done < steps:
        net.train()
        clock = time.perf_counter()
        for rows in torch.randperm(len(x), generator=order).split(BATCH)[: steps - done]:
            _step(net, optimiser, x[rows], y[rows])
            schedule.step()
            done += 1
        spent += time.perf_counter() - clock
        curve.append({"seconds": spent, "epochs": done / each, **_accuracies(net, held)})
        told = f"{done} of {steps} steps, rate {rate:g}: {spent:.0f} s, validation {curve[-1]['validation']:.4f}"
        print(told, file=sys.stderr, flush=True)
    return curve


def _step(net: nn.Module, optimiser: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    optimiser.zero_grad()
    nn.functional.cross_entropy(net(_pixels(x)), y).backward()
    optimiser.step()


def _steps_within(seconds: float, net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> int:
    """How many steps fit; how long one takes is measured on a copy of the network."""
    other, times = copy.deepcopy(net), []
    optimiser = torch.optim.Adam(other.parameters(), lr=0.0)
    for _ in range(6):
        clock = time.perf_counter()
        _step(other, optimiser, x[:BATCH], y[:BATCH])
        times.append(time.perf_counter() - clock)
    return max(2, int(seconds / min(times[1:])))


def _tensors(part: Part) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(planes(part.images).copy()), torch.from_numpy(part.labels)


def _pixels(x: torch.Tensor) -> torch.Tensor:
    return x.float() / (255 if x.dtype == torch.uint8 else 1)


@torch.no_grad()
def _accuracies(net: nn.Module, held: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> dict[str, float]:
    net.eval()
    return {
        name: float((torch.cat([net(_pixels(b)) for b in x.split(1000)]).argmax(1) == y).float().mean())
        for name, (x, y) in held.items()
    }
