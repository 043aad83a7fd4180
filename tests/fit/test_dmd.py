"""Optimised DMD: exact eigenvalues, uneven times, projection, and predictions."""

import numpy as np
import pytest

import varpro
from varpro.errors import ConfigError, DataError, ShapeError
from varpro.fitting.dmd import ComplexExponentials


def sorted_by_imaginary(values):
    return values[np.lexsort([values.real, values.imag])]


def even(n=100):
    return np.linspace(0, 2 * np.pi, n)


def uneven(n=100):
    return np.sort(np.random.default_rng(0).uniform(0, 6, n))


@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize("times", [even, uneven])
def test_a_rotation_has_the_eigenvalues_plus_and_minus_i(times, project):
    """z' = [[1, -2], [1, -1]] z, whose eigenvalues are +-i exactly."""
    t = times()
    generator = np.array([[1.0, -2.0], [1.0, -1.0]])
    turn = np.cos(t)[:, None, None] * np.eye(2) + np.sin(t)[:, None, None] * generator  # exp(t A), as A^2 = -I
    x = (turn @ np.array([1.0, 0.1])).T
    found = varpro.dmd(x, t, 2, project=project)
    np.testing.assert_allclose(sorted_by_imaginary(found.eigenvalues), [-1j, 1j], atol=1e-10)
    np.testing.assert_allclose(found.predict(t), x, atol=1e-9)
    assert found.fit.success


def waves(space=60, rank=4, t=None, seed=1):
    rng = np.random.default_rng(seed)
    omega = np.array([-0.1 + 2j, -0.1 - 2j, -0.4 + 5j, -0.4 - 5j])[:rank]
    modes = rng.standard_normal((space, rank)) + 1j * rng.standard_normal((space, rank))
    return omega, modes @ np.exp(np.outer(omega, t))


@pytest.mark.parametrize("shift", [0.0, 7.0, -3.0])
@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize(("space", "times"), [(60, 41), (7, 90), (300, 33)])
def test_complex_modes_are_recovered(space, times, project, shift):
    t = np.linspace(0, 5, times) + shift
    omega, x = waves(space, t=t)
    found = varpro.dmd(x, t, 4, project=project)
    np.testing.assert_allclose(sorted_by_imaginary(found.eigenvalues), sorted_by_imaginary(omega), atol=1e-8)
    np.testing.assert_allclose(found.predict(t), x, atol=1e-7 * np.abs(x).max())
    np.testing.assert_allclose(np.linalg.norm(found.modes, axis=0), 1.0, rtol=1e-12)
    assert (np.diff(found.amplitudes) <= 0).all()
    assert found.modes.shape == (space, 4)


def test_noise_is_averaged_and_its_errors_are_told():
    t = np.linspace(0, 5, 80)
    omega, x = waves(t=t)
    rng = np.random.default_rng(2)
    noisy = x + 0.05 * (rng.standard_normal(x.shape) + 1j * rng.standard_normal(x.shape))
    found = varpro.dmd(noisy, t, 4, project=False)
    order = [int(np.argmin(np.abs(found.eigenvalues - v))) for v in omega]
    assert sorted(order) == [0, 1, 2, 3]
    off = found.eigenvalues[order] - omega
    # the fit's parameters are in its own order
    place = [int(np.argmin(np.abs(found.fit.nonlinear - v))) for v in omega]
    error = found.fit.stderr_nonlinear[place]
    assert (np.abs(off.real) < 5 * error.real).all()
    assert (np.abs(off.imag) < 5 * error.imag).all()
    assert np.abs(off).max() < 5e-3
    projected = varpro.dmd(noisy, t, 4)
    assert np.abs(sorted_by_imaginary(projected.eigenvalues) - sorted_by_imaginary(found.eigenvalues)).max() < 5e-3


def test_given_eigenvalues_are_the_start():
    t = np.linspace(0, 5, 60)
    omega, x = waves(t=t)
    found = varpro.dmd(x, t, 4, eigenvalues=omega + 0.05)
    np.testing.assert_allclose(sorted_by_imaginary(found.eigenvalues), sorted_by_imaginary(omega), atol=1e-8)
    assert varpro.dmd(x, t, 4, eigenvalues=omega, max_iterations=0).fit.status.label == "iterations"


def test_what_cannot_be_decomposed():
    t = np.linspace(0, 1, 9)
    x = np.ones((5, 9))
    with pytest.raises(ShapeError, match=r"\(5, 9\).*\(8,\)"):
        varpro.dmd(x, t[:8], 1)
    with pytest.raises(ConfigError, match=r"rank is 6.*5"):
        varpro.dmd(x, t, 6)
    with pytest.raises(ConfigError, match="rank is 0"):
        varpro.dmd(x, t, 0)
    with pytest.raises(ShapeError, match=r"\(2,\).*\(3,\)"):
        varpro.dmd(x, t, 3, eigenvalues=[1j, 2j])
    x = x.copy()
    x[2, 3] = np.nan
    with pytest.raises(DataError, match="NaN"):
        varpro.dmd(x, t, 1)


def test_derivatives_are_those_of_the_times_and_eigenvalues_asked_for():
    """The columns of the latest call are used again for their derivatives, and only for theirs."""
    model, rng = ComplexExponentials(3), np.random.default_rng(2)
    t, other = rng.uniform(0, 2, 7), rng.uniform(0, 2, 7)
    w, far = rng.standard_normal((2, 3)) + 1j * rng.standard_normal((2, 3))
    model(t, w)
    for times, values in ((t, w), (t, far), (other, w), (t, w)):
        expected = times[:, None] * np.exp(np.outer(times, values))
        np.testing.assert_allclose(model.columns(times, values), expected, rtol=1e-14)
