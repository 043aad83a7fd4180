"""The one interface of both trainers to what is kept: load, save, and a moment at which a run may stop.

What a state costs to write decides how often it is written: never for more than 1/SHARE of the time since the last one.
A sub-network is written as soon as it is there, since training it takes much longer than writing it.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from varpro.distributed import Communicator, Paused
from varpro.errors import OutputError, unwritable
from varpro.train.checkpoint.files import State, read_state, remove_parts, write_state
from varpro.train.checkpoint.identity import Identity, told
from varpro.train.checkpoint.stop import REASONS, Stop

FOLDER = "checkpoint"
RUN = "run"
"""The state that says which run the others belong to."""
SHARE = 100
"""Least time between two states of a search, in times that writing one takes."""
FIRST_RATE, FIRST_SECONDS, LARGE = 1e8, 0.02, 1_000_000
"""Bytes per second, and seconds for each file, assumed of a disk until a large and a small file have been written."""


class Checkpoint:
    """A run that keeps nothing and is never asked to stop; `Kept` does both.  All ranks have one."""

    def load(self, name: str) -> State | None:
        """A state that an earlier process has saved, on every rank.  Collective.  Raises DataError if it is damaged."""
        return None

    def load_on_first(self, name: str) -> State | None:
        """The same on rank 0 alone, for large states.  Not collective."""
        return None

    def load_numbered(self, name: str, count: int) -> dict[int, State]:
        """The states NAME-0, NAME-1, ... that exist, on rank 0; none elsewhere.  Not collective."""
        return {}

    def save(self, name: str, state: State) -> None:
        """Put a state on the disk; nothing on ranks other than 0.  Not collective.  Raises OutputError."""

    def forget(self, name: str) -> None:
        """Remove a state that another has made needless.  Not collective."""

    def moment(self, name: str, size: int, make: Callable[[], State | None]) -> None:
        """A point between two steps: save what `make` gives if it is time, and end the run if that was asked for.

        Collective, and so is `make`, whose result counts on rank 0.  size : its bytes, about.  Raises Paused.
        """

    def begin_phase(self) -> None:
        """A phase begins, whose parts take a time of their own."""

    def account(self) -> dict[str, float]:
        """Seconds and bytes that were written, and the number of states that were read."""
        return {"seconds": 0.0, "bytes": 0, "restored": 0}

    def asked(self) -> str:
        """Words to end this run with, if this rank has been asked to; empty otherwise.  Not collective."""
        return ""


class Kept(Checkpoint):
    """States in the folder `checkpoint` of an output folder, written by rank 0."""

    def __init__(
        self, folder: Path, comm: Communicator, stop: Stop, require_lock: Callable[[], None] = lambda: None
    ) -> None:
        """require_lock : raises OutputError if the folder has meanwhile been given to another process."""
        self.require_lock = require_lock
        self.folder, self.output, self.comm, self.stop = folder / FOLDER, folder, comm, stop
        self.told: Callable[[str, float, float, str], None] = lambda *span: None
        """Called with name, start, seconds and kind of each write."""
        self.seconds, self.bytes, self.restored = 0.0, 0, 0
        """Time and bytes of what was written, and the number of states that were read."""
        self._rate, self._each, self._last = FIRST_RATE, FIRST_SECONDS, time.perf_counter()

    def begin(self, identity: Identity, *, resume: bool) -> bool:
        """Continue the run that the folder holds, or begin one; True if there was one.  Collective.

        Raises DataError if it is another run, or damaged.
        """
        found = False
        if self.comm.rank == 0:
            found = self._path(RUN).is_file() and resume
            if found:
                differences = identity.differences(read_state(self._path(RUN)).values)
                if differences:
                    raise OutputError(
                        f"{self.folder} belongs to another run: {told(differences)}; choose another --output, or give "
                        "up the checkpoint with --overwrite"
                    )
                remove_parts(self.folder)
            else:
                self.clear()
                try:
                    self.folder.mkdir(exist_ok=True)
                except OSError as error:
                    raise _unwritable(self.folder, error) from None
                self.save(RUN, State(identity.values))
        return self.comm.any(found)

    @property
    def is_empty(self) -> bool:
        """Whether there is no state besides the identity of the run."""
        return not any(path != self._path(RUN) for path in self.folder.glob("*.ckpt"))

    def clear(self) -> None:
        """Remove every state; the identity last, so that a folder with states always says whose they are."""
        if not self.folder.is_dir():
            return
        states = [*self.folder.glob("*.ckpt")]
        for path in sorted(states, key=lambda path: path == self._path(RUN)):
            path.unlink(missing_ok=True)
        remove_parts(self.folder)
        with suppress(OSError):  # it holds something of the user's
            self.folder.rmdir()

    def load(self, name: str) -> State | None:
        return self.comm.bcast(self.load_on_first(name))

    def load_on_first(self, name: str) -> State | None:
        if self.comm.rank > 0 or not self._path(name).is_file():
            return None
        self.restored += 1
        return read_state(self._path(name))

    def load_numbered(self, name: str, count: int) -> dict[int, State]:
        if self.comm.rank > 0:
            return {}
        numbered = ((number, self._path(f"{name}-{number}")) for number in range(count))
        found = {number: read_state(path) for number, path in numbered if path.is_file()}
        self.restored += len(found)
        return found

    def save(self, name: str, state: State) -> None:
        if self.comm.rank > 0:
            return
        self.require_lock()
        started, clock = time.time(), time.perf_counter()
        try:
            written = write_state(self._path(name), state)
        except OSError as error:
            raise _unwritable(self._path(name), error) from None
        self._last = time.perf_counter()
        spent = self._last - clock
        self.seconds, self.bytes = self.seconds + spent, self.bytes + written
        self.told(f"keep {name}", started, spent, "checkpoint")
        if written >= LARGE:
            self._rate = written / spent
        else:
            self._each = spent

    def forget(self, name: str) -> None:
        if self.comm.rank == 0:
            self._path(name).unlink(missing_ok=True)

    def moment(self, name: str, size: int, make: Callable[[], State | None]) -> None:
        due = time.perf_counter() - self._last >= SHARE * (self._each + size / self._rate)
        own = np.array([due and self.comm.rank == 0, REASONS.index(self.stop.reason())], dtype=np.int64)
        write, ends = (int(n) for n in self.comm.allreduce_(own, "max"))
        if write or ends:
            state = make()
            if state is not None:
                self.save(name, state)
        if ends:
            raise Paused(self._words(REASONS[ends]))

    def begin_phase(self) -> None:
        self.stop.begin_phase()
        self._last = time.perf_counter()

    def account(self) -> dict[str, float]:
        return {"seconds": self.seconds, "bytes": self.bytes, "restored": self.restored}

    def asked(self) -> str:
        reason = self.stop.reason_at_once()
        return self._words(reason) if reason else ""

    def _words(self, reason: str) -> str:
        return f"stopped by {reason}; what is done is in {self.output}: continue with --resume"

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.ckpt"


def _unwritable(path: Path, error: OSError) -> OutputError:
    return unwritable(f"checkpoint {path}", error, resume="continue with --resume")
