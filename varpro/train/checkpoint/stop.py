"""Requests to stop early: a signal of the scheduler, or a limit on the time.  They are noted here and obeyed at the
next point at which every rank can stop."""

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from varpro.errors import ConfigError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
REASONS = ("", "--max-time", "SIGUSR1", "SIGTERM")
"""Why a run stops; of several reasons on several ranks, the last in this order is told."""
UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0, "": 1.0}


@dataclass
class Stop:
    """Whether this rank has been asked to stop, by any of REASONS."""

    deadline: float = float("inf")
    """When to have stopped, by time.monotonic()."""
    signalled: str = ""
    """The name of the signal that came first."""
    longest: float = 0.0
    """The longest time between two points at which the run could stop, lately."""
    last: float = field(default_factory=time.monotonic)

    def reason(self) -> str:
        """Why to stop now, or empty: a signal, or a limit that would pass before the next chance."""
        now = time.monotonic()
        self.longest, self.last = max(now - self.last, 0.8 * self.longest), now
        return self.reason_at_once()

    def reason_at_once(self) -> str:
        """The same where the run can stop at any time."""
        if self.signalled:
            return self.signalled
        return "--max-time" if time.monotonic() + self.longest > self.deadline else ""

    def begin_phase(self) -> None:
        """Forget how long the parts of an earlier phase took."""
        self.longest, self.last = 0.0, time.monotonic()

    @contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Note SIGTERM and SIGUSR1 instead of dying from them.

        A second one changes nothing, since schedulers and launchers both pass them on.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return

        def note(number: int, frame: FrameType | None) -> None:
            self.signalled = self.signalled or signal.Signals(number).name

        before = {number: signal.signal(number, note) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def seconds_of(text: str) -> float:
    """A duration: 11h30m, 90m, 3600 (seconds), 2d, or a scheduler's [days-]hours:minutes:seconds.  Raises
    ConfigError."""
    plain = text.strip().lower()
    clock = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", plain)
    if clock:
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        found = 86400.0 * days + 3600.0 * hours + 60.0 * minutes + seconds
    else:
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*(d|h|min|m|s|)", plain)
        if not parts or "".join(number + unit for number, unit in parts) != plain.replace(" ", ""):
            raise ConfigError(f"--max-time {text}: no duration; write it as 11h30m, 90m, 45s or 11:30:00")
        found = sum(float(number) * UNITS[unit] for number, unit in parts)
    if found <= 0:
        raise ConfigError(f"--max-time {text}: must be more than 0")
    return found
