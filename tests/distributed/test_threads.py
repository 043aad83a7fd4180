"""Cores are divided among the ranks of a machine, and BLAS uses only its number of threads."""

import threading
import time
from collections.abc import Iterator

import pytest
import threadpoolctl

from varpro import cores
from varpro.cores import by_rows
from varpro.distributed import SerialCommunicator, blas_threads, threads, threads_per_rank


@pytest.fixture(autouse=True)
def no_limit_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "cpu_quota", lambda: float("inf"))
    return iter(())


def test_shared_cores_are_divided_and_own_cores_kept() -> None:
    assert threads.core_share(range(8), [range(8)] * 2) == pytest.approx(4.0)
    assert threads.core_share(range(4), [range(4), range(4, 8)]) == pytest.approx(4.0)
    assert threads.core_share([0], [[0], [1]]) == pytest.approx(1.0)
    assert threads.core_share(range(2), [range(2)] * 8) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("share", "limit", "quota", "expected"),
    [(8.0, "", 99.0, 8), (0.25, "", 99.0, 1), (8.0, "3", 99.0, 3), (2.0, "64", 99.0, 2), (8.0, "", 2.5, 2)],
)
def test_threads_per_rank(
    monkeypatch: pytest.MonkeyPatch, share: float, limit: str, quota: float, expected: int
) -> None:
    comm = SerialCommunicator()
    comm.core_share = share
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    assert threads_per_rank(comm) == expected


def test_thirds_of_cores_add_up() -> None:
    comm = SerialCommunicator()
    comm.core_share = threads.core_share(range(9), [range(9)] * 3)
    assert threads_per_rank(comm) == 3


def test_every_loaded_blas_is_limited_and_released() -> None:
    def counts() -> list[int]:
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    with blas_threads(2):
        before = counts()
        with blas_threads(1):
            assert counts() == [1] * len(before)
        assert counts() == before
    assert len(before) >= 2  # NumPy's and SciPy's wheels bring one each


def test_rows_are_divided_over_the_threads_that_are_allowed_and_come_back_in_order() -> None:
    used: set[int] = set()

    def part(rows: slice) -> tuple[int, int]:
        used.add(threading.get_ident())
        time.sleep(0.01)
        return rows.start, rows.stop

    for allowed in (1, 2, 3):
        used.clear()
        with blas_threads(1, rows=allowed):
            assert by_rows(part, 23, 5) == [(0, 5), (5, 10), (10, 15), (15, 20), (20, 23)]
        assert len(used) == allowed
        with blas_threads(allowed), blas_threads(1):
            used.clear()
            by_rows(part, 23, 5)
            assert used == {threading.get_ident()}


def test_without_a_limit_rows_use_the_cores_up_to_that_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "cores_of_this_process", lambda: frozenset(range(4)))
    assert cores.default_threads() == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cores.default_threads() == 3


def test_a_mistake_on_a_thread_reaches_the_caller() -> None:
    def part(rows: slice) -> None:
        if rows.start:
            raise ValueError(f"row {rows.start}")

    with cores.row_threads(2), pytest.raises(ValueError, match="row 5"):
        by_rows(part, 10, 5)
