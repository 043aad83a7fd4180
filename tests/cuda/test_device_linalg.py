"""Products, factorisations and the assembly on a device against the same on the host."""

import time

import numpy as np
import pytest

from varpro.errors import ShapeError
from varpro.gauss_newton import scaling
from varpro.kernels import batched_cholesky, gauss_newton, gram, jacobian_products, vendor
from varpro.kernels.gauss_newton.reference import normal_matrix_reference
from varpro.kernels.jacobian_products.reference import products_reference
from varpro.linalg import cholesky
from varpro.linalg.damped import damped_step
from varpro.linalg.projector import factor

EPS = np.finfo(float).eps


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def close(a, b, scale, dtype=np.float64):
    assert np.abs(a - b).max(initial=0.0) <= 200 * np.finfo(dtype).eps * scale


@pytest.mark.parametrize(("count", "rows", "m", "rank"), [(1, 1, 1, 1), (2, 40, 7, 3), (3, 9, 5, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block", [1, 3, 280])
def test_gram_lower(xp, rng, monkeypatch, count, rows, m, rank, dtype, block):
    monkeypatch.setattr(vendor, "BLOCK_COLUMNS", block)
    d = rng.standard_normal((count, rows, m)).astype(dtype)
    z = rng.standard_normal((count, rank, m)).astype(dtype)
    got = vendor.gram_lower(xp.asarray(d), z=xp.asarray(z) if rank else None).get()
    close(np.tril(got), np.tril(d.mT @ d - z.mT @ z), rows + rank, dtype)


def test_subtract_product(xp, rng):
    d, u, z = rng.standard_normal((2, 11, 5)), rng.standard_normal((2, 11, 3)), rng.standard_normal((2, 3, 5))
    there = xp.asarray(d)
    vendor.subtract_product(there, xp.asarray(u), xp.asarray(z))
    close(there.get(), d - u @ z, 10)


def test_cholesky_tells_which_problem_breaks_down(xp, rng):
    root = rng.standard_normal((3, 6, 6))
    h = root @ root.mT + np.eye(6)
    h[1, 4, 4] = -1.0
    rhs = rng.standard_normal((3, 6))
    there = xp.asarray(h)
    info = vendor.cholesky(there).get()
    x = vendor.cholesky_solve(there, xp.asarray(rhs)).get()
    assert info.tolist() == [0, 5, 0]
    for b in (0, 2):
        close(h[b] @ x[b], rhs[b], np.linalg.cond(h[b]))


@pytest.mark.parametrize("n", [9, 12, 23])
def test_cholesky_in_blocks(xp, rng, monkeypatch, n):
    """Blocks and a rest, an earlier breakdown and a later one; without the timing, both ways."""
    monkeypatch.setattr(batched_cholesky, "BLOCK", 4)
    monkeypatch.setattr(vendor, "BLOCK_COLUMNS", 5)
    root = rng.standard_normal((4, n, n))
    h = root @ root.mT + np.eye(n)
    h[1, 2, 2] = h[3, 7, 7] = -1.0
    for way in ("blocked", "vendor"):
        monkeypatch.setenv("VARPRO_CHOLESKY", way)
        there = xp.asarray(h)
        assert batched_cholesky.cholesky(there).get().tolist() == [0, 3, 0, 8]
        for b in (0, 2):
            close(np.tril(there.get()[b]), np.linalg.cholesky(h[b]), np.linalg.cond(h[b]))


@pytest.mark.parametrize(("slow", "wrong", "chosen"), [(1, 0, True), (0, 0, False), (1, 1e-3, False)])
def test_blocks_are_chosen_if_they_are_faster_and_right(xp, rng, monkeypatch, slow, wrong, chosen):
    monkeypatch.setattr(batched_cholesky, "BLOCK", 4)
    monkeypatch.setattr(batched_cholesky, "_chosen", {})
    monkeypatch.delenv("VARPRO_CHOLESKY", raising=False)
    root, vendors, blocks = rng.standard_normal((2, 9, 9)), vendor.cholesky, batched_cholesky.in_blocks
    calls = []

    def slowed(way, seconds, error):
        def factor(h):
            calls.append(way)
            time.sleep(seconds)
            info = way(h)
            h *= 1.0 + error
            return info

        return factor

    monkeypatch.setattr(vendor, "cholesky", slowed(vendors, 0.2 * slow, 0.0))
    monkeypatch.setattr(batched_cholesky, "in_blocks", slowed(blocks, 0.2 * (1 - slow), wrong))
    for _ in range(2):
        calls.clear()
        batched_cholesky.cholesky(xp.asarray(root @ root.mT + np.eye(9)))
    assert calls == [blocks if chosen else vendors], "the second time it is known"
    calls.clear()
    with batched_cholesky.by_vendor():
        batched_cholesky.cholesky(xp.asarray(root @ root.mT + np.eye(9)))
    assert calls == [vendors], "a run that must repeat chooses nothing"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kaufman", [False, True])
def test_normal_matrix(xp, rng, dtype, kaufman):
    d = rng.standard_normal((2, 30, 8)).astype(dtype)
    u = np.linalg.qr(rng.standard_normal((2, 30, 4)))[0]
    z, g = u.mT @ d.astype(float), rng.standard_normal((2, 8, 3))
    a = rng.standard_normal((2, 4, 3))
    aat, inverse = a @ a.mT, None if kaufman else np.eye(4) + a @ a.mT
    columns = np.tile(np.arange(4, dtype=np.int32), 2)
    expected = normal_matrix_reference(d, z, aat, inverse, g, columns)
    there = [None if x is None else xp.asarray(x) for x in (d, z, aat, inverse, g, columns)]
    got = gauss_newton.normal_matrix(*there, u=xp.asarray(u)).get()
    close(np.tril(got), np.tril(expected), np.abs(expected).max(), dtype)


def test_damped_step_keeps_the_matrix_and_flags_breakdown(xp, rng):
    root = rng.standard_normal((3, 7, 7))
    h = np.tril(root @ root.mT + np.eye(7))
    h[2, 3, 3] = -50.0
    diagonal, damping, rhs = 1 + rng.random((3, 7)), np.array([0.1, 3.0, 1e-3]), rng.standard_normal((3, 7))
    there = xp.asarray(h)
    step, solved = damped_step(there, xp.asarray(diagonal), damping, xp.asarray(rhs))
    expected, also = damped_step(h, diagonal, damping, rhs)
    assert solved.tolist() == also.tolist() == [True, True, False]
    close(step.get(), expected, 100)
    assert np.array_equal(np.tril(there.get()), h)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products(xp, rng, dtype):
    d = rng.standard_normal((2, 37, 9)).astype(dtype)
    u, r = rng.standard_normal((2, 37, 4)), rng.standard_normal((2, 37, 3))
    z, g = (x.get() for x in jacobian_products.products(*map(xp.asarray, (d, u, r))))
    for got, expected in zip((z, g), products_reference(d, u, r), strict=True):
        close(got, expected, 40)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_projector_with_every_kind_of_problem(xp, rng, ridge):
    phi = rng.standard_normal((5, 40, 6))
    phi[1, :, 3] = 0.0
    phi[2, :, 4] = phi[2, :, 1] + 1e-9 * phi[2, :, 4]
    phi[3, 7, 2] = np.nan
    phi[4, :, 5] = phi[4, :, 0]
    here, there = factor(phi, ridge=ridge), factor(xp.asarray(phi), ridge=ridge)
    assert there.rank.tolist() == here.rank.tolist()
    assert there.finite.tolist() == here.finite.tolist()
    y = rng.standard_normal((5, 40, 2))
    u = there.u.get()
    for b in (0, 1, 2, 4):
        close(u[b] @ (u[b].T @ y[b]), here.u[b] @ (here.u[b].T @ y[b]), 1e9 if b == 2 and not ridge else 1e3)
        fitted = phi[b] @ there.coefficients(xp.asarray(y)).get()[b]
        close(fitted, phi[b] @ here.coefficients(y)[b], 1e9 if b == 2 and not ridge else 1e4)


@pytest.mark.parametrize("ridge", [0.0, 0.2])
def test_projector_wider_than_the_kernel(xp, rng, ridge):
    phi = rng.standard_normal((4, 100, 70)) * 10.0 ** rng.integers(-6, 6, 70)
    phi[1, :, 3] = 0.0
    phi[2, :, 9] = phi[2, :, 11]
    phi[3, 50, 60] = np.inf
    there, here = factor(xp.asarray(phi), ridge=ridge), factor(phi, ridge=ridge)
    assert there.rank.tolist() == here.rank.tolist()
    assert there.finite.tolist() == [True, True, True, False]
    y = rng.standard_normal((4, 100, 1))
    for b in range(3):
        u = there.u.get()[b]
        assert np.abs(u @ (u.T @ y[b]) - here.u[b] @ (here.u[b].T @ y[b])).max() < 1e-9
        fitted = phi[b] @ there.coefficients(xp.asarray(y)).get()[b]
        assert np.abs(fitted - phi[b] @ here.coefficients(y)[b]).max() < 1e-7


def test_gram_and_factor_of_one_large_system(xp, rng):
    phi, y = rng.standard_normal((50, 8)), rng.standard_normal((50, 3))
    g, c = xp.zeros((8, 8)), xp.zeros((8, 3))
    for rows in (slice(0, 20), slice(20, 50)):
        gram.accumulate(xp.asarray(phi[rows]), xp.asarray(y[rows]), g, c)
    close(np.tril(g.get()), np.tril(phi.T @ phi), 100)
    close(c.get(), phi.T @ y, 100)
    there, here = cholesky.factor(g, 0.5), cholesky.factor(np.tril(phi.T @ phi), 0.5)
    close(there.solve(y[:8]), here.solve(y[:8]), 10)
    assert there.condition == pytest.approx(here.condition, rel=0.5)  # both are estimates
    assert cholesky.factor(xp.asarray(-np.eye(3)), 0.0) is None


def test_scaling_on_a_device(xp):
    diagonal = np.array([[1.0, 0.0, 1e-20], [0.0, 0.0, 0.0]])
    assert scaling(xp.asarray(diagonal)).get().tolist() == scaling(diagonal).tolist()


def test_host_and_device_are_not_mixed(xp):
    with pytest.raises((ShapeError, TypeError), match=r"host|Unsupported"):
        gauss_newton.normal_matrix(
            xp.ones((1, 4, 2)), np.ones((1, 1, 2)), xp.ones((1, 2, 2)), None, xp.ones((1, 2, 1)), np.array([0, 1])
        )
