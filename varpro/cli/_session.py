"""One process of a training in its output folder: its lock, its checkpoint, what it says, how it ended."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from varpro import __version__
from varpro.cli._output import ELSEWHERE
from varpro.distributed import Communicator, Paused
from varpro.errors import OutputError, VarproError, unwritable
from varpro.report.progress import Display, make_display
from varpro.report.status import FINISHED, HISTORY, STATUS, Watched, read_status
from varpro.report.trace import Traced
from varpro.train.checkpoint import Kept
from varpro.train.checkpoint.identity import Identity, checksum
from varpro.train.checkpoint.lock import DEAD_SECONDS, FolderLock
from varpro.train.checkpoint.stop import Stop
from varpro.train.data.prepared import Prepared
from varpro.train.job import Job
from varpro.train.model_file import check_seal

MODEL = "model.h5"


@contextmanager
def locked(comm: Communicator, output: Path) -> Iterator[FolderLock]:
    """The lock of the output folder, taken by rank 0, whose error every rank raises."""
    lock, error = FolderLock(output), None
    if comm.rank == 0:
        try:
            lock.take(patience=DEAD_SECONDS if comm.lost else 0.0)
        except OSError as caught:
            error = unwritable(str(lock.path), caught, ELSEWHERE)
    error = comm.bcast(error)
    if error is not None:
        raise error
    try:
        yield lock
    finally:
        if comm.rank == 0:
            lock.give_back()


@dataclass
class Session:
    """What a training run needs of its folder, on every rank."""

    output: Path
    stop: Stop
    lock: FolderLock
    resume: str
    """yes or auto to continue, empty to begin."""
    quiet: bool
    display: Display = field(default_factory=Display)
    checkpoint: Kept | None = None
    trace: Traced | None = None
    """Notes what this rank does, if --trace asks for it."""

    def begin(self, job: Job[Any, Any], prepared: Prepared[Any]) -> bool:
        """Take up the run of the folder, or begin one; False if it has finished already.  Collective.

        Raises OutputError if the folder holds another run, or none where there has to be one.
        """
        comm = job.comm
        identity = _identity(job, prepared)
        kept = Kept(self.output, comm, self.stop, self.lock.require)
        if self.resume and comm.bcast(self._has_finished(identity) if comm.rank == 0 else None):
            if comm.rank == 0:
                kept.clear()
            return False
        self.checkpoint = job.checkpoint = kept
        continued = kept.begin(identity, resume=bool(self.resume))
        if comm.rank == 0:
            facts = {
                "config": Path(str(prepared.config.output or "")).name,
                "version": __version__,
                "ranks": comm.size,
                "threads": job.threads,
                "host": self.lock.owner.host,
                "pid": self.lock.owner.pid,
                "continued": continued,
                "run": identity.digest,
            }
            self.display = Watched(self._traced(make_display(quiet=self.quiet, first_rank=True)), self.output, facts)
        else:
            self.display = self._traced(self.display)
        kept.told = self.display.span
        return True

    def spanned(self, name: str) -> AbstractContextManager[None]:
        """A block that a trace shows by its name, beside the phases."""
        if self.trace is None:
            return nullcontext()
        self.trace.close()
        return self.trace.spanned(name, "phase")

    def _traced(self, shown: Display) -> Display:
        if self.trace is None:
            return shown
        self.trace.shown = shown
        return self.trace

    @contextmanager
    def shown(self) -> Iterator[Display]:
        """The display while the training runs; afterwards the folder says how it ended."""
        with self.display as display:
            try:
                if self.lock.took_over is not None:
                    display.message(f"the lock of {self.lock.took_over}, which has ended, is taken over")
                if self.checkpoint is not None and self.checkpoint.comm.rank == 0 and self._continues:
                    display.message(f"continuing the run in {self.output}")
                yield display
            except Paused as paused:
                self._ended("paused", paused.words)
                raise
            except BaseException as error:
                self._ended("failed", " ".join(str(error).split()) or type(error).__name__)
                if isinstance(error, VarproError):
                    self._discard_if_empty()
                raise

    def finish(self) -> None:
        """Everything has been written: say so, then remove what a continuation would need.  Raises OSError."""
        assert self.checkpoint is not None
        self._ended(FINISHED, "")
        self.checkpoint.clear()

    def _discard_if_empty(self) -> None:
        """Leave no trace of a run that a mistake has ended before it had done anything."""
        if self.checkpoint is None or self.checkpoint.comm.rank > 0 or not self.checkpoint.is_empty:
            return
        with suppress(OSError):
            self.checkpoint.clear()
            for name in (STATUS, HISTORY):
                (self.output / name).unlink(missing_ok=True)

    def _ended(self, state: str, words: str) -> None:
        if isinstance(self.display, Watched):
            self.display.end(state, words)

    @property
    def _continues(self) -> bool:
        return isinstance(self.display, Watched) and bool(self.display.facts["continued"])

    def _has_finished(self, identity: Identity) -> bool:
        """Whether the folder holds the results of this very run, whole.  Raises OutputError if of another."""
        status = read_status(self.output) or {}
        if status.get("state") != FINISHED or not (self.output / MODEL).is_file():
            return False
        if status.get("run") != identity.digest:
            raise OutputError(
                f"output folder {self.output} holds the results of another run; choose another with --output, or add "
                "--overwrite without --resume"
            )
        return check_seal(self.output / MODEL)


def _identity(job: Job[Any, Any], prepared: Prepared[Any]) -> Identity:
    """The run, with the checksum of its data on rank 0, where it is compared."""
    dataset, data = prepared.dataset, ""
    if job.comm.rank == 0:
        data = checksum(dataset.train.images, dataset.train.labels, dataset.test.images, dataset.test.labels)
    ranks = job.comm.size if job.states_belong_to_ranks else None
    return Identity(__version__, prepared.config.as_dict(), data, ranks)


def stop_of(options: Namespace, comm: Communicator) -> Stop:
    """The limit on the time, which rank 0 minds for all."""
    import time

    from varpro.train.checkpoint.stop import seconds_of

    if options.max_time is None:
        return Stop()
    limit = seconds_of(options.max_time)
    return Stop(time.monotonic() + limit) if comm.rank == 0 else Stop()
