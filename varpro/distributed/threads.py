"""How many threads a rank may use, and how to limit BLAS and the kernels to that number."""

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from varpro.cores import row_threads, threads_of_user

if TYPE_CHECKING:
    from varpro.distributed.communicator import Communicator

_WORKER_NAME = "varpro-worker"
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def core_share(own: Collection[int], node: Sequence[Collection[int]]) -> float:
    """The cores of one rank: each core in `own` counts 1 / (number of the node's ranks that may use it).

    node : the cores of every rank on the machine, this one included.  Ranks bound to their own cores keep all of
    them; ranks that share all cores get equal parts.
    """
    return sum(1.0 / sum(core in other for other in node) for core in own)


def cpu_quota() -> float:
    """The cores that the container's CPU quota allows all its processes together; infinity without a quota."""
    try:
        quota, period = _CGROUP_QUOTA.read_text().split()
        return float(quota) / float(period)
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return float("inf")


def start_worker(target: Callable[[], None]) -> None:
    """Start a thread that computes; a daemon, so that after an error the run ends without waiting for its tasks."""
    threading.Thread(target=target, name=_WORKER_NAME, daemon=True).start()


def workers_have_ended(seconds: float) -> bool:
    """Wait up to `seconds` for the threads of start_worker; False if some are still computing."""
    deadline = time.monotonic() + seconds
    workers = [thread for thread in threading.enumerate() if thread.name == _WORKER_NAME]
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
    return not any(worker.is_alive() for worker in workers)


def exit_under_workers(code: int) -> None:
    """For atexit: end the process directly, since the interpreter cannot exit properly while threads compute."""
    if not workers_have_ended(0.1):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def threads_per_rank(comm: "Communicator") -> int:
    """The cores of the machine divided by the ranks on it, at least 1.

    Reads the affinity mask, the container's quota, and OMP_NUM_THREADS as an upper limit set by the user.
    """
    share = min(comm.core_share, cpu_quota() / comm.node_size, threads_of_user())
    return max(1, int(share + 1e-9))


@contextmanager
def blas_threads(n: int, *, rows: int | None = None) -> Iterator[None]:
    """Limit every BLAS in the process to `n` threads inside the block; NumPy and SciPy each load their own.

    rows : the threads over which a kernel may divide its rows, which changes no bit; None = n.
    The limits apply to the process, not to the calling thread: set them before worker threads start.
    """
    import scipy.linalg  # noqa: F401  (loads SciPy's BLAS, else it would escape the limit)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=n, user_api="blas"), row_threads(n if rows is None else rows):
        yield
