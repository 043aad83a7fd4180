"""R of rows that are spread over ranks: that of the whole, from any number of ranks, by the tree and by the chain."""

import queue
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from varpro.linalg.row_sums import row_blocks
from varpro.linalg.tsqr import triangle, tsqr

ROWS = np.random.default_rng(0).standard_normal((61, 5)) * [1.0, 1e3, 1.0, 1e-3, 1.0]
EPS = np.finfo(float).eps


class Ranks:
    """Ranks in threads of one process, with a queue from each to each."""

    def __init__(self, size):
        self.size = size
        self.pipes = {(a, b): queue.Queue() for a in range(size) for b in range(size)}

    def run(self, work):
        """work(comm) of every rank."""
        with ThreadPoolExecutor(self.size) as pool:
            return list(pool.map(work, [Rank(self, rank) for rank in range(self.size)]))


class Rank:
    def __init__(self, all_ranks, rank):
        self.all, self.rank, self.size = all_ranks, rank, all_ranks.size

    def send(self, array, dest):
        self.all.pipes[self.rank, dest].put(array.copy())

    def recv(self, source):
        return self.all.pipes[source, self.rank].get(timeout=30)

    def bcast_(self, array, root=0):
        if self.rank == root:
            for other in range(self.size):
                if other != root:
                    self.send(array, other)
        else:
            array[:] = self.recv(root)
        return array


def r_of(size, *, chain, block_rows=7, rows=ROWS):
    def work(comm):
        blocks = (rows[block].copy() for block in row_blocks(len(rows), block_rows, comm))
        return tsqr(blocks, rows.shape[1], comm, chain=chain)

    return Ranks(size).run(work)


def same_gram(r, rows=ROWS):
    norms = np.linalg.norm(rows, axis=0)
    return np.abs(r.T @ r - rows.T @ rows).max(where=norms > 0, initial=0.0) <= 200 * EPS * norms.max() ** 2


@pytest.mark.parametrize("chain", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 13])
def test_every_rank_gets_the_triangle_of_all_rows(size, chain):
    found = r_of(size, chain=chain)
    for r in found:
        np.testing.assert_array_equal(r, found[0])
        np.testing.assert_array_equal(np.tril(r, -1), 0.0)
    expected = np.linalg.qr(ROWS, mode="r")
    np.testing.assert_allclose(np.abs(found[0]), np.abs(expected), atol=100 * EPS * np.abs(expected).max())


def test_the_chain_gives_the_same_bits_for_any_number_of_ranks():
    found = [r_of(size, chain=True)[0].tobytes() for size in (1, 2, 3, 9, 12)]
    assert len(set(found)) == 1


@pytest.mark.parametrize("chain", [False, True])
def test_fewer_rows_than_columns_or_none_leave_zeros_below(chain):
    few = ROWS[:3]
    r = r_of(2, chain=chain, block_rows=2, rows=few)[0]
    assert same_gram(r, few)
    np.testing.assert_allclose(r[3:], 0.0, atol=100 * EPS * np.abs(few).max())
    assert not r_of(3, chain=chain, rows=ROWS[:0])[0].any()


def test_a_triangle_of_few_rows_is_square():
    r = triangle(ROWS[:2].copy())
    assert r.shape == (5, 5)
    assert same_gram(r, ROWS[:2])
    assert not r[2:].any()
