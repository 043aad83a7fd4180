"""The task queue gives out every task once, balances, and stops at the first error."""

import threading
from pathlib import Path

import pytest

from tests.mpi import run_mpi
from varpro.distributed import SerialCommunicator, run_tasks

RANKS = Path(__file__).with_name("ranks.py")


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_task_once_and_results_in_order(ranks: int) -> None:
    assert run_mpi(ranks, RANKS, "queue").check().stdout == f"queue on {ranks}\n"


def test_tasks_go_to_the_rank_that_is_free() -> None:
    # 40 tasks of 5 ms beside one of 0.5 s: the busy rank has that one and at most one more waiting.
    assert int(run_mpi(2, RANKS, "slow_rank").check().stdout) <= 2


@pytest.mark.parametrize("runner", [(), ("-m", "mpi4py")])
@pytest.mark.parametrize("guarded", [True, False])
def test_error_in_a_task_ends_the_run(runner: tuple[str, ...], guarded: bool) -> None:
    environment = {} if guarded else {"WITHOUT_GUARD": "1"}
    run = run_mpi(2, RANKS, "task_fails", runner=runner, environment=environment, timeout=30)
    assert run.code != 0
    assert "ZeroDivisionError: task three is broken" in run.stderr
    assert run.stdout == ""


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_user_error_in_a_task_is_one_line(ranks: int) -> None:
    run = run_mpi(ranks, RANKS, "task_finds_bad_data", runner=())
    assert run.code == 2
    assert run.errors == "varpro-train: error: image 5 holds a NaN: mend or drop it\n"


@pytest.mark.parametrize("ranks", [1, 2])
def test_user_error_does_not_wait_for_tasks_under_way(ranks: int) -> None:
    run = run_mpi(ranks, RANKS, "task_finds_bad_data_under_long_ones", runner=(), timeout=30)
    assert run.code == 2
    assert run.stderr.startswith("varpro-train: error: image 5 holds a NaN: mend or drop it\n")


def test_serial_queue_uses_its_threads_side_by_side() -> None:
    meeting = threading.Barrier(3, timeout=20)  # passes only when three tasks are under way at once

    def work(index: int) -> int:
        meeting.wait()
        return index * index

    assert run_tasks(SerialCommunicator(), 6, work, threads=3) == [0, 1, 4, 9, 16, 25]


def test_serial_queue_raises_the_error_of_a_task_at_once() -> None:
    release = threading.Event()

    def work(index: int) -> int:
        if index == 1:
            raise KeyError("one")
        release.wait(20)
        return index

    with pytest.raises(KeyError, match="one"):
        run_tasks(SerialCommunicator(), 4, work, threads=2)
    assert not release.is_set()
    release.set()


@pytest.mark.parametrize(("n_tasks", "threads"), [(-1, 1), (1, 0)])
def test_impossible_numbers_are_refused(n_tasks: int, threads: int) -> None:
    with pytest.raises(ValueError, match="run_tasks needs"):
        run_tasks(SerialCommunicator(), n_tasks, lambda index: index, threads=threads)
