"""Kill runs at random moments, continue them, and compare what they leave with an undisturbed run, byte for byte.

    python bench/kills.py                     200 kills, a table and a JSON file
    python bench/kills.py --kills 20 --seed 3

A trial starts `varpro-train` on one, two or three ranks, kills a rank or the launcher with SIGKILL or SIGTERM, at a
random moment of the run or of a phase, or just when a checkpoint is being written, and does so two to four times before
it lets the run end; each process continues its predecessor with `--resume auto`.  Phases are chosen with equal odds,
since most of them are short beside the start.  A run on one rank is a fork of this process, which has imported
everything and draws nothing, so that its time is spent in the training; runs on more are started by mpirun.  Under
`reproducible` the model has to have the bytes of the undisturbed one, and the record its numbers.  Exit code 0 if no
result was lost or changed and nothing hung.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kill_processes import HANG_SECONDS, Process, ended, marked, put_down, start

TIMES = (
    "seconds",
    "efficiency",
    "gflops",
    "gemm_gflops_measured",
    "ranks",
    "rank",
    "checkpoint",
    "traffic",
    "scheduling",
    "timeline",
)
"""Keys of metrics.json that differ between two runs, or that tell how often a run was continued."""
AIMS = {"": "total", "sub-networks": "subnetworks", "gluing": "glue", "refinement": "refine", "control": "control"}
"""The phases to kill in, in their order, "" for any, and what metrics.json calls their seconds."""


@dataclass
class Kill:
    """One kill, and the phase that the run was in."""

    trial: int
    ranks: int
    victim: str
    signal: str
    moment: str
    phase: str = "start"
    code: int = 0
    seconds: float = 0.0
    """From the kill to the end of all its processes."""


@dataclass
class Trial:
    """What came out of a run that was killed some times."""

    number: int
    ranks: int
    kills: int
    outcome: str
    seconds: float


def wait_for_moment(process: Process, output: Path, moment: str, aim: str, seconds: float) -> None:
    """Wait for the phase, then for some seconds, and, for `write`, until a file is being written."""
    begin = time.time()
    while aim and process.poll() is None and not (aim in phase_of(output) and _written_since(begin, output)):
        time.sleep(0.002)
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.005)
    if moment == "write":
        folder, last = output / "checkpoint", time.monotonic() + 1.0
        while time.monotonic() < last and process.poll() is None and not list(folder.glob(".*.part")):
            pass


def _written_since(begin: float, output: Path) -> bool:
    """Whether the phase is this process's own, not the one that its predecessor was killed in."""
    try:
        return (output / "status.json").stat().st_mtime > begin
    except OSError:
        return False


def phase_of(output: Path) -> str:
    """What the run was at, without the name of its cycle."""
    try:
        return str(json.loads((output / "status.json").read_text())["phase"]) or "start"
    except (OSError, ValueError, KeyError):
        return "start"


def strike(kill: Kill, process: Process, mark: str, rng: random.Random, output: Path) -> None:
    """Send the signal to the victim, if it is still there."""
    kill.phase = phase_of(output)
    ranks = sorted(marked(mark)) if kill.ranks > 1 else [process.pid]
    pid = process.pid if kill.victim == "launcher" or not ranks else rng.choice(ranks)
    if kill.victim != "launcher" and kill.ranks > 1:
        kill.victim = marked(mark).get(pid, kill.victim)
    try:
        os.kill(pid, getattr(signal, kill.signal))
    except ProcessLookupError:
        kill.moment = "too late"


def numbers_of(output: Path) -> Any:
    """metrics.json without what depends on time."""

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: stripped(inner) for key, inner in value.items() if key not in TIMES}
        return [stripped(inner) for inner in value] if isinstance(value, list) else value

    return stripped(json.loads((output / "metrics.json").read_text()))


Reference = tuple[bytes, Any, dict[str, float]]


def undisturbed(folder: Path) -> Reference:
    """Model, numbers and seconds by phase of a run that nobody kills, on one rank."""
    begin = time.monotonic()
    process = start(1, folder / "undisturbed", "undisturbed")
    if process.wait() != 0:
        raise SystemExit((folder / "undisturbed.log").read_text())
    output = folder / "undisturbed"
    spent = json.loads((output / "metrics.json").read_text())["seconds"] | {"total": time.monotonic() - begin}
    return (output / "model.h5").read_bytes(), numbers_of(output), spent


def trial(
    number: int,
    rng: random.Random,
    folder: Path,
    reference: tuple[bytes, Any, dict[str, float]],
    choices: Sequence[int],
) -> tuple[Trial, list[Kill]]:
    """Kill a run two to four times, let it end, and compare."""
    model, numbers, spent = reference
    ranks, output, mark = rng.choice(choices), folder / f"trial{number}", f"{os.getpid()}-{number}"
    kills: list[Kill] = []
    begin = time.monotonic()

    def done(outcome: str) -> tuple[Trial, list[Kill]]:
        return Trial(number, ranks, len(kills), outcome, time.monotonic() - begin), kills

    for aim in sorted(rng.choices(list(AIMS), k=rng.choice((2, 3, 4))), key=list(AIMS).index):
        process = start(ranks, output, mark)
        kill = Kill(
            number,
            ranks,
            "launcher" if ranks > 1 and rng.random() < 0.25 else "rank 0",
            rng.choice(("SIGKILL", "SIGTERM")),
            rng.choice(("random", "random", "write")),
        )
        wait_for_moment(process, output, kill.moment, aim, rng.uniform(0.0, 1.0) * spent[AIMS[aim]])
        clock = time.monotonic()
        if process.poll() is None:
            strike(kill, process, mark, rng, output)
            kills.append(kill)
        if not ended(process, mark, HANG_SECONDS):
            put_down(process, mark)
            return done("hang")
        kill.code, kill.seconds = process.returncode, time.monotonic() - clock
        if process.returncode == 0:
            break
    process = start(ranks, output, mark)
    if not ended(process, mark, HANG_SECONDS):
        put_down(process, mark)
        return done("hang")
    if process.returncode != 0 or not (output / "model.h5").is_file():
        return done("lost")
    same = (output / "model.h5").read_bytes() == model and numbers_of(output) == numbers
    left = [
        path.name for path in output.iterdir() if path.name.startswith(".") or path.name in ("run.lock", "checkpoint")
    ]
    return done(("same" if not left else "left over") if same else "changed")


def table(trials: Sequence[Trial], kills: Sequence[Kill]) -> str:
    """Kills by phase, victim and signal, and what became of the runs."""
    struck = [kill for kill in kills if kill.moment != "too late"]
    lines = [
        f"{'phase':<30}{'kills':>6}{'SIGKILL':>9}{'SIGTERM':>9}{'in a write':>12}{'launcher':>10}{'longest end':>13}"
    ]
    for phase, _ in Counter(kill.phase for kill in struck).most_common():
        own = [kill for kill in struck if kill.phase == phase]
        signals = Counter(kill.signal for kill in own)
        lines.append(
            f"{phase:<30}{len(own):>6}{signals['SIGKILL']:>9}{signals['SIGTERM']:>9}"
            f"{sum(kill.moment == 'write' for kill in own):>12}{sum(kill.victim == 'launcher' for kill in own):>10}"
            f"{max(kill.seconds for kill in own):>11.1f} s"
        )
    outcomes = Counter(one.outcome for one in trials)
    told = ", ".join(f"{outcomes[name]} {name}" for name in ("same", "lost", "changed", "left over", "hang"))
    lines.append(f"{len(struck)} kills in {len(trials)} runs on 1, 2 and 3 ranks; runs: {told}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 if every run ended as if it had not been killed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 1, 1, 1, 2, 3], help="drawn for each run")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no trial after this time")
    parser.add_argument("--json", type=Path, help="write every trial and kill")
    options = parser.parse_args(arguments)
    rng, begin = random.Random(options.seed), time.monotonic()
    trials: list[Trial] = []
    kills: list[Kill] = []
    with tempfile.TemporaryDirectory(prefix="varpro-kills-") as name:
        folder = Path(name)
        reference = undisturbed(folder)
        while len(kills) < options.kills and time.monotonic() - begin < 60 * options.minutes:
            one, own = trial(len(trials), rng, folder, reference, options.ranks)
            trials.append(one)
            kills += own
            print(
                f"run {one.number}: {one.ranks} ranks, {one.kills} kills, {one.seconds:.1f} s: {one.outcome}",
                flush=True,
            )
            if one.outcome != "same":
                print(
                    f"trial {one.number}: {one.outcome}\n{(folder / f'trial{one.number}.log').read_text()}", flush=True
                )
            shutil.rmtree(folder / f"trial{one.number}", ignore_errors=True)
    print(table(trials, kills))
    if options.json:
        found = {"trials": [asdict(one) for one in trials], "kills": [asdict(kill) for kill in kills]}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(one.outcome == "same" for one in trials) else 1


if __name__ == "__main__":
    sys.exit(main())
