"""The frame of every program: one line for a user's mistake, a traceback for ours, and no rank left behind."""

import argparse
import errno
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from varpro.distributed import PAUSED, Communicator, Paused, RankLost, RunStopped, SerialCommunicator, world
from varpro.distributed.communicator import print_error
from varpro.distributed.launch import launched_rank
from varpro.errors import FULL, GONE, BackendError, ConfigError, VarproError

USER_ERROR, PROGRAM_ERROR, INTERRUPTED, BROKEN_PIPE = 2, 1, 130, 141
OF_THE_SYSTEM = (
    *FULL, *GONE, errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EISDIR,
)  # fmt: skip
"""Errors of a file system that no program can help: one line is enough."""


def run(
    program: str, main: Callable[[Communicator], int], comm: Communicator | None = None, *, survives: bool = False
) -> int:
    """Exit code of main(comm); errors are reported once, and the other ranks end as well.

    comm : the ranks; None means world().  survives : whether main, called again with the ranks that have outlived
    another, goes on from what it has kept.
    VarproError: one line on stderr, exit code 2 on every rank.  Any other exception: a traceback headed by the rank,
    and every rank is killed (exit code 1).  Interrupt: one line, every rank is killed (130).  SystemExit keeps its
    code; Paused, which every rank raises, one line and code 75.
    """
    if comm is None:
        try:
            comm = world()
        except BackendError as error:
            comm = _Unconnected()
            return comm.stop(USER_ERROR, _one_line(program, error))
    while True:
        try:
            return _guarded(program, main, comm)
        except RankLost as lost:
            if not survives:
                comm.abort(PROGRAM_ERROR, f"{program}: {lost}")
            comm = lost.survivors()
            if comm.rank == 0:
                which = "a rank has" if comm.lost == 1 else f"{comm.lost} ranks have"
                left = "1 goes" if comm.size == 1 else f"{comm.size} go"
                print_error(f"{program}: {which} ended without a word; {left} on from what was kept")


def _guarded(program: str, main: Callable[[Communicator], int], comm: Communicator) -> int:
    """Exit code of main on these ranks.  Raises RankLost."""
    try:
        code, message = _outcome(program, main, comm)
        if code:
            return comm.stop(code, message)
        comm.barrier()  # asleep until the last rank is done, as when rank 0 writes; the end of MPI would spin
        return 0
    except VarproError as error:
        return comm.stop(USER_ERROR, _one_line(program, error))
    except RunStopped as stopped:
        return comm.leave(_exit_code(stopped))
    except BrokenPipeError:  # who reads the output has ended, as head does
        mute()
        return comm.stop(BROKEN_PIPE, None)
    except OSError as error:
        if error.errno not in OF_THE_SYSTEM:
            comm.abort(PROGRAM_ERROR, traceback.format_exc())
        return comm.stop(USER_ERROR, f"{program}: error: {' '.join(str(error).split())}")
    except RankLost:
        raise
    except KeyboardInterrupt:
        time.sleep(1.0 * min(comm.rank, 1))  # all ranks get the interrupt: rank 0 reports it and ends the others
        comm.abort(INTERRUPTED, f"{program}: interrupted")
    except BaseException:
        where = f"{program}: rank {comm.rank} of {comm.size} failed:\n" if comm.size > 1 else ""
        comm.abort(PROGRAM_ERROR, where + traceback.format_exc())


def _outcome(program: str, main: Callable[[Communicator], int], comm: Communicator) -> tuple[int, str | None]:
    """Exit code and last words of main, whether it returns or calls sys.exit."""
    try:
        return main(comm), None
    except RunStopped:
        raise
    except Paused as paused:
        return PAUSED, f"{program}: {paused.words}"
    except SystemExit as leaving:
        return _exit_code(leaving), leaving.code if isinstance(leaving.code, str) else None


def mute() -> None:
    """Send what is still to be printed nowhere, since nobody reads it; Python would complain when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line(program: str, error: VarproError) -> str:
    return f"{program}: error: {' '.join(str(error).split())}"


def _exit_code(leaving: SystemExit) -> int:
    """The exit code as the interpreter sees it: None is 0, a message is 1."""
    if leaving.code is None:
        return 0
    return leaving.code if isinstance(leaving.code, int) else 1


class _Unconnected(SerialCommunicator):
    """A stand-in if MPI could not be reached; the launcher's rank decides who prints."""

    def __init__(self) -> None:
        super().__init__()
        self.rank = launched_rank()

    def stop(self, code: int, message: str | None) -> int:
        return super().stop(code, message if self.rank == 0 else None)


class ArgumentParser(argparse.ArgumentParser):
    """argparse for several ranks: only rank 0 prints help and version, and a mistake becomes a ConfigError."""

    def __init__(self, comm: Communicator, **options: Any) -> None:
        super().__init__(**options)
        self._prints = comm.rank == 0

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see `{self.prog} --help`")

    def _print_message(self, message: str, file: Any = None) -> None:
        if self._prints:
            super()._print_message(message, file)
