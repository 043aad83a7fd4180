"""The communicator over mpi4py.  Imported only by `world()`, when a launcher has started several processes.

Waiting: a small nonblocking agreement is tested, first in a tight loop (partners in a conjugate-gradient loop are
microseconds apart), then between naps that grow with the time waited, so that an idle rank leaves its core to ranks
that compute.  Once all ranks are present, data moves without naps, also by nonblocking calls: MPICH's blocking calls do
not yield when one thread communicates, and with 4 ranks on 2 cores a sum of 216 MB then took minutes, not 0.15 s.
"""

import ctypes
import math
import os
import pickle
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, NoReturn, TypeVar

import mpi4py
import numpy as np
from numpy.typing import NDArray

from varpro.cores import cores_of_this_process
from varpro.distributed.communicator import (
    Array,
    Communicator,
    Operation,
    RunStopped,
    Traffic,
    check_buffer,
    check_reducible,
    print_error,
)
from varpro.distributed.heartbeat import begin_heartbeats
from varpro.distributed.threads import core_share, workers_have_ended

mpi4py.rc(thread_level="funneled")  # must precede the import below, which initialises MPI
from mpi4py import MPI as MPI  # noqa: E402  (for `tolerant` too: it must not be imported before the line above)

T = TypeVar("T")
Bytes = NDArray[np.uint8]

SPIN_SECONDS = 100e-6
MOVING_SPIN_SECONDS = 0.1
LONGEST_NAP = 1e-3
GRACE_SECONDS = 3.0
"""How long a failed rank waits for the others to join before it aborts them."""
FINALIZE_SECONDS = 10
FORWARD_SECONDS = 0.25
"""Time for the launcher to pass on what was printed; if killed at once, it loses some of it."""
WORKER_SECONDS = 1.0
"""How long worker threads may take to end their tasks before a failed run is aborted instead of ended in order."""
PART_BYTES = 1 << 23
"""Size of the parts in which large arrays move, which bounds the library's temporaries; as fast as a single part."""
_ARRAY_TAG, _READY_TAG = 1, 2
_OPERATIONS = {"sum": MPI.SUM, "max": MPI.MAX, "min": MPI.MIN}


class MpiCommunicator(Communicator):
    """All ranks of the launcher, on private duplicates of MPI's world so that no foreign messages are received."""

    watches_machines = True
    """Whether signs of life are sent between machines."""

    def __init__(self, world: MPI.Intracomm = MPI.COMM_WORLD) -> None:
        self._world, self._thread = world, threading.get_ident()
        self._data = world.Dup()
        self._control = world.Dup()
        self._messages = world.Dup()
        self._outbox: list[MPI.Request] = []
        self._inbox: list[tuple[int, MPI.Request]] = []
        self.rank, self.size, self.traffic = world.rank, world.size, Traffic()
        self.reads_devices = self.size > 1 and bool(world.allreduce(reads_devices(), MPI.LAND))
        node = world.Split_type(MPI.COMM_TYPE_SHARED)
        self.node_rank, self.node_size = node.rank, node.size
        cores = cores_of_this_process()
        self.core_share = core_share(cores, node.allgather(cores))
        away = node.bcast(self.rank) > 0  # ranks of a machine are in their order in the world
        node.Free()
        if self.watches_machines and world.allreduce(away, MPI.LOR):
            begin_heartbeats(self.rank, world.bcast, away=away)
        if self.size > 1:
            _abort_on_uncaught_exception()

    def allreduce_(self, array: Array, op: Operation = "sum") -> Array:
        check_reducible(array, reads_devices=self.reads_devices)
        self._agree(f"allreduce {op} {array.dtype} {array.size}")
        self.traffic.bytes += array.nbytes
        if isinstance(array, np.ndarray):
            parts = (part.view(array.dtype) for part in _parts(array))
        else:
            parts = iter([array.reshape(-1)])  # the library itself moves a device's memory in parts
        for part in parts:
            self._move(self._data.Iallreduce(MPI.IN_PLACE, part, _OPERATIONS[op]))
        return array

    def bcast(self, obj: T, root: int = 0) -> T:
        self._agree(f"bcast {root}")
        pieces = _pickled(obj) if self.rank == root else []
        count = self._bcast_bytes(np.array([len(pieces)]), root)
        sizes = self._bcast_bytes(np.array([piece.size for piece in pieces] or count[0] * [0]), root)
        pieces = pieces or [np.empty(size, dtype=np.uint8) for size in sizes]
        for piece in pieces:
            self._bcast_bytes(piece, root)
        received: T = obj if self.rank == root else pickle.loads(pieces[0].data, buffers=pieces[1:])
        return received

    def bcast_(self, array: Array, root: int = 0) -> Array:
        check_buffer(array)
        self._agree(f"bcast_ {root} {array.dtype} {array.size}")
        return self._bcast_bytes(array, root)

    def gather(self, obj: T, root: int = 0) -> list[T] | None:
        self._agree(f"gather {root}")
        frame, sizes = self._frame_sizes(obj)
        everything = np.empty(sizes.sum() if self.rank == root else 0, dtype=np.uint8)
        self._move(self._data.Igatherv(frame, [everything, sizes] if self.rank == root else None, root))
        return _unpickle_all(everything, sizes) if self.rank == root else None

    def allgather(self, obj: T) -> list[T]:
        self._agree("allgather")
        frame, sizes = self._frame_sizes(obj)
        everything = np.empty(sizes.sum(), dtype=np.uint8)
        self._move(self._data.Iallgatherv(frame, [everything, sizes]))
        return _unpickle_all(everything, sizes)

    def barrier(self) -> None:
        self._agree("barrier")

    def send(self, array: Array, dest: int) -> None:
        array = np.ascontiguousarray(array)
        announced = self._control.isend((array.dtype.str, array.shape), dest, _ARRAY_TAG)
        self._wait(lambda: self._control.Iprobe(dest, _READY_TAG))
        self._control.recv(source=dest, tag=_READY_TAG)
        announced.wait()
        self.traffic.bytes += array.nbytes
        for part in _parts(array):
            self._move(self._data.Isend(part, dest))

    def recv(self, source: int) -> Array:
        self._wait(lambda: self._control.Iprobe(source, _ARRAY_TAG))
        dtype, shape = self._control.recv(source=source, tag=_ARRAY_TAG)
        array: Array = np.empty(shape, dtype=dtype)
        self._control.send(None, source, _READY_TAG)
        self.traffic.bytes += array.nbytes
        for part in _parts(array):
            self._move(self._data.Irecv(part, source))
        return array

    def post(self, message: object, dest: int) -> None:
        self._outbox.append(self._messages.isend(message, dest))

    def poll(self) -> tuple[int, Any] | None:
        self.flush()
        status = MPI.Status()
        if (probed := self._messages.improbe(status=status)) is not None:
            self._inbox.append((status.Get_source(), probed.irecv()))
        if self._inbox:
            source, request = self._inbox[0]
            arrived, message = request.test()
            if arrived:
                del self._inbox[0]
                return source, message
        return None

    def flush(self) -> bool:
        self._outbox = [request for request in self._outbox if not request.Test()]
        return not self._outbox

    def stop(self, code: int, message: str | None) -> int:
        header = _header("", failing=self.size - self.rank, code=code)
        request = self._control.Iallreduce(MPI.IN_PLACE, header, MPI.MAX)
        # Lower ranks give up first, so that only one of several failing ranks prints.
        if not self._wait(request.Test, GRACE_SECONDS * (1.0 + 0.2 * min(self.rank, 5))):
            self.abort(code, message or f"rank {self.rank} left the run with exit code {code}")
        if message and self.size - int(header[0]) == self.rank:
            print_error(message)
        return self.leave(int(header[1]))

    def leave(self, code: int) -> int:
        if not workers_have_ended(WORKER_SECONDS):
            _kill_all(code)
        # The interpreter ends MPI when it exits, together with the other ranks.  (Leaving by os._exit looks like a
        # crash to MPICH's launcher, which then reports its own kill, 9, as the code of the run.)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(FINALIZE_SECONDS)  # kills this process, and so the run, if a rank does not arrive
        return code

    def abort(self, code: int, message: str) -> NoReturn:
        print_error(message)
        _kill_all(code)

    def _bcast_bytes(self, array: Array, root: int) -> Array:
        self.traffic.bytes += array.nbytes
        for part in _parts(array):
            self._move(self._data.Ibcast(part, root))
        return array

    def _frame_sizes(self, obj: object) -> tuple[Bytes, NDArray[np.int64]]:
        """The pickled object of this rank, and the sizes in bytes of every rank's."""
        frame = np.frombuffer(pickle.dumps(obj, protocol=5), dtype=np.uint8)
        sizes = np.empty(self.size, dtype=np.int64)
        self._move(self._data.Iallgather(np.array([frame.size]), sizes))
        self.traffic.bytes += int(sizes.sum())
        return frame, sizes

    def _move(self, request: MPI.Request) -> None:
        """Complete a transfer whose ranks are all present: no naps, but other processes may have the core."""
        self._wait(request.Test, spin=MOVING_SPIN_SECONDS)

    def _agree(self, call: str) -> None:
        """Wait until every rank is in the same `call`; RunStopped if one has failed instead."""
        header = _header(call)
        self._wait(self._control.Iallreduce(MPI.IN_PLACE, header, MPI.MAX).Test)
        if header[0]:
            raise RunStopped(int(header[1]))
        if header[2] != -header[3]:
            raise RuntimeError(f"the ranks are in different collective calls; rank {self.rank} is in: {call}")

    def _wait(self, arrived: Callable[[], bool], limit: float = math.inf, spin: float = SPIN_SECONDS) -> bool:
        """Test until `arrived` or until `limit` seconds have passed; naps add at most an eighth to the time waited."""
        if threading.get_ident() != self._thread:
            raise RuntimeError("only the thread that made the communicator may talk to other ranks")
        start = time.perf_counter()
        while not arrived():
            waited = time.perf_counter() - start
            if waited > limit:
                return False
            if waited > spin:
                time.sleep(min(waited / 8.0, LONGEST_NAP))
            else:
                os.sched_yield()
        self.traffic.seconds += time.perf_counter() - start
        return True


def _header(call: str, failing: int = 0, code: int = 0) -> NDArray[np.int64]:
    """What a rank brings to an agreement, reduced by max: lowest failing rank (as size - rank), exit code, the call.

    A failing rank is in no call: it brings the least values, so the call of the others is left unchanged.
    """
    name = zlib.crc32(call.encode())
    return np.array([failing, code, name, -name], dtype=np.int64)


def _pickled(obj: object) -> list[Bytes]:
    """The pickle of an object, then the arrays it refers to, which are not copied into the pickle (protocol 5)."""
    buffers: list[pickle.PickleBuffer] = []
    frame = pickle.dumps(obj, protocol=5, buffer_callback=buffers.append)
    raw: list[bytes | memoryview] = [frame, *(buffer.raw() for buffer in buffers)]
    return [np.frombuffer(piece, dtype=np.uint8) for piece in raw]


def _unpickle_all(everything: Bytes, sizes: NDArray[np.int64]) -> list[Any]:
    return [pickle.loads(frame.data) for frame in np.split(everything, np.cumsum(sizes)[:-1])]


def reads_devices() -> bool:
    """Whether the MPI library says that it reads the memory of CUDA devices (MPIX_Query_cuda_support of Open MPI and
    MPICH)."""
    try:
        query = ctypes.CDLL(MPI.__file__).MPIX_Query_cuda_support
    except (AttributeError, OSError):
        return False
    return bool(query())


def _parts(array: Array) -> Iterator[Bytes]:
    flat = array.reshape(-1).view(np.uint8)
    return (flat[start : start + PART_BYTES] for start in range(0, flat.size, PART_BYTES))


def _abort_on_uncaught_exception() -> None:
    """Keep a user's own script that dies on one rank from leaving the others waiting."""
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        previous(kind, error, trace)
        _kill_all(1)

    sys.excepthook = hook


def _kill_all(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    time.sleep(FORWARD_SECONDS)
    MPI.COMM_WORLD.Abort(code)
    os._exit(code)
