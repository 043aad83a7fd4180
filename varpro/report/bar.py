"""A progress bar for computations that a person waits for: on a terminal or in a notebook, nowhere else.

tqdm draws it where it is installed.  Nothing appears in the first half second, so that short work stays quiet.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Progress = bool | Callable[[int], None] | None
"""True for a bar; or a function that gets the number of parts that have been done since its last call."""
PATIENCE = 0.5
"""Seconds before a bar appears."""
EVERY = 0.1
"""Least seconds between two drawings."""
WIDTH = 30


@contextmanager
def progress_bar(
    progress: Progress, total: int, name: str, stream: TextIO | None = None
) -> Iterator[Callable[[int], None] | None]:
    """What is to be called with the number of parts done; None if nobody is to be told.

    progress : None or False for nothing, True for a bar on `stream`, by default standard error; or a function.
    """
    stream = sys.stderr if stream is None else stream
    if progress is None or progress is False:
        yield None
    elif progress is not True:
        yield progress
    elif not (stream.isatty() or _in_notebook()):
        yield None
    else:
        bar = _tqdm(total, name, stream) or Bar(total, name, stream)
        try:
            yield bar.update
        finally:
            bar.close()


class Bar:
    """One line that is drawn over itself."""

    def __init__(self, total: int, name: str, stream: TextIO) -> None:
        self.total, self.name, self.stream = max(total, 1), name, stream
        self.done, self.begun, self.drawn = 0, time.monotonic(), 0.0

    def update(self, n: int = 1) -> None:
        """n more parts are done."""
        self.done += n
        now = time.monotonic()
        if now - self.begun >= PATIENCE and now - self.drawn >= EVERY:
            self._draw(now)

    def close(self) -> None:
        """The last drawing, if there has been one."""
        if self.drawn:
            self._draw(time.monotonic())
            self.stream.write("\n")
            self.stream.flush()

    def _draw(self, now: float) -> None:
        share, spent = min(self.done / self.total, 1.0), now - self.begun
        full = int(WIDTH * share)
        left = f"{spent * (1 - share) / share:.0f} s left" if 0 < share < 1 else f"{spent:.1f} s"
        line = f"{self.name} {'█' * full}{'·' * (WIDTH - full)} {self.done}/{self.total}, {left}"
        self.stream.write(f"\r{line:<78}")
        self.stream.flush()
        self.drawn = now


def _tqdm(total: int, name: str, stream: TextIO) -> "Bar | None":
    """tqdm's bar, which has the same two methods; None where it is not installed."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    made: Bar = tqdm(total=total, desc=name, delay=PATIENCE, file=stream if stream.isatty() else None)
    return made


def _in_notebook() -> bool:
    """Whether this is a kernel of Jupyter, which shows what is written although it is no terminal."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"
