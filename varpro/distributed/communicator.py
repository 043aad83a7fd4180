"""What a rank may ask of the others, and the form this takes if there are none.

Every collective begins with a short agreement in which each rank names the call it is in.  A rank that has failed joins
the agreement with its exit code instead, so the others leave with it (`RunStopped`) and nobody hangs; two ranks in
different calls both raise instead of waiting for ever.
"""

import atexit
import functools
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from varpro.cores import cores_of_this_process
from varpro.distributed.launch import launched_size
from varpro.distributed.threads import exit_under_workers
from varpro.errors import BackendError, ShapeError

T = TypeVar("T")
Array = NDArray[Any]
Operation = Literal["sum", "max", "min"]

REDUCED_DTYPES = tuple(np.dtype(name) for name in ("float64", "float32", "int64"))


@dataclass
class Traffic:
    """What a rank's main thread has sent, received and waited for in collectives, and what its queue cost."""

    bytes: int = 0
    seconds: float = 0.0
    idle_seconds: float = 0.0
    """What its worker threads waited for their next task, over all threads."""
    queue_seconds: float = 0.0
    """The processor time of its main thread for handing out tasks."""


class RunStopped(SystemExit):
    """Raised if another rank has failed and says why; this one leaves with the same exit code."""


class RankLost(BaseException):
    """Raised on the ranks that have outlived another, where the MPI tolerates that."""

    def __init__(self, survivors: Callable[[], "Communicator"]) -> None:
        """survivors : forms the communicator of those left; every survivor calls it once."""
        super().__init__("a rank has ended without a word")
        self.survivors = survivors


class Communicator(ABC):
    """The ranks of a run.  All methods except send, recv, post, poll, flush and abort are collective.

    Only the thread that made the communicator may call it: MPI is initialised for a single communicating thread, so
    that the worker threads of a rank (see `run_tasks`) can compute while it waits.
    """

    rank: int
    size: int
    node_rank: int
    """This rank's number among those on the same machine."""
    node_size: int
    traffic: "Traffic"
    reads_devices: bool = False
    """Whether `allreduce_` also takes arrays on a CUDA device, whose streams have finished."""
    lost: int = 0
    """The number of ranks that these have outlived."""
    core_share: float
    """The processor cores of this rank: those it may run on, each divided by the ranks on this machine that may use
    it."""

    @abstractmethod
    def allreduce_(self, array: Array, op: Operation = "sum") -> Array:
        """Element-wise sum, max or min over ranks, in place; returns `array`, the same bits on every rank.

        array : C-contiguous and writable, float64, float32 or int64, the same shape on every rank, else ShapeError.
        """

    @abstractmethod
    def bcast(self, obj: T, root: int = 0) -> T:
        """The root's object on every rank.  Pickled; large arrays inside are sent without a copy."""

    @abstractmethod
    def bcast_(self, array: Array, root: int = 0) -> Array:
        """Overwrite `array` with the root's values; C-contiguous, same shape and dtype on every rank."""

    @abstractmethod
    def gather(self, obj: T, root: int = 0) -> list[T] | None:
        """The objects of all ranks in rank order on the root, None elsewhere."""

    @abstractmethod
    def allgather(self, obj: T) -> list[T]:
        """The objects of all ranks in rank order, on every rank."""

    @abstractmethod
    def barrier(self) -> None:
        """Wait for every rank, asleep."""

    @abstractmethod
    def send(self, array: Array, dest: int) -> None:
        """Send an array to rank `dest`, which must call recv; returns when it has arrived."""

    @abstractmethod
    def recv(self, source: int) -> Array:
        """The array sent by rank `source`, with its shape and dtype, C-contiguous, writable."""

    @abstractmethod
    def post(self, message: object, dest: int) -> None:
        """Start sending a pickled message and return at once; `poll` and `flush` move it along."""

    @abstractmethod
    def poll(self) -> tuple[int, Any] | None:
        """(source, message) for the next message posted to this rank, or None; never waits."""

    @abstractmethod
    def flush(self) -> bool:
        """Move posted messages along without waiting; True once none is left."""

    @abstractmethod
    def stop(self, code: int, message: str | None) -> int:
        """End the run because of an error here: the lowest failing rank prints `message`, and all leave with `code`.

        Ranks that are in a collective, or fail as well, leave in an orderly way.  If one does not appear within a few
        seconds, the message is printed and the run is aborted.  Returns the exit code, with which every rank must end
        at once.
        """

    @abstractmethod
    def leave(self, code: int) -> int:
        """The last call of a rank that ends early in agreement with the others, after RunStopped.

        Returns `code`, with which every rank must end at once.
        """

    @abstractmethod
    def abort(self, code: int, message: str) -> NoReturn:
        """Print `message` to stderr and kill every rank at once; the run's exit code is `code`."""

    def allreduce(self, array: ArrayLike, op: Operation = "sum") -> Array:
        """allreduce_ on a copy: a new array with the shape and dtype of `array` (a number gives shape ())."""
        return self.allreduce_(np.array(array, order="C"), op)

    def any(self, flag: bool) -> bool:
        """True on every rank if `flag` is true on at least one."""
        return bool(self.allreduce_(np.array(bool(flag), dtype=np.int64), "max"))


class SerialCommunicator(Communicator):
    """The only rank of a run without a launcher; needs no MPI."""

    def __init__(self) -> None:
        self.rank, self.size, self.node_rank, self.node_size = 0, 1, 0, 1
        self.traffic = Traffic()
        self.core_share = float(len(cores_of_this_process()))

    def allreduce_(self, array: Array, op: Operation = "sum") -> Array:
        return check_reducible(array)

    def bcast(self, obj: T, root: int = 0) -> T:
        return obj

    def bcast_(self, array: Array, root: int = 0) -> Array:
        return check_buffer(array)

    def gather(self, obj: T, root: int = 0) -> list[T] | None:
        return [obj]

    def allgather(self, obj: T) -> list[T]:
        return [obj]

    def barrier(self) -> None:
        return None

    def send(self, array: Array, dest: int) -> None:
        raise ValueError(f"cannot send to rank {dest}: this run has one rank")

    def recv(self, source: int) -> Array:
        raise ValueError(f"cannot receive from rank {source}: this run has one rank")

    def post(self, message: object, dest: int) -> None:
        raise ValueError(f"cannot post to rank {dest}: this run has one rank")

    def poll(self) -> tuple[int, Any] | None:
        return None

    def flush(self) -> bool:
        return True

    def stop(self, code: int, message: str | None) -> int:
        if message:
            print_error(message)
        return self.leave(code)

    def leave(self, code: int) -> int:
        atexit.register(exit_under_workers, code)
        return code

    def abort(self, code: int, message: str) -> NoReturn:
        print_error(message)
        raise SystemExit(self.leave(code))


@functools.cache
def world() -> Communicator:
    """The ranks that the launcher started, or a SerialCommunicator if it started only one or there was none.

    Raises BackendError if several processes were started but MPI cannot connect them, since N copies of the same serial
    run would silently waste time.
    """
    size = launched_size()
    if size == 1 and "mpi4py.MPI" not in sys.modules:
        return SerialCommunicator()
    processes = f"{size} processes" if size else "this process as one of several"
    try:
        from varpro.distributed.mpi import MpiCommunicator
        from varpro.distributed.tolerant import TolerantCommunicator, tolerates_faults
    except (ImportError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BackendError(
            f"the launcher started {processes}, but mpi4py does not load ({reason}): "
            "install it with `pip install varpro[mpi]`, or build it against the site's MPI with "
            "`pip install --no-binary mpi4py mpi4py`"
        ) from error
    comm = TolerantCommunicator() if tolerates_faults() else MpiCommunicator()
    if comm.size == 1 and size > 1:
        raise BackendError(
            f"the launcher started {size} processes, but MPI sees only one: launcher and mpi4py belong to different "
            "MPI libraries; use the launcher installed beside mpi4py, or rebuild mpi4py against the site's MPI with "
            "`pip install --no-binary mpi4py mpi4py`"
        )
    return comm if comm.size > 1 else SerialCommunicator()


def print_error(message: str) -> None:
    """Print in a single write, so that lines of several ranks do not mix."""
    sys.stderr.write(message.rstrip("\n") + "\n")
    sys.stderr.flush()


def check_buffer(array: Array) -> Array:
    """The array, if a collective can work on it in place; raises ShapeError."""
    if not (isinstance(array, np.ndarray) and array.flags.c_contiguous and array.flags.writeable):
        what = f"strides {array.strides}" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
        raise ShapeError(f"an in-place collective needs a writable C-contiguous array, got {what}: pass a copy")
    if array.dtype.hasobject:
        raise ShapeError(f"dtype {array.dtype} cannot travel between ranks in place: use bcast or gather")
    return array


def check_reducible(array: Array, *, reads_devices: bool = False) -> Array:
    """The array, if ranks can add it up in place; raises ShapeError."""
    there = reads_devices and not isinstance(array, np.ndarray) and bool(array.flags.c_contiguous)
    if (array if there else check_buffer(array)).dtype not in REDUCED_DTYPES:
        raise ShapeError(f"cannot reduce dtype {array.dtype}: use float64, float32 or int64")
    return array
