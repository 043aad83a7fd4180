"""Every CUDA kernel against its floor and its peers, one Gauss-Newton iteration, many fits, training: on a GPU.

    python bench/gpu.py FILE PART... [--data DIR] [--seconds S] [--tiny]

Parts: device, small, kernels, iteration, fits, train:CONFIG:SEED.  Every record is written to FILE as soon as it is
known; what FILE knows is not measured again.  A case is checked against its plain reference before it is timed.  Its
floor is the larger of its bytes over the measured copy rate and its operations over the measured rate of a matrix
product.  Medians with quartile distance.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from gpu_convolve import convolve_cases
from gpu_fits import measure_fits
from gpu_kernels import Case, Size, parts
from gpu_network import network_cases
from gpu_projector import projector_cases
from gpu_results import Results
from gpu_table import line, training_line

from varpro.arrays import Device
from varpro.config.training import load_config
from varpro.distributed.communicator import SerialCommunicator
from varpro.errors import BackendError, VarproError
from varpro.kernels import vendor
from varpro.models import QuadraticUnits
from varpro.models.units.device import DeviceUnits
from varpro.problems.separable import SeparableProblem
from varpro.train.scalarized.device_subnetworks import device_gemm_gflops

SMALL = (Size(3, 61, 7, 5, 3), Size(1, 33, 5, 1, 1), Size(2, 130, 9, 17, 10))
"""Odd sizes at which every kernel is checked first."""


@dataclass
class Clock:
    """Times work on a device: several calls between two waits, so that launches overlap with the work."""

    device: Device
    seconds: float = 0.15
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


def first_words(error: BaseException) -> str:
    """What is kept of an error."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"


def limits(device: Device, clock: Clock, size: int) -> Iterator[tuple[str, float]]:
    """Copy rate in GB/s and product rates in GFLOP/s."""
    xp = device.xp
    a = xp.asarray(np.random.default_rng(0).random(size * size * 8))
    b = xp.empty_like(a)
    copy, _ = clock(lambda: xp.copyto(b, a))
    yield "copy", 2e-9 * a.nbytes / copy
    for name, dtype in (("fp64", "float64"), ("fp32", "float32")):
        yield name, device_gemm_gflops(device, dtype, size=size)
    d = xp.asarray(np.random.default_rng(1).random((1, size, size), dtype=np.float32))
    before, vendor.BLOCK_COLUMNS = vendor.BLOCK_COLUMNS, size
    seconds, _ = clock(lambda: vendor.gram_lower(d, tf32=True))
    vendor.BLOCK_COLUMNS = before
    yield "tf32", 2e-9 * size**3 / seconds


def check_small(device: Device, results: Results) -> bool:
    """Every kernel at odd sizes against its reference: whether all agree."""
    wrong = 0
    for size in SMALL:
        for case in cases(device, size):
            built = isinstance(case, Case)
            name = f"{case.kernel}, {case.name}, {case.dtype}, {size}" if built else case
            complaint = complaint_of(case) if built else "cannot be built"
            results.put("small", name, complaint or "right")
            if complaint:
                wrong += 1
                print(f"{name}: {complaint}", flush=True)
    return wrong == 0


def complaint_of(case: Case) -> str | None:
    """What is wrong with the result of a case; None if nothing is."""
    try:
        error = case.error()
    except Exception as refused:
        return first_words(refused)
    return None if error <= case.tolerance else f"error {error:.1e} above {case.tolerance:.0e}"


def cases(device: Device, size: Size) -> Iterator[Case | str]:
    """The cases of all kernels; the words of an error where one cannot even be built."""
    for name, part in (
        *parts().items(), ("projector", projector_cases), ("convolve", convolve_cases), ("network", network_cases),
    ):  # fmt: skip
        try:
            yield from part(device, size)
        except Exception as refused:
            yield f"{name}: {first_words(refused)}"
        device.xp.get_default_memory_pool().free_all_blocks()


def measure_kernels(device: Device, clock: Clock, size: Size, rates: dict[str, float], results: Results) -> None:
    """Each case checked, timed, and set beside its floor and its peers."""
    for case in cases(device, size):
        if isinstance(case, str):
            results.put("kernels", case, {"kernel": case, "name": "", "dtype": "", "failed": "cannot be built"})
            continue
        name = f"{case.kernel}, {case.name}, {case.dtype}"
        if results.known("kernels", name):
            continue
        record: dict[str, Any] = {"kernel": case.kernel, "name": case.name, "dtype": case.dtype}
        try:
            record |= timed(case, clock, rates)
        except Exception as refused:
            record["failed"] = first_words(refused)
        results.put("kernels", name, record)
        print(line(record), flush=True)


def timed(case: Case, clock: Clock, rates: dict[str, float]) -> dict[str, Any]:
    """The record of one case."""
    error = case.error()
    if not error <= case.tolerance:
        return {"error": error, "failed": f"error {error:.1e} above {case.tolerance:.0e}: not timed"}
    median, spread = clock(case.run)
    floor = max(case.gigabytes / rates["copy"], case.gflop / rates[case.rate])
    record = {"error": error, "median_s": median, "spread_s": spread, "floor_s": floor}
    record |= {"share_of_floor": floor / median, "gigabytes": case.gigabytes, "gflop": case.gflop, "peers": {}}
    for name, peer in case.peers.items():
        try:
            theirs = clock(peer)[0] * case.parts.get(name, 1.0)
            record["peers"][name] = {"median_s": theirs, "times_slower": theirs / median}
        except Exception as refused:  # a peer may refuse a shape or run out of memory: say so and go on
            record["peers"][name] = {"failed": first_words(refused)}
    return record


def measure_iteration(device: Device, clock: Clock, size: Size, results: Results) -> None:
    """Linearisation, damped step and evaluation of all sub-networks at once."""
    rng = np.random.default_rng(0)
    images = (rng.random((size.n + 500, 1, size.side, size.side)) ** 4 * 255).astype(np.uint8)
    rows = np.stack([np.sort(rng.choice(len(images), size.n, replace=False)) for _ in range(size.problems)])
    units = QuadraticUnits((1, size.side, size.side), size.units)
    w = device.put(np.stack([units.start(np.random.default_rng(b), images[rows[b]]) for b in range(size.problems)]))
    y = device.put(np.eye(size.outputs)[rng.integers(0, size.outputs, (size.problems, size.n))])
    bound, numbers = DeviceUnits.bind(units, device.put(images), rows, "tanh"), np.arange(size.problems)
    for precision in ("float64", "float32", "tf32"):
        problem = SeparableProblem(model=bound, y=y, gn_precision=precision)
        current = problem.evaluate(w, numbers)

        def work(problem: SeparableProblem = problem, current: Any = current) -> Any:
            step = problem.linearise(current).solve(np.full(size.problems, 0.1))
            return problem.evaluate(current.w + step.delta, numbers)

        median, spread = clock(work)
        name = f"iteration of {size.problems}"
        record = {"kernel": "search", "name": name, "dtype": precision, "median_s": median, "spread_s": spread}
        results.put("kernels", f"search, {name}, {precision}", record | {"peers": {}})
        print(line(record), flush=True)


def measure_training(device: Device, config: str, seed: int, data: Path | None, overrides: list[str]) -> dict[str, Any]:
    """A whole run: the first of a process is cold."""
    from varpro.report.progress import make_display
    from varpro.train.data.datasets import load_dataset
    from varpro.train.data.prepared import Prepared
    from varpro.train.scalarized.backend import Place
    from varpro.train.scalarized.trainer import train

    comm = SerialCommunicator()
    with tempfile.TemporaryDirectory() as folder:
        settings = load_config(config, overrides, backend="cuda", output=folder, seed=seed)
        dataset = load_dataset(settings.data.source, data, comm=comm)
        with make_display(quiet=True, first_rank=True) as display:
            outcome = train(Prepared.of(settings, dataset), comm, display=display, place=Place(device))
    assert outcome is not None
    m = outcome[0].metrics
    return {"seconds": m["seconds"], "accuracy": m["test"]["accuracy"], "control": m["control"]["test_accuracy"]}


def measure(part: str, device: Device, results: Results, options: argparse.Namespace) -> bool:
    """One part; whether all is right."""
    clock = Clock(device, options.seconds)
    size = Size(problems=3, n=60, side=6, units=4, outputs=3) if options.tiny else Size()
    if part == "device":
        results.content["device"] = {"name": device.name, "memory": device.free_bytes}
        for name, rate in limits(device, clock, 64 if options.tiny else 8192):
            results.put("limits", name, rate)
    elif part == "small":
        return check_small(device, results)
    elif part == "kernels":
        measure_kernels(device, clock, size, results.content["limits"], results)
    elif part == "iteration":
        measure_iteration(device, clock, size, results)
    elif part == "fits":
        for record in measure_fits(device, 50 if options.tiny else 1_000_000):
            results.put("kernels", f"{record['kernel']}, {record['name']}, {record['dtype']}", record)
    else:
        _, config, seed = part.split(":")
        name = f"{config}, seed {seed}"
        if not results.known("training", name):
            try:
                run = measure_training(device, config, int(seed), options.data, options.overrides)
            except VarproError as refused:
                run = {"failed": first_words(refused)}
            results.put("training", name, run)
            print(training_line(name, run), flush=True)
    return not any("failed" in r for kind in ("kernels", "training") for r in results.content.get(kind, {}).values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("parts", nargs="+", metavar="PART")
    parser.add_argument("--data", type=Path, help="folder of the data sets, for the training runs")
    parser.add_argument("--seconds", type=float, default=0.15, help="spent on one piece of work, about")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the script")
    options = parser.parse_args()
    try:
        device = Device.choose()
    except BackendError as error:
        print(f"gpu.py: {error}", file=sys.stderr)
        return 2
    results = Results(options.file)
    right = [measure(part, device, results, options) for part in options.parts]
    return 0 if all(right) else 1


if __name__ == "__main__":
    raise SystemExit(main())
