"""Optimised DMD of snapshots whose times are far from zero: modes and amplitudes are those at the first time."""

import numpy as np
import pytest

import varpro
from varpro.errors import DataError, ShapeError

OMEGA = np.array([-0.3 + 2.0j, -0.3 - 2.0j, -0.05 + 0.7j, -0.05 - 0.7j])
SINCE = np.linspace(0, 12, 97)
RNG = np.random.default_rng(3)
MODES = RNG.standard_normal((23, 4)) + 1j * RNG.standard_normal((23, 4))
X = MODES @ np.exp(np.outer(OMEGA, SINCE))


def in_order(result):
    """Eigenvalues, modes times amplitudes."""
    place = [int(np.argmin(np.abs(result.eigenvalues - v))) for v in OMEGA]
    return result.eigenvalues[place], (result.modes * result.amplitudes)[:, place]


@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize("origin", [0.0, -4.5e3, 2_460_000.5, 1.7e9, -1.7e9])
def test_modes_are_those_at_the_first_time_wherever_it_lies(origin, project):
    found = varpro.dmd(X, SINCE + origin, 4, project=project)
    eigenvalues, modes = in_order(found)
    held = 1e-8 + 1e-15 * abs(origin)
    np.testing.assert_allclose(eigenvalues, OMEGA, rtol=0, atol=100 * held)
    np.testing.assert_allclose(modes, MODES, atol=1e3 * held)
    assert found.origin == origin
    np.testing.assert_allclose(found.predict(SINCE + origin), X, atol=1e4 * held)


@pytest.mark.parametrize("unit", [1e-15, 1e-6, 1e9])
def test_eigenvalues_scale_with_the_unit_of_time(unit):
    eigenvalues, modes = in_order(varpro.dmd(X, SINCE, 4))
    found = varpro.dmd(1e-7 * X, SINCE * unit, 4)
    place = [int(np.argmin(np.abs(found.eigenvalues * unit - v))) for v in OMEGA]
    np.testing.assert_allclose(found.eigenvalues[place] * unit, eigenvalues, atol=1e-8)
    np.testing.assert_allclose((found.modes * found.amplitudes)[:, place] * 1e7, modes, atol=1e-6)


def test_snapshots_in_any_order_refer_to_the_earliest():
    order = np.random.default_rng(1).permutation(len(SINCE))
    found = varpro.dmd(X[:, order], SINCE[order] + 1.7e9, 4)
    assert found.origin == 1.7e9
    np.testing.assert_allclose(in_order(found)[1], MODES, atol=1e-2)


def test_moments_are_taken_in_seconds():
    t = np.datetime64("2024-02-28T23:59:00", "us") + (SINCE * 1e6).astype("timedelta64[us]")
    found = varpro.dmd(X, t, 4)
    np.testing.assert_allclose(in_order(found)[0], OMEGA, atol=1e-4)
    np.testing.assert_allclose(found.predict(t), X, atol=1e-3)
    np.testing.assert_allclose(found.predict(t[5:7]), X[:, 5:7], atol=1e-3)


def test_masked_and_text_snapshots_are_refused():
    with pytest.raises(DataError, match="masked"):
        varpro.dmd(np.ma.array(X, mask=np.abs(X) > 3), SINCE, 4)
    with pytest.raises(DataError, match="masked"):
        varpro.dmd(X, np.ma.array(SINCE, mask=SINCE > 11), 4)
    with pytest.raises(ShapeError, match="numbers"):
        varpro.dmd([["a"] * 97] * 5, SINCE, 1)
