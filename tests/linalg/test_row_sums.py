"""Sums over blocks of rows: exact if they must be reproducible, ordinary otherwise."""

import numpy as np
import pytest

from varpro.linalg.row_sums import grid_unit, round_to_grid, row_blocks, sum_blocks


class Rank:
    """One of several ranks, for the sharding of rows only."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size


class Alone(Rank):
    def __init__(self):
        super().__init__(0, 1)

    def allreduce(self, array, op="sum"):
        return np.array(array)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("rows", [1, 7, 100, 101])
def test_blocks_of_all_ranks_cover_every_row_once_and_do_not_depend_on_the_ranks(rows, size):
    blocks = [block for rank in range(size) for block in row_blocks(rows, 7, Rank(rank, size))]
    assert blocks == row_blocks(rows, 7, Rank(0, 1))
    assert np.concatenate([np.arange(rows)[b] for b in blocks]).tolist() == list(range(rows))


def test_parts_on_the_grid_add_up_to_the_same_bits_in_any_order():
    rng = np.random.default_rng(0)
    parts = rng.standard_normal((40, 1000)) * 10.0 ** rng.integers(-6, 1, (40, 1000))
    plain = {sum(p[i] for i in order).tobytes() for p in [parts] for order in (range(40), range(39, -1, -1))}
    assert len(plain) == 2, "without the grid the order shows"
    unit = grid_unit(40 * np.abs(parts).max())
    rounded = round_to_grid(parts.copy(), unit)
    sums = {sum(rounded[i] for i in rng.permutation(40)).tobytes() for _ in range(5)}
    assert len(sums) == 1
    assert np.abs(rounded.sum(axis=0) - parts.sum(axis=0)).max() <= 40 * unit


@pytest.mark.parametrize("bound", [1.0, 3.7e-9, 2.0**40 - 1])
def test_the_grid_is_as_fine_as_exact_sums_allow_and_values_go_to_its_nearest_point(bound):
    unit, values = grid_unit(bound), bound * np.random.default_rng(2).uniform(-1, 1, 1000)
    rounded = round_to_grid(values.copy(), unit)
    np.testing.assert_array_equal(rounded / unit, np.round(values / unit))
    assert 2.0**50 < bound / unit <= 2.0**51, "two bits less than a double has: for the sign of the shift and its half"


def test_reproducible_sum_agrees_with_the_ordinary_one_to_rounding():
    parts = list(np.random.default_rng(1).standard_normal((9, 33)))
    like = np.zeros(33)
    plain, exact = (sum_blocks(parts, like, Alone(), reproducible=r, n_blocks=9) for r in (False, True))
    np.testing.assert_allclose(exact, plain, atol=100 * np.finfo(float).eps)


def test_sum_of_values_that_are_not_finite_is_not_a_number():
    out = sum_blocks([np.array([1.0, np.inf])], np.zeros(2), Alone(), reproducible=True, n_blocks=1)
    assert np.isnan(out).all()


def test_no_rows_of_ones_own_add_nothing():
    assert sum_blocks([], np.zeros(3), Alone(), reproducible=True, n_blocks=4).tolist() == [0, 0, 0]


class One(Rank):
    """One of several ranks, which knows the largest of all; its own part of a sum is to be added by the test."""

    def __init__(self, rank, size, largest):
        super().__init__(rank, size)
        self.largest = largest

    def allreduce(self, array, op="sum"):
        return np.array([self.largest]) if op == "max" else np.array(array)


def test_a_bound_that_is_not_given_comes_from_the_largest_part_of_any_rank():
    """With blocks of unlike sizes on unlike ranks, every division of them gives the same bits."""
    rng = np.random.default_rng(2)
    parts = list(rng.standard_normal((12, 50)) * 10.0 ** rng.integers(-6, 4, (12, 1)))
    largest = max(float(np.abs(p).max()) for p in parts)

    def summed(edges):
        ranks = len(edges) - 1
        found = np.zeros(50)
        for rank in range(ranks):
            own = [p.copy() for p in parts[edges[rank] : edges[rank + 1]]]
            own_largest = max(float(np.abs(p).max()) for p in own)

            class Told(One):
                def allreduce(self, array, op="sum", own_largest=own_largest):
                    assert op != "max" or array[0] == own_largest
                    return super().allreduce(array, op)

            found += sum_blocks(own, np.zeros(50), Told(rank, ranks, largest), reproducible=True, n_blocks=12)
        return found

    one = summed((0, 12))
    for edges in ((0, 1, 12), (0, 5, 7, 12), (0, 11, 12)):
        assert summed(edges).tobytes() == one.tobytes()
    assert np.abs(one - np.sum(parts, axis=0)).max() <= 12 * grid_unit(12 * largest)


def test_a_known_bound_takes_the_parts_one_at_a_time():
    taken = []

    def parts():
        for k in range(3):
            taken.append(k)
            yield np.full(2, 1.0 + k)
            assert len(taken) == k + 1

    out = sum_blocks(parts(), np.zeros(2), Alone(), reproducible=True, n_blocks=3, bound=100.0)
    assert out.tolist() == [6.0, 6.0]
