"""A search that stalls at a minimum which H does not show has converged; one that stalls elsewhere has not."""

import numpy as np
import pytest
import scipy.optimize

import varpro
from varpro import Status

MODEL = varpro.models.Exponentials(2, offset=True)
T = np.linspace(0.0, 8.0, 100)


def data(seed, unit=1.0):
    noise = 0.02 * np.random.default_rng(seed).standard_normal(100)
    return unit * (MODEL(T, np.array([1.0, 3.0])) @ [4.0, 2.0, 1.0] + noise)


def cost(w, y, ridge):
    phi = MODEL(T, np.asarray(w))
    a = np.linalg.solve(phi.T @ phi + ridge * np.eye(3), phi.T @ y)
    return float(0.5 * (np.sum((y - phi @ a) ** 2) + ridge * a @ a))


@pytest.mark.parametrize("ridge", [1.0, 10.0])
@pytest.mark.parametrize("seed", range(5))
def test_two_decays_that_a_ridge_makes_one_are_a_minimum(seed, ridge):
    y = data(seed)
    f = varpro.fit(MODEL, T, y, [1.0, 3.0], ridge=ridge)
    assert f.success
    assert f.nonlinear[0] == pytest.approx(f.nonlinear[1], rel=1e-5)
    best = scipy.optimize.minimize(
        cost, f.nonlinear, (y, ridge), "Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-15, "maxiter": 2000}
    )
    assert f.cost <= best.fun * (1 + 1e-13)
    assert (f.stderr_nonlinear > 100 * np.abs(f.nonlinear)).all(), "H does not tell them apart"


@pytest.mark.parametrize("unit", [1e-12, 1e9])
def test_so_they_are_in_any_unit_and_in_a_batch(unit):
    y = np.stack([data(seed, unit) for seed in range(6)])
    many = varpro.fit_batch(MODEL, T * 1e-9, y, [1e-9, 3e-9], ridge=1.0)
    assert many.success.all()
    np.testing.assert_allclose(many.nonlinear[:, 0], many.nonlinear[:, 1], rtol=1e-4)


def test_a_search_that_a_wrong_derivative_has_stopped_is_no_minimum():
    """The cost falls on one side, whatever the derivative says."""
    wrong = np.array([[0, 0], [1, 1]]), lambda t, w: -t[:, None] / w**2 * np.exp(-t[:, None] / w)
    f = varpro.fit(lambda t, w: np.exp(-t[:, None] / w), T, data(0) - 1.0, [0.5, 5.0], derivative=wrong)
    assert f.status is Status.STALLED
