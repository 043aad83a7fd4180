"""The command: problems over processes, tables, scripts of failures, JSON."""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from campaign_fits.judge import judged
from campaign_fits.script import script
from campaign_fits.table import Counts, Record
from varpro.distributed.threads import blas_threads

CHUNK = 20
SHOWN = 20
FAILED_LIMIT = 0.02


def one(place: tuple[int, int]) -> tuple[Record, str]:
    """The record of problem (seed, index), and its script where it is not right."""
    clock = time.perf_counter()
    with blas_threads(1), np.errstate(all="ignore"):  # searches that run away overflow, in a script as in a verdict
        case = judged(*place)
        record = Record.of(case, time.perf_counter() - clock)
        return record, "" if record.kind == "right" else script(case, record.units, record.data_set)


def campaign(seed: int, indices: Iterable[int], processes: int) -> Iterator[tuple[Record, str]]:
    """Problems in order of index, whatever the number of processes."""
    places = [(seed, index) for index in indices]
    if processes == 1:
        yield from map(one, places)
        return
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from pool.imap(one, places, CHUNK)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="campaign", description="Random fits, judged against SciPy.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=20_000, help="problems (default 20,000)")
    parser.add_argument("--first", type=int, default=0, help="index of the first problem")
    parser.add_argument("--json", type=Path, help="write the counts and every failure here")
    parser.add_argument("--script", type=Path, metavar="FOLDER", help="write a program for every failure")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--show", type=int, default=SHOWN, help="wrong or raising fits to print (default 20)")
    return parser.parse_args(argv)


def _progress(done: int, count: int, failures: int, seconds: float) -> None:
    """A line on a terminal that says how far the campaign is."""
    if sys.stderr.isatty() and (done % CHUNK == 0 or done == count):
        left = seconds * (count - done) / done
        end = "\n" if done == count else ""
        print(f"\r{done:,} of {count:,}, {failures} not right, {left:.0f} s left  ", end=end, file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """0 where nothing is silently wrong and honest failures are below 2 %."""
    options = arguments(argv)
    clock = time.perf_counter()
    counts, failures, shown = Counts(), [], 0
    if options.script:
        options.script.mkdir(parents=True, exist_ok=True)
    indices = range(options.first, options.first + options.count)
    for record, text in campaign(options.seed, indices, options.processes):
        counts.add(record)
        _progress(counts.count, options.count, len(failures), time.perf_counter() - clock)
        if record.kind == "right":
            continue
        failures.append(record)
        name = f"seed{options.seed}_{record.index:05d}_{record.kind.replace(' ', '_')}.py"
        if options.script:
            (options.script / name).write_text(text)
        if record.kind in ("wrong", "raised") and shown < options.show:
            shown += 1
            print(f"# {name}\n{text}\n")
    seconds = time.perf_counter() - clock
    print(counts.text())
    print(f"{counts.count} problems, seed {options.seed}, {seconds:.0f} s, {options.processes} processes")
    wrong = counts.total["wrong"] + counts.total["local"] - counts.told
    failed = counts.total["failed"] + counts.total["raised"]
    if options.json:
        record = {
            "seed": options.seed, "first": options.first, "count": counts.count, "seconds": seconds,
            "totals": dict(counts.total), "told": counts.told,
            "families": {k: dict(v) for k, v in counts.families.items()},
            "options": {k: dict(v) for k, v in counts.options.items()},
            "failures": [asdict(f) for f in failures],
        }  # fmt: skip
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    print(f"silently wrong: {wrong}; honest failures: {failed} ({failed / counts.count:.2%}, limit {FAILED_LIMIT:.0%})")
    return int(wrong > 0 or failed > FAILED_LIMIT * counts.count)


if __name__ == "__main__":
    sys.exit(main())
