"""Normal equations of streamed rows: the matrix products, and the same bits for any ranks and threads."""

import numpy as np
import pytest

from varpro.linalg.normal_equations import normal_equations
from varpro.linalg.row_sums import ShardedRows, grid_unit

RNG = np.random.default_rng(0)
PHI, Y = RNG.uniform(-1, 1, (157, 9)), RNG.uniform(-1, 1, (157, 2))
GRID = 16 * grid_unit(157.0)
"""Every one of 16 blocks is rounded to the grid, which is coarser than the rounding of the products."""


class Rank:
    """One of several ranks; what the others hold is left out of its sums, to be added by the test."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    def allreduce(self, array, op="sum"):
        return np.array(array)

    def allreduce_(self, array, op="sum"):
        return array


def summed(ranks, threads, *, reproducible=True, phi=PHI, largest=(1.0, 1.0)):
    """The totals that the ranks' all-reduce would give, and the blocks that were made."""
    made, parts = [], []

    def make(block):
        made.append(block)
        return phi[block], Y[block]

    for rank in range(ranks):
        rows = ShardedRows(len(phi), Rank(rank, ranks), 10, threads, reproducible)
        parts.append(normal_equations(rows, rows.blocks(), make, columns=9, outputs=2, like=phi, largest=largest))
    return sum(p[0] for p in parts), sum(p[1] for p in parts), made


@pytest.mark.parametrize("reproducible", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
def test_they_are_the_matrix_products_and_every_block_is_made_once(threads, reproducible):
    gram, cross, made = summed(2, threads, reproducible=reproducible)
    assert np.abs(gram - np.tril(PHI.T @ PHI)).max() <= GRID
    assert np.abs(cross - PHI.T @ Y).max() <= GRID
    assert sorted(block.start for block in made) == list(range(0, 157, 10))


@pytest.mark.parametrize(("ranks", "threads"), [(1, 4), (2, 1), (3, 2), (20, 1)])
def test_reproducible_ones_have_the_same_bits_for_any_ranks_and_threads(ranks, threads):
    one, other = summed(1, 1), summed(ranks, threads)
    assert one[0].tobytes() == other[0].tobytes()
    assert one[1].tobytes() == other[1].tobytes()


def test_large_values_need_a_larger_bound():
    large = 1000.0 * PHI
    sums = [summed(ranks, 1, phi=large, largest=(1000.0, 1.0)) for ranks in (1, 3)]
    assert sums[0][0].tobytes() == sums[1][0].tobytes()
    assert np.abs(sums[0][0] - np.tril(large.T @ large)).max() <= 1e6 * GRID
    assert np.abs(sums[0][1] - large.T @ Y).max() <= 1e6 * GRID


def test_single_precision_is_summed_in_double():
    single = PHI.astype(np.float32)
    gram = summed(1, 1, phi=single)[0]
    assert gram.dtype == np.float64
    wide = single.astype(float)
    assert np.abs(gram - np.tril(wide.T @ wide)).max() <= GRID
