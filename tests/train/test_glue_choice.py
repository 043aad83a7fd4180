"""Which ridge the gluing chooses, and that the layer it returns has been refined."""

import numpy as np
import pytest

from varpro.distributed.communicator import SerialCommunicator
from varpro.models import QuadraticUnits
from varpro.models.units import features
from varpro.train.scalarized import glue as module
from varpro.train.scalarized.glue import RELATIVE_RIDGES, Rows, Streamed, _Gram, count_correct, glue
from varpro.train.scalarized.network import one_hot


def noisy(rows, seed, *, units=23, wrong=0.25):
    """Two classes by the brightness, a share of the labels wrong: with nearly a unit for each row it overfits."""
    rng = np.random.default_rng(seed)
    images = rng.random((rows, 1, 4, 4))
    labels = (images.mean(axis=(1, 2, 3)) > 0.5).astype(int)
    flipped = rng.random(rows) < wrong
    labels[flipped] = 1 - labels[flipped]
    made = QuadraticUnits((1, 4, 4), units)
    w = made.start(np.random.default_rng(3), np.random.default_rng(4).random((60, 1, 4, 4)))
    return Streamed(made, w, "tanh", Rows(images, labels), 2, SerialCommunicator(), 50)


def by_ridge(train, validation):
    """(mu, validation rows that are right) of each candidate, by the normal equations alone."""
    phi, y = features(train.units, train.w, train.sigma, train.rows.images), one_hot(train.rows.labels, 2)
    scale = np.trace(phi.T @ phi) / phi.shape[1]
    found = []
    for relative in RELATIVE_RIDGES:
        a = np.linalg.solve(phi.T @ phi + relative * scale * np.eye(phi.shape[1]), phi.T @ y)
        found.append((relative * scale, int(count_correct(validation, [a])[0])))
    return found


@pytest.mark.parametrize("method", ["gram", "tsqr"])
@pytest.mark.parametrize(("seed", "wrong"), [(1, 0.0), (2, 0.4)])
def test_the_ridge_is_the_candidate_that_serves_the_validation_rows_best(method, seed, wrong):
    """The largest of all in the first case, where overfitting is all there is; in the second the one before it."""
    train, validation = noisy(25, seed, wrong=wrong), noisy(977, 99, wrong=0.0)
    found = by_ridge(train, validation)
    expected, most = max(found, key=lambda pair: (pair[1], pair[0]))
    assert most > found[0][1]  # else the first of the list would do as well
    assert glue(train, validation, method=method).ridge == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("method", ["gram", "tsqr"])
@pytest.mark.parametrize("counts", [(9, 1, 1, 1, 1), (3, 9, 8, 8, 1), (3, 7, 7, 7, 2), (5, 5, 5, 5, 5)])
def test_most_right_wins_and_of_equals_the_larger_ridge(method, counts, monkeypatch):
    train, validation = noisy(31, 0), noisy(31, 1)

    def count(streamed, layers):
        assert streamed is validation
        assert len(layers) == len(counts)
        return np.array(counts)

    monkeypatch.setattr(module, "count_correct", count)
    phi = features(train.units, train.w, "tanh", train.rows.images)
    place = max(i for i, value in enumerate(counts) if value == max(counts))
    expected = (1e-11, 1e-9, 1e-7, 1e-5, 1e-3)[place] * np.sum(phi**2) / 24
    assert glue(train, validation, method=method).ridge == pytest.approx(expected)


@pytest.mark.parametrize("method", ["gram", "tsqr"])
def test_a_ridge_that_was_given_stays_and_without_validation_rows_the_middle_one_serves(method):
    train, nobody = noisy(31, 0), noisy(0, 1)
    assert glue(train, noisy(50, 1), method=method, ridge=0.125).ridge == 0.125
    phi = features(train.units, train.w, "tanh", train.rows.images)
    for validation in (None, nobody):
        found = glue(train, validation, method=method)
        assert found.ridge == pytest.approx(1e-7 * np.sum(phi**2) / 24)


def nearly_dependent():
    train = noisy(203, 2, units=9)
    table = train.w.reshape(-1, 9)
    table[:, 3] = table[:, 7] * (1 + 1e-4 * np.arange(1, len(table) + 1) / len(table))  # Gram matrix: about 1e11
    return train


def test_what_glueing_returns_has_been_refined():
    train = nearly_dependent()
    phi, y = features(train.units, train.w, "tanh", train.rows.images), one_hot(train.rows.labels, 2)
    best = np.linalg.lstsq(phi, y, rcond=None)[0]
    raw = _Gram(train).solutions([0.0])[0].a
    errors = [np.linalg.norm(a - best) for a in (raw, glue(train, None, ridge=0.0).a)]
    assert errors[0] > 1e-10 * np.linalg.norm(best)  # else there is nothing to repair
    assert errors[1] < 0.1 * errors[0]


@pytest.mark.parametrize("ridge", [0.0, 1e-4])
def test_refining_repairs_a_spoiled_layer_at_any_ridge(ridge):
    train = noisy(203, 2, units=9)
    solver = _Gram(train)
    right = solver.solutions([ridge])[0]
    spoiled = module.Glued(right.a + 0.01, ridge, right.rank, right.condition)
    mended = solver.refined(spoiled)
    assert np.abs(mended.a - right.a).max() < 1e-6 * np.abs(right.a).max()
    assert (mended.ridge, mended.rank) == (ridge, 10)


def test_the_condition_that_is_reported_is_that_of_the_damped_gram_matrix():
    train = noisy(203, 2, units=9)
    phi = features(train.units, train.w, "tanh", train.rows.images)
    gram = phi.T @ phi + 0.5 * np.eye(10)
    found = glue(train, None, ridge=0.5).condition
    exact = np.sqrt(np.linalg.cond(gram, 1))
    assert 0.3 * exact < found < 1.01 * exact  # LAPACK's estimate is a lower bound, rarely off by 3
    s = np.linalg.svd(phi, compute_uv=False)
    assert glue(train, None, method="tsqr", ridge=0.5).condition == pytest.approx(s[0] / s[-1], rel=1e-9)


def test_where_no_ridge_gives_a_factorisation_a_larger_one_does(monkeypatch):
    train, kept, tried = noisy(31, 0), module.factor, []

    def factor(gram, ridge, **options):
        tried.append(ridge)
        return kept(gram, ridge, **options) if ridge > 0.5 else None

    monkeypatch.setattr(module, "factor", factor)
    found = glue(train, None, ridge=0.02)
    assert found.ridge == pytest.approx(2.0)
    assert tried[0] == 0.02
    assert np.isfinite(found.a).all()


def test_rank_tolerance_is_relative_to_the_largest_singular_value():
    train = noisy(203, 2, units=9)
    phi = features(train.units, train.w, "tanh", train.rows.images)
    s = np.linalg.svd(phi, compute_uv=False)
    for rank in (1, 4, 10):
        tolerance = s[rank - 1] / s[0] * (1 - 1e-6)
        found = glue(train, None, method="tsqr", ridge=0.0, rank_tolerance=tolerance)
        assert found.rank == rank
        assert found.condition == pytest.approx(s[0] / s[rank - 1])
    expected = np.linalg.pinv(phi, rcond=0.9 * s[3] / s[0]) @ one_hot(train.rows.labels, 2)
    cut = glue(train, None, method="tsqr", ridge=0.0, rank_tolerance=0.9 * s[3] / s[0])
    np.testing.assert_allclose(cut.a, expected, atol=1e-9 * np.abs(expected).max())
