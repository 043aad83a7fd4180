"""The communicator does what its definition says for 1, 2 and 3 ranks."""

from pathlib import Path

import numpy as np
import pytest

from tests.mpi import run_mpi
from varpro.distributed import SerialCommunicator
from varpro.errors import ShapeError

RANKS = Path(__file__).with_name("ranks.py")


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_collectives_equal_their_definition(ranks: int) -> None:
    assert run_mpi(ranks, RANKS, "collectives").check().stdout == f"collectives on {ranks}\n"


@pytest.mark.parametrize("ranks", [2, 3])
def test_sum_has_the_same_bits_on_every_rank(ranks: int) -> None:
    assert run_mpi(ranks, RANKS, "sums_agree").check().stdout == "1\n"


@pytest.mark.parametrize("ranks", [2, 3])
def test_arrays_pass_from_rank_to_rank(ranks: int) -> None:
    assert run_mpi(ranks, RANKS, "chain").check().stdout == "chain\n"


@pytest.mark.parametrize("ranks", [1, 2])
def test_unusable_buffers_are_refused_on_all_ranks_alike(ranks: int) -> None:
    assert run_mpi(ranks, RANKS, "refused_buffers").check().stdout == "refused\n"


def test_ranks_in_different_calls_fail_instead_of_waiting() -> None:
    run = run_mpi(2, RANKS, "different_calls", runner=())
    assert run.code != 0
    assert "different collective calls" in run.stderr


def test_waiting_leaves_the_core_to_others() -> None:
    # Processor time, not elapsed: a spinning rank would use the whole second on any machine.
    assert float(run_mpi(2, RANKS, "waiting_costs_little").check().stdout) < 0.5


def test_serial_communicator_returns_what_it_is_given() -> None:
    comm = SerialCommunicator()
    array = np.arange(3.0)
    assert comm.allreduce_(array) is array
    assert comm.bcast_(array) is array
    assert comm.allreduce(array) is not array
    assert comm.gather("x") == ["x"]
    assert comm.allgather("x") == ["x"]
    assert comm.bcast("x") == "x"
    assert comm.any(True)
    assert not comm.any(False)
    assert (comm.rank, comm.size, comm.node_rank, comm.node_size) == (0, 1, 0, 1)
    with pytest.raises(ShapeError, match="C-contiguous"):
        comm.allreduce_(np.zeros((3, 3))[:, 0])
    with pytest.raises(ShapeError, match="complex128"):
        comm.allreduce_(np.zeros(3, dtype=np.complex128))
    with pytest.raises(ValueError, match="one rank"):
        comm.send(array, 1)
