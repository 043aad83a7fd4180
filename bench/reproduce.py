"""The experiments of docs/reproductions.md: runs them, keeps what is finished, writes the tables.

    python bench/reproduce.py --list
    python bench/reproduce.py --data DIR [--only NAME]... [--seeds 3] [--runs runs/reproductions] [--processes 2]
    python bench/reproduce.py --data DIR --quick            # tiny sizes, to see that everything goes through
    python bench/reproduce.py --tables                      # no runs: JSON and tables from what is there

Each run is varpro-train in a process of its own with one thread.  A finished run of the same command is not repeated,
so a second call goes on where the first stopped.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduction_tables import fill_document

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "reproductions.json"
DOCUMENT = ROOT / "docs" / "reproductions.md"
QUICK = ("data.train=600", "data.test=300", "epochs=1", "batch=100", "optimiser.milestones=[]")

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_TOP_PAD_": "67108864"}
"""glibc maps blocks above 32 MB anew each time: without these a pass over images costs up to 2.7 times as much."""


NOT_RECORDED = "not recorded"


def commit() -> str:
    """Of the sources, with a + where they have been changed since."""
    head, changed = _git("rev-parse", "--short=12", "HEAD"), _git("status", "--porcelain", "varpro", "csrc")
    return head + "+" * bool(changed) if head else NOT_RECORDED


def _git(*arguments: str) -> str:
    """What it prints; nothing where there is no repository."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def machine() -> str:
    """The processor and its cores."""
    models = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _cpuinfo() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text().splitlines() if file.exists() else []


@dataclass(frozen=True)
class Experiment:
    """A config with overrides, for several seeds."""

    name: str
    config: str
    overrides: tuple[str, ...] = ()

    def arguments(self, seed: int, quick: bool = False) -> list[str]:
        """Of varpro-train, but for --data and --output."""
        every = ("--set", f"seed={seed}", "--set", "threads=1", "--set", "device=cpu")
        return [*self.command[1:], *every, *(part for pair in QUICK if quick for part in ("--set", pair))]

    @property
    def command(self) -> list[str]:
        """What sets it apart from other experiments."""
        return ["varpro-train", self.config, *(part for pair in self.overrides for part in ("--set", pair))]


# Sizes that leave cross-entropy and the paper's objective both trained: two cores, an hour and a half in all.
INTRACLASS = ("data.train=30000", "epochs=5", "optimiser.rate=3e-3")
INWARD = ("data.train=15000", "epochs=4", "optimiser.rate=1e-2")
NULLSPACE = ("data.train=15000", "epochs=4")
SEPARABILITY = ("data.train=30000", "epochs=6", "optimiser.milestones=[4]")


def intraclass(data: str, dimensions: int, weights: Sequence[str], unit: bool = False) -> Iterator[Experiment]:
    """[IV] tables 1 and 2; cross-entropy alone is the control of the first."""
    stem = f"iv-{data}-{dimensions}d" + ("-unit" if unit else "")
    for weight in weights:
        for mode in ("eliminated",) if unit else ("eliminated", "learned"):
            variance = f"objective.intraclass_variance={{weight: {weight}, mode: {mode}}}"
            overrides = (f"data.source={data}", *INTRACLASS, f"network.embedding={dimensions}", variance)
            sphere = ("network.xi=1",) if unit else ()
            alone = () if weight == "1" and mode == "eliminated" else ("baseline=false",)
            yield Experiment(f"{stem}-{mode}-{weight}", "mnist_intraclass", (*overrides, *sphere, *alone))


def inward(data: str) -> Iterator[Experiment]:
    """[IS] appendix A and table 6; SimpleNet without the layer is the control of the first."""
    for xi in (1, 10, 100, 1000):
        alone = () if xi == 1 else ("baseline=false",)
        overrides = (f"data.source={data}", *INWARD, f"network.xi={xi}", *alone)
        yield Experiment(f"is-{data}-xi{xi}", "fashion_simplenet", overrides)


def nullspace(data: str) -> Iterator[Experiment]:
    """[NS] at the size of a CPU; cross-entropy is the control of the first."""
    common = (f"data.source={data}", *NULLSPACE)
    exact = (*common, "baseline=false", "objective.nullspace.mode=exact")
    published = ("objective.nullspace.spectral=below_mean", "objective.nullspace.scale=none")
    yield Experiment(f"ns-{data}-ridge", "mnist_nullspace", common)
    yield Experiment(f"ns-{data}-exact", "mnist_nullspace", exact)
    yield Experiment(f"ns-{data}-published", "mnist_nullspace", (*exact, *published))


def separability(data: str) -> Iterator[Experiment]:
    """[FB] with LeNet-5; without the loss is the control of the first."""
    common = (f"data.source={data}", *SEPARABILITY)
    penalty = ("objective.feed_backward=0", "objective.separability={weight: 0.1, normalise: true}")
    yield Experiment(f"fb-{data}-feedback", "mnist_separability", common)
    yield Experiment(f"fb-{data}-penalty", "mnist_separability", (*common, "baseline=false", *penalty))
    strong = "objective.feed_backward.weight=1"
    yield Experiment(f"fb-{data}-feedback-1", "mnist_separability", (*common, "baseline=false", strong))


EXPERIMENTS = [  # in the order of their weight: a stop leaves the last ones out
    *intraclass("mnist", 2, ("1",)),
    *inward("fashion"),
    *nullspace("mnist"),
    *separability("mnist"),
    *intraclass("fashion", 2, ("1",)),
    *nullspace("fashion"),
    *intraclass("mnist", 4, ("1",)),
    *intraclass("fashion", 4, ("1",)),
    *separability("fashion"),
    *list(intraclass("mnist", 2, ("1", "0.05", "0.5")))[2:],
    *inward("mnist"),
    *intraclass("mnist", 2, ("1",), unit=True),
    *intraclass("fashion", 2, ("1",), unit=True),
]


@dataclass(frozen=True)
class Run:
    """One seed of an experiment and its folder."""

    experiment: Experiment
    seed: int
    folder: Path
    quick: bool = False

    @property
    def arguments(self) -> list[str]:
        return self.experiment.arguments(self.seed, self.quick)

    def metrics(self) -> dict[str, Any] | None:
        """What it measured; None unless it is finished and is the same run."""
        command, found = self.folder / "command.json", self.folder / "metrics.json"
        if not (command.exists() and found.exists()) or json.loads(command.read_text()) != self.arguments:
            return None
        metrics: dict[str, Any] = json.loads(found.read_text())
        return metrics

    def provenance(self) -> dict[str, Any]:
        """Its seed, the commit that it ran at and the machine; what nobody wrote down is said to be so."""
        kept = self.folder / "provenance.json"
        known = json.loads(kept.read_text()) if kept.exists() else {}
        return {"seed": self.seed, **dict.fromkeys(("commit", "machine"), NOT_RECORDED), **known}

    def go(self, data: str) -> str:
        """Run it unless it is finished; a line on how it went."""
        label = f"{self.experiment.name} seed {self.seed}"
        if self.metrics() is not None:
            return f"{label}: kept"
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in ("command.json", "metrics.json"):
            (self.folder / left).unlink(missing_ok=True)
        command = [sys.executable, "-m", "varpro.cli.train", *self.arguments, "--data", data]
        command += ["--output", str(self.folder), "--overwrite", "--quiet"]
        clock = time.perf_counter()
        environment = {**os.environ, **ONE_THREAD, **KEEP_MEMORY, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        (self.folder / "output.txt").write_text(done.stdout + done.stderr)
        if done.returncode:
            return f"{label}: FAILED, see {self.folder / 'output.txt'}"
        (self.folder / "provenance.json").write_text(json.dumps({"commit": commit(), "machine": machine()}))
        (self.folder / "command.json").write_text(json.dumps(self.arguments))
        return f"{label}: {time.perf_counter() - clock:.0f} s"


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a nested mapping by their dotted names, lists left out."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield path, float(tree)


def summary(experiment: Experiment, runs: list[Run]) -> dict[str, Any] | None:
    """Mean, smallest and largest of every figure over the seeds that are finished, and the values, in the order of
    `runs`; None without any."""
    found = {run: metrics for run in sorted(runs, key=lambda run: run.seed) if (metrics := run.metrics()) is not None}
    if not found:
        return None
    by_seed = [dict(leaves(metrics)) for metrics in found.values()]
    shared = [name for name in by_seed[0] if all(name in one for one in by_seed)]
    figures = {
        name: {"mean": statistics.fmean(values), "min": min(values), "max": max(values), "values": values}
        for name in shared
        if name not in ("seed", "ranks") and (values := [one[name] for one in by_seed])
    }
    seeds, made = [run.seed for run in found], [run.provenance() for run in found]
    return {"command": experiment.command, "seeds": seeds, "runs": made, "figures": figures}


def collect(runs: list[Run], stored: dict[str, Any]) -> dict[str, Any]:
    """Summaries by name; what has no run here keeps the stored one of the same command."""
    found = {}
    for experiment in EXPERIMENTS:
        before = stored.get(experiment.name, {})
        same = before if before.get("command") == experiment.command else None
        one = summary(experiment, [run for run in runs if run.experiment == experiment]) or same
        if one:
            found[experiment.name] = one
    return found


def all_runs(folder: Path, seeds: int, quick: bool) -> list[Run]:
    """One seed of everything before the next seed, so that a stop leaves no hole."""
    return [
        Run(experiment, seed, folder / experiment.name / str(seed), quick)
        for seed in range(seeds)
        for experiment in EXPERIMENTS
    ]


def seeds_kept(folder: Path) -> int:
    """One more than the largest seed with a run in the folder."""
    return 1 + max((int(run.name) for run in folder.glob("*/*") if run.name.isdigit()), default=-1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="names and commands, then stop")
    parser.add_argument("--only", action="append", metavar="NAME", help="experiments whose name begins so; repeatable")
    parser.add_argument("--seeds", type=int, default=3, help="how many to run; the tables count all that are kept")
    parser.add_argument("--data", help="folder of the data sets")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "reproductions", help="where runs are kept")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--tables", action="store_true", help="only write the JSON and the tables")
    chosen = parser.parse_args()
    if chosen.list:
        for experiment in EXPERIMENTS:
            print(f"{experiment.name:32}", shlex.join(experiment.command))
        return 0
    folder = chosen.runs / "quick" if chosen.quick else chosen.runs
    runs = all_runs(folder, 1 if chosen.quick else chosen.seeds, chosen.quick)
    failed = 0
    if not chosen.tables:
        if not chosen.data:
            parser.error("--data names the folder that holds mnist/ and fashion-mnist/")
        os.nice(5)
        wanted = [run for run in runs if run.experiment.name.startswith(tuple(chosen.only or [""]))]
        with ThreadPoolExecutor(chosen.processes) as pool:
            for line in pool.map(lambda run: run.go(chosen.data), wanted):
                print(line, flush=True)
                failed += "FAILED" in line
    if not chosen.quick:
        stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        results = collect(all_runs(folder, seeds_kept(folder), quick=False), stored)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        fill_document(DOCUMENT, results)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
