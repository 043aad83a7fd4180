"""In the block SciPy's BLAS has one thread and NumPy's its own number; after it, or an error, all is as before."""

import threading

import numpy as np
import pytest
import scipy.linalg
import threadpoolctl

import varpro
from varpro.linalg.one_pool import one_blas_pool
from varpro.losses import nullspace


@pytest.fixture(autouse=True)
def two_threads_each():
    np.linalg.inv(np.eye(2)), scipy.linalg.inv(np.eye(2))
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        if len(threads()) < 2 or set(threads().values()) != {2}:
            pytest.skip("NumPy and SciPy share one BLAS here, or it has no threads: nothing to hold")
        yield


def threads():
    """Number of threads of each BLAS, SciPy's under True."""
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return {"scipy" in pool["filepath"].split("/")[-2]: pool["num_threads"] for pool in pools}


HELD, FREE = {True: 1, False: 2}, {True: 2, False: 2}


def test_held_and_released():
    with one_blas_pool():
        assert threads() == HELD
        with one_blas_pool():
            assert threads() == HELD
        assert threads() == HELD
    assert threads() == FREE


def test_an_error_releases():
    @one_blas_pool()
    def fails():
        assert threads() == HELD
        raise ValueError("on purpose")

    for _ in range(2):
        with pytest.raises(ValueError, match="on purpose"):
            fails()
        assert threads() == FREE


def test_blocks_of_two_threads_that_overlap():
    inside, leave = threading.Event(), threading.Event()

    def other():
        with one_blas_pool():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with one_blas_pool():
        thread.start()
        assert inside.wait(10)
    assert threads() == HELD, "the other block is still there"
    leave.set()
    thread.join(10)
    assert threads() == FREE


def test_a_fit_holds_it():
    seen = []

    def basis(t, w):
        seen.append(threads())
        return np.stack([np.exp(-t / w[0]), np.ones_like(t)], axis=-1)

    t = np.linspace(0.0, 5.0, 700)
    y = np.random.default_rng(0).standard_normal((700, 40))
    varpro.fit(basis, t, y, [1.0], max_iterations=2)
    assert seen[-1] == HELD
    assert threads() == FREE


def test_a_loss_holds_it(monkeypatch):
    seen = []

    def spectrum(*arguments):
        seen.append(threads())
        return spectrum_of_ridge(*arguments)

    spectrum_of_ridge = nullspace._ridge_spectrum
    monkeypatch.setattr(nullspace, "_ridge_spectrum", spectrum)
    rng = np.random.default_rng(0)
    nullspace.NullSpaceLoss()(rng.standard_normal((30, 5)), rng.integers(0, 3, 30))
    assert seen == [HELD]
    assert threads() == FREE
