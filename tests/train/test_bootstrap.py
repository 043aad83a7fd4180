"""Guessing labels: the 0.2 margin, exactly as in the paper."""

import numpy as np
import pytest

from varpro.train.scalarized.bootstrap import guess_labels


def guesses(scores, variant="paper", margin=0.2, seed=0):
    return guess_labels(np.array(scores, dtype=float), margin=margin, variant=variant, rng=np.random.default_rng(seed))


def test_the_margin_is_relative_to_the_largest_output():
    found = guesses([[1.0, 0.79, 0], [1.0, 0.81, 0], [0.1, 0.079, 0]], variant="argmax")
    assert found.ambiguous.tolist() == [False, True, False]


def test_exactly_at_the_margin_is_ambiguous():
    assert guesses([[1.0, 0.75]], margin=0.25).ambiguous.all()


@pytest.mark.parametrize("factor", [0.01, 7.0])
def test_scaling_the_outputs_changes_nothing(factor):
    scores = np.random.default_rng(0).random((200, 10))
    a, b = guesses(scores), guesses(factor * scores)
    np.testing.assert_array_equal(a.ambiguous, b.ambiguous)
    np.testing.assert_array_equal(a.labels, b.labels)


def test_the_paper_draws_random_labels_for_the_ambiguous_only():
    scores = np.random.default_rng(1).random((3000, 5))
    found = guesses(scores)
    best = scores.argmax(axis=1)
    np.testing.assert_array_equal(found.labels[~found.ambiguous], best[~found.ambiguous])
    hit = np.mean(found.labels[found.ambiguous] == best[found.ambiguous])
    assert abs(hit - 0.2) < 4 * np.sqrt(0.16 / found.ambiguous.sum())
    assert found.used.all()


def test_variants():
    scores = np.random.default_rng(2).random((100, 5))
    np.testing.assert_array_equal(guesses(scores, "argmax").labels, scores.argmax(axis=1))
    sure = guesses(scores, "confident-only")
    np.testing.assert_array_equal(sure.used, ~sure.ambiguous)


def test_the_same_seed_draws_the_same_labels():
    scores = np.random.default_rng(3).random((50, 4))
    np.testing.assert_array_equal(guesses(scores, seed=5).labels, guesses(scores, seed=5).labels)
    assert (guesses(scores, seed=5).labels != guesses(scores, seed=6).labels).any()


def test_one_class():
    assert guesses([[0.7], [0.1]]).labels.tolist() == [0, 0]
