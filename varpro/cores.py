"""The cores of this process, and the rows of one call divided over them.

A kernel whose rows do not depend on one another leaves the division to `by_rows`.  Its parts are fixed by their size,
not by the number of threads, so that values, and sums over parts in their order, have the same bits for any number.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_limit: int | None = None
"""The most threads of a call; None = `default_threads`."""


def cores_of_this_process() -> frozenset[int]:
    """The numbers of the cores this process may run on (all cores if the system cannot tell)."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def threads_of_user() -> float:
    """OMP_NUM_THREADS, the user's upper limit; infinity if it is not set."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return float(limit) if limit.isdigit() and int(limit) > 0 else float("inf")


def default_threads() -> int:
    """The threads of a call outside `row_threads`: those that BLAS would take, too."""
    return int(min(len(cores_of_this_process()), threads_of_user()))


@contextmanager
def row_threads(n: int) -> Iterator[None]:
    """Divide the rows of a call over at most `n` threads inside the block.

    The limit applies to the process, not to the calling thread: set it to 1 before worker threads start.
    """
    global _limit
    before, _limit = _limit, n
    try:
        yield
    finally:
        _limit = before


def by_rows(function: Callable[[slice], T], n_rows: int, part: int) -> list[T]:
    """The function of every `part` rows, on the threads of a call; results in the order of the rows."""
    parts = [slice(first, min(first + part, n_rows)) for first in range(0, n_rows, part)]
    threads = min(default_threads() if _limit is None else _limit, len(parts))
    if threads <= 1:
        return list(map(function, parts))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, parts))
