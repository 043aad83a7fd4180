"""The shim itself: warps exchange, memory is filled, and mistakes are found."""

import numpy as np
import pytest

from tests.cuda import host
from tests.cuda.host import KernelError, same_in_every_order

THREADS = 96
BARRIERS = host.barriers("shim_kernels", "tests/cuda")[:2]  # the others diverge on purpose
FILLED = np.frombuffer(b"\xcb" * 4, dtype=np.int32)[0]


def numbers(driver, name, count=THREADS, **more):
    return np.frombuffer(same_in_every_order(driver(name, count=count, **more)), dtype=np.int32)


def test_a_warp_exchanges_numbers(driver):
    t = np.arange(THREADS)
    first = t // 32 * 32
    down = np.where(t % 32 == 31, 0, 1)
    np.testing.assert_array_equal(numbers(driver, "warp_sums"), (first * 32 + 31 * 16) * 10000 + first * 100 + down)


def test_a_warp_votes(driver):
    thirds = (np.arange(THREADS) % 3 == 0).reshape(-1, 32)
    bits = (thirds << np.arange(32)).sum(axis=1) ^ (1 << 31)
    expected = (bits + thirds.sum(axis=1)).astype(np.uint32).view(np.int32)
    np.testing.assert_array_equal(numbers(driver, "warp_votes"), np.repeat(expected, 32))


def test_barriers_of_a_warp_and_of_a_block(driver):
    np.testing.assert_array_equal(numbers(driver, "warp_neighbours"), np.arange(THREADS) ^ 1)
    np.testing.assert_array_equal(numbers(driver, "block_reversal"), np.arange(THREADS)[::-1])


@pytest.mark.parametrize("barrier", BARRIERS)
def test_a_barrier_left_out_shows_in_some_order(driver, barrier):
    name = ["warp_neighbours", "block_reversal"][BARRIERS.index(barrier)]
    results = driver(name, count=THREADS, drop=barrier)
    assert len(set(results)) > 1


def test_shared_memory_is_filled_before_each_block(driver):
    np.testing.assert_array_equal(numbers(driver, "reads_unwritten", 6 * THREADS), FILLED)


def test_threads_and_blocks_of_two_dimensions(driver):
    blocks, threads = np.arange(6)[:, None], np.arange(THREADS)
    expected = blocks // 3 * 1000000 + blocks % 3 * 10000 + threads // 12 * 100 + threads % 12
    np.testing.assert_array_equal(numbers(driver, "coordinates", 6 * THREADS), expected.ravel())


@pytest.mark.parametrize("order", host.ORDERS)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("returns_early", r"divergent barrier: thread 0 waits at shim_kernels.cu:\d+, thread 5 has returned"),
        ("waits_at_two_places", r"divergent barrier: thread 0 waits at .*, thread 32 waits at shim_kernels.cu"),
        ("part_of_a_warp_shuffles", r"thread 0 waits at shim_kernels.cu:\d+ for its warp, thread 16 has returned"),
        ("past_dynamic", "heap-buffer-overflow"),
        ("past_static", "index 96 out of bounds"),
        ("past_global", "heap-buffer-overflow"),
    ],
)
def test_mistakes_are_found(driver, name, message, order):
    with pytest.raises(KernelError, match=message):
        driver(name, count=THREADS, orders=(order,))


def test_switching_by_ucontext_gives_the_same(driver, tmp_path):
    """What processors other than x86-64 use: the shim compiled for it, the kernels as they are."""
    host.compile_sources(host.SHIM, tmp_path, "-DVARPRO_HOST_UCONTEXT")
    own = {file.name: file for file in [*driver.folder.glob("*.o"), *tmp_path.glob("*.o")]}
    other = host.Driver(host.link(list(own.values()), tmp_path / "driver"), tmp_path)
    np.testing.assert_array_equal(numbers(other, "block_reversal"), np.arange(THREADS)[::-1])
    with pytest.raises(KernelError, match="thread 5 has returned"):
        other("returns_early", count=THREADS)


def test_a_block_too_large_for_the_device_is_refused(driver):
    with pytest.raises(KernelError, match="a block takes 49152 bytes and 1024 threads at most"):
        driver("too_large", count=THREADS)
