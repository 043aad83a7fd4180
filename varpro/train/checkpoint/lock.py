"""One run for each output folder: a lock file that names its owner, and is taken over from an owner that is dead.

An owner on this machine is dead if no process has its number and its start; one on another machine if its file has not
been touched for a while, since every owner touches it while it runs.
"""

import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from varpro.errors import OutputError

NAME = "run.lock"
BEAT_SECONDS = 10.0
"""How often an owner touches its lock."""
LEFT_OVER = (f".{NAME}.", ".varpro-", ".status.json.", ".model.h5.")
"""How the names begin that exist for a moment only."""
DEAD_SECONDS = 120.0
"""How old a lock from another machine must be before its owner counts as dead."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, on some machine."""

    host: str
    pid: int
    start: str
    """When the process began, as the system counts, so that another process with the same number is told apart."""
    job: str = ""
    """The scheduler's number of the job, if there is one."""

    @classmethod
    def this(cls) -> Self:
        """This process."""
        job = os.environ.get("SLURM_JOB_ID") or os.environ.get("PBS_JOBID") or ""
        return cls(socket.gethostname(), os.getpid(), start_of(os.getpid()), job)

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """The owner named in a lock file; None if there is no file, or none that can be read."""
        content = _content(path)
        return None if content is None else cls.read(content)

    @classmethod
    def read(cls, content: bytes) -> Self | None:
        """The owner that the content of a lock file names; None if it cannot be read."""
        try:
            found = json.loads(content)
            return cls(str(found["host"]), int(found["pid"]), str(found["start"]), str(found.get("job", "")))
        except (ValueError, KeyError, TypeError):
            return None

    def is_dead(self, path: Path) -> bool:
        """Whether the process has ended, as far as can be known from here."""
        if self.host == socket.gethostname():
            return start_of(self.pid) != self.start
        try:
            return time.time() - path.stat().st_mtime > DEAD_SECONDS
        except OSError:
            return True

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}"


def start_of(pid: int) -> str:
    """When a process of this machine began: ticks since the boot, and the boot; empty if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return "" if stat[0] in "ZX" else f"{stat[19]} {boot}"
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return ""
    try:  # a system without /proc can only say that there is such a process
        os.kill(pid, 0)
    except OSError:
        return ""
    return "unknown"


class FolderLock:
    """The lock of an output folder, held by rank 0 from the first moment to the last."""

    def __init__(self, folder: Path) -> None:
        self.path, self.owner = folder / NAME, Owner.this()
        self.took_over: Owner | None = None
        """The dead owner whose lock this was."""
        self._ended = threading.Event()

    def take(self, patience: float = 0.0) -> None:
        """Take the lock.  Raises OutputError if its owner lives, OSError if the folder cannot be written.

        patience : seconds to wait for an owner on another machine to count as dead, if it is known to be.
        """
        last = time.monotonic() + patience
        while not self._made():
            content = _content(self.path)  # read once: what is judged is what may be removed
            if content is None:
                continue  # given back at this moment
            found = Owner.read(content)
            if found is None and time.time() - _touched(self.path) < 2.0:
                time.sleep(0.1)  # being written
                continue
            if found is not None and not found.is_dead(self.path):
                if time.monotonic() < last:
                    time.sleep(1.0)
                    continue
                raise OutputError(
                    f"output folder {self.path.parent} belongs to a run that goes on ({found}); wait for it, or choose "
                    "another with --output"
                )
            if self._put_aside(content):
                self.took_over = found
        self._tidy()
        threading.Thread(target=self._beat, name="varpro-lock", daemon=True).start()

    def require(self) -> None:
        """Raise OutputError if another process has taken this lock, which had taken its owner for dead."""
        found = Owner.of(self.path)
        if found is not None and found != self.owner:
            raise OutputError(f"output folder {self.path.parent} was taken over by {found}; this process ends")

    def give_back(self) -> None:
        """Remove the lock, if it is still this process's."""
        self._ended.set()
        if Owner.of(self.path) == self.owner:
            with suppress(OSError):
                self.path.unlink()

    def _made(self) -> bool:
        """Whether the lock file is now this process's: complete when its name appears."""
        own = self.path.with_name(f".{NAME}.{secrets.token_hex(6)}")
        try:
            own.write_text(json.dumps(asdict(self.owner)) + "\n", encoding="utf-8")
            os.link(own, self.path)
        except (FileExistsError, FileNotFoundError):  # the latter if a new owner has tidied up
            return False
        finally:
            own.unlink(missing_ok=True)
        return True

    def _put_aside(self, judged: bytes) -> bool:
        """Remove a dead owner's lock; False if another run was quicker, whose lock then stays."""
        with _alone(self.path.parent):  # nobody else judges and removes meanwhile
            if _content(self.path) != judged:
                return False
            self.path.unlink(missing_ok=True)
            return True

    def _tidy(self) -> None:
        """Remove what processes that were killed here have left, beside their results."""
        for path in self.path.parent.glob(".*"):
            young = path.name.startswith(f".{NAME}.") and time.time() - _touched(path) < 60.0  # of one who tries now
            if path.name.startswith(LEFT_OVER) and not young:
                with suppress(OSError):
                    path.unlink()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(OSError):
                os.utime(self.path)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Alone among the processes that ask for the same folder, where its file system can do that."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _touched(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
