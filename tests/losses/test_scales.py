"""Objectives far from the origin, at small scales, and on either side of a bound: no tolerance is absolute."""

import numpy as np
import pytest

from tests.losses.differences import batch
from varpro.errors import ConfigError, DegenerateBatchError
from varpro.losses import (
    ClassMoments,
    DiscriminantClassifier,
    DiscriminantFactors,
    EliminatedLinear,
    NullSpaceLoss,
    Ridge,
    SemiOrthogonal,
)

EPS = np.finfo(np.float64).eps


def dyadic(n, d, c, seed=0):
    """Features whose sums with a power of two are exact."""
    f, y = batch(n, d, c, seed)
    return np.round(f * 2**12) / 2**12, y


@pytest.mark.parametrize("mode", ["ridge", "exact"])
def test_scores_keep_their_digits_far_from_the_origin(mode):
    f, y = dyadic(7, 9, 3) if mode == "exact" else dyadic(40, 5, 4)
    far = f + 2.0**24
    scores = [DiscriminantClassifier(mode=mode).partial_fit(g, y).decision_function(g) for g in (f, far)]
    apart = [s - s.mean(axis=1, keepdims=True) for s in scores]
    scale = np.abs(apart[0]).max()
    # one rounding of the moments is 2^24 eps; that of a centre that is off by 2^24 would be its square
    assert np.abs(apart[1] - apart[0]).max() < 1e3 * 2.0**24 * EPS * scale


@pytest.mark.parametrize("spread", [1e-4, 1e-9])
def test_features_that_vary_little_beside_their_size_still_vary(spread):
    f, y = batch(12, 4, 3)
    DiscriminantFactors(1.0 + spread * f, y).require_spread()
    with pytest.raises(DegenerateBatchError, match="do not vary"):
        DiscriminantFactors(np.ones_like(f) + 1e-17 * f, y).require_spread()


def test_an_unknown_side_is_refused():
    f, y = batch(12, 4, 3)
    with pytest.raises(ConfigError, match="side is 'rows'"):
        DiscriminantFactors(f, y, side="rows")


@pytest.mark.parametrize("side", ["n", "d"])
@pytest.mark.parametrize(("shape", "rank"), [((12, 5), 5), ((8, 20), 5)])
def test_the_rank_of_the_scatter_is_bounded_by_samples_and_features(side, shape, rank):
    f, y = batch(*shape, 3)
    assert DiscriminantFactors(f, y, side=side).ridge_residual().rank == rank


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_a_stream_is_solved_at_any_scale_of_the_features(scale):
    """gamma follows tr(S_t), so that scores and value are the same and A is divided by the scale."""
    f, y = batch(40, 5, 3)
    loss = EliminatedLinear(3, Ridge(rel=0.1))
    plain, scaled = (loss.solve(ClassMoments.of(g, y)) for g in (f, scale * f))
    assert scaled[0] == pytest.approx(plain[0], rel=1e-10)
    np.testing.assert_allclose(scaled[1][:-1] * scale, plain[1][:-1], rtol=1e-9)
    assert scaled[2] == pytest.approx(plain[2] * scale**2, rel=1e-12)


def test_the_width_of_the_spectral_term_is_1_unless_it_is_given():
    f, y = batch(30, 4, 3)
    plain, one, two = (
        NullSpaceLoss(spectral="clip", scale="none", **options)(20 * f, y).value
        for options in ({}, {"eps": 1.0}, {"eps": 2.0})
    )
    assert plain == one != two


@pytest.mark.parametrize("condition", [1e2, 1e12])
def test_orthonormal_columns_come_from_a_triangle_at_any_condition(condition):
    """Q^T V is upper triangular with a positive diagonal, also where the factorisation had to be done another way."""
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.standard_normal((n, 4)))[0] for n in (9, 4))
    v = left * np.geomspace(1.0, 1.0 / condition, 4) @ right.T
    q = SemiOrthogonal(v).value
    np.testing.assert_allclose(q.T @ q, np.eye(4), atol=1e-10)
    r = q.T @ v
    assert (np.diagonal(r) > 0).all()
    assert np.abs(np.tril(r, -1)).max() < 1e-12 * np.abs(v).max()


def test_two_classes_are_enough_for_an_eliminated_layer_and_one_is_not():
    f, y = batch(12, 4, 2)
    assert 0 < EliminatedLinear(2, Ridge(rel=0.1))(f, y).value < 1
    with pytest.raises(ConfigError):
        EliminatedLinear(1, Ridge(rel=0.1))
