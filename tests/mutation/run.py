"""Do the tests notice?  Small faults are put into a copy of the sources, one at a time, and the tests are run on each.

    python -m tests.mutation.run [--paths varpro/losses ...] [--count 150] [--seed 0] [--processes 2]
                                 [--least 0.9] [--report FILE] [--list] [--maps FOLDER] [--longest SECONDS]

A fault is killed by a test that fails, by a crash or by a run that takes far too long; one that does not compile does
not count.  Survivors are printed with the source line and its replacement.  Those in tests/mutation/explained.json
change nothing that a test could see, or only the speed: they are listed separately and do not count.  The exit status
is 1 if a smaller share than --least is killed, 0 otherwise; the sources themselves are never touched.
"""

import argparse
import contextlib
import functools
import json
import math
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.mutation import cpp_operators, python_operators
from tests.mutation.covering import Covering
from tests.mutation.explained import Explained, read_explained
from tests.mutation.maps import Maps
from tests.mutation.mutant import Mutant
from tests.mutation.sandbox import INVALID, KILLED, LONGEST, SURVIVED, TIMEOUT, Sandbox
from tests.mutation.targets import DEFAULT_PATHS, files, suite_of

ROOT = Path(__file__).resolve().parents[2]
PRELOADED = (
    "numpy", "scipy.linalg", "scipy.optimize", "scipy.special", "scipy.stats", "pytest", "hypothesis", "pydantic",
    "h5py", "torch", "sklearn.linear_model", "pandas", "matplotlib.figure",
)  # fmt: skip
SLACK, FACTOR = 30.0, 4.0
"""Seconds, and the multiple of the time of the tests without a fault, after which a run has failed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    outcome: str
    becomes: str
    tests: int
    """How many were to be run"""
    seconds: float


def all_mutants(root: Path, paths: Sequence[str]) -> list[Mutant]:
    """Of every file at or below the paths."""
    found: list[Mutant] = []
    for path in files(root, tuple(paths)):
        operators = python_operators if path.endswith(".py") else cpp_operators
        found.extend(operators.mutants(path, (root / path).read_text(encoding="utf-8")))
    return found


def sample(mutants: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """At most `count` of them, drawn at random, those of a file together: compiled files are then built less often."""
    drawn = random.Random(seed).sample(list(mutants), min(count, len(mutants)))
    return sorted(drawn, key=lambda m: (m.path, m.begin, m.text))


_sandbox: Sandbox | None = None


def _start(root: Path, folder: Path) -> None:
    """In each worker: a copy of its own, and the libraries that every test imports."""
    global _sandbox
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            __import__(name)
    place = folder / f"copy-{os.getpid()}"
    place.mkdir()
    _sandbox = Sandbox(root, place)


def _unharmed(tests: tuple[str, ...]) -> float:
    """Seconds that the tests take without a fault.  Raises RuntimeError where they fail, or nothing can be built."""
    assert _sandbox is not None
    if not _sandbox.compile():
        raise RuntimeError("no fault, and yet the kernels do not compile")
    clock = time.monotonic()
    outcome, said = _sandbox.test([t for t in tests if (_sandbox.place / t).exists()], LONGEST)
    if outcome != SURVIVED:
        raise RuntimeError(f"no fault, and yet: {outcome}: {' '.join(tests)}\n{said[-3000:]}")
    return time.monotonic() - clock


def _record(tests: list[str], traced: list[str], file: Path) -> None:
    assert _sandbox is not None
    said = _sandbox.record(tests, traced, file)
    if not file.exists() or not json.loads(file.read_text(encoding="utf-8")):
        raise RuntimeError(f"no fault, and yet these tests do not run: {' '.join(tests)}\n{said[-3000:]}")


def _judge(mutant: Mutant, seconds: dict[tuple[str, ...], float], maps: Maps, longest: float) -> Verdict:
    assert _sandbox is not None
    clock = time.monotonic()
    source, suite = (_sandbox.place / mutant.path).read_bytes(), suite_of(mutant.path)
    outcome = SURVIVED
    if mutant.path.endswith(".py"):
        covering = Covering(maps.of(suite), longest)
        tests = covering.tests(mutant.path, source.decode(), mutant.line)
        usual = sum(covering.met[test]["seconds"] for test in tests)
    else:
        tests, usual = [t for t in suite if (_sandbox.place / t).exists()], seconds[suite]
    if tests:
        outcome = _sandbox.try_mutant(mutant, tests, SLACK + FACTOR * usual)
    return Verdict(mutant, outcome, mutant.becomes(source), len(tests), time.monotonic() - clock)


def verdicts(
    root: Path, mutants: Sequence[Mutant], processes: int, kept: Path | None = None, longest: float = math.inf
) -> Iterator[Verdict]:
    """One after the other, as they are found.  Raises RuntimeError where tests fail or do not run without any."""
    with tempfile.TemporaryDirectory(prefix="varpro-mutants-") as folder:
        maps = Maps(root, kept or Path(folder) / "maps")
        context = multiprocessing.get_context("spawn")
        with context.Pool(processes, _start, (root, Path(folder))) as pool:
            suites = dict.fromkeys(suite_of(m.path) for m in mutants if m.path.endswith(".py"))
            missing = list(dict.fromkeys(file for suite in suites for file in maps.missing(suite)))
            if missing:
                recorded = Path(folder) / "recorded.json"
                pool.apply(_record, (missing, files(root, ("varpro",)), recorded))
                for test in maps.keep(recorded, missing):
                    print(f"left out, as it fails without any fault: {test}", flush=True)
            compiled = list(dict.fromkeys(suite_of(m.path) for m in mutants if not m.path.endswith(".py")))
            seconds = dict(zip(compiled, pool.map(_unharmed, compiled, 1), strict=True))
            judge = functools.partial(_judge, seconds=seconds, maps=maps, longest=longest)
            yield from pool.imap_unordered(judge, mutants)


def table(found: Sequence[Verdict], explained: Explained) -> str:
    """The survivors in Markdown."""
    rows = ["| where | operator | source | becomes | why it survives |", "| --- | --- | --- | --- | --- |"]
    for verdict in sorted(found, key=lambda v: (v.mutant.path, v.mutant.line)):
        m = verdict.mutant
        shown, why = (f"`{m.source}`", f"`{verdict.becomes}`"), explained.why(verdict) or "?"
        cells = [f"{m.path}:{m.line}", m.operator, *shown, why]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def summary(found: Sequence[Verdict], explained: Explained) -> dict[str, Any]:
    """Counts, and the share that was killed of those that can be."""
    counts = {name: sum(v.outcome == name for v in found) for name in (KILLED, TIMEOUT, SURVIVED, INVALID)}
    known = sum(v.outcome == SURVIVED and explained.why(v) is not None for v in found)
    dead, left = counts[KILLED] + counts[TIMEOUT], counts[SURVIVED] - known
    return {**counts, "explained": known, "killed_share": dead / (dead + left) if dead + left else 1.0,
            "killed_share_of_all": dead / (dead + left + known) if dead + left + known else 1.0}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paths", nargs="+", default=list(DEFAULT_PATHS), metavar="PATH")
    parser.add_argument("--count", type=int, default=150, help="how many, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--least", type=float, default=0.9, help="share to be killed")
    parser.add_argument("--report", type=Path, help="write every verdict here, as JSON")
    parser.add_argument("--maps", type=Path, metavar="FOLDER", help="keep here which test enters which function")
    parser.add_argument("--longest", type=float, default=math.inf, help="leave out tests that take more seconds")
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    chosen = parser.parse_args(argv)
    try:
        mutants = sample(all_mutants(ROOT, chosen.paths), chosen.count, chosen.seed)
    except ValueError as error:
        parser.error(str(error))
    if chosen.list:
        for m in mutants:
            print(f"{m.path}:{m.line} {m.operator}: {m.source}  ->  {m.becomes((ROOT / m.path).read_bytes())}")
        return 0
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    explained, found = read_explained(), []
    for verdict in verdicts(ROOT, mutants, chosen.processes, chosen.maps, chosen.longest):
        found.append(verdict)
        m, known = verdict.mutant, "explained" if explained.why(verdict) else ""
        print(f"{len(found):4d}/{len(mutants)} {verdict.outcome:8s} {verdict.tests:4d} tests {verdict.seconds:5.1f} s  "
              f"{m.path}:{m.line} {m.operator} {known}", flush=True)  # fmt: skip
        if chosen.report:
            rows = [{**asdict(v.mutant), "outcome": v.outcome, "becomes": v.becomes} for v in found]
            chosen.report.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    counted = summary(found, explained)
    print("\n" + table([v for v in found if v.outcome == SURVIVED], explained))
    print("\n" + ", ".join(f"{name} {value:.3g}" for name, value in counted.items()))
    return int(counted["killed_share"] < chosen.least)


if __name__ == "__main__":
    sys.exit(main())
