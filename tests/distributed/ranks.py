"""What the ranks do in the tests of this folder: `python ranks.py NAME` runs the function NAME on every rank.

Rank 0 prints what the test checks; an assertion that fails on any rank ends the run with a traceback.
"""

import os
import signal
import sys
import threading
import time

import numpy as np

from varpro.cli import _guard
from varpro.distributed import Communicator, run_tasks, threads_per_rank, world
from varpro.errors import ConfigError, DataError, ShapeError


def collectives(comm: Communicator) -> int:
    """Reductions, broadcasts and gathers against their definition, on awkward sizes."""
    rank, size = comm.rank, comm.size
    for dtype in (np.float64, np.float32, np.int64):
        # (1 << 20) + 3 doubles: more than one part of a large transfer, and an odd rest.
        for shape in ((), (0,), (1,), (7, 3), ((1 << 20) + 3,)):
            mine = np.full(shape, rank + 1, dtype=dtype)
            total = comm.allreduce(mine)
            assert total.dtype == dtype
            assert total.shape == shape
            assert np.all(total == size * (size + 1) // 2)
            assert np.all(mine == rank + 1)
            assert np.all(comm.allreduce(mine, "max") == size)
            assert np.all(comm.allreduce(mine, "min") == 1)
            assert comm.allreduce_(mine) is mine
            assert np.array_equal(mine, total)

    for root in {0, size - 1}:
        ramp = np.arange((1 << 20) + 5, dtype=np.float64)
        received = ramp.copy() if rank == root else np.full_like(ramp, np.nan)
        comm.bcast_(received, root)
        assert np.array_equal(received, ramp)
        sent = {"name": "x" * 1000, "ramp": ramp, "table": np.arange(6, dtype=np.int16).reshape(2, 3).T, "none": None}
        got = comm.bcast(sent if rank == root else None, root)
        assert got is not None
        assert got["name"] == sent["name"]
        assert got["none"] is None
        assert np.array_equal(got["ramp"], ramp)
        assert np.array_equal(got["table"], sent["table"])
        got["ramp"][0] = 1.0  # a received array belongs to the receiver
        words = ["a" * (5000 * r) for r in range(size)]
        assert comm.gather(words[rank], root) == (words if rank == root else None)
        assert comm.allgather(words[rank]) == words

    assert comm.any(rank == size - 1)
    assert not comm.any(False)
    assert comm.node_size == size
    assert comm.node_rank == rank
    assert threads_per_rank(comm) >= 1
    comm.barrier()
    return _say(comm, f"collectives on {size}")


def sums_agree(comm: Communicator) -> int:
    """A sum of awkward floats has the same bits on every rank."""
    values = np.random.default_rng(comm.rank).standard_normal(10_007)
    sums = comm.allgather(comm.allreduce(values).tobytes())
    return _say(comm, str(len(set(sums))))


def chain(comm: Communicator) -> int:
    """Arrays handed from rank to rank: each adds its own, the last one's goes back to rank 0."""
    array = np.asfortranarray(np.arange(3_000_000, dtype=np.float32).reshape(1000, 3000))
    if comm.rank > 0:
        array = array + comm.recv(comm.rank - 1)
    if comm.rank + 1 < comm.size:
        comm.send(array, comm.rank + 1)
    elif comm.size > 1:
        comm.send(array, 0)
    if comm.rank == 0 and comm.size > 1:
        expected = comm.size * np.arange(3_000_000, dtype=np.float32).reshape(1000, 3000)
        assert np.array_equal(comm.recv(comm.size - 1), expected)
    return _say(comm, "chain")


def refused_buffers(comm: Communicator) -> int:
    """Every rank refuses alike, before anything is sent, so the ranks stay in step."""
    square = np.zeros((4, 4))
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    for bad in (square[:, 1], square.T[1:], frozen, np.zeros(3, dtype=np.complex128), np.zeros(2, dtype=object)):
        try:
            comm.allreduce_(bad)
        except ShapeError:
            continue
        raise AssertionError(f"{bad!r} was accepted")
    comm.barrier()
    return _say(comm, "refused")


def queue(comm: Communicator) -> int:
    """Every task exactly once, results by index, on_result on rank 0's main thread; also with few or no tasks."""
    for n_tasks, threads in ((0, 2), (1, 1), (2, 3), (50, 1), (50, 2)):
        seen: list[tuple[int, int]] = []
        main_thread = threading.get_ident()

        def work(index: int) -> tuple[int, int, np.ndarray]:
            assert threading.get_ident() != main_thread  # noqa: B023
            time.sleep(0.002 * (index % 3))
            return index, os.getpid(), np.full(2000, index)

        def note(index: int, rank: int, result: tuple[int, int, np.ndarray]) -> None:
            assert threading.get_ident() == main_thread  # noqa: B023
            assert result[0] == index
            seen.append((index, rank))  # noqa: B023

        results = run_tasks(comm, n_tasks, work, threads=threads, on_result=note)
        if comm.rank > 0:
            assert results is None
            assert not seen
            continue
        assert results is not None
        assert [result[0] for result in results] == list(range(n_tasks))
        assert all(np.all(result[2] == index) for index, result in enumerate(results))
        assert sorted(index for index, _ in seen) == list(range(n_tasks))
        assert all(0 <= rank < comm.size for _, rank in seen)
        if n_tasks == 50:
            assert {rank for _, rank in seen} == set(range(comm.size))  # rank 0 computes too
            assert len({result[1] for result in results}) == comm.size
    return _say(comm, f"queue on {comm.size}")


def slow_rank(comm: Communicator) -> int:
    """A rank with one long task gets few others: tasks go to whoever is free."""
    ranks: list[int] = []

    def work(index: int) -> int:
        time.sleep(0.5 if index == 0 else 0.005)
        return index

    run_tasks(comm, 40, work, on_result=lambda index, rank, result: ranks.append(rank))
    long_one = ranks[-1] if ranks else 0
    return _say(comm, str(ranks.count(long_one)))


def task_fails(comm: Communicator) -> int:
    """One task of many raises while the others would go on for a minute."""

    def work(index: int) -> int:
        if index == 3:
            raise ZeroDivisionError("task three is broken")
        time.sleep(0.01 if index < 3 else 60.0)
        return index

    run_tasks(comm, 12, work, threads=2)
    return _say(comm, "not reached")


def task_finds_bad_data_under_long_ones(comm: Communicator) -> int:
    """A user's error while another thread is in a task of a minute."""

    def work(index: int) -> int:
        if index == 1:
            raise DataError("image 5 holds a NaN:\nmend or drop it")
        time.sleep(60.0)
        return index

    run_tasks(comm, 12, work, threads=2)
    return _say(comm, "not reached")


def task_finds_bad_data(comm: Communicator) -> int:
    """A user's error in a task: told once, exit code 2."""

    def work(index: int) -> int:
        if index == 5:
            raise DataError("image 5 holds a NaN:\nmend or drop it")
        time.sleep(0.01)
        return index

    run_tasks(comm, 12, work)
    return _say(comm, "not reached")


def all_fail(comm: Communicator) -> int:
    """The same wrong key is found on every rank, not quite at the same time."""
    time.sleep(0.2 * comm.rank)
    raise ConfigError("unknown key 'sead': did you mean 'seed'?")


def last_fails(comm: Communicator) -> int:
    """One rank fails while the others are in a collective."""
    if comm.rank == comm.size - 1:
        time.sleep(0.1)
        raise DataError("train-images-idx3-ubyte.gz is truncated: fetch it again")
    comm.allreduce_(np.zeros(5))
    return _say(comm, "not reached")


def last_fails_while_others_compute(comm: Communicator) -> int:
    """One rank fails; the others do not come to a collective for a minute."""
    if comm.rank == comm.size - 1:
        raise DataError("train-images-idx3-ubyte.gz is truncated: fetch it again")
    time.sleep(60.0)
    return 0


def last_raises(comm: Communicator) -> int:
    """A bug on one rank."""
    if comm.rank == comm.size - 1:
        raise ZeroDivisionError("a bug on the last rank")
    comm.barrier()
    return _say(comm, "not reached")


def last_exits(comm: Communicator) -> int:
    """sys.exit on one rank while the others wait."""
    if comm.rank == comm.size - 1:
        sys.exit(3)
    comm.barrier()
    return _say(comm, "not reached")


def rank_zero_fails_at_the_end(comm: Communicator) -> int:
    """The others have nothing left to do when rank 0 cannot write its results."""
    if comm.rank == 0:
        time.sleep(0.3)
        raise DataError("the disk is full: free some space")
    return 0


def last_returns_early(comm: Communicator) -> int:
    """A rank that takes itself for done while the others count on it."""
    if comm.rank < comm.size - 1:
        comm.allreduce_(np.zeros(3))
    return 0


def last_is_killed(comm: Communicator) -> int:
    """A rank that the system kills, as for want of memory."""
    if comm.rank == comm.size - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    comm.barrier()
    return _say(comm, "not reached")


def interrupted(comm: Communicator) -> int:
    """Ctrl-C reaches every rank."""
    comm.barrier()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60.0)
    return 0


def different_calls(comm: Communicator) -> int:
    """A programming error that would hang plain MPI."""
    if comm.rank == 0:
        comm.barrier()
    else:
        comm.allreduce_(np.zeros(3))
    return 0


def wrong_options(comm: Communicator) -> int:
    """Arguments are read on every rank, but answered once."""
    parser = _guard.ArgumentParser(comm, prog="varpro-train")
    parser.add_argument("--seed", type=int)
    parser.parse_args(sys.argv[2:])
    return 0


def waiting_costs_little(comm: Communicator) -> int:
    """Processor seconds that a rank spends in one second of waiting for rank 0."""
    comm.barrier()
    start = time.process_time()
    if comm.rank == 0:
        time.sleep(1.0)
    comm.barrier()
    spent = comm.allgather(time.process_time() - start)
    return _say(comm, str(max(spent)))


def _say(comm: Communicator, text: str) -> int:
    if comm.rank == 0:
        print(text, flush=True)
    return 0


if __name__ == "__main__":
    chosen = globals()[sys.argv[1]]
    if os.environ.get("WITHOUT_GUARD"):
        sys.exit(chosen(world()))
    sys.exit(_guard.run("varpro-train", chosen))
