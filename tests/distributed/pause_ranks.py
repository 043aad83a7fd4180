"""What the ranks do in test_pause.py: `python pause_ranks.py NAME` runs the function NAME on every rank."""

import sys
import time

from varpro.cli import _guard
from varpro.distributed import Communicator, run_tasks


def handed_out_again(comm: Communicator) -> int:
    """Tasks 3 and 7 are given back once: another rank computes 103 and 107 in their place."""
    seen: list[tuple[int, int, int]] = []

    def again(index: int, rank: int, result: int) -> int | None:
        seen.append((index, rank, result))
        return 100 + index if result in (3, 7) else None

    results = run_tasks(comm, 10, lambda index: index, on_result=again)
    if comm.rank == 0:
        assert results == [0, 1, 2, 103, 4, 5, 6, 107, 8, 9]
        for index in (3, 7):
            (first, _), (second, value) = [(rank, value) for i, rank, value in seen if i == index]
            assert value == 100 + index
            assert first != second or comm.size == 1
    if comm.rank == 0:
        print("again", flush=True)
    return 0


def paused(comm: Communicator) -> int:
    """The last rank wants to stop while tasks of a minute are under way; results that are there are not lost."""
    begin, seen = time.monotonic(), []

    def work(index: int) -> int:
        time.sleep(0.01 if index < 4 else 60.0)
        return index

    def pause() -> str:
        return "stopped by a test" if comm.rank == comm.size - 1 and time.monotonic() > begin + 1.0 else ""

    def arrived(index: int, rank: int, result: int) -> None:
        seen.append(index)

    try:
        run_tasks(comm, 12, work, threads=2, on_result=arrived, pause=pause)
    finally:
        assert comm.rank > 0 or sorted(seen) == [0, 1, 2, 3]
    return 0


if __name__ == "__main__":
    sys.exit(_guard.run("varpro-train", globals()[sys.argv[1]]))
