"""The sample of a refinement: it grows, or moves on to images that were not in it."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest

from varpro.distributed.communicator import SerialCommunicator
from varpro.linalg.row_sums import BLOCK_ROWS
from varpro.problems.sample import SPREAD, Sample

N = 10


def sample(rows, **options):
    order = np.random.default_rng(0).permutation(N)
    return Sample(np.zeros((N, 1, 2, 2)), np.arange(1.0, N + 1)[:, None], order, rows, SerialCommunicator(), **options)


def used(of):
    return np.concatenate(of.blocks())


def test_a_sample_grows_until_it_has_every_row_and_keeps_what_it_has():
    it = sample(4, growth=1.5)
    seen = [used(it)]
    while it.advance():
        seen.append(used(it))
    assert [len(s) for s in seen] == [4, 6, 9, 10]
    for small, large in pairwise(seen):
        np.testing.assert_array_equal(large[: len(small)], small)
    assert not it.advance()


def test_a_fresh_sample_has_none_of_the_rows_before_it_and_comes_round():
    it = sample(4, growth=1.0, fresh=True)
    one = used(it)
    assert it.advance()
    two = used(it)
    assert it.advance()
    three = used(it)
    assert not set(one) & set(two)
    assert not set(two) & set(three)
    assert set(one) | set(two) | set(three) == set(range(N)), "the third begins again at the first row"
    assert [len(s) for s in (one, two, three)] == [4, 4, 4]


def test_a_fresh_sample_of_everything_stays():
    it = sample(6, growth=2.0, fresh=True)
    assert it.advance()
    assert sorted(used(it)) == list(range(N))
    assert not it.advance()


@pytest.mark.parametrize("offset", [0, 3, 8])
def test_a_sample_can_begin_where_another_has_come_to(offset):
    it = sample(4, fresh=True, offset=offset)
    np.testing.assert_array_equal(used(it), it.order[(offset + np.arange(4)) % N])
    assert it.size() == pytest.approx(0.5 * np.sum(it.y[used(it)] ** 2) / 4)


def test_a_sample_that_does_not_grow_stays():
    assert not sample(4, growth=1.0).advance()


@dataclass(frozen=True)
class Rank(SerialCommunicator):
    rank: int = 0
    size: int = 1


@pytest.mark.parametrize("rows", [1, 700, 2000, 8000, 20_500])
@pytest.mark.parametrize("about", [500, 2000])
def test_a_few_rows_are_the_same_for_any_number_of_ranks_and_every_rank_has_its_share(rows, about):
    n = 21_000
    whole = Sample(np.zeros((n, 1, 1, 1)), np.zeros((n, 1)), np.arange(n), rows, SerialCommunicator(), offset=50)
    total, some = whole.some(about)
    expected = np.concatenate([whole.blocks()[index][:count] for index, count in some])
    assert total == len(expected) == len(set(expected))
    assert min(about, rows) <= total < about + SPREAD or rows % BLOCK_ROWS < about / SPREAD
    for ranks in (2, 3, 8):
        found = []
        for rank in range(ranks):
            part = replace(whole, comm=Rank(rank=rank, size=ranks))
            again, own = part.some(about)
            assert again == total
            found.append(np.concatenate([np.empty(0, int), *(part.blocks()[i][:count] for i, count in own)]))
        np.testing.assert_array_equal(np.concatenate(found), expected)
        if rows == 8000:
            assert len({len(own) for own in found}) == (1 if ranks != 3 else 2)
