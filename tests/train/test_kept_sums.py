"""Sums of gluing that are continued: on any number of ranks every block is added once."""

import numpy as np
import pytest

from varpro.linalg.row_sums import ShardedRows
from varpro.train.checkpoint import Checkpoint
from varpro.train.scalarized import kept_sums as module
from varpro.train.scalarized.kept_sums import KeptSums

RNG = np.random.default_rng(0)
PHI, Y = RNG.standard_normal((47, 7)), RNG.standard_normal((47, 2))
BLOCK = 5


class Memory(Checkpoint):
    """Keeps what it is given, on rank 0, at every moment."""

    def __init__(self, state=None):
        self.state, self.sizes = state, []

    def load_on_first(self, name):
        return self.state

    def moment(self, name, size, make):
        self.sizes.append(size)
        self.state = make() or self.state


class Rank:
    """One of several ranks, whose messages come from a script: what the others would say."""

    def __init__(self, rank, size, told=None):
        self.rank, self.size, self.told = rank, size, told

    def bcast(self, value):
        return value if self.rank == 0 else self.told

    def allreduce(self, array, op="sum"):
        return np.array(array)

    def allgather(self, value):
        return [value]


def lower(gram):
    return np.tril(gram)


def add(gram, cross, block):
    gram += np.tril(PHI[block].T @ PHI[block])
    cross += PHI[block].T @ Y[block]


def kept_after(done, monkeypatch, panel=512):
    """The state that one rank leaves after some blocks."""
    monkeypatch.setattr(module, "PANEL_ROWS", panel)
    memory, comm = Memory(), Rank(0, 1)
    rows = ShardedRows(47, comm, BLOCK)
    sums, gram, cross = KeptSums(memory, "it", comm), np.zeros((7, 7)), np.zeros((7, 2))
    blocks = sums.begin(rows, rows.blocks(), gram, cross)
    assert blocks == rows.blocks()
    for number in range(done):
        add(gram, cross, blocks[number])
        sums.after(number + 1, gram, cross)
    assert memory.sizes == [4 * 49 + 8 * 14] * done
    return memory.state


@pytest.mark.parametrize("panel", [1, 3, 512])
@pytest.mark.parametrize("size", [1, 2, 3, 12])
def test_what_is_left_goes_to_the_ranks_and_what_was_summed_to_the_first(size, panel, monkeypatch):
    state = kept_after(4, monkeypatch, panel)
    assert state.arrays["blocks"].tolist() == [0, 5, 10, 15]
    total, cross, taken = np.zeros((7, 7)), np.zeros((7, 2)), []
    for rank in range(size):
        comm = Rank(rank, size, state.arrays["blocks"].tolist())
        rows = ShardedRows(47, comm, BLOCK)
        sums = KeptSums(Memory(state if rank == 0 else None), "it", comm)
        own, own_cross = np.zeros((7, 7)), np.zeros((7, 2))
        for block in sums.begin(rows, rows.blocks(), own, own_cross):
            taken.append(block.start)
            add(own, own_cross, block)
        total, cross = total + own, cross + own_cross
    assert taken == [20, 25, 30, 35, 40, 45]
    np.testing.assert_allclose(lower(total), lower(PHI.T @ PHI), atol=1e-12)
    np.testing.assert_allclose(cross, PHI.T @ Y, atol=1e-12)


def test_a_second_continuation_knows_the_blocks_of_both(monkeypatch):
    state = kept_after(3, monkeypatch)
    memory, comm = Memory(state), Rank(0, 1)
    rows = ShardedRows(47, comm, BLOCK)
    sums, gram, cross = KeptSums(memory, "it", comm), np.zeros((7, 7)), np.zeros((7, 2))
    left = sums.begin(rows, rows.blocks(), gram, cross)
    add(gram, cross, left[0])
    sums.after(1, gram, cross)
    assert memory.state.arrays["blocks"].tolist() == [0, 5, 10, 15]
    np.testing.assert_allclose(memory.state.arrays["cross"], PHI[:20].T @ Y[:20], atol=1e-12)


def test_other_ranks_keep_nothing(monkeypatch):
    memory, comm = Memory(), Rank(1, 2, None)
    rows = ShardedRows(47, comm, BLOCK)
    sums = KeptSums(memory, "it", comm)
    sums.begin(rows, rows.blocks(), np.zeros((7, 7)), np.zeros((7, 2)))
    sums.after(1, np.zeros((7, 7)), np.zeros((7, 2)))
    assert memory.state is None
