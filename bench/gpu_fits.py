"""A million biexponential fits of 256 points: the searches with the data on the device, and the whole call."""

import time
from typing import Any

import numpy as np

import varpro
from varpro.arrays import Device
from varpro.kernels.small_fits import cuda as on_device

MODEL = varpro.models.Exponentials(2, offset=True)
START = [1.0, 7.0]


def curves(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """t (256,), y (B, 256) float32, and the lifetimes (B, 2) they were made with."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 12.5, 256)
    few = min(count, 4096)  # distinct curves, repeated: making a million takes longer than fitting them
    w = np.stack([rng.uniform(0.8, 1.2, few), rng.uniform(2.5, 3.5, few)], axis=1)
    a = rng.uniform(1, 4, (few, 3))
    y = np.einsum(
        "bi,bin->bn", a, np.stack([np.exp(-t / w[:, :1]), np.exp(-t / w[:, 1:]), np.ones((few, 256))], axis=1)
    )
    y += 0.01 * rng.standard_normal(y.shape)
    copies = np.arange(count) % few
    return t, y.astype(np.float32)[copies], w[copies]


def measure_fits(device: Device, count: int) -> list[dict[str, Any]]:
    """Seconds in each arithmetic, after the answers have been compared with the CPU's on a part."""
    t, y, _ = curves(count)
    part = min(count, 2000)
    expected = varpro.fit_batch(MODEL, t, y[:part].astype(float), START)
    records = []
    for name, options in (
        ("double", {}),
        ("single", {"dtype": np.float32}),
        ("polished", {"dtype": np.float32, "polish": True}),
    ):
        seconds, inside = [], _Inside(device)
        for _ in range(4):  # the first loads and fills the pool
            clock = time.perf_counter()
            with inside:
                found = varpro.fit_batch(MODEL, t, y, START, backend="cuda", **options)
            seconds.append(time.perf_counter() - clock)
        error = float(np.nanmax(np.abs(found.nonlinear[:part] / expected.nonlinear - 1)))
        cost = float(np.nanmax(np.abs(found.rss[:part] / expected.rss - 1)))
        record = {"kernel": "small_fits", "name": f"{count} fits of 256 points", "dtype": name, "peers": {}}
        if not cost < 1e-2:
            records.append(record | {"failed": f"residuals differ by {cost:.1e}: not timed"})
            continue
        record |= {"median_s": float(np.median(inside.seconds[1:])), "spread_s": float(np.ptp(inside.seconds[1:]))}
        records.append(record | {"error": error, "whole_call_s": float(np.median(seconds[1:]))})
        print(f"{record['name']}, {name}: search {record['median_s']:.3f} s, whole call "
              f"{records[-1]['whole_call_s']:.3f} s, lifetimes differ by {error:.1e}", flush=True)  # fmt: skip
    return records


class _Inside:
    """Adds up what the kernel takes within a call, data on the device."""

    def __init__(self, device: Device) -> None:
        self.device, self.seconds = device, []

    def __enter__(self) -> None:
        self.kept, self.spent, device = on_device.small_searches, [], self.device

        def timed(*arguments: Any, **options: Any) -> None:
            device.wait()
            clock = time.perf_counter()
            self.kept(*arguments, **options)
            device.wait()
            self.spent.append(time.perf_counter() - clock)

        on_device.small_searches = timed

    def __exit__(self, *_: Any) -> None:
        on_device.small_searches = self.kept
        self.seconds.append(sum(self.spent))
