"""What the PyTorch adapter adds to a loss: forward and backward of a module beside value and gradient of varpro.losses.

    python bench/losses_torch.py [--seconds S] [--json FILE]

The same features, as a leaf tensor and as the array that shares its memory, one call of either in turn; the values and
gradients are compared bit by bit before anything is timed.  Set OPENBLAS_NUM_THREADS=1 for one core.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from varpro import losses
from varpro.adapters import torch as vt

Call = Callable[[], tuple[float, Any]]


@dataclass(frozen=True)
class Row:
    name: str
    dtype: str
    losses_ms: float
    losses_spread_ms: float
    torch_ms: float
    torch_spread_ms: float

    @property
    def overhead(self) -> float:
        return 100 * (self.torch_ms / self.losses_ms - 1)


CASES: dict[str, tuple[tuple[int, int, int], torch.nn.Module, Any]] = {
    "NullSpaceLoss exact": ((400, 800, 10), vt.NullSpaceLoss(mode="exact"), losses.NullSpaceLoss(mode="exact")),
    "NullSpaceLoss ridge": ((2000, 512, 100), vt.NullSpaceLoss(), losses.NullSpaceLoss()),
    "NullSpaceLoss ridge, small": ((128, 64, 10), vt.NullSpaceLoss(), losses.NullSpaceLoss()),
    "VarproHead": ((2000, 512, 100), vt.VarproHead(100), losses.EliminatedLinear(100)),
    "VarproHead, small": ((128, 64, 10), vt.VarproHead(10), losses.EliminatedLinear(10)),
    "IntraClassVariance": ((2000, 512, 100), vt.IntraClassVariance(), losses.IntraClassVariance()),
    "FeedBackward eliminated": (
        (2000, 512, 100),
        vt.FeedBackward(eliminate=True),
        losses.FeedBackward(eliminate=True),
    ),
    "ContrastiveLoss": ((400, 64, 100), vt.ContrastiveLoss(), losses.ContrastiveLoss()),
}


def pair(shape: tuple[int, int, int], module: torch.nn.Module, loss: Any, dtype: torch.dtype) -> tuple[Call, Call]:
    """The call of varpro.losses and that of the module."""
    n, d, c = shape
    rng = np.random.default_rng(0)
    labels = np.arange(n) % c
    f = torch.tensor(rng.standard_normal((n, d)) + rng.standard_normal((c, d))[labels], dtype=dtype)
    rows, y = f.numpy(), torch.tensor(labels)
    leaf = f.requires_grad_()

    def direct() -> tuple[float, Any]:
        result = loss(rows, labels)
        return result.value, result.gradient

    def adapted() -> tuple[float, Any]:
        value = module(leaf, y)
        (gradient,) = torch.autograd.grad(value, leaf)  # as it reaches the layer before
        return value.detach(), gradient

    return direct, adapted


def in_turn(calls: tuple[Call, ...], seconds: float) -> list[tuple[float, float]]:
    """Median and quartile distance in ms of each."""
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    while len(times[0]) < 5 or time.perf_counter() < end:
        for call, spent in zip(calls, times, strict=True):
            begin = time.perf_counter()
            call()
            spent.append(1e3 * (time.perf_counter() - begin))
    quartiles = [statistics.quantiles(spent, n=4) for spent in times]
    return [(q[1], q[2] - q[0]) for q in quartiles]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row")
    parser.add_argument("--json", type=Path, help="file for the rows")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print(f"{'':46}{'':9}{'losses ms':>10}{'spread':>8}{'torch ms':>10}{'spread':>8}{'adds ms':>9}{'%':>7}")
    for name, (shape, module, loss) in CASES.items():
        for dtype in (torch.float32, torch.float64):
            calls = pair(shape, module, loss, dtype)
            (value, gradient), (ours, ours_gradient) = (call() for call in calls)
            if float(torch.tensor(value, dtype=dtype)) != float(ours) or not np.array_equal(gradient, ours_gradient):
                sys.exit(f"{name} {shape}: the module does not give what the loss gives; nothing timed")
            (direct, spread), (adapted, adapted_spread) = in_turn(calls, arguments.seconds)
            row = Row(f"{name} {shape}", str(dtype)[6:], direct, spread, adapted, adapted_spread)
            rows.append(row)
            times = f"{direct:10.2f}{spread:8.2f}{adapted:10.2f}{adapted_spread:8.2f}"
            print(f"{row.name:46}{row.dtype:9}{times}{adapted - direct:9.2f}{row.overhead:7.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) | {"overhead": row.overhead} for row in rows], indent=1))


if __name__ == "__main__":
    main()
