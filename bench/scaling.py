"""Time for R ranks: small runs here on 1, 2, 4 and 8 ranks beside the model, then the model up to 1,024.

    python bench/scaling.py                        runs, and prints two tables
    python bench/scaling.py --ranks 1 2 --json FILE

One BLAS thread and one worker per rank.  The model (scaling_model.py) sees the run on one rank, the time of a Cholesky
factorisation, and latency and bandwidth as measured between two ranks; it is then asked for the others.  Where ranks
outnumber the cores they share them, which the model counts as division of the cores: such rows test the messages and
the queue, not the speed.  Far from here it assumes that ranks have a core each with the rate of this one, blocks of
equal cost, sums over ranks by halving, latency 2 us and bandwidth 10 GB/s, and a network without noise or contention.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np
import scipy.linalg
from scaling_model import Machine, Phase, gluing, refinement

MINIMAL = ["bootstrap=false", "control=false", "data.train=8000", "glue.block_rows=250"]
RUNS = {
    "quadratic": ["mnist", "subnetworks=16", "units=20", "samples=800", "search.iterations=4"],
    "refinement": ["mnist_local", "units=200", "refine.iterations=2", "refine.first_rows=4000", "refine.products=5"],
    "convolutional": [
        "mnist_conv", "subnetworks=0", "units=8", "refine.enabled=true", "refine.iterations=2", "refine.products=5",
        "refine.first_rows=2000",
    ],
}  # fmt: skip
"""A config and its settings, whose phases test gluing, refinement and convolutional Gauss-Newton."""
FAR = (1, 16, 64, 256, 1024)
CLUSTER = Machine(latency=2e-6, bandwidth=1e10)
"""An ordinary interconnect of 100 Gbit/s."""
PING = """
import sys, time, numpy as np
from varpro.distributed import world
comm = world()
for size in (1, 1 << 20):
    a, best = np.zeros(size), 1e9
    for _ in range(30):
        comm.barrier(); clock = time.perf_counter(); comm.allreduce_(a); best = min(best, time.perf_counter() - clock)
    if comm.rank == 0: print(best)
"""


def run(name: str, ranks: int, folder: Path) -> dict:
    """metrics.json of a run, with the size of its network."""
    config, *settings = RUNS[name]
    options = [part for setting in settings + MINIMAL for part in ("--set", setting)]
    output = folder / f"{name}-{ranks}"
    launch(ranks, "-m", "varpro.cli.train", config, *options, "--quiet", "--output", str(output), "--overwrite")
    return json.loads((output / "metrics.json").read_text())


def launch(ranks: int, *arguments: str) -> str:
    """What the ranks print; one thread each."""
    beside = Path(sys.executable).parent / "mpirun"
    mpirun = [str(beside) if beside.exists() else "mpirun", "-n", str(ranks)] if ranks > 1 else []
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMPI_ALLOW_RUN_AS_ROOT"), "1")
    one |= {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
    python = [sys.executable, "-m", "mpi4py"] if ranks > 1 else [sys.executable]
    done = subprocess.run(
        [*mpirun, *python, *arguments], env={**os.environ, **one}, capture_output=True, text=True, timeout=900
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} on {ranks} ranks: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def machine_here(folder: Path) -> Machine:
    """Latency and bandwidth between two ranks here, by the model's formula for a sum over two ranks."""
    script = folder / "ping.py"
    script.write_text(PING)
    small, large = map(float, launch(2, str(script)).split())
    return Machine(latency=small / 4, bandwidth=2**23 / max(large - small, 1e-9), cores=len(os.sched_getaffinity(0)))


def cholesky_seconds(columns: int) -> float:
    """One factorisation here, the best of three."""
    a = np.random.default_rng(0).standard_normal((columns, columns))
    gram, best = a @ a.T + columns * np.eye(columns), np.inf
    for _ in range(3):
        clock = time.perf_counter()
        scipy.linalg.cholesky(gram, lower=True)
        best = min(best, time.perf_counter() - clock)
    return best


def phases(name: str, metrics: dict) -> dict[str, Phase]:
    """The phases of a run on one rank, as the model sees them."""
    seconds, classes = metrics["seconds"], len(metrics["class_names"])
    columns, parameters = metrics["parameters"]["linear"] // classes, metrics["parameters"]["nonlinear"]
    cholesky, blocks = cholesky_seconds(columns), ceil(8000 / 250)
    found = {}
    if metrics["subnetworks"]:
        handed = (metrics["checkpoint"]["seconds"] + metrics["traffic"][0]["queue_seconds"]) / len(
            metrics["subnetworks"]
        )
        work = sum(part["seconds"] for part in metrics["subnetworks"])
        found["sub-networks"] = Phase(work=work, parts=len(metrics["subnetworks"]), handed=handed)
    else:
        steps, products = metrics["refine"]["iterations"], metrics["refine"]["products"]
        found[name] = refinement(
            work=max(seconds["refine"] - steps * cholesky, 0.0), cholesky=cholesky, columns=columns,
            parameters=parameters, blocks=blocks, steps=steps, products=products,
        )  # fmt: skip
    work = max(seconds["glue"] - 5 * cholesky, 0.0)
    found[f"gluing, {name}"] = gluing(work=work, cholesky=cholesky, columns=columns, blocks=blocks)
    return found


def measured(phase: str, metrics: dict) -> float:
    """What the phase took in a run."""
    seconds = metrics["seconds"]
    return seconds["subnetworks" if phase == "sub-networks" else "glue" if phase.startswith("gluing") else "refine"]


def large(phase: Phase, factor: float, parts: int) -> Phase:
    """The same work `factor` times, in so many parts: more rows, or more sub-networks."""
    return replace(phase, work=factor * phase.work, parts=parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--factor", type=float, default=1000.0, help="how many times the work, far from here")
    parser.add_argument("--json", type=Path, help="also write the tables to a file")
    options = parser.parse_args()
    rows, far = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        here = machine_here(folder)
        print(f"here: {here.cores:g} cores, latency {1e6 * here.latency:.1f} us, {here.bandwidth / 1e9:.2f} GB/s")
        print(f"{'phase':<26}{'ranks':>6}{'measured s':>12}{'model s':>10}{'ratio':>8}")
        for kind in RUNS:
            first = run(kind, 1, folder)
            modelled = phases(kind, first)
            for ranks in options.ranks:
                metrics = first if ranks == 1 else run(kind, ranks, folder)
                for phase, model in modelled.items():
                    took, told = measured(phase, metrics), model.seconds(ranks, here)
                    rows.append({"phase": phase, "ranks": ranks, "measured": took, "model": told})
                    shared = " *" if ranks > here.cores else ""
                    print(f"{phase:<26}{ranks:>6}{took:>12.2f}{told:>10.2f}{took / told:>8.2f}{shared}", flush=True)
            for phase, model in modelled.items():
                bigger = large(model, options.factor, round(model.parts * options.factor))
                far.append({"phase": phase, **{str(ranks): bigger.seconds(ranks, CLUSTER) for ranks in FAR}})
    print("* more ranks than cores\n")
    print(f"model, {options.factor:g} times the work: seconds (efficiency)")
    print(f"{'phase':<26}" + "".join(f"{ranks:>16}" for ranks in FAR))
    for line in far:
        alone = line["1"]
        cells = (f"{line[str(r)]:.1f} ({100 * alone / r / line[str(r)]:.0f} %)" for r in FAR)
        print(f"{line['phase']:<26}" + "".join(f"{cell:>16}" for cell in cells))
    if options.json:
        options.json.write_text(json.dumps({"here": vars(here), "runs": rows, "far": far}, indent=1) + "\n")


if __name__ == "__main__":
    main()
