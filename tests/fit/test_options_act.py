"""Options that change the path of a fit but not its end: each has its effect in every form of the problem."""

import numpy as np
import pytest

import varpro

T = np.linspace(0.0, 6.0, 83)
W0 = np.array([0.5, 3.0])


def decays(t, w):
    return np.stack([np.exp(-w[0] * t), np.exp(-w[1] * t), np.ones_like(t)], axis=1)


def observations(k, seed=0):
    """Far from the start and from any fit: 20 % of it is no decay, so that the two matrices differ."""
    rng = np.random.default_rng(seed)
    a = np.stack([2 + rng.random(k), 3 + rng.random(k), 0.5 + rng.random(k)])
    y = decays(T, (0.31, 1.9)) @ a
    return y + 0.2 * np.sin(7 * T)[:, None] * a[:1]


FORMS = {
    "a ready model": (varpro.models.Exponentials(2, offset=True, rates=True), 1, {}),
    "a function": (decays, 1, {}),
    "bounds on w": (decays, 1, {"bounds": ([0.01, 0.5], [2.0, 9.0])}),
    "twelve right-hand sides": (decays, 12, {}),
    "amplitudes of one sign": (decays, 1, {"linear": "nonnegative"}),
    "many right-hand sides": (decays, 251, {}),
}


def fitted(form, **options):
    model, k, always = FORMS[form]
    y = observations(k)
    return varpro.fit(model, T, y[:, 0] if k == 1 else y, W0, **always, **options)


@pytest.mark.parametrize("form", FORMS)
def test_kaufmans_matrix_takes_another_way_to_the_same_point(form):
    full, kaufman = (fitted(form, jacobian=name) for name in ("golub-pereyra", "kaufman"))
    assert full.success
    assert kaufman.success
    np.testing.assert_allclose(kaufman.nonlinear, full.nonlinear, rtol=1e-5)
    assert kaufman.history[0].cost != full.history[0].cost  # of the first step from the same start


@pytest.mark.parametrize("form", ["twelve right-hand sides", "many right-hand sides", "amplitudes of one sign"])
def test_columns_below_the_rank_tolerance_are_not_used(form):
    """The third singular value of these columns is about 0.15 of the first."""
    whole, cut = fitted(form), fitted(form, rank_tolerance=0.3)
    assert whole.rank == 3
    assert cut.rank < 3
    assert cut.rss > 1.01 * whole.rss


def test_the_functional_truncates_at_its_rank_tolerance():
    y = observations(12)
    whole, cut = (varpro.functional(decays, T, y, W0, rank_tolerance=tolerance)(W0) for tolerance in (None, 0.3))
    assert cut > 1.01 * whole
