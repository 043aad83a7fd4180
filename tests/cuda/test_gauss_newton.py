"""The Hadamard assembly on the host shim against the reference."""

import numpy as np
import pytest

from tests.cuda.host import UNWRITTEN, KernelError, barriers, same_in_every_order
from tests.kernels.contract import assert_within
from varpro.kernels.gauss_newton.reference import normal_matrix_reference

DOUBLE, MIXED, SINGLE = (np.float64, np.float64), (np.float32, np.float64), (np.float32, np.float32)  # gram; h and rest
CASES = [  # problems, N, m, rank, i, k
    (1, 1, 1, 1, 1, 1),
    (3, 1, 5, 1, 2, 1),
    (2, 7, 64, 3, 4, 8),  # one tile, one part of g, both full
    (1, 9, 65, 2, 1, 9),  # one more of each
    (2, 5, 131, 4, 9, 20),
]
every_case = pytest.mark.parametrize("case", CASES)
precisions = pytest.mark.parametrize("types", [DOUBLE, MIXED, SINGLE])


def terms_of(case, types=DOUBLE):
    """d, z, aat, inverse, g and columns in double, and the products of the first two as the kernel takes them."""
    problems, rows, m, rank, units, k = case
    rng = np.random.default_rng(m)
    shapes = [(rows, m), (rank, m), (units, units), (units, units), (m, k)]
    d, z, a, inverse, g = (rng.standard_normal((problems, *shape)).astype(types[1]) for shape in shapes)
    columns = rng.integers(0, units, m).astype(np.int32)
    wide, narrow = d.astype(np.float64), z.astype(np.float64)
    products = (wide.mT @ wide).astype(types[0]), (narrow.mT @ narrow).astype(types[1])
    return (d, z, a + a.mT, inverse + inverse.mT, g, columns), products


def run(driver, case, terms, products, types, *, lam=None, diagonal=None, **more):
    problems, _, m, _, units, k = case
    _, _, aat, inverse, g, columns = terms
    return driver(
        "assemble", gram=products[0], ztz=products[1], aat=aat, gram_inverse=inverse, g=g, columns=columns,
        diagonal=diagonal, problems=problems, m=m, i=units, k=k, gram_is_float=types[0] == np.float32,
        h_is_float=types[1] == np.float32, **{"lambda": lam}, **more,
    )  # fmt: skip


def matrices(result, case, types):
    return np.frombuffer(result, dtype=types[1]).reshape(case[0], case[2], case[2])


def assert_is_the_formula(h, terms, types, damping=0.0):
    """Off by eps of the coarser type times the magnitudes of all terms; what is above the diagonal is left alone."""
    wide = [None if a is None else a.astype(np.float64) for a in terms[:-1]]
    d, z, aat, inverse, g = wide
    columns = terms[-1]
    expected = normal_matrix_reference(d, z, aat, inverse, g, columns) + damping
    magnitude = normal_matrix_reference(
        np.abs(d), 0 * z, np.abs(aat), None if inverse is None else np.abs(inverse), np.abs(g), columns
    )
    magnitude += normal_matrix_reference(np.abs(z), 0 * z, np.abs(aat), None, g, columns) + np.abs(damping)
    eps = max(np.finfo(dtype).eps for dtype in types)
    assert_within(np.tril(h), np.tril(expected), 2 * (d.shape[1] + z.shape[1] + g.shape[2] + 6) * eps * magnitude)
    above = np.triu_indices(h.shape[1], 1)
    assert (np.ascontiguousarray(h[:, above[0], above[1]]).view(np.uint8) == UNWRITTEN).all()


@precisions
@every_case
def test_the_lower_triangle_is_the_formula_in_every_order(driver, case, types):
    terms, products = terms_of(case, types)
    h = matrices(same_in_every_order(run(driver, case, terms, products, types)), case, types)
    assert_is_the_formula(h, terms, types)


@precisions
@every_case
def test_damping_is_added_on_the_diagonal_of_kaufmans_matrix(driver, case, types):
    (d, z, aat, _, g, columns), products = terms_of(case, types)
    rng = np.random.default_rng(case[2])
    lam, diagonal = rng.random(case[0]).astype(types[1]), rng.random((case[0], case[2])).astype(types[1])
    terms = d, z, aat, None, g, columns
    results = run(driver, case, terms, products, types, lam=lam, diagonal=diagonal)
    damping = np.eye(case[2]) * (lam[:, None] * diagonal).astype(np.float64)[:, None]
    assert_is_the_formula(matrices(same_in_every_order(results), case, types), terms, types, damping)


@every_case
def test_the_difference_may_be_given_as_one(driver, case):
    terms, (gram, ztz) = terms_of(case)
    apart = run(driver, case, terms, (gram, ztz), DOUBLE, orders=(0,))
    assert run(driver, case, terms, (gram - ztz, None), DOUBLE, orders=(0,)) == apart


def test_above_the_diagonal_nothing_is_read(driver):
    case = CASES[-1]
    terms, products = terms_of(case)
    above = np.triu(np.full((case[2], case[2]), np.nan), 1)
    assert run(driver, case, terms, [a + above for a in products], DOUBLE, orders=(0,)) == run(
        driver, case, terms, products, DOUBLE, orders=(0,)
    )


def test_terms_that_do_not_fit_are_named(driver):
    terms, products = terms_of(CASES[1])
    with pytest.raises(KernelError, match="assemble: gram in double and h in single"):
        run(driver, CASES[1], terms, products, (np.float64, np.float32))
    with pytest.raises(KernelError, match="assemble: lambda and diagonal are given together"):
        run(driver, CASES[1], terms, products, DOUBLE, lam=np.ones(3))


@pytest.mark.parametrize("barrier", barriers("gauss_newton"))
def test_no_barrier_can_be_left_out(driver, barrier):
    terms, products = terms_of(CASES[-1])
    with pytest.raises((AssertionError, KernelError)):  # noqa: PT012
        result = same_in_every_order(run(driver, CASES[-1], terms, products, DOUBLE, drop=barrier))
        assert_is_the_formula(matrices(result, CASES[-1], DOUBLE), terms, DOUBLE)
