"""What a run says of itself while it runs: status.json for another shell, history.jsonl as it happens, a log.

status.json is written anew, as a whole, with each phase and every few seconds; a thread adds a heartbeat meanwhile.
"""

import json
import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from varpro.errors import OutputError, unwritable
from varpro.report.progress import Display
from varpro.report.record import JsonObject, plain

STATUS, HISTORY = "status.json", "history.jsonl"
RUNNING, FINISHED = "running", "finished"
WRITE_SECONDS = 1.0
"""Least time between two files within a phase."""
BEAT_SECONDS = 5.0
"""Time between two heartbeats."""

logger = logging.getLogger("varpro")
logger.addHandler(logging.NullHandler())  # or Python prints warnings where nobody has asked for a log


class Watched(Display):
    """Another display, whose phases and lines are also written into the output folder.  Rank 0 only."""

    def __init__(self, shown: Display, folder: Path, facts: JsonObject) -> None:
        self.shown, self.folder, self.facts = shown, folder, facts
        self._history: TextIO | None = None
        self.phases: list[JsonObject] = []
        """Name, start and seconds of each phase, by time.time()."""
        self._state: JsonObject = {"state": RUNNING, "began": time.time(), "phase": "", "done": 0, "total": 0}
        self._told, self._ended, self._guard = 0.0, threading.Event(), threading.Lock()

    def __enter__(self) -> Self:
        try:
            self._history = (self.folder / HISTORY).open("w", encoding="utf-8", buffering=1)  # each line at once
        except OSError as error:
            raise self._unwritable(error) from None
        self._write()
        threading.Thread(target=self._beat, name="varpro-heartbeat", daemon=True).start()
        self.shown.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._history is not None:
            with suppress(OSError):
                self._history.close()
        self.shown.__exit__(kind, error, trace)

    def phase(self, name: str, total: int) -> None:
        now = time.time()
        self._close_phase(now)
        self.phases.append({"phase": name, "start": now, "seconds": 0.0})
        self._state |= {"phase": name, "done": 0, "total": total, "phase_began": now, "cost": None}
        self._write()
        logger.info("%s: %d parts", name, total)
        self.shown.phase(name, total)

    def advance(self, cost: float | None = None, n: int = 1) -> None:
        self._state["done"] += n
        if cost is not None:
            self._state["cost"] = float(cost)
        if time.monotonic() - self._told > WRITE_SECONDS:
            self._write()
        logger.debug("%s: %d of %d, cost %s", *(self._state[key] for key in ("phase", "done", "total", "cost")))
        self.shown.advance(cost, n)

    def message(self, text: str) -> None:
        logger.warning("%s", text)
        self.shown.message(text)

    def span(self, name: str, started: float, seconds: float, kind: str) -> None:
        self.shown.span(name, started, seconds, kind)

    def line(self, line: JsonObject) -> None:
        assert self._history is not None
        try:
            self._history.write(json.dumps(plain(line)) + "\n")
        except OSError as error:
            raise self._unwritable(error) from None

    def timeline(self) -> list[JsonObject]:
        self._close_phase(time.time())
        return self.phases

    def end(self, state: str, words: str) -> None:
        """The last state; the folder of a run that failed, and that cannot be written, keeps the one before."""
        self._ended.set()
        self._close_phase(time.time())
        self._state |= {"state": state, "words": words}
        logger.info("%s %s", state, words)
        with suppress(*([] if state == FINISHED else [OutputError])):
            self._write()

    def _close_phase(self, now: float) -> None:
        if self.phases:
            self.phases[-1]["seconds"] = now - self.phases[-1]["start"]

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(OutputError):
                self._write()

    def _write(self) -> None:
        self._told = time.monotonic()
        with self._guard:
            text = json.dumps(plain({**self.facts, **self._state, "heartbeat": time.time()}), indent=1)
            part = self.folder / f".{STATUS}.{os.getpid()}.part"
            try:
                part.write_text(text + "\n", encoding="utf-8")
                part.replace(self.folder / STATUS)
            except OSError as error:
                raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> OutputError:
        return unwritable(f"output folder {self.folder}", error, resume="continue with --resume")


def read_status(folder: Path) -> JsonObject | None:
    """The status of a run, or None if the folder has none that can be read."""
    try:
        found = json.loads((folder / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
