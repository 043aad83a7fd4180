"""A trace of a run for Perfetto or chrome://tracing: what each rank and thread did, and when.

Complete events ("ph": "X") with pid = rank and tid = 0 for the thread that communicates, 1, 2, ... for the workers;
times in microseconds since the first event.  Each rank notes its own; rank 0 writes them all when the run ends.
"""

import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from varpro.errors import OutputError, unwritable
from varpro.report.progress import Display
from varpro.report.record import JsonObject, plain

PATIENCE = 5.0
"""Seconds in which somebody has to open a pipe that is to be written to."""


class Ranks(Protocol):
    """The part of a communicator that a trace needs."""

    rank: int

    @property
    def traffic(self) -> "Moved": ...

    def gather(self, obj: list[JsonObject], root: int = 0) -> list[list[JsonObject]] | None: ...


class Moved(Protocol):
    """What the collectives of a rank have moved and waited for."""

    bytes: int
    seconds: float


class Traced(Display):
    """Another display, whose phases, and the spans within them, are noted as events of this rank."""

    def __init__(self, shown: Display, comm: Ranks) -> None:
        self.shown, self.comm = shown, comm
        self.events: list[JsonObject] = []
        """name, cat, ts and dur in seconds by time.time(), tid, args."""
        self._open: tuple[str, float, float, int, float] | None = None
        """Name, times by both clocks, bytes and waited seconds at the start of the phase that goes on."""
        self._threads = {threading.get_ident(): 0}
        self._guard = threading.Lock()

    def __enter__(self) -> Self:
        self.shown.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shown.__exit__(kind, error, trace)

    def phase(self, name: str, total: int) -> None:
        self.close()
        moved = self.comm.traffic
        self._open = name, time.time(), time.perf_counter(), moved.bytes, moved.seconds
        self.shown.phase(name, total)

    def advance(self, cost: float | None = None, n: int = 1) -> None:
        self.shown.advance(cost, n)

    def message(self, text: str) -> None:
        self.shown.message(text)

    def span(self, name: str, started: float, seconds: float, kind: str) -> None:
        self._note(name, kind, started, seconds, {})

    @contextmanager
    def spanned(self, name: str, kind: str) -> Iterator[None]:
        """A block as a span."""
        started, clock = time.time(), time.perf_counter()
        try:
            yield
        finally:
            self.span(name, started, time.perf_counter() - clock, kind)

    def close(self) -> None:
        """End the phase that goes on."""
        if self._open is None:
            return
        (name, started, clock, sent, waited), self._open = self._open, None
        moved = self.comm.traffic
        args = {"bytes": moved.bytes - sent, "waited_seconds": moved.seconds - waited}
        self._note(name, "phase", started, time.perf_counter() - clock, args)

    def write(self, path: Path) -> None:
        """Write the events of all ranks as one file.  Collective.  Raises OutputError on rank 0."""
        self.close()
        everyone = self.comm.gather(self.events)
        if everyone is None:
            return
        text = json.dumps(plain(_chrome(everyone))) + "\n"
        try:
            target = Path(os.path.realpath(path))  # a link stays one
            if target.exists() and not target.is_file():  # a pipe or a device is written to, never replaced
                _write_through(target, text)
                return
            part = target.with_name(f".{target.name}.{os.getpid()}.part")
            part.write_text(text, encoding="utf-8")
            part.replace(target)
        except OSError as error:
            raise unwritable(f"--trace {path}", error, "the results are complete without it") from None

    def _note(self, name: str, kind: str, started: float, seconds: float, args: JsonObject) -> None:
        with self._guard:
            thread = self._threads.setdefault(threading.get_ident(), len(self._threads))
            self.events.append({"name": name, "cat": kind, "ts": started, "dur": seconds, "tid": thread, "args": args})


def require_target(path: Path) -> None:
    """Raise OutputError if a trace could not be written there, before anything long begins."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise OutputError(f"--trace {path}: is a folder; name a file")
    if not target.parent.is_dir():
        raise OutputError(f"--trace {path}: {target.parent} is no folder; make it, or name another file")
    if target.is_symlink():
        raise OutputError(f"--trace {path}: is a link to itself; name another file")


def _write_through(target: Path, text: str) -> None:
    """Write to a pipe or a device.  Raises OSError, within seconds if nobody reads the pipe."""
    last = time.monotonic() + PATIENCE
    while True:
        try:
            handle = os.open(target, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > last:
                raise
            time.sleep(0.1)
    os.set_blocking(handle, True)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


def _chrome(everyone: list[list[JsonObject]]) -> JsonObject:
    """The events of all ranks in the format of Chrome's tracing."""
    first = min((event["ts"] for events in everyone for event in events), default=0.0)
    found: list[JsonObject] = []
    for rank, events in enumerate(everyone):
        found.append(_named("process_name", rank, 0, f"rank {rank}"))
        for thread in sorted({event["tid"] for event in events}):
            found.append(_named("thread_name", rank, thread, f"worker {thread}" if thread else "main"))
        found += [
            {**event, "ph": "X", "pid": rank, "ts": 1e6 * (event["ts"] - first), "dur": 1e6 * event["dur"]}
            for event in sorted(events, key=lambda event: event["ts"])
        ]
    return {"traceEvents": found, "displayTimeUnit": "ms"}


def _named(what: str, rank: int, thread: int, name: str) -> JsonObject:
    return {"name": what, "ph": "M", "pid": rank, "tid": thread, "args": {"name": name}}
