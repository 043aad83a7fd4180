"""One pool of BLAS threads at a time.

NumPy and SciPy, installed from wheels, each bring a BLAS of their own, and the kernels call SciPy's.  Each BLAS has a
pool of threads as large as the machine, and its threads spin for a while after their work: code that alternates between
the two finds the cores taken by idle threads of the other.  On two cores this made fits 3 to 5 times slower, small
losses 20 times.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import PurePath
from typing import Protocol


class _Pool(Protocol):
    """What is used of a controller of threadpoolctl."""

    def get_num_threads(self) -> int: ...
    def set_num_threads(self, num_threads: int) -> object: ...


_lock = threading.Lock()
_depth = 0
_before = 1


@contextmanager
def one_blas_pool() -> Iterator[None]:
    """Limit SciPy's BLAS to one thread inside the block, or the function it decorates; NumPy's keeps its own.

    The limit applies to the whole process: it ends with the last of the overlapping blocks, in whichever thread.
    """
    global _depth, _before
    pool = _pool_of_scipy()
    if pool is None:
        yield
        return
    with _lock:
        if _depth == 0:
            _before = pool.get_num_threads()
            _set(pool, 1)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _set(pool, _before)


def _set(pool: _Pool, n_threads: int) -> None:
    """Set the limit from any thread; threadpoolctl 3.8 obeys only the first one until it is told to forget it."""
    if _before == 1:
        return
    forget = getattr(pool, "clear_controlling_thread", lambda force: None)
    forget(force=True)
    pool.set_num_threads(n_threads)
    forget(force=True)


@cache
def _pool_of_scipy() -> _Pool | None:
    """SciPy's own OpenBLAS, held by threadpoolctl; None if SciPy has another BLAS or shares one with NumPy."""
    import scipy.linalg  # noqa: F401  (loads it)
    from threadpoolctl import ThreadpoolController

    pools = [pool for pool in ThreadpoolController().lib_controllers if pool.user_api == "blas"]
    own = [pool for pool in pools if {"scipy", "scipy.libs"} & set(PurePath(pool.filepath).parts)]
    return own[0] if len(own) == 1 < len(pools) and own[0].internal_api == "openblas" else None
