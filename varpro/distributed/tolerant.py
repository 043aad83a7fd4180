"""Ranks that outlive another, where the MPI tolerates faults (ULFM, User Level Failure Mitigation).

When a rank ends without a word, a call of any survivor fails.  It revokes the communicators, so that every other call
fails too, and raises RankLost; the survivors then meet in a new world, in which the run goes on from what it has kept.

Bland, Bouteiller, Herault, Bosilca, Dongarra, Int. J. High Perform. Comput. Appl. 27 (2013) 244-254.
"""

import functools
import os
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from varpro.distributed.communicator import Communicator, RankLost, SerialCommunicator
from varpro.distributed.mpi import MPI, MpiCommunicator

_ENABLED = "OMPI_MCA_mpi_ft_enable"
"""What Open MPI's launcher sets."""
R = TypeVar("R")
P = ParamSpec("P")
Method = Callable[Concatenate["TolerantCommunicator", P], R]


def tolerates_faults() -> bool:
    """Whether the launcher was asked to let ranks outlive others: Open MPI's `mpirun --with-ft ulfm`."""
    return os.environ.get(_ENABLED, "0") not in ("0", "false", "")


def _watched(method: Callable[Concatenate[MpiCommunicator, P], R]) -> Method[P, R]:
    """A method that raises RankLost if a rank has ended, on every rank that calls any."""

    @functools.wraps(method)
    def call(self: "TolerantCommunicator", /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except MPI.Exception as error:
            if error.Get_error_class() not in (MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING, MPI.ERR_REVOKED):
                raise
            self.revoke()
            raise RankLost(self.survivors) from None

    return call


class TolerantCommunicator(MpiCommunicator):
    """All ranks, whose survivors can form a new communicator."""

    watches_machines = False  # this MPI finds lost machines itself

    allreduce_ = _watched(MpiCommunicator.allreduce_)
    bcast: Any = _watched(MpiCommunicator.bcast)
    bcast_ = _watched(MpiCommunicator.bcast_)
    gather: Any = _watched(MpiCommunicator.gather)
    allgather: Any = _watched(MpiCommunicator.allgather)
    barrier = _watched(MpiCommunicator.barrier)
    send = _watched(MpiCommunicator.send)
    recv = _watched(MpiCommunicator.recv)
    post = _watched(MpiCommunicator.post)
    poll = _watched(MpiCommunicator.poll)
    flush = _watched(MpiCommunicator.flush)
    stop = _watched(MpiCommunicator.stop)

    def revoke(self) -> None:
        """Make every call on every rank fail that has not ended."""
        for comm in (self._world, self._data, self._control, self._messages):
            comm.Revoke()

    def survivors(self) -> Communicator:
        """The ranks that are left.  Collective among them."""
        world = MPI.Intracomm(self._world.Shrink())
        lost = self.lost + self.size - world.size
        comm = TolerantCommunicator(world) if world.size > 1 else SerialCommunicator()
        comm.lost = lost
        return comm
