"""The numerical traps that published codes of variable projection fall into, each as a test."""

from dataclasses import replace

import numpy as np
import pytest

import varpro
from tests.fit.problems import (
    DECAY_DERIVATIVE,
    assert_same_minimum,
    central_differences,
    decay_columns,
    decay_data,
    decays,
)
from varpro.fitting import form
from varpro.models import Exponentials

W0 = [2.0, 6.5]


def twin(t, w):
    """The second column is the first again; both move with w_0."""
    e = np.exp(-t / w[0])
    return np.stack([e, 2 * e, np.exp(-t / w[1])], axis=-1)


def zero(t, w):
    return np.stack([np.exp(-t / w[0]), 0 * t * w[0], np.exp(-t / w[1])], axis=-1)


@pytest.mark.parametrize("model", [twin, zero])
@pytest.mark.parametrize("right", [None, 3, 400])
def test_e1_one_rank_in_amplitudes_residual_and_derivative(model, right):
    """A deficient basis is truncated once, for all: gradient and amplitudes belong to one pseudo-inverse."""
    t, y = decay_data(right=right)
    f = varpro.functional(model, t, y, W0)
    gradient = f.gradient(W0)
    slope = central_differences(lambda w: [f(w)], W0)[0]
    np.testing.assert_allclose(gradient, slope, rtol=1e-7, atol=1e-9 * f(W0))
    least = np.linalg.pinv(model(t, np.array(W0))) @ y.reshape(61, -1)
    np.testing.assert_allclose(f.coefficients(W0), least, atol=1e-9 * np.abs(least).max())
    jacobian = central_differences(f.residual, W0)
    np.testing.assert_allclose(f.jacobian(W0), jacobian, atol=1e-7 * np.abs(jacobian).max())
    fit = varpro.fit(model, t, y, W0)
    assert fit.rank == 2
    full = varpro.fit(lambda t, w: decays(t, w)[:, :2], t, y, W0)
    np.testing.assert_allclose(fit.nonlinear, full.nonlinear, rtol=1e-6)
    np.testing.assert_allclose(fit.rss, full.rss, rtol=1e-9)


def test_e1_equal_starts_do_not_end_the_search():
    """w_0 = w_1 makes two columns equal: the search must leave that point or say its rank."""
    t, y = decay_data(noise=0.01)
    fit = varpro.fit(decays, t, y, [3.0, 3.0])
    assert np.isfinite(fit.linear).all()
    assert fit.rank in (2, 3)
    aside = varpro.fit(decays, t, y, [3.0, 3.0 * (1 + 1e-6)])
    np.testing.assert_allclose(np.sort(aside.nonlinear), varpro.fit(decays, t, y, W0).nonlinear, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-140, 1e-8, 1e8, 1e140])
def test_e1_the_cut_off_is_relative(scale):
    t, y = decay_data()
    scaled = varpro.fit(lambda t, w: scale * decays(t, w), t, y, W0, derivative="differences")
    plain = varpro.fit(decays, t, y, W0)
    assert scaled.rank == plain.rank == 3
    np.testing.assert_allclose(scaled.nonlinear, plain.nonlinear, rtol=1e-7)
    np.testing.assert_allclose(scaled.linear * scale, plain.linear, rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_e2_kaufmans_gradient_is_exact_and_both_matrices_end_alike(monkeypatch, seed):
    """The term left out lies in range(Phi), the residual outside."""
    monkeypatch.setattr(form, "SMALL_COLUMNS", 0)
    t, y = decay_data(seed=seed, noise=1.0)
    spec = varpro.functional(decays, t, y, W0, derivative=DECAY_DERIVATIVE)._spec
    models = []
    for kaufman in (False, True):
        problem = replace(spec.problem, inner=replace(spec.problem.inner, kaufman=kaufman))
        models.append(problem.linearise(problem.evaluate(np.array([W0]), np.zeros(1, dtype=int))))
    full, part = models
    np.testing.assert_allclose(part.gradient, full.gradient, rtol=1e-12, atol=1e-12 * np.abs(full.gradient).max())
    more = _whole(full.h[0]) - _whole(part.h[0])
    assert np.linalg.eigvalsh(more).min() >= -1e-12 * np.abs(more).max()  # what is left out is a square
    assert np.abs(more).max() > 0


def _whole(h):
    return np.tril(h) + np.tril(h, -1).T


def test_e2_the_full_matrix_does_not_run_away_from_a_far_start():
    """Unit decays 1 and 3, noise 0.1, start (2, 6.5): Kaufman's matrix is known to run to tau = -1e8."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 12.5, 1024)
    y = decays(t, [1.0, 3.0])[:, :2] @ [50.0, 80.0] + 0.1 * rng.standard_normal(1024)
    fit = varpro.fit(Exponentials(2), t, y, [2.0, 6.5])
    assert fit.success
    np.testing.assert_allclose(fit.nonlinear, [1.0, 3.0], rtol=0.02)
    assert fit.nfev < 40


def test_e4_a_ridge_is_in_residual_derivative_and_amplitudes():
    t, y = decay_data(noise=0.5)
    for ridge in (0.9, np.diag([2.0, 0.5, 0.1])):
        f = varpro.functional(decays, t, y, W0, ridge=ridge)
        slope = central_differences(lambda w, f=f: [f(w)], W0)[0]
        np.testing.assert_allclose(f.gradient(W0), slope, rtol=1e-7, atol=1e-9 * f(W0))
        rows = np.sqrt(ridge) * np.eye(3) if np.isscalar(ridge) else ridge
        phi = np.vstack([decays(t, np.array(W0)), rows])
        best = np.linalg.lstsq(phi, np.concatenate([y, np.zeros(3)]), rcond=None)[0]
        np.testing.assert_allclose(f.coefficients(W0)[:, 0], best, rtol=1e-10)


def test_e4_a_chosen_ridge_is_frozen_while_w_is_searched():
    t, y = decay_data(noise=0.1)
    records = []
    fit = varpro.fit(decays, t, y, W0, ridge="gcv", callback=records.append)
    again = varpro.fit(decays, t, y, fit.nonlinear, ridge=fit.ridge)
    np.testing.assert_allclose(again.nonlinear, fit.nonlinear, rtol=1e-5)
    assert fit.cost == pytest.approx(again.cost, rel=1e-8)


@pytest.mark.parametrize("powers", [(1, 1, 1), (1e-12, 1, 1e12), (1e9, 1e-9, 1e3)])
def test_e5_the_size_of_columns_does_not_matter(powers):
    t, y = decay_data()
    plain = varpro.fit(decays, t, y, W0)
    scaled = varpro.fit(lambda t, w: decays(t, w) * np.array(powers), t, y, W0)
    assert_same_minimum_scaled(scaled, plain, np.array(powers))


def assert_same_minimum_scaled(scaled, plain, powers):
    np.testing.assert_allclose(scaled.nonlinear, plain.nonlinear, rtol=1e-8)
    np.testing.assert_allclose(scaled.linear * powers, plain.linear, rtol=1e-7)
    np.testing.assert_allclose(scaled.stderr_linear * powers, plain.stderr_linear, rtol=1e-6)
    assert scaled.rank == 3


def test_e5_near_the_condition_where_gram_matrices_fail_the_orthogonal_route_takes_over():
    """Powers of t up to 9 on [0, 1]: the condition of the columns is 1e7, of the Gram matrix 1e14."""
    rng = np.random.default_rng(1)
    t = np.linspace(0, 1, 80)

    def model(t, w):
        return np.concatenate([t[:, None] ** np.arange(10), np.exp(-t / w[0])[:, None]], axis=1)

    truth = np.append(rng.standard_normal(10), 3.0)
    y = model(t, [0.05]) @ truth + 1e-3 * rng.standard_normal(80)
    fit = varpro.fit(model, t, y, [0.08])
    phi = model(t, fit.nonlinear)
    best, rss = np.linalg.lstsq(phi, y, rcond=None)[:2]
    assert fit.rss == pytest.approx(float(rss[0]), rel=1e-9)
    np.testing.assert_allclose(fit.linear, best, rtol=1e-6)  # condition 1e7 times eps, squared with the residual
    assert abs(fit.nonlinear[0] - 0.05) < 5 * fit.stderr_nonlinear[0]


def test_e6_trials_that_are_not_finite_are_refused_and_the_search_goes_on():
    t, y = decay_data(noise=0.01)

    def fragile(t, w):
        phi = decays(t, w)
        return np.where(w[0] < 0.9, np.nan, 1.0) * phi  # a wall just below the minimum at 1

    fit = varpro.fit(fragile, t, y, W0, derivative=DECAY_DERIVATIVE)
    assert fit.nonlinear[0] >= 0.9
    assert_same_minimum(fit, varpro.fit(decays, t, y, W0, derivative=DECAY_DERIVATIVE), relative=1e-7)


def test_e6_the_best_iterate_is_kept():
    t, y = decay_data(noise=0.5, seed=3)
    for limit in range(6):
        fit = varpro.fit(decays, t, y, W0, max_iterations=limit)
        lowest = min([r.cost for r in fit.history], default=fit.cost)
        assert fit.cost == lowest
        f = varpro.functional(decays, t, y, W0)
        assert f(fit.nonlinear) == pytest.approx(fit.cost, rel=1e-10)


def test_e7_noisy_data_converge_by_name_and_limits_are_no_success():
    t, y = decay_data(noise=0.2, seed=1)
    assert varpro.fit(decays, t, y, W0).success
    stopped = varpro.fit(decays, t, y, W0, max_iterations=2)
    assert stopped.status is varpro.Status.ITERATIONS
    assert not stopped.success
    assert "max_iterations" in stopped.message


def test_e8_the_jacobian_of_many_right_hand_sides_is_never_made():
    """The matrix of the form that is searched has the size of w alone, and equals the sum over right-hand sides."""
    t, y = decay_data(n=31, right=5)
    f = varpro.functional(decays, t, y, W0, derivative=DECAY_DERIVATIVE)
    current = f._spec.problem.evaluate(np.array([W0]), np.zeros(1, dtype=int))
    model = f._spec.problem.linearise(current)
    jacobian = f.jacobian(W0)
    np.testing.assert_allclose(_whole(model.h[0]), jacobian.T @ jacobian, rtol=1e-9)


def test_e9_repeated_pairs_add_up():
    """The derivative of a column given in two parts."""
    t, y = decay_data()

    def halves(t, w):
        d = decay_columns(t, w)
        return np.stack([0.3 * d[:, 0], d[:, 1], 0.7 * d[:, 0]], axis=-1)

    parts = ([[0, 0], [1, 1], [0, 0]], halves)
    for k in (None, 2, 400):
        t, y = decay_data(right=k)
        split = varpro.fit(decays, t, y, W0, derivative=parts)
        whole = varpro.fit(decays, t, y, W0, derivative=DECAY_DERIVATIVE)
        assert_same_minimum(split, whole, relative=1e-8)
        np.testing.assert_allclose(split.stderr_nonlinear, whole.stderr_nonlinear, rtol=1e-7)
    assert varpro.check_derivative(decays, t, W0, parts) < 1e-7
