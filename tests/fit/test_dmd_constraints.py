"""Constraints on the eigenvalues of an optimised DMD: they hold, and the fit is the best that they allow."""

import numpy as np
import pytest

import varpro
from varpro.errors import ConfigError
from varpro.fitting.dmd import ComplexExponentials
from varpro.fitting.dmd_constraints import constrained

T = np.linspace(0, 6, 90)


def waves(eigenvalues, noise, seed=0, space=25):
    """Real snapshots (space, T) of pairs, each given by one eigenvalue, and of real eigenvalues."""
    rng = np.random.default_rng(seed)
    modes = rng.standard_normal((space, len(eigenvalues))) + 1j * rng.standard_normal((space, len(eigenvalues)))
    clean = (modes @ np.exp(np.outer(eigenvalues, T))).real
    return clean + noise * rng.standard_normal(clean.shape)


def squares(x, eigenvalues):
    """What the projection of X^T on the exponentials leaves."""
    phi = np.exp(np.outer(T, eigenvalues))
    return np.sum(np.abs(x.T - phi @ np.linalg.lstsq(phi, x.T, rcond=None)[0]) ** 2)


def test_stable_eigenvalues_do_not_grow_and_nothing_allowed_fits_better():
    x = waves([0.02 + 4j, -0.3 + 1.5j], 0.1)
    free, stable = (varpro.dmd(x, T, 4, constraints=c, project=False) for c in (None, "stable"))
    assert free.eigenvalues.real.max() > 0
    assert stable.fit.success
    assert stable.eigenvalues.real.max() == 0
    best, rng = squares(x, stable.eigenvalues), np.random.default_rng(1)
    for step in 10.0 ** np.array([-4, -3, -2, -1]):
        for _ in range(20):
            near = stable.eigenvalues + step * (rng.standard_normal(4) + 1j * rng.standard_normal(4))
            near.real = np.minimum(near.real, 0.0)
            assert squares(x, near) >= best * (1 - 1e-10)


def test_imaginary_eigenvalues_neither_grow_nor_decay():
    found = varpro.dmd(waves([3j, 1.2j], 0.1), T, 4, constraints="imaginary")
    assert (found.eigenvalues.real == 0).all()
    np.testing.assert_allclose(np.sort(found.eigenvalues.imag), [-3, -1.2, 1.2, 3], atol=0.02)


@pytest.mark.parametrize("constraints", ["conjugate", ("conjugate", "stable"), ("imaginary", "conjugate")])
def test_conjugate_pairs_make_a_real_forecast(constraints):
    x = waves([-0.1 + 4j, 0.01 + 1.5j], 0.2)
    found = varpro.dmd(x, T, 4, constraints=constraints)
    pairs = found.eigenvalues[np.argsort(np.abs(found.eigenvalues.imag))]
    np.testing.assert_array_equal(pairs[::2], pairs[1::2].conj())
    ahead = found.predict(np.linspace(0, 9, 33))
    assert np.abs(ahead.imag).max() < 1e-9 * np.abs(ahead).max()


def test_an_eigenvalue_without_a_partner_is_real():
    x = waves([-0.1 + 4j, -0.5], 0.05)
    found = varpro.dmd(x, T, 3, constraints="conjugate")
    assert np.sort(found.eigenvalues.imag)[1] == 0
    np.testing.assert_allclose(np.sort_complex(found.eigenvalues), [-0.5, -0.1 - 4j, -0.1 + 4j], atol=0.03)


def test_pairs_are_those_nearest_to_conjugates():
    start = np.array([1 + 2j, 0.1 - 5j, 0.9 - 2.1j, -1 + 1e-12j, 0.2 + 5j])
    moved, options = constrained(frozenset(["conjugate"]), start)
    np.testing.assert_allclose(moved, [0.95 + 2.05j, 0.15 - 5j, 0.95 - 2.05j, -1, 0.15 + 5j])
    assert options["fixed"] == {"w_3.imag": 0.0}
    assert options["tied"]["w_2.imag"] == ("w_0.imag", -1.0)
    assert options["tied"]["w_1.real"] == ("w_4.real", 1.0)
    assert start[0] == 1 + 2j


def test_no_constraint_changes_nothing():
    x = waves([-0.1 + 4j, -0.2 + 1.5j], 0.1)
    np.testing.assert_array_equal(varpro.dmd(x, T, 4).eigenvalues, varpro.dmd(x, T, 4, constraints=[]).eigenvalues)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"constraints": "real"}, "'real' is none of stable, imaginary, conjugate"),
        ({"constraints": ("stable", "imaginary")}, "leave 'stable' out"),
        ({"constraints": "stable", "bounds": {"w_0.imag": (0, None)}}, "constraints and bounds= exclude each other"),
    ],
)
def test_mistakes_are_told_in_one_line(options, said):
    with pytest.raises(ConfigError, match=said) as error:
        varpro.dmd(waves([3j], 0.1), T, 2, **options)
    assert "\n" not in str(error.value)


def test_the_exponentials_take_many_problems_at_once():
    model, rng = ComplexExponentials(3), np.random.default_rng(0)
    t, w = rng.uniform(0, 2, (4, 11)), rng.standard_normal((4, 3)) + 1j * rng.standard_normal((4, 3))
    single = np.stack([model.columns(a, b) for a, b in zip(t, w, strict=True)])
    np.testing.assert_allclose(model.columns(t, w.T[:, :, None]), single, rtol=1e-14)
