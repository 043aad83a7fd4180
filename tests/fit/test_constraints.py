"""Bounds, fixed and tied parameters, constrained amplitudes, ridges, and fixed terms, against scipy."""

import numpy as np
import pytest
import scipy.optimize

import varpro
from tests.fit.problems import (
    AMPLITUDES,
    DECAY_DERIVATIVE,
    EPS,
    TAU,
    assert_same_minimum,
    decay_data,
    decays,
    whole_fit,
)

W0 = [2.0, 6.5]
BOXES = {
    "inside": ([0.1, 2.0], [2.5, 20.0]),
    "first at its upper": ([0.1, 2.0], [0.8, 20.0]),
    "second at its lower": ([0.1, 5.0], [2.5, 20.0]),
    "both": ([1.3, 2.0], [3.0, 3.5]),
    "half open": ([-np.inf, 4.5], [np.inf, np.inf]),
}


@pytest.mark.parametrize("form", ["function", "ready", "several"])
@pytest.mark.parametrize("name", BOXES)
def test_bounded_fits_equal_scipys_and_never_leave_the_box(name, form):
    lower, upper = (np.array(v) for v in BOXES[name])
    t, y = decay_data(right=2 if form == "several" else None)
    seen = []

    def watched(t, w):
        if np.isrealobj(w):
            seen.append(np.array(w))
        return decays(t, w)

    model = varpro.models.Exponentials(2, offset=True) if form == "ready" else watched
    start = np.clip(W0, lower + 0.01, upper - 0.01)
    fit = varpro.fit(
        model, t, y, start, bounds=(lower, upper), derivative=None if form == "ready" else DECAY_DERIVATIVE
    )
    assert all((v >= lower).all() and (v <= upper).all() for v in seen)
    assert (fit.nonlinear >= lower).all()
    assert (fit.nonlinear <= upper).all()
    assert fit.success
    columns = np.atleast_2d(y.T)

    def reduced(w):
        phi = decays(t, w)
        return np.concatenate([phi @ np.linalg.lstsq(phi, c, rcond=None)[0] - c for c in columns])

    best = scipy.optimize.least_squares(
        reduced, start, bounds=(lower, upper), xtol=1e-15, ftol=1e-15, gtol=1e-15, jac="3-point", x_scale=start
    )
    # trf keeps inside the open box: it stops short of a bound by about 1e-6
    np.testing.assert_allclose(fit.nonlinear, best.x, rtol=1e-4)
    assert fit.cost <= best.cost * (1 + 1e-12)


@pytest.mark.parametrize("name", ["first at its upper", "second at its lower", "both", "half open"])
def test_a_solution_on_a_bound_is_stationary_along_it_and_pushed_against_it(name):
    lower, upper = (np.array(v) for v in BOXES[name])
    t, y = decay_data()
    fit = varpro.fit(decays, t, y, np.clip(W0, lower + 0.01, upper - 0.01), bounds=(lower, upper))
    f = varpro.functional(decays, t, y, fit.nonlinear)
    gradient = f.gradient(fit.nonlinear)
    scale = np.linalg.norm(f.jacobian(fit.nonlinear), axis=0) * np.sqrt(fit.rss)
    low, high = fit.nonlinear == lower, fit.nonlinear == upper
    assert (low | high).any()
    assert (gradient[low] > 0).all()
    assert (gradient[high] < 0).all()
    assert (np.abs(gradient[~low & ~high]) <= 1e-6 * scale[~low & ~high]).all()
    assert np.isnan(fit.stderr_nonlinear[low | high]).all()
    assert "at bound" in str(fit)


def test_fixed_and_tied_parameters_are_the_smaller_model():
    t, y = decay_data()
    fixed = varpro.fit(decays, t, y, W0, names=["a", "b"], fixed={"b": 4.2})
    alone = varpro.fit(lambda t, w: decays(t, [w[0], 4.2 + 0 * w[0]]), t, y, [2.0])
    assert fixed.nonlinear[1] == 4.2
    np.testing.assert_allclose(fixed.nonlinear[0], alone.nonlinear[0], rtol=1e-8)
    tied = varpro.fit(decays, t, y, W0, names=["a", "b"], tied={"b": ("a", 3.0, 1.0)})
    alone = varpro.fit(lambda t, w: decays(t, [w[0], 3 * w[0] + 1]), t, y, [2.0])
    np.testing.assert_allclose(tied.nonlinear, [alone.nonlinear[0], 3 * alone.nonlinear[0] + 1], rtol=1e-8)
    ready = varpro.fit(varpro.models.Exponentials(2, offset=True), t, y, W0, tied={"tau_2": ("tau_1", 3.0, 1.0)})
    np.testing.assert_allclose(ready.nonlinear, tied.nonlinear, rtol=1e-8)


def mixture(t, w):
    """Three decays of which one has a negative amplitude in the data below."""
    return np.stack([np.exp(-t / w[0]), np.exp(-t / w[1]), np.ones_like(t) + 0 * w[0], t / 10 + 0 * w[0]], axis=-1)


@pytest.mark.parametrize("right", [1, 3])
@pytest.mark.parametrize(
    ("linear", "lower", "upper"),
    [
        ("nonnegative", np.zeros(4), np.full(4, np.inf)),
        ((-0.1, 2.5), np.full(4, -0.1), np.full(4, 2.5)),
        (([0, 0, 0.6, -1], [9, 1.5, 9, 1]), np.array([0, 0, 0.6, -1]), np.array([9, 1.5, 9, 1])),
    ],
    ids=["nonnegative", "boxed alike", "boxed"],
)
def test_constrained_amplitudes_equal_scipys_unseparated_fit(linear, lower, upper, right):
    rng = np.random.default_rng(6)
    t = np.linspace(0, 12, 70)
    a = np.array([[2.0, 3.0, 0.5, -0.6]] * right).T * rng.uniform(0.8, 1.2, (4, right))
    y = mixture(t, TAU) @ a + 0.02 * rng.standard_normal((70, right))
    fit = varpro.fit(mixture, t, y, [1.5, 5.0], linear=linear)
    assert fit.form == "separate"
    assert (fit.linear >= lower[:, None]).all()
    assert (fit.linear <= upper[:, None]).all()

    def residual(x):
        return (mixture(t, x[:2]) @ x[2:].reshape(4, right) - y).ravel()

    low = np.concatenate([[0.01, 0.01], np.repeat(lower, right)])
    high = np.concatenate([[50, 50], np.repeat(upper, right)])
    start = np.concatenate([fit.nonlinear, fit.linear.ravel()])
    start = np.clip(start, low + 1e-3, high - 1e-3)
    best = scipy.optimize.least_squares(
        residual, start, bounds=(low, high), xtol=1e-15, ftol=1e-15, gtol=1e-15, jac="3-point", max_nfev=2000
    )
    assert fit.rss <= 2 * best.cost * (1 + 1e-9)
    np.testing.assert_allclose(fit.rss, 2 * best.cost, rtol=1e-5)
    np.testing.assert_allclose(fit.nonlinear, best.x[:2], rtol=1e-2)  # trf keeps off the bounds; its cost is flat
    on = (fit.linear == lower[:, None]) | (fit.linear == upper[:, None])
    assert on.any()
    np.testing.assert_array_equal(np.isnan(fit.stderr_linear), on)


def test_constraints_that_do_not_bind_change_nothing():
    t, y = decay_data(right=2)
    free = varpro.fit(decays, t, y, W0)
    for linear in ("nonnegative", (-1e6, 1e6), ([0, 0, -np.inf], [np.inf] * 3)):
        bound = varpro.fit(decays, t, y, W0, linear=linear)
        assert_same_minimum(bound, free, relative=1e-8)
        np.testing.assert_allclose(bound.covariance, free.covariance, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("right", [1, 3])
def test_a_linear_equality_is_the_eliminated_model(right):
    """a_0 - 2 a_1 = 1: put a_0 = 1 + 2 a_1."""
    t, y = decay_data(right=right)
    c, d = np.array([[1.0, -2.0, 0.0]]), np.array([1.0])
    fit = varpro.fit(decays, t, y, W0, linear_equality=(c, d))
    np.testing.assert_allclose(c @ fit.linear, np.ones((1, right)), atol=1e-12)

    def eliminated(t, w):
        phi = decays(t, w)
        return np.stack([2 * phi[:, 0] + phi[:, 1], phi[:, 2]], axis=-1)

    other = varpro.fit(eliminated, t, y, W0, fixed_term=lambda t, w: np.exp(-t / w[0]))
    np.testing.assert_allclose(fit.nonlinear, other.nonlinear, rtol=1e-5)
    np.testing.assert_allclose(fit.linear[1:], other.linear, rtol=1e-5)
    np.testing.assert_allclose(fit.stderr_nonlinear, other.stderr_nonlinear, rtol=1e-5)
    np.testing.assert_allclose(
        fit.stderr_linear, np.vstack([2 * other.stderr_linear[:1], other.stderr_linear]), rtol=1e-5
    )
    assert fit.dof == other.dof


def test_a_fixed_term_is_subtracted_and_moves_with_w():
    t, y = decay_data()
    known = np.sin(t)
    plain = varpro.fit(decays, t, y, W0)
    shifted = varpro.fit(decays, t, y + known, W0, fixed_term=lambda t, w: np.sin(t))
    assert_same_minimum(shifted, plain, relative=1e-9)
    np.testing.assert_allclose(shifted.predict(t), plain.predict(t) + known, atol=1e-7)
    moving = varpro.fit(decays, t, y, W0, fixed_term=lambda t, w: t * np.exp(-t / w[1]))

    def unseparated(x):
        return decays(t, x[:2]) @ x[2:] + t * np.exp(-t / x[1]) - y

    start = np.concatenate([moving.nonlinear, moving.linear]) * 1.001
    best = scipy.optimize.least_squares(unseparated, start, xtol=1e-15, ftol=1e-15, gtol=1e-15, jac="3-point")
    np.testing.assert_allclose(moving.rss, 2 * best.cost, rtol=1e-9)
    np.testing.assert_allclose(moving.nonlinear, best.x[:2], rtol=1e-4)


@pytest.mark.parametrize("right", [None, 2, 300])
def test_a_ridge_is_rows_added_below(right):
    """sqrt(mu) I below Phi and zeros below y; 300 right-hand sides are compressed."""
    n = 80
    t, y = decay_data(n=n, right=right)
    mu = 0.05

    def augmented(t, w):
        return np.vstack([decays(t[:n], w), np.sqrt(mu) * np.eye(3)])

    below = np.zeros((3, *y.shape[1:]))
    fit = varpro.fit(decays, t, y, W0, ridge=mu)
    rows = varpro.fit(augmented, np.concatenate([t, np.zeros(3)]), np.concatenate([y, below]), W0)
    matrix = varpro.fit(decays, t, y, W0, ridge=np.sqrt(mu) * np.eye(3))
    for other in (rows, matrix):
        np.testing.assert_allclose(fit.nonlinear, other.nonlinear, rtol=1e-5)
        np.testing.assert_allclose(fit.linear, other.linear, rtol=1e-5)
        np.testing.assert_allclose(fit.cost, other.cost, rtol=1e-9)
        ratio = fit.sigma / other.sigma  # rows of a ridge are no data, but those of the model's own are
        np.testing.assert_allclose(fit.stderr_nonlinear, ratio * other.stderr_nonlinear, rtol=1e-5)
        np.testing.assert_allclose(fit.stderr_linear, ratio * other.stderr_linear, rtol=1e-5)
    assert fit.rss < 2 * fit.cost
    np.testing.assert_allclose(fit.rss, np.sum((y - fit.fitted) ** 2), rtol=1e-9)
    np.testing.assert_allclose(matrix.rss, fit.rss, rtol=1e-6)


def test_gcv_is_near_the_minimum_of_its_own_score():
    """Many columns, far from independent: the score over a fine grid of mu, w searched anew for each."""
    rng = np.random.default_rng(7)
    t = np.linspace(0, 6, 60)

    def humps(t, w):
        return np.exp(-(((t[:, None] - np.linspace(0, 6, 14) * 1.0) / w[0]) ** 2))

    y = np.exp(-((t - 2.5) ** 2)) + 0.05 * rng.standard_normal(60)
    fit = varpro.fit(humps, t, y, [0.9], ridge="gcv", fixed=None, bounds=(0.3, 1.5))

    def score(mu):
        one = varpro.fit(humps, t, y, fit.nonlinear, ridge=mu, bounds=(0.3, 1.5))
        phi = humps(t, one.nonlinear)
        hat = phi @ np.linalg.solve(phi.T @ phi + mu * np.eye(14), phi.T)
        return one.rss / (60 - np.trace(hat)) ** 2

    assert fit.ridge > 0
    best = min(score(fit.ridge * factor) for factor in np.logspace(-1, 1, 9))
    assert score(fit.ridge) <= 1.02 * best


def test_bounds_of_tied_and_starting_at_a_bound():
    t, y = decay_data()
    tied = varpro.fit(decays, t, y, [1.5, 6.0], tied={1: (0, 4.0)}, bounds={1: (4.4, 9.0)})
    assert tied.nonlinear[1] >= 4.4
    edge = varpro.fit(decays, t, y, [0.8, 6.5], bounds=([0.8, 1.0], [5.0, 20.0]))
    assert_same_minimum(edge, varpro.fit(decays, t, y, W0), relative=1e-8)
    w, _, _ = whole_fit(decays, t, y, TAU, AMPLITUDES)
    np.testing.assert_allclose(edge.nonlinear, w, rtol=np.sqrt(EPS) * 100)
