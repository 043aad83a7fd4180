"""What varpro-status does: read what a run says of itself, and whether its process still lives."""

import json
import time
from argparse import Namespace
from pathlib import Path

from varpro.cli._guard import mute
from varpro.distributed import PAUSED, Communicator
from varpro.errors import OutputError
from varpro.report.record import JsonObject
from varpro.report.status import FINISHED, RUNNING, STATUS, read_status
from varpro.train.checkpoint.lock import NAME, Owner

DEAD = "dead"
CODES = {FINISHED: 0, RUNNING: 3, "paused": PAUSED, DEAD: PAUSED, "failed": 1}


def run_job(comm: Communicator, options: Namespace) -> int:
    """Exit code that tells the state.  Raises OutputError if there is no run in the folder."""
    found = status_of(options.output)
    try:
        print(json.dumps(found, indent=1) if options.json else describe(found, options.output, time.time()), flush=True)
    except BrokenPipeError:  # the exit code tells the state all the same
        mute()
    return CODES.get(found["state"], 1)


def status_of(folder: Path) -> JsonObject:
    """status.json, with the state dead for a run whose process is gone.  Raises OutputError."""
    found = read_status(folder)
    if found is None and not (folder / STATUS).exists():
        raise OutputError(f"{folder} holds no {STATUS}; name the output folder of a varpro-train")
    if found is None or not _is_whole(found):
        raise OutputError(
            f"{folder / STATUS} cannot be read, or is damaged; a run that goes on writes it anew within seconds, and "
            "one that has ended is continued by varpro-train with --resume"
        )
    if found.get("state") == RUNNING:
        owner = Owner.of(folder / NAME)
        if owner is None or owner.is_dead(folder / NAME):
            found["state"] = DEAD
    return found


def _is_whole(found: JsonObject) -> bool:
    """Whether all that is told of a run is there, and of its kind."""
    kinds: tuple[tuple[type, str], ...] = (
        (str, "state phase host"), (int, "done total ranks threads pid"), (float, "began heartbeat"),
    )  # fmt: skip
    optional = {"words": str, "phase_began": float, "cost": float | None}
    return all(isinstance(found.get(name), kind) for kind, names in kinds for name in names.split()) and all(
        isinstance(found[name], kind) for name, kind in optional.items() if name in found
    )


def describe(found: JsonObject, folder: Path, now: float) -> str:
    """The status in some lines."""
    state, done, total = found["state"], int(found["done"]), int(found["total"])
    words = {DEAD: "its process has ended without a word", "paused": found.get("words", ""), RUNNING: ""}
    rows = [
        ("run", f"{folder}: {state}" + (f" ({words[state]})" if words.get(state) else "")),
        ("phase", f"{found['phase']}, {done} of {total}" if total else str(found["phase"] or "starting")),
        ("ranks", f"{found['ranks']} x {found['threads']} threads, rank 0 is {found['pid']} on {found['host']}"),
        (
            "heartbeat",
            f"{_span(now - found['heartbeat'])} ago, {_span(found['heartbeat'] - found['began'])} after its begin",
        ),
    ]
    if state == "failed":
        rows.insert(1, ("error", str(found.get("words", ""))))
    if found.get("cost") is not None:
        rows.append(("cost", f"{found['cost']:.4g}"))
    if state == RUNNING and 0 < done < total:
        spent = found["heartbeat"] - found.get("phase_began", found["began"])
        rows.append(("ETA", f"{_span(spent / done * (total - done))} to the end of this phase"))
    if state in (DEAD, "paused", "failed"):
        rows.append(("next", "the same command with --resume continues it"))
    return "\n".join(f"{name:<10} {text}" for name, text in rows)


def _span(seconds: float) -> str:
    """A time in the unit that fits."""
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
