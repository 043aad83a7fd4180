"""Adam on the same units: accuracy against seconds beside a run of varpro-train.

    python bench/adam_same_units.py RUN [--data DIR] [--seconds 180] [--rates 1e-3 3e-3] [--json FILE] [--png FILE]

RUN is the output folder of a job without sub-networks (varpro-train mnist_local).  Adam starts from that job's own
random units on the same windows and moves u, v, b and the linear layer together on mini-batches, cross-entropy loss,
on as many cores.  PyTorch gets each u v^T as a column of one dense matrix, since its matrix product of 784 rows is
faster than gathering windows.  Time spent on measuring accuracy is not counted.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from varpro.arrays import Array
from varpro.config.training import load_config
from varpro.models.units.images import flat_images, planes
from varpro.models.units.local_bilinear import LocalBilinearUnits
from varpro.train.data.datasets import load_dataset
from varpro.train.data.parts import Split
from varpro.train.scalarized.partition import TRAINING, Design, generator


class Net(torch.nn.Module):
    """sigma(u^T X v + b) on windows and a linear layer; the factors of a unit outside its window stay zero."""

    def __init__(self, units: LocalBilinearUnits, w: Array, n_classes: int) -> None:
        super().__init__()
        at_u, at_v = units._outer
        _, rows, columns = units.shape
        places = []
        for i, (top, left, height, width) in enumerate(units.windows):
            pixel = (np.arange(top, top + height)[:, None] * columns + np.arange(left, left + width)).ravel()
            places.append(pixel * units.count + i)
        self.size = (rows * columns, units.count)
        self.register_buffer("at_u", torch.from_numpy(at_u))
        self.register_buffer("at_v", torch.from_numpy(at_v))
        self.register_buffer("places", torch.from_numpy(np.concatenate(places)))
        self.register_buffer("at_b", torch.from_numpy(units._split[2]))
        self.w = torch.nn.Parameter(torch.from_numpy(w.astype(np.float32)))
        self.last = torch.nn.Linear(units.count, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (n, K) for pixels (n, L R)."""
        values = self.w[self.at_u] * self.w[self.at_v]
        dense = torch.zeros(self.size[0] * self.size[1]).index_put((self.places,), values).view(self.size)
        return self.last(torch.tanh(x @ dense + self.w[self.at_b]))


def train(net: Net, split: Split, *, rate: float, batch: int, seconds: float, seed: int) -> list[dict[str, float]]:
    """The curve: seconds of training, epoch, accuracies."""
    x, y = _tensors(split.train)
    held = {"validation": _tensors(split.validation), "test": _tensors(split.test)}
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    order = torch.Generator().manual_seed(seed)
    loss = torch.nn.CrossEntropyLoss()
    spent, due, curve, epoch = 0.0, 0.0, [], 0
    while spent < seconds:
        shuffled = torch.randperm(len(x), generator=order)
        for first in range(0, len(x), batch):
            clock = time.perf_counter()
            rows = shuffled[first : first + batch]
            optimiser.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimiser.step()
            spent += time.perf_counter() - clock
            if spent >= due:
                curve.append({"seconds": spent, "epoch": epoch + first / len(x), **_accuracies(net, held)})
                due = max(1.1 * spent, spent + 1)
        epoch += 1
    curve.append({"seconds": spent, "epoch": float(epoch), **_accuracies(net, held)})
    return curve


def _tensors(part: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(flat_images(planes(part.images), np.dtype(np.float32))), torch.from_numpy(part.labels)


@torch.no_grad()
def _accuracies(net: Net, held: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> dict[str, float]:
    return {
        f"{name}_accuracy": float((torch.cat([net(b) for b in x.split(2000)]).argmax(1) == y).float().mean())
        for name, (x, y) in held.items()
    }


def draw(ours: list[dict[str, float]], adam: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Test error against seconds, both axes logarithmic."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    errors = [100 * (1 - line["test_accuracy"]) for line in ours]
    axes.plot([line["seconds"] for line in ours], errors, "o-", color="black", label="varpro: refinement")
    for rate, curve in adam.items():
        axes.plot(
            [p["seconds"] for p in curve], [100 * (1 - p["test_accuracy"]) for p in curve], label=f"Adam, rate {rate}"
        )
    axes.set(xscale="log", yscale="log", xlabel="seconds of training", ylabel="test error, % (true labels)")
    axes.set_yticks([1, 1.5, 2, 3, 5, 10, 20], ["1", "1.5", "2", "3", "5", "10", "20"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)


def our_curve(run: Path) -> list[dict[str, float]]:
    """Seconds and accuracies after each accepted step of a run's refinement."""
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["phase"] == "refine" and "test_accuracy" in line]
    keys = ("validation_accuracy", "test_accuracy")
    return [{"seconds": s["elapsed_seconds"], "iteration": s["iteration"], **{k: s[k] for k in keys}} for s in steps]


def main() -> None:
    """Train with each rate, print a line for each, write JSON and PNG."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3])
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--png", type=Path, default=None)
    options = parser.parse_args()
    config = load_config(str(options.run / "config.resolved.yaml"))
    if config.model.unit != "local-bilinear" or config.subnetworks:
        parser.error(
            f"{options.run} is a run of {config.model.unit} units in {config.subnetworks} sub-networks; "
            "give one of local-bilinear units and 0 sub-networks, such as mnist_local"
        )
    ours = our_curve(options.run)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    dataset = load_dataset(config.data.source, options.data)
    split = dataset.split(config.data.validation, config.data.train, config.data.test)
    design = Design(config.model.unit, dataset.shape, config.units, config.model.options, config.model.sigma)
    units, w = design.start(generator(config.seed, TRAINING), planes(split.train.images))
    curves = {}
    for rate in options.rates:
        torch.manual_seed(config.seed)
        net = Net(units, w, dataset.n_classes)
        curves[f"{rate:g}"] = train(
            net, split, rate=rate, batch=options.batch, seconds=options.seconds, seed=config.seed
        )
        last = curves[f"{rate:g}"][-1]
        print(f"Adam, rate {rate:g}: {100 * last['test_accuracy']:.2f} % after {last['seconds']:.0f} s", flush=True)
    print(f"varpro: {100 * ours[-1]['test_accuracy']:.2f} % after {ours[-1]['seconds']:.0f} s")
    if options.json:
        document = {"varpro": ours, "adam": curves, "batch": options.batch, "threads": torch.get_num_threads()}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.png:
        draw(ours, curves, options.png)


if __name__ == "__main__":
    main()
