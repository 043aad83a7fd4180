"""Ranks and how they talk to each other: the communicator, the task queue, the threads of a rank.

Only this package imports mpi4py, and only if a launcher has started more than one process.
"""

from varpro.distributed.communicator import Communicator, RankLost, RunStopped, SerialCommunicator, world
from varpro.distributed.pause import PAUSED, Paused
from varpro.distributed.queue import run_tasks
from varpro.distributed.threads import blas_threads, threads_per_rank

__all__ = [
    "PAUSED",
    "Communicator",
    "Paused",
    "RankLost",
    "RunStopped",
    "SerialCommunicator",
    "blas_threads",
    "run_tasks",
    "threads_per_rank",
    "world",
]
