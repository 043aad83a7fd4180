"""The sample of a refinement: it grows, or moves on to images that were not in it."""

from itertools import pairwise

import numpy as np
import pytest

from varpro.distributed.communicator import SerialCommunicator
from varpro.problems.sample import Sample

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
    np.testing.assert_array_equal(np.concatenate(it.blocks(it.first(2))), used(it)[:2])


def test_a_sample_that_does_not_grow_stays():
    assert not sample(4, growth=1.0).advance()
