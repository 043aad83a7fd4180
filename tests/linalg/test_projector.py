"""CholeskyQR2, the truncated SVD and LAPACK agree wherever each is valid."""

import numpy as np
import pytest

from varpro.errors import ShapeError
from varpro.linalg import projector
from varpro.linalg.projector import factor

EPS = np.finfo(float).eps


def matrix_of_condition(condition, rows=67, columns=9, seed=0):
    rng = np.random.default_rng(seed)
    u, v = (
        np.linalg.qr(rng.standard_normal((rows, columns)))[0],
        np.linalg.qr(rng.standard_normal((columns, columns)))[0],
    )
    return (u * np.logspace(0, -np.log10(condition), columns)) @ v.T


@pytest.mark.parametrize("exponent", range(0, 15, 2))
def test_basis_is_orthonormal_and_spans_phi_at_every_condition(exponent):
    phi = matrix_of_condition(10.0**exponent)
    found = factor(phi[None], rank_tolerance=EPS)
    u = found.u[0]
    assert np.abs(u.T @ u - np.eye(9)).max() < 50 * EPS
    assert np.abs(phi - u @ (u.T @ phi)).max() < 50 * EPS
    assert found.rank[0] == 9


@pytest.mark.parametrize("exponent", [0, 3, 6, 9, 12])
def test_coefficients_agree_with_lapack_to_the_condition(exponent):
    phi = matrix_of_condition(10.0**exponent)
    y = np.random.default_rng(1).standard_normal((67, 2))
    expected = np.linalg.lstsq(phi, y, rcond=None)[0]
    a = factor(phi[None]).coefficients(y[None])[0]
    # a least-squares solution moves by kappa (1 + kappa residual) eps; the residual here is of order one
    assert np.abs(a - expected).max() <= 100 * EPS * 10.0 ** (2 * exponent) * np.abs(expected).max() + 1e-12


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_rank_deficient_phi_gets_the_minimum_norm_solution_and_its_rank(rank):
    rng = np.random.default_rng(rank)
    phi = rng.standard_normal((41, rank)) @ rng.standard_normal((rank, 9))
    y = rng.standard_normal((41, 3))
    found = factor(phi[None])
    assert found.rank[0] == rank
    np.testing.assert_allclose(found.coefficients(y[None])[0], np.linalg.pinv(phi) @ y, rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.inverse_gram[0], np.linalg.pinv(phi.T @ phi, rcond=1e-12), rtol=0, atol=1e-9)


def test_rank_tolerance_is_relative_to_the_largest_singular_value():
    phi = 1e-6 * matrix_of_condition(1e4)
    assert factor(phi[None], rank_tolerance=0.9e-4).rank[0] == 9
    assert factor(phi[None], rank_tolerance=1.1e-4).rank[0] == 8
    assert factor(phi[None], rank_tolerance=0.5).rank[0] == 1


@pytest.mark.parametrize("deficient", [False, True])
def test_ridge_solves_the_augmented_problem(deficient):
    phi = matrix_of_condition(10.0)
    if deficient:
        phi[:, 3] = phi[:, 5]
    y, mu = np.random.default_rng(2).standard_normal((67, 2)), 0.07
    found = factor(phi[None], ridge=mu)
    inverse = np.linalg.inv(phi.T @ phi + mu * np.eye(9))
    np.testing.assert_allclose(found.coefficients(y[None])[0], inverse @ phi.T @ y, atol=1e-12)
    np.testing.assert_allclose(found.inverse_gram[0], inverse, atol=1e-11)
    np.testing.assert_allclose(found.u[0] @ found.u[0].T, phi @ inverse @ phi.T, atol=1e-13)


def test_a_problem_that_is_not_finite_is_flagged_and_leaves_its_neighbours_bitwise_alone():
    good = np.stack([matrix_of_condition(10.0, seed=s) for s in range(3)])
    bad = good.copy()
    bad[1, 5, 5] = np.inf
    found, clean = factor(bad), factor(good)
    np.testing.assert_array_equal(found.finite, [True, False, True])
    assert found.rank[1] == 0
    for b in (0, 2):
        np.testing.assert_array_equal(found.u[b], clean.u[b])
        np.testing.assert_array_equal(found.back[b], clean.back[b])


def test_batch_equals_one_by_one_bitwise():
    phi = np.stack([matrix_of_condition(c, seed=s) for s, c in enumerate((1.0, 1e5, 1e9, 1e13))])
    together = factor(phi)
    for b in range(4):
        alone = factor(phi[b : b + 1])
        np.testing.assert_array_equal(together.u[b], alone.u[0])
        np.testing.assert_array_equal(together.rank[b], alone.rank[0])


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 5), (5, 5)])
def test_few_rows(rows, columns):
    phi = np.random.default_rng(0).standard_normal((rows, columns))
    found = factor(phi[None])
    assert found.rank[0] == min(rows, columns)
    np.testing.assert_allclose(found.u[0] @ (found.u[0].T @ phi), phi, atol=1e-13)


@pytest.mark.parametrize(("exponent", "ridge"), [(0, 0.0), (3, 0.0), (9, 0.0), (0, 1e-16), (3, 1e-16)])
def test_a_small_residual_is_orthogonal_to_its_own_rounding(exponent, ridge):
    """Y - Phi A alone is off by eps ||Y||: here a share of 1e-6 of the residual."""
    phi = matrix_of_condition(10.0**exponent)[None]
    rng = np.random.default_rng(1)
    y = phi @ np.ones((1, 9, 2)) + 1e-10 * rng.standard_normal((1, 67, 2))
    found = factor(phi, ridge=ridge)
    a = found.coefficients(y)
    r = found.residual(y, phi, a, ridge)
    left = found.u.mT @ r - ridge * (found.back.mT @ a)
    np.testing.assert_allclose(r, y - phi @ a, rtol=0, atol=200 * EPS * 10.0**exponent)
    assert np.abs(left).max() < 50 * EPS * np.linalg.norm(r)


def test_zero_matrix_has_rank_zero_and_coefficients_zero():
    found = factor(np.zeros((1, 8, 3)))
    assert found.rank[0] == 0
    np.testing.assert_array_equal(found.coefficients(np.ones((1, 8, 2))), 0.0)
    assert (found.condition[0], found.left_out[0]) == (np.inf, 0.0), "nothing is left to be ill-conditioned or cut off"


def test_single_precision_input_gets_its_own_default_tolerance():
    phi = matrix_of_condition(1e9).astype(np.float32)
    assert factor(phi[None]).rank[0] < 9


def test_wrong_number_of_dimensions_is_refused():
    with pytest.raises(ShapeError, match="2 dimensions"):
        factor(np.ones((4, 2)))


def test_columns_of_different_units_are_not_taken_for_dependent_ones():
    phi = np.random.default_rng(0).standard_normal((1, 30, 3))
    units = np.array([1e-14, 1.0, 1e12])
    plain, scaled = factor(phi), factor(phi * units)
    assert scaled.rank[0] == 3
    y = np.random.default_rng(1).standard_normal((1, 30, 2))
    # a few eps times the condition of the unit columns, below 10
    np.testing.assert_allclose(scaled.coefficients(y) * units[:, None], plain.coefficients(y), rtol=1e-12)
    assert factor(phi * units, rank_tolerance=1e-11).rank[0] == 1


def condition_of(phi, ridge, rank):
    """sigma_1 / sigma_rank of the augmented matrix, its columns of unit norm where they are independent then."""
    rows = np.vstack([phi, np.sqrt(ridge) * np.eye(phi.shape[1])]) if ridge else phi
    if rank == 0:
        return np.inf
    s = np.linalg.svd(rows / np.linalg.norm(rows, axis=0) if rank == rows.shape[1] else rows, compute_uv=False)
    return s[0] / s[rank - 1]


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["full", "other units", "dependent", "wide", "large", "zero", "not finite"])
def test_the_route_of_a_device_for_wide_matrices_gives_the_factors_of_the_host(kind, ridge, monkeypatch):
    """QR and SVD alone, without the quicker ways of a host; run here on its arrays."""
    phi = {
        "full": matrix_of_condition(1e3), "other units": matrix_of_condition(10.0) * np.logspace(-12, 12, 9),
        "dependent": matrix_of_condition(10.0) * [1, 1, 1, 0, 1, 0, 1, 1, 1] @ matrix_of_condition(10.0)[:9],
        "wide": matrix_of_condition(10.0)[:5], "large": 1e9 * matrix_of_condition(1e3),
        "zero": np.zeros((8, 3)), "not finite": np.full((8, 3), np.nan),
    }[kind][None]  # fmt: skip
    monkeypatch.setattr(projector, "PROJECTOR_COLUMNS", 0)
    found = projector._on_device(phi, ridge, max(phi.shape[1:]) * EPS, rescale=True)
    host, y = factor(phi, ridge=ridge), np.random.default_rng(1).standard_normal((1, phi.shape[1], 2))
    for name in ("rank", "finite"):
        assert getattr(found, name)[0] == getattr(host, name)[0]
    size = np.abs(phi).max(axis=(0, 1))
    unit = np.where(size > 0, size, 1.0)
    one, other = (f.coefficients(y)[0] * unit[:, None] for f in (found, host))
    # the condition is below 1e5, and values are of order one
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * np.abs(other).max(initial=1.0))
    np.testing.assert_allclose(found.u[0] @ found.u[0].T, host.u[0] @ host.u[0].T, rtol=0, atol=1e-9)
    assert found.left_out[0] == pytest.approx(host.left_out[0], abs=1e-12)
    assert found.condition[0] == pytest.approx(condition_of(phi[0], ridge, int(host.rank[0])), rel=1e-6)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_a_device_tells_that_something_is_cut_off_where_the_rank_is_deficient(ridge, monkeypatch):
    """Its kernel reports ranks alone; here the host's factors stand for it."""
    phi = np.stack([matrix_of_condition(10.0), np.zeros((67, 9)), np.full((67, 9), np.nan)])
    phi[1, :, :4] = phi[0, :, :4]
    for rows in (67, 5):
        host = factor(phi[:, :rows], ridge=ridge)
        parts = (host.u, host.back, host.rank, host.condition, host.finite.astype(int))
        monkeypatch.setattr(projector, "projector_on_device", lambda *_, parts=parts, **options: parts)
        found = projector._on_device(phi[:, :rows], ridge, 67 * EPS, rescale=True)
        full = min(9, rows) if ridge == 0 else 9
        np.testing.assert_array_equal(found.left_out, (host.rank < full) & host.finite)
        np.testing.assert_array_equal(found.finite, [True, True, False])
