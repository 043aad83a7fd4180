"""Every CUDA kernel against its floor and its peers, one Gauss-Newton iteration, a training run: measured on a GPU.

    python bench/gpu.py --json FILE --table FILE [--data DIR]

A case is checked against its plain reference before it is timed.  The floor of a case is the larger of its bytes over
the measured copy rate and its operations over the measured rate of a matrix product.  Medians with quartile distance.
"""

import argparse
import datetime
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from gpu_fits import measure_fits
from gpu_kernels import Size, cases

from varpro.arrays import Device
from varpro.config.training import load_config
from varpro.distributed.communicator import SerialCommunicator
from varpro.errors import BackendError
from varpro.models import QuadraticUnits
from varpro.models.units.device import DeviceUnits
from varpro.problems.separable import SeparableProblem
from varpro.train.scalarized.device_subnetworks import device_gemm_gflops


@dataclass
class Clock:
    """Times work on a device: several calls between two waits, so that launches overlap with the work."""

    device: Device
    seconds: float = 0.5
    """spent on one piece of work, about"""

    def __call__(self, work: Callable[[], Any]) -> tuple[float, float]:
        """Median and quartile distance of a call, seconds."""
        self._block(work, 1)  # loads libraries and fills the memory pool
        one = self._block(work, 1)
        calls = max(1, min(20, int(0.02 / max(one, 1e-6))))
        blocks = max(5, min(25, int(self.seconds / max(calls * one, 1e-6))))
        times = [self._block(work, calls) / calls for _ in range(blocks)]
        low, middle, high = statistics.quantiles(times, n=4)
        return middle, high - low

    def _block(self, work: Callable[[], Any], calls: int) -> float:
        self.device.wait()
        clock = time.perf_counter()
        for _ in range(calls):
            work()
        self.device.wait()
        return time.perf_counter() - clock


def limits(device: Device, clock: Clock, size: int) -> dict[str, float]:
    """Copy rate in GB/s and product rates in GFLOP/s."""
    xp = device.xp
    a = xp.ones(size * size * 8)
    b = xp.empty_like(a)
    copy, _ = clock(lambda: xp.copyto(b, a))
    rates = {"copy": 2e-9 * a.nbytes / copy}
    for name, dtype in (("fp64", "float64"), ("fp32", "float32")):
        rates[name] = device_gemm_gflops(device, dtype, size=size)
    from varpro.kernels import vendor

    d = xp.ones((1, size, size), dtype=np.float32)
    before, vendor.BLOCK_COLUMNS = vendor.BLOCK_COLUMNS, size
    seconds, _ = clock(lambda: vendor.gram_lower(d, tf32=True))
    vendor.BLOCK_COLUMNS = before
    rates["tf32"] = 2e-9 * size**3 / seconds
    return rates


def measure_kernels(device: Device, clock: Clock, size: Size, rates: dict[str, float]) -> list[dict[str, Any]]:
    """Each case checked, timed, and set beside its floor and its peers."""
    records = []
    for case in cases(device, size):
        error = case.error()
        record: dict[str, Any] = {"kernel": case.kernel, "name": case.name, "dtype": case.dtype, "error": error}
        if not error <= case.tolerance:
            records.append(record | {"failed": f"error {error:.1e} above {case.tolerance:.0e}: not timed"})
            continue
        median, spread = clock(case.run)
        floor = max(case.gigabytes / rates["copy"], case.gflop / rates[case.rate])
        record |= {"median_s": median, "spread_s": spread, "floor_s": floor, "share_of_floor": floor / median}
        record |= {"gigabytes": case.gigabytes, "gflop": case.gflop, "peers": {}}
        for name, peer in case.peers.items():
            try:
                theirs = clock(peer)[0] * case.parts.get(name, 1.0)
                record["peers"][name] = {"median_s": theirs, "times_slower": theirs / median}
            except Exception as refused:  # a peer may refuse a shape or run out of memory: say so and go on
                record["peers"][name] = {"failed": str(refused).partition("\n")[0][:200]}
        records.append(record)
        print(line(record), flush=True)
    return records


def line(record: dict[str, Any]) -> str:
    """A row of the table."""
    head = f"{record['kernel']:18} {record['name']:28} {record['dtype']:8}"
    if "failed" in record:
        return f"{head} {record['failed']}"
    peers = "; ".join(
        f"{name} {p['times_slower']:.1f}x" if "times_slower" in p else f"{name} failed"
        for name, p in record.get("peers", {}).items()
    )
    share = f"{100 * record['share_of_floor']:5.0f} %" if "share_of_floor" in record else "       "
    return f"{head} {1e3 * record['median_s']:9.3f} ms  +-{1e3 * record['spread_s']:.3f}  {share}  {peers}"


def measure_iteration(device: Device, clock: Clock, size: Size) -> list[dict[str, Any]]:
    """Linearisation, damped step and evaluation of all sub-networks at once."""
    rng = np.random.default_rng(0)
    images = (rng.random((size.n + 500, 1, size.side, size.side)) ** 4 * 255).astype(np.uint8)
    rows = np.stack([np.sort(rng.choice(len(images), size.n, replace=False)) for _ in range(size.problems)])
    units = QuadraticUnits((1, size.side, size.side), size.units)
    w = device.put(np.stack([units.start(np.random.default_rng(b), images[rows[b]]) for b in range(size.problems)]))
    y = device.put(np.eye(size.outputs)[rng.integers(0, size.outputs, (size.problems, size.n))])
    bound, numbers, records = (
        DeviceUnits.bind(units, device.put(images), rows, "tanh"),
        np.arange(size.problems),
        [],
    )
    for precision in ("float64", "float32", "tf32"):
        problem = SeparableProblem(model=bound, y=y, gn_precision=precision)
        current = problem.evaluate(w, numbers)

        def work(problem: SeparableProblem = problem, current: Any = current) -> Any:
            step = problem.linearise(current).solve(np.full(size.problems, 0.1))
            return problem.evaluate(current.w + step.delta, numbers)

        median, spread = clock(work)
        name = f"iteration of {size.problems}"
        records.append(
            {"kernel": "search", "name": name, "dtype": precision, "median_s": median, "spread_s": spread, "peers": {}}
        )
        print(line(records[-1]), flush=True)
    return records


def measure_training(device: Device, config: str, data: Path | None, overrides: list[str]) -> list[dict[str, Any]]:
    """The main job, three times in one process: the first time is cold, the others are warm."""
    from varpro.report.progress import make_display
    from varpro.train.data.datasets import load_dataset
    from varpro.train.scalarized.trainer import train

    runs, comm = [], SerialCommunicator()
    for attempt in range(3):
        with tempfile.TemporaryDirectory() as folder:
            settings = load_config(config, overrides, backend="cuda", output=folder, seed=attempt)
            dataset = load_dataset(settings.data.source, data, comm=comm)
            with make_display(quiet=True, first_rank=True) as display:
                outcome = train(settings, comm, dataset=dataset, display=display, device=device)
        assert outcome is not None
        m = outcome[0].metrics
        s = m["seconds"]
        accuracy, control = m["test"]["accuracy"], m["control"]["test_accuracy"]
        runs.append({"seed": attempt, "seconds": s, "accuracy": accuracy, "control": control})
        print(f"{config}, run {attempt}: sub-networks {s['subnetworks']:.3f} s, glue {s['glue']:.3f} s, "
              f"total {s['total']:.2f} s, test accuracy {100 * runs[-1]['accuracy']:.2f} %", flush=True)  # fmt: skip
    return runs


def training_line(config: str, run: dict[str, Any]) -> str:
    """A row of the table."""
    s = run["seconds"]
    return (
        f"{config}, seed {run['seed']}: sub-networks {s['subnetworks']:.3f} s, glue {s['glue']:.3f} s, "
        f"all {s['total']:.2f} s, test accuracy {100 * run['accuracy']:.2f} %, control {100 * run['control']:.2f} %"
    )


def table(report: dict[str, Any]) -> str:
    """What is committed beside the JSON."""
    rates = report["limits"]
    lines = [
        f"# {report['device']}, {report['date']}",
        "",
        f"Copy {rates['copy']:,.0f} GB/s; matrix product {rates['fp64']:,.0f} GFLOP/s in fp64, "
        f"{rates['fp32']:,.0f} in fp32, {rates['tf32']:,.0f} in tf32. Share: of the floor given by these.",
        "",
        "```",
        *(line(r) for r in report["kernels"]),
        *(training_line(r["config"], t) for r in report["training"] for t in r["runs"]),
        "```",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of the data sets, for the training run")
    parser.add_argument("--config", default="mnist", help="trained end to end; none leaves it out")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the script")
    options = parser.parse_args()
    try:
        device = Device.choose()
    except BackendError as error:
        print(f"gpu.py: {error}", file=sys.stderr)
        return 2
    clock = Clock(device, 0.01 if options.tiny else 0.5)
    size = Size(problems=3, n=60, side=6, units=4, outputs=3) if options.tiny else Size()
    rates = limits(device, clock, 64 if options.tiny else 8192)
    print({k: round(v) for k, v in rates.items()}, flush=True)
    report = {
        "device": device.name, "date": datetime.date.today().isoformat(), "limits": rates, "size": vars(size),
        "kernels": measure_kernels(device, clock, size, rates) + measure_iteration(device, clock, size)
        + measure_fits(device, 50 if options.tiny else 1_000_000),
        "training": [],
    }  # fmt: skip
    if options.config != "none":
        runs = measure_training(device, options.config, options.data, options.overrides)
        report["training"] = [{"config": options.config, "runs": runs}]
    options.json.write_text(json.dumps(report, indent=1) + "\n")
    options.table.write_text(table(report))
    return 1 if any("failed" in r for r in report["kernels"]) else 0


if __name__ == "__main__":
    raise SystemExit(main())
