"""One progress display on rank 0: a live bar on a terminal, a few plain lines in a log file, nothing when quiet."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import TaskID

    from varpro.report.record import JsonObject

LINE_SECONDS = 10.0
"""Least time between plain lines, apart from the end of a phase."""


class Display:
    """Phases that advance.  This base class shows nothing; it is for the other ranks and --quiet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the terminal."""

    def phase(self, name: str, total: int) -> None:
        """Begin a phase of `total` parts; the previous one has ended."""

    def advance(self, cost: float | None = None, n: int = 1) -> None:
        """n more parts are done; cost : that of the latest."""

    def message(self, text: str) -> None:
        """Show a line that stays."""

    def line(self, line: "JsonObject") -> None:
        """A line for history.jsonl, which a display that writes it takes as it happens."""

    def span(self, name: str, started: float, seconds: float, kind: str) -> None:
        """Something that this thread did within a phase, from time.time() = started; for a trace."""

    def timeline(self) -> list["JsonObject"]:
        """Phase, start and seconds of each phase, if the display notes them."""
        return []


def make_display(*, quiet: bool, first_rank: bool, stream: TextIO | None = None) -> Display:
    """The display that fits: live on a terminal, plain lines elsewhere, none on other ranks or when quiet."""
    stream = sys.stderr if stream is None else stream
    if quiet or not first_rank:
        return Display()
    return LiveDisplay(stream) if stream.isatty() else LineDisplay(stream)


class LineDisplay(Display):
    """Plain lines with the time, the phase, the parts done, the latest cost and an ETA."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.begin = time.monotonic()
        self.name, self.total, self.done, self.started, self.told = "", 0, 0, self.begin, self.begin
        self.cost: float | None = None

    def phase(self, name: str, total: int) -> None:
        self.name, self.total, self.done, self.cost = name, total, 0, None
        self.started = self.told = time.monotonic()
        self._line(f"{name} ...")

    def advance(self, cost: float | None = None, n: int = 1) -> None:
        self.done += n
        self.cost = self.cost if cost is None else cost
        now = time.monotonic()
        if n and (self.done >= self.total or now - self.told >= LINE_SECONDS):
            self.told = now
            self._line(self._state(now))

    def message(self, text: str) -> None:
        self._line(text)

    def _state(self, now: float) -> str:
        spent = now - self.started
        parts = [f"{self.name} {self.done}/{self.total}"]
        if self.cost is not None:
            parts.append(f"cost {self.cost:.4g}")
        parts.append(
            f"{spent:.1f} s" if self.done >= self.total else f"ETA {spent / self.done * (self.total - self.done):.0f} s"
        )
        return ", ".join(parts)

    def _line(self, text: str) -> None:
        print(f"[{time.monotonic() - self.begin:7.1f} s] {text}", file=self.stream, flush=True)


class LiveDisplay(Display):
    """rich's bars, one per phase; the finished ones stay."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.progress = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[cost]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(file=stream),
        )
        self.task: TaskID | None = None

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def phase(self, name: str, total: int) -> None:
        self.task = self.progress.add_task(name, total=total, cost="")

    def advance(self, cost: float | None = None, n: int = 1) -> None:
        if self.task is not None:
            self.progress.update(self.task, advance=n)
            if cost is not None:
                self.progress.update(self.task, cost=f"cost {cost:.4g}")

    def message(self, text: str) -> None:
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
