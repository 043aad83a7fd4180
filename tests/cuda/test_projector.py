"""The projector on the host shim against varpro.linalg.projector.factor."""

from dataclasses import dataclass

import numpy as np
import pytest

from tests.cuda.host import PROJECTOR, KernelError, barriers, same_in_every_order
from varpro.linalg.projector import factor

EPS = np.finfo(float).eps
SIZES = [  # problems, N, I
    (1, 1, 1),
    (3, 3, 1),
    (2, 2, 5),  # fewer rows than columns
    (2, 5, 5),
    (2, 67, 9),
    (1, 230, 3),  # two strips
    (1, 61, 29),  # from 29, 41 and 53 columns on a lane sums more of the Gram matrix
    (1, 75, 41),
    (1, 70, 64),
]
precisions = pytest.mark.parametrize("dtype", [np.float64, np.float32])
mixed = pytest.mark.parametrize("types", [(np.float64, np.float64), (np.float32, np.float64), (np.float32, np.float32)])
BARRIERS = [barrier for name in PROJECTOR for barrier in barriers(name)] + barriers("householder", suffix="cuh")


@dataclass(frozen=True)
class Found:
    u: np.ndarray
    back: np.ndarray
    condition: np.ndarray
    rank: np.ndarray
    finite: np.ndarray

    def of(self, b):
        return Found(*(array[b] for array in vars(self).values()))


def found_in(result, phi, dtype):
    problems, _, units = phi.shape
    shapes = [(dtype, phi.shape), (float, (problems, units, units)), (float, problems)]
    shapes += [(np.int32, problems), (np.int32, problems)]
    arrays, start = [], 0
    for dtype, shape in shapes:
        arrays.append(np.frombuffer(result, dtype, np.prod(shape, dtype=int), start).reshape(shape))
        start += arrays[-1].nbytes
    assert start == len(result)
    return Found(*arrays)


def project(driver, phi, *, ridge=0.0, tolerance=None, gram=None, dtype=None, **more):
    """What the kernels find, the same in every order of threads and blocks.  dtype of u, else that of phi."""
    dtype = np.dtype(dtype or phi.dtype)
    default = max(phi.shape[1:]) * float(np.finfo(phi.dtype).eps)
    results = driver(
        "projector", phi=phi, gram=gram, problems=phi.shape[0], n=phi.shape[1], units=phi.shape[2], ridge=ridge,
        tolerance=default if tolerance is None else tolerance, rescale=tolerance is None,
        phi_is_float=phi.dtype == np.float32, u_is_float=dtype == np.float32, **more,
    )  # fmt: skip
    return found_in(same_in_every_order(results), phi, dtype)


def once(driver, phi, **more):
    return project(driver, phi, orders=(0,), **more)


def assert_agree(found, phi, *, ridge=0.0, tolerance=None):
    """Rank and condition; [u; sqrt(mu) back] orthonormal; the projector, which moves by kappa eps; the way back.

    A column of u is rounded once to its type, or twice; a sum of 100 products is off by a few eps at most.
    """
    expected = factor(phi, ridge=ridge, rank_tolerance=tolerance)
    np.testing.assert_array_equal(found.rank, expected.rank)
    np.testing.assert_array_equal(found.finite, expected.finite)
    eps = np.finfo(found.u.dtype).eps
    for b in np.flatnonzero(expected.finite):
        rank, u, back = found.rank[b], found.u[b].astype(float), found.back[b]
        kappa = expected.condition[b] if rank else 1.0
        if rank == 0:
            assert np.isinf(found.condition[b])
        else:
            np.testing.assert_allclose(found.condition[b], kappa, rtol=min(30 * EPS * kappa, 0.5))
        np.testing.assert_array_equal(u[:, rank:], 0.0)
        np.testing.assert_array_equal(back[:, rank:], 0.0)
        gram = u.T @ u + ridge * back.T @ back
        assert np.abs(gram - np.diag(np.arange(len(back)) < rank)).max() < 20 * eps
        theirs = expected.u[b]
        assert np.abs(u @ u.T - theirs @ theirs.T).max() < 20 * eps + 10 * EPS * kappa
        if kappa < 1e6:
            solution, pseudoinverse = back @ u.T, expected.back[b] @ theirs.T
            size = max(np.abs(pseudoinverse).max(), np.finfo(float).tiny)
            assert np.abs(solution - pseudoinverse).max() <= 20 * kappa * (eps + 10 * EPS * kappa) * size


def of_condition(condition, rows=67, columns=9, seed=0):
    rng = np.random.default_rng(seed)
    u = np.linalg.qr(rng.standard_normal((rows, columns)))[0]
    v = np.linalg.qr(rng.standard_normal((columns, columns)))[0]
    return ((u * np.logspace(0, -np.log10(condition), columns)) @ v.T)[None]


def dead(phi):
    """Some units are zero, some repeat another."""
    phi = phi.copy()
    phi[..., 1::3] = 0.0
    if phi.shape[2] > 3:
        phi[..., 3] = phi[..., 0]
    return phi


@mixed
@pytest.mark.parametrize("size", SIZES)
def test_basis_and_way_back_are_the_references_in_every_order(driver, size, types):
    phi = np.random.default_rng(size[2]).standard_normal(size).astype(types[0])
    assert_agree(project(driver, phi, dtype=types[1]), phi)
    assert_agree(once(driver, phi, ridge=0.3, dtype=types[1]), phi, ridge=0.3)


@mixed
@pytest.mark.parametrize("size", [*SIZES[:6], (1, 33, 29)])
def test_dead_and_repeated_units_lower_the_rank_in_every_order(driver, size, types):
    phi = dead(np.random.default_rng(size[2]).standard_normal(size)).astype(types[0])
    assert_agree(project(driver, phi, dtype=types[1]), phi)
    assert_agree(once(driver, phi, ridge=0.3, dtype=types[1]), phi, ridge=0.3)


@pytest.mark.parametrize("size", [(1, 1400, 3), (1, 270, 60)])
def test_factors_of_many_rows_come_in_slabs(driver, size):
    phi = dead(np.random.default_rng(0).standard_normal(size))
    assert_agree(project(driver, phi, orders=(0, 3)), phi)


@pytest.mark.parametrize("exponent", range(0, 15, 2))
def test_basis_is_orthonormal_and_spans_phi_at_every_condition(driver, exponent):
    phi = of_condition(10.0**exponent)
    found = once(driver, phi, tolerance=EPS)
    assert_agree(found, phi, tolerance=EPS)
    u = found.u[0]
    assert found.rank[0] == 9
    assert np.abs(u.T @ u - np.eye(9)).max() < 50 * EPS
    assert np.abs(phi[0] - u @ (u.T @ phi[0])).max() < 50 * EPS
    # by way of back: Phi = u back^-1, where back is right to kappa eps
    if exponent <= 6:
        assert np.abs(phi[0] - u @ np.linalg.inv(found.back[0])).max() < 100 * EPS * 10.0**exponent


@pytest.mark.parametrize("rank", [0, 1, 3, 8])
def test_products_of_low_rank(driver, rank):
    rng = np.random.default_rng(rank)
    phi = rng.standard_normal((2, 41, rank)) @ rng.standard_normal((2, rank, 9))
    found = once(driver, phi)
    assert_agree(found, phi)
    np.testing.assert_array_equal(found.rank, rank)


@pytest.mark.parametrize("condition", [1e2, 1e4, 1e9])
def test_single_precision_is_judged_by_the_singular_values_of_r(driver, condition):
    """Below kappa_1 = 0.1 / tolerance nothing is to judge; above, 1e4 keeps all columns and 1e9 loses some."""
    phi = of_condition(condition, columns=7).astype(np.float32)
    found = project(driver, phi)
    assert_agree(found, phi)
    assert (found.rank[0] < 7) == (condition == 1e9)


def test_two_rounds_whose_rank_is_cut(driver):
    phi = of_condition(1e5)
    found = project(driver, phi, tolerance=1e-3)
    assert_agree(found, phi, tolerance=1e-3)
    assert 1 < found.rank[0] < 9


def test_tolerance_is_relative_to_the_largest_singular_value(driver):
    phi = 1e-6 * of_condition(1e4)
    assert [once(driver, phi, tolerance=t).rank[0] for t in (0.9e-4, 1.1e-4, 0.5)] == [9, 8, 1]


def test_columns_of_different_units_are_not_taken_for_dependent_ones(driver):
    phi = np.random.default_rng(0).standard_normal((1, 30, 3)) * [1e-14, 1.0, 1e12]
    found = once(driver, phi)
    assert_agree(found, phi)
    assert found.rank[0] == 3
    assert once(driver, phi, tolerance=1e-11).rank[0] == 1


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_squares_that_leave_the_range_of_double(driver, size):
    phi = of_condition(1e3)
    found, plain = once(driver, phi * size), once(driver, phi, tolerance=EPS)
    np.testing.assert_array_equal(found.rank, 9)
    both = [a.u[0] @ a.u[0].T for a in (found, plain)]
    assert np.abs(both[0] - both[1]).max() < 20 * EPS * 1e3
    np.testing.assert_allclose(found.back[0] @ found.u[0].T * size, np.linalg.pinv(phi[0]), atol=1e3 * 1e3 * 20 * EPS)


def test_ridge_of_a_nearly_dependent_phi(driver):
    """kappa_1 beyond the gate with the ridge: the bottom block of Q goes through every step."""
    phi, ridge = of_condition(1e12), 1e-18
    found = project(driver, phi, ridge=ridge)
    assert_agree(found, phi, ridge=ridge)
    assert 1e8 < found.condition[0] < 1e10  # of columns of unit length


@precisions
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_flagged_and_leaves_its_neighbours_bitwise_alone(driver, bad, dtype):
    good = np.concatenate([of_condition(10.0), of_condition(10.0), dead(of_condition(10.0))]).astype(dtype)
    phi = good.copy()
    phi[1, 41, 5] = bad
    found, clean = project(driver, phi), once(driver, good)
    np.testing.assert_array_equal(found.finite, [1, 0, 1])
    assert np.isnan(found.u[1]).all()
    assert np.isnan(found.back[1]).all()
    assert found.rank[1] == 0
    assert np.isinf(found.condition[1])
    for b in (0, 2):
        for one, other in zip(vars(found.of(b)).values(), vars(clean.of(b)).values(), strict=True):
            np.testing.assert_array_equal(one, other)


@precisions
def test_batch_is_one_by_one_bitwise(driver, dtype):
    phi = np.concatenate(
        [of_condition(c, seed=s) for s, c in enumerate((1.0, 1e5, 1e9, 1e13))] + [dead(of_condition(2.0))]
    )
    phi = phi.astype(dtype)
    together = once(driver, phi)
    for b in range(len(phi)):
        alone = once(driver, phi[b : b + 1])
        for one, other in zip(vars(together.of(b)).values(), vars(alone.of(0)).values(), strict=True):
            np.testing.assert_array_equal(one, other)


@precisions
@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_gram_matrix_may_be_given_and_its_upper_triangle_is_not_read(driver, ridge, dtype):
    phi = np.concatenate([of_condition(1e3), dead(of_condition(1e3))]).astype(dtype)
    wide = phi.astype(float)
    gram = np.tril(wide.mT @ wide) + np.triu(np.full((9, 9), np.nan), 1)
    found = project(driver, phi, gram=gram, ridge=ridge)
    assert_agree(found, phi, ridge=ridge)
    np.testing.assert_array_equal(found.rank, once(driver, phi, ridge=ridge).rank)


def test_what_the_kernels_do_not_take_is_named(driver):
    with pytest.raises(KernelError, match="projector: 65 basis functions; this kernel takes 1 to 64"):
        project(driver, np.ones((1, 2, 65)))
    with pytest.raises(KernelError, match="projector: phi in double and u in single"):
        project(driver, np.ones((1, 2, 2)), dtype=np.float32)
    for more in ({"ridge": -1.0}, {"tolerance": -1.0}, {"ridge": np.nan}):
        with pytest.raises(KernelError, match=r"projector: ridge .*, tolerance .*; both are 0 or more"):
            project(driver, np.ones((1, 2, 2)), **more)


def mixtures():
    """All ways through the chain, the cheap ones first."""
    ways = [
        of_condition(3.0, 70, 5),
        dead(of_condition(3.0, 70, 5)),
        of_condition(1e9, 70, 5),
        of_condition(1e5, 70, 5),
    ]
    hidden = ways[0].copy()
    hidden[0, 41, 2] = np.nan
    yield np.concatenate(ways), 1e-4
    yield np.concatenate([hidden, ways[2]]), None
    yield of_condition(3.0, 400, 3), None  # strips side by side in a block
    yield dead(of_condition(3.0, 70, 11)), None  # two panels
    yield dead(of_condition(3.0, 1400, 3)), None  # two slabs
    yield dead(np.random.default_rng(0).standard_normal((1, 40, 60))), None


@pytest.mark.parametrize("barrier", BARRIERS)
def test_no_barrier_can_be_left_out(driver, barrier):
    """In some order some case is wrong, differs between orders, or waits for ever."""

    def survives(phi, tolerance):
        try:
            found = project(driver, phi, tolerance=tolerance, drop=barrier)
            assert_agree(found, phi, tolerance=tolerance)
            lost = found.finite == 0
            assert np.isnan(found.u[lost]).all()
            assert np.isnan(found.back[lost]).all()
        except (AssertionError, KernelError):
            return False
        return True

    assert not all(survives(*case) for case in mixtures())
