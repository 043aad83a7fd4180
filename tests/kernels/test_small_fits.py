"""The one-pass kernel of small problems against orthogonal factorisation, and its compiled columns against NumPy's."""

import numpy as np
import pytest
import scipy.optimize

from tests.kernels.contract import (
    EPS,
    assert_batch_is_one_by_one,
    assert_callers_do_not_meet,
    assert_inputs_are_kept,
    assert_same_bits,
    assert_strides_do_not_matter,
    assert_within,
)
from varpro.errors import ShapeError
from varpro.kernels import small_fits
from varpro.kernels.small_fits.reference import from_arrays_reference
from varpro.models import Constant, Exponentials, Gaussians, Lorentzians, Polynomial

SIZES = [(1, 1, 1, 1, 1), (2, 5, 2, 2, 1), (3, 7, 3, 4, 2), (2, 16, 4, 4, 3), (5, 33, 2, 3, 1), (1, 130, 7, 9, 8)]
"""B, N, I, M, K"""
FIELDS = ("a", "cost", "condition", "h", "gradient")


def problem(b, n, i, m, k, seed=0):
    """(phi, d, y, pairs, number of parameters): noise, so well-conditioned and with a large residual."""
    rng = np.random.default_rng(seed + n)
    n_parameters = min(m, 3)
    pairs = small_fits.Pairs(
        rng.integers(0, i, m).astype(np.int32), np.resize(np.arange(n_parameters), m).astype(np.int32)
    )
    phi, d, y = (rng.standard_normal((b, n, columns)) for columns in (i, m, k))
    return phi, d, y, pairs, n_parameters


def arrays(out):
    return tuple(getattr(out, name) for name in FIELDS)


def run(phi, d, y, pairs, n_parameters, function=small_fits.from_arrays, **options):
    return arrays(function(phi, d, y, np.arange(len(phi)), pairs, n_parameters, **options))


def assert_near_reference(found, expected, n_rows):
    """The Gram matrix is known to n eps of its diagonal; solving with it multiplies that by its condition."""
    rounding = 64 * n_rows * EPS * expected[2].max()
    for name, one, other in zip(FIELDS, found, expected, strict=True):
        if name != "condition":
            assert_within(one, other, rounding * max(np.abs(other).max(), 1.0))
    # the reported condition decides the route only: its order of size is what counts
    assert (found[2] < 10 * expected[2]).all()
    assert (found[2] > 0.1 * expected[2]).all()


@pytest.mark.parametrize("kaufman", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("size", SIZES)
def test_arrays_against_orthogonal_factorisation(size, ridge, kaufman):
    given, options = problem(*size), {"ridge": ridge, "kaufman": kaufman}
    expected = run(*given, from_arrays_reference, **options)
    assert_near_reference(run(*given, **options), expected, size[1])


@pytest.mark.parametrize("shared", [True, False])
def test_weights_multiply_the_rows(shared):
    given = problem(3, 20, 3, 4, 2)
    weights = np.random.default_rng(1).uniform(0.5, 2, (1 if shared else 3, 20))
    expected = run(*given, from_arrays_reference, weights=weights)
    assert_near_reference(run(*given, weights=weights), expected, 20)
    phi, d, y, pairs, count = given
    rows = weights[:, :, None]
    assert_near_reference(run(phi * rows, d * rows, y * rows, pairs, count), expected, 20)


def test_some_problems_of_many():
    phi, d, y, pairs, count = problem(5, 20, 3, 4, 2)
    some = np.array([1, 4])
    part = arrays(small_fits.from_arrays(phi[some], d[some], y, some, pairs, count))
    assert_same_bits(part, tuple(a[some] for a in run(phi, d, y, pairs, count)))


def test_without_derivatives_only_values_are_made():
    phi, d, y, pairs, count = problem(3, 20, 3, 4, 2)
    with_d = small_fits.from_arrays(phi, d, y, np.arange(3), pairs, count)
    bare = small_fits.from_arrays(phi, None, y, np.arange(3), pairs, count)
    assert_same_bits((bare.a, bare.cost, bare.condition), (with_d.a, with_d.cost, with_d.condition))
    assert bare.h.shape == (0, count, count)
    assert bare.gradient.shape == (0, count)


@pytest.mark.parametrize("size", [(3, 7, 3, 4, 2), (2, 16, 4, 4, 3), (1, 130, 7, 9, 8)])
def test_a_parameter_that_moves_the_columns_within_their_range_keeps_the_rounding_of_the_projection(size):
    """Its curvature is 0 but for rounding, so a floor stands there: 64 eps of what there is before the projection."""
    phi, d, y, pairs, count = problem(*size)
    d[:] = phi @ np.random.default_rng(2).standard_normal((size[2], size[3]))
    a, _, _, h, _ = run(phi, d, y, pairs, count, kaufman=True)
    each = np.sum(d**2, axis=1) * np.sum(a**2, axis=2)[:, pairs.columns]
    floor = small_fits.UNSEEN * np.stack([each[:, pairs.parameters == p].sum(axis=1) for p in range(count)], axis=1)
    assert_within(np.einsum("bpp->bp", h), floor, 64 * size[1] * EPS * floor)


def test_the_matrix_is_symmetric_and_not_indefinite():
    h = run(*problem(4, 30, 4, 6, 2))[3]
    np.testing.assert_array_equal(h, h.mT)
    assert np.linalg.eigvalsh(h).min() > -1e-12 * np.abs(h).max()


@pytest.mark.parametrize("size", SIZES)
def test_the_contract_of_kernels(size):
    phi, d, y, pairs, count = problem(*size)

    def call(phi, d, y):
        return run(phi, d, y, pairs, count)

    assert_batch_is_one_by_one(call, phi, d, y)
    assert_inputs_are_kept(call, phi, d, y)
    assert_strides_do_not_matter(call, phi, d, y)
    assert_callers_do_not_meet(call, phi, d, y)


@pytest.mark.parametrize("kind", ["equal columns", "zero column", "nan", "inf", "overflow"])
def test_a_problem_that_is_not_usable_says_so_and_leaves_the_others_alone(kind):
    phi, d, y, pairs, count = problem(3, 20, 3, 4, 2)
    spoiled = phi.copy()
    if kind == "equal columns":
        spoiled[1, :, 2] = spoiled[1, :, 0]
    elif kind == "zero column":
        spoiled[1, :, 2] = 0.0
    else:
        spoiled[1, 3, 2] = {"nan": np.nan, "inf": np.inf, "overflow": 1e200}[kind]
        spoiled[1, 4, 2] = {"overflow": 1e200}.get(kind, 1.0)
    found = run(spoiled, d, y, pairs, count)
    assert not found[2][1] < 1e10
    assert_same_bits(tuple(a[::2] for a in found), tuple(a[::2] for a in run(phi, d, y, pairs, count)))


MODELS = {
    "decays": (Exponentials(2, offset=True), [0.9, 5.0]),
    "rates": (Exponentials(3, rates=True), [2.0, 0.6, 0.1]),
    "gaussians": (Gaussians(2, offset=True), [2.0, 0.8, 7.0, 1.5]),
    "lorentzians": (Lorentzians(1), [4.0, 1.0]),
    "sum": (Exponentials(1) + Gaussians(1) + Constant(), [3.0, 5.0, 0.7]),
    "with a line": (Exponentials(1) + Polynomial(1), [2.0]),
}


@pytest.mark.parametrize("grid", ["equidistant", "irregular", "own", "descending"])
@pytest.mark.parametrize("n", [8, 9, 31, 64, 257])
@pytest.mark.parametrize("name", MODELS)
def test_compiled_columns_are_the_models(name, n, grid):
    model, w = MODELS[name]
    rng = np.random.default_rng(n)
    b = 3
    t = np.linspace(0, 10, n)[None]
    if grid == "irregular":
        t = np.sort(rng.uniform(0, 10, (1, n)))
    elif grid == "own":
        t = np.sort(rng.uniform(0, 10, (b, n)), axis=1)
    elif grid == "descending":
        t = t[:, ::-1]
    starts = np.array(w) * rng.uniform(0.9, 1.1, (b, len(w)))
    phi = np.stack([model(row, v) for row, v in zip(np.broadcast_to(t, (b, n)), starts, strict=True)])
    d = np.stack([model.columns(row, v) for row, v in zip(np.broadcast_to(t, (b, n)), starts, strict=True)])
    y = phi @ rng.uniform(1, 2, (b, phi.shape[2], 2)) + 0.1 * rng.standard_normal((b, n, 2))
    weights = rng.uniform(0.5, 2, (1, n))
    pairs = small_fits.Pairs(*model.pairs.astype(np.int32).T.copy())
    program = small_fits.encode(model.program())
    every = np.arange(b)
    for options in ({}, {"weights": weights, "kaufman": True}, {"ridge": 0.1}):
        expected = arrays(from_arrays_reference(phi, d, y, every, pairs, len(w), **options))
        found = arrays(small_fits.from_program(program, t, starts, y, every, pairs, **options))
        assert_near_reference(found, expected, n)


def test_a_compiled_model_overflows_without_harm():
    model = Exponentials(2)
    t, y = np.linspace(0, 10, 40)[None], np.ones((3, 40, 1))
    w = np.array([[1.0, 3.0], [-1e-3, 3.0], [0.0, 3.0]])
    pairs = small_fits.Pairs(*model.pairs.astype(np.int32).T.copy())
    out = small_fits.from_program(small_fits.encode(model.program()), t, w, y, np.arange(3), pairs)
    assert np.isfinite(out.cost[0])
    assert not (out.condition[1:] < 1e10).any()


def test_shapes_are_refused_with_their_numbers():
    phi, d, y, pairs, count = problem(3, 20, 3, 4, 2)
    every = np.arange(3)
    program = small_fits.encode(Exponentials(2).program())
    two = small_fits.Pairs(np.array([0, 1], dtype=np.int32), np.array([0, 1], dtype=np.int32))

    def linked(*links):
        one, three = np.ones((1, 20)), np.ones((3, 1))
        return small_fits.from_program(program, one, three, y, every, two, links=small_fits.Links(*links))

    wrong = [
        (lambda: small_fits.from_arrays(phi[:, :-1], d, y, every, pairs, count), r"\(3, 19, 3\).*\(3, 20, I\)"),
        (lambda: small_fits.from_arrays(phi, d[:, :, :-1], y, every, pairs, count), r"\(3, 20, 3\).*\(3, 20, 4\)"),
        (lambda: small_fits.from_arrays(phi, d, y[0], every, pairs, count), r"y has shape \(20, 2\)|phi has shape"),
        (lambda: run(phi, d, y, pairs, count, weights=np.ones((2, 20))), r"\(2, 20\)"),
        (lambda: small_fits.from_program(program, np.ones((1, 7)), np.ones((3, 2)), y, every, two), r"\(1, 7\)"),
        (lambda: small_fits.from_program(program, np.ones((1, 20)), np.ones((3, 1)), y, every, two), "parameter 1"),
        (
            lambda: linked(np.zeros(2, dtype=np.int32), np.ones(2), np.zeros((2, 2))),
            r"offsets \(2, 2\); they need \(2,\) and \(1 or 3, 2\)",
        ),
        (
            lambda: linked(np.array([0, -1], dtype=np.int32), np.array([1.0, 0.0]), np.zeros((1, 2))),
            "there are 2 pairs; the program has 1 derivatives",
        ),
        (
            lambda: small_fits.from_program(program[:, :3], np.ones((1, 20)), np.ones((3, 2)), y, every, two),
            r"\(2, 3\)",
        ),
        (lambda: small_fits.States(np.ones((1, 17)), 2, 1), r"\(1, 17\).*16"),
    ]
    for call, words in wrong:
        with pytest.raises(ShapeError, match=words):
            call()


LIMITS = {
    "nonnegative": lambda i: (np.zeros(i), np.full(i, np.inf)),
    "boxes away from zero": lambda i: (np.full(i, 0.1), np.full(i, 0.4)),
    "some free": lambda i: (np.where(np.arange(i) % 2, -np.inf, -0.2), np.where(np.arange(i) % 2, np.inf, 0.05)),
}


@pytest.mark.parametrize("kaufman", [False, True])
@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("size", [*SIZES, (2, 131, 61, 70, 2)])
def test_bounded_coefficients_against_another_active_set_method(size, name, kaufman):
    given, options = problem(*size), {"kaufman": kaufman, "limits": LIMITS[name](size[2])}
    expected = run(*given, from_arrays_reference, **options)
    found = run(*given, **options)
    assert (found[2] == 1).all()
    assert_near_reference((*found[:2], expected[2], *found[3:]), expected, size[1])
    lower, upper = options["limits"]
    assert ((found[0] >= lower[:, None]) & (found[0] <= upper[:, None])).all()
    if name == "nonnegative" and size[1] > 5:
        assert (found[0] == 0).any()


@pytest.mark.parametrize("exponent", [-120, -60, 0, 60, 120])
def test_nonnegative_coefficients_at_every_scale_equal_scipys(exponent):
    rng, scale = np.random.default_rng(7), 2.0**exponent
    phi = rng.standard_normal((6, 37, 13)) + 1.0
    phi[:, :, 3] *= 2.0**40
    y = scale * rng.standard_normal((6, 37, 1))
    pairs = small_fits.Pairs(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32))
    out = small_fits.from_arrays(phi, None, y, np.arange(6), pairs, 1, limits=LIMITS["nonnegative"](13))
    expected = np.array([scipy.optimize.nnls(one, right[:, 0] / scale)[0] for one, right in zip(phi, y, strict=True)])
    assert ((out.a[:, :, 0] == 0) == (expected == 0)).all()
    np.testing.assert_allclose(out.a[:, :, 0] / scale, expected, rtol=1e-11)


def test_bounded_problems_without_full_rank_are_left_to_the_truncated_factorisation():
    phi, d, y, pairs, count = problem(2, 20, 4, 4, 1)
    phi[1, :, 3] = phi[1, :, 0] + phi[1, :, 1]
    out = small_fits.from_arrays(phi, d, y, np.arange(2), pairs, count, limits=LIMITS["nonnegative"](4))
    assert np.isfinite(out.condition[0])
    assert np.isinf(out.condition[1])


def test_bounds_of_other_sizes_and_a_ridge_beside_them_are_refused():
    given = problem(3, 20, 3, 4, 2)
    with pytest.raises(ShapeError, match=r"\(4,\).*\(3,\)"):
        run(*given, limits=LIMITS["nonnegative"](4))
    with pytest.raises(ShapeError, match=r"ridge is 0.5"):
        run(*given, limits=LIMITS["nonnegative"](3), ridge=0.5)
