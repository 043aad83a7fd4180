"""Searches of small problems on the host shim against the CPU's, one evaluation against orthogonal factorisation."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.cuda.host import ROOT, KernelError
from tests.cuda.small import (
    COARSE,
    DOUBLE,
    MODELS,
    MOST,
    POLISHED,
    SINGLE,
    assert_same_search,
    conditions,
    in_order,
    launch,
    on_cpu,
    problems,
    rules,
    search,
)
from tests.kernels.contract import EPS, assert_within
from varpro.kernels import small_fits
from varpro.kernels.small_fits.reference import from_arrays_reference
from varpro.result import Status

SOURCES = [
    *sorted((ROOT / "csrc/cuda").glob("small_fits*.cu*")),
    ROOT / "csrc/kernels/small_fits_algebra.hpp",
]
MASKED = "(a vote orders no memory)"  # votes and shuffles are barriers on the host, not on a device
SYNCS = [
    f"{source.name}:{n}"
    for source in SOURCES
    for n, line in enumerate(source.read_text().splitlines(), 1)
    if re.search(r"team\.sync\(\)|__syncthreads\(\)", line) and MASKED not in line
]
SIZES = [  # B, N, I, M, K, P
    (1, 2, 1, 1, 1, 1),
    (2, 5, 2, 2, 1, 2),
    (3, 7, 3, 4, 2, 3),
    (9, 33, 4, 4, 3, 2),
    (1, 130, 7, 9, 8, 9),
    (2, 65, *MOST[:1], MOST[2], MOST[1], 16),
]


@pytest.mark.parametrize(
    ("k", "weighted", "grid"), [(1, None, "equidistant"), (2, "shared", "own"), (1, "own", "irregular")]
)
@pytest.mark.parametrize("n", [17, 64, 257])
@pytest.mark.parametrize("name", MODELS)
def test_a_search_is_the_cpus_trial_by_trial_in_every_order(driver, name, n, k, weighted, grid):
    given, the_rules = problems(name, n, 5, k, weighted=weighted, grid=grid), rules(**COARSE)
    assert_same_search(search(driver, given, the_rules), on_cpu(given, the_rules), given)


@pytest.mark.parametrize("n", [2, 3, 7, 8, 9, 15, 16, 31, 32, 33, 63, 255, 256])
def test_any_number_of_points(driver, n):
    given, the_rules = problems("decay", n, 3), rules(**COARSE) if n > 2 else rules(max_iterations=0)
    assert_same_search(search(driver, given, the_rules, orders=(0, 2)), on_cpu(given, the_rules), given)


def test_a_column_that_the_projection_takes_away_is_left_to_the_caller(driver):
    """One point: nothing is left of D, and a difference of scalar products cannot tell that from rounding."""
    given = problems("decay", 1, 3)
    np.testing.assert_array_equal(search(driver, given).status, small_fits.BEYOND)


@pytest.mark.parametrize("options", [{"ridge": 0.1}, {"kaufman": True}, {"ridge": 0.02, "kaufman": True}])
def test_ridge_and_kaufmans_matrix(driver, options):
    given, the_rules = problems("gaussians", 40, 4, 2, **options), rules(**COARSE)
    assert_same_search(search(driver, given, the_rules, orders=(0, 3)), on_cpu(given, the_rules), given)


@pytest.mark.parametrize(
    "changed",
    [
        {"max_iterations": 0},
        {"max_iterations": 3},
        {"step_bound": np.inf, "sure_shrink": 1 / 3, "sure": 0.05, "initial": 1e-2},
        {"cost_tolerance": 0.0, "gradient_tolerance": 1e-6},
        {"cost_tolerance": 0.0, "step_tolerance": 1e-4},
        {"least_gain": 3.0, "largest": 1e3},
        {"least_gain": 3.0, "largest": np.inf},
    ],
)
def test_the_rules_are_kept(driver, changed):
    given = problems("decays", 50, 3, noise=0.1)
    assert_same_search(search(driver, given, rules(**changed), orders=(0, 4)), on_cpu(given, rules(**changed)), given)


def given_columns(size, seed=0):
    """Noise, so well-conditioned and with a large residual; parameters that several pairs share."""
    b, n, i, m, k, p = size
    rng = np.random.default_rng(seed + n)
    pairs = small_fits.Pairs(rng.integers(0, i, m).astype(np.int32), np.resize(np.arange(p), m).astype(np.int32))
    return *(rng.standard_normal((b, n, columns)) for columns in (i, m, k)), pairs


def one_trial(driver, size, phi, d, y, pairs, *, weights=None, precision=np.float64, **options):
    """What is known at the start by small_advance, as SmallFits without its condition, from states that stop there."""
    b, n, i, m, k, p = size
    states = small_fits.States(np.ones((b, p)), i, k)
    (written,) = set(
        driver(
            "small_advance", phi=phi.astype(precision), d=d.astype(precision), y=y.astype(precision), weights=weights,
            columns=pairs.columns, parameters=pairs.parameters, states=states.rows, n_states=b, count=b, n=n, i=i, k=k,
            m=m, p=p, stride=states.rows.shape[1], own_t=False, own_weights=weights is not None and len(weights) > 1,
            rules=np.append(in_order(rules(max_iterations=0)), options.get("ridge", 0.0)),
            kaufman=options.get("kaufman", False), y_is_float=precision == np.float32,
            phi_is_float=precision == np.float32, in_turn=0,
        )
    )  # fmt: skip
    states.rows = np.frombuffer(written).reshape(states.rows.shape)
    np.testing.assert_array_equal(states.status, Status.ITERATIONS)
    return states.a, states.cost, states.h, states.gradient


@pytest.mark.parametrize("options", [{}, {"ridge": 0.3}, {"kaufman": True}])
@pytest.mark.parametrize("size", SIZES)
def test_an_evaluation_is_the_formula(driver, size, options):
    phi, d, y, pairs = given_columns(size)
    found = one_trial(driver, size, phi, d, y, pairs, **options)
    every = np.arange(size[0])
    expected = from_arrays_reference(phi, d, y, every, pairs, size[5], **options)
    bound = 64 * size[1] * EPS * expected.condition.max()
    for one, name in zip(found, ("a", "cost", "h", "gradient"), strict=True):
        other = getattr(expected, name)
        assert_within(one, other, bound * max(np.abs(other).max(), 1.0))
    np.testing.assert_array_equal(found[2], found[2].mT)


@pytest.mark.parametrize("shared", [True, False])
def test_columns_in_single_precision_are_read_as_they_are(driver, shared):
    size = SIZES[3]
    phi, d, y, pairs = given_columns(size)
    weights = np.random.default_rng(1).uniform(0.5, 2, (1 if shared else size[0], size[1])).astype(np.float32)
    single = one_trial(driver, size, phi, d, y, pairs, weights=weights, precision=np.float32)
    narrow = [a.astype(np.float32).astype(np.float64) for a in (phi, d, y)]
    double = one_trial(driver, size, *narrow, pairs, weights=weights.astype(np.float64))
    for one, other in zip(single, double, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("name", "k"), [("decays", 1), ("sum", 2)])
def test_a_search_cut_at_its_evaluations_is_the_cpus(driver, name, k):
    """Problems drop out one by one; the states of those that have finished stay."""
    given, the_rules = problems(name, 41, 7, k, noise=0.05), rules(**COARSE)
    chosen = np.array([0, 2, 3, 6])
    states, expected = given.some(chosen).states(), given.some(chosen).states()
    rows, trials = np.arange(len(chosen)), 0
    while len(rows):
        phi, d = given.columns(states.trial[rows], chosen[rows])
        moved = launch(
            driver, "small_advance", given, the_rules, states, phi=phi, d=d, problems=chosen[rows], rows=rows,
            count=len(rows), in_turn=1 + trials % 3,
        )  # fmt: skip
        assert all(np.array_equal(one.rows, moved[0].rows) for one in moved)
        states.rows[:] = moved[0].rows
        phi, d = given.columns(expected.trial[rows], chosen[rows])
        small_fits.advance(phi, d, given.y, chosen[rows], given.pairs, expected, rows, the_rules)
        np.testing.assert_array_equal(states.status, expected.status)
        rows, trials = np.flatnonzero(states.status == 0), trials + 1
    assert trials > 3
    assert_same_search(states, expected, given.some(chosen))


@pytest.mark.parametrize("arithmetic", [DOUBLE, SINGLE, POLISHED])
def test_a_problem_depends_on_itself_alone_bitwise(driver, arithmetic):
    given = problems("decays", 40, 11, noise=0.05, grid="own", weighted="own")
    together = search(driver, given, arithmetic=arithmetic, orders=(0,))
    for in_turn in (1, 2, 3, 11):
        other = search(driver, given, arithmetic=arithmetic, orders=(2,), in_turn=in_turn)
        np.testing.assert_array_equal(other.rows, together.rows)
    for b in range(0, 11, 3):
        alone = search(driver, given.some([b]), arithmetic=arithmetic, orders=(1,))
        np.testing.assert_array_equal(alone.rows, together.rows[b : b + 1])


def test_some_problems_of_many_and_states_that_have_finished(driver):
    given = problems("decays", 40, 6)
    whole = search(driver, given, orders=(0,))
    states = given.states()
    rows, numbers = np.array([4, 1, 2]), np.array([4, 1, 2])
    states.numbers["status"][2] = Status.STALLED
    found = search(driver, given, states=states, orders=(0, 3), problems=numbers, rows=rows, count=3)
    np.testing.assert_array_equal(found.rows[[1, 4]], whole.rows[[1, 4]])
    np.testing.assert_array_equal(found.rows[[0, 2, 3, 5]], states.rows[[0, 2, 3, 5]])


def test_values_in_single_precision_give_the_search_of_those_values(driver):
    given = problems("gaussians", 45, 4, 2, weighted="own")
    narrow = replace(given, y=given.y.astype(np.float32), weights=given.weights.astype(np.float32))
    wide = replace(given, y=narrow.y.astype(float), weights=narrow.weights.astype(float))
    np.testing.assert_array_equal(search(driver, narrow, orders=(0,)).rows, search(driver, wide, orders=(0,)).rows)


@pytest.mark.parametrize("name", ["decays", "gaussians", "lorentzians"])
def test_a_search_in_single_precision_ends_near_the_minimum(driver, name):
    """With residuals of a hundredth: a cost within 64 eps of float of the least, relative to that of the data."""
    given = problems(name, 100, 6)
    found, expected = search(driver, given, arithmetic=SINGLE), on_cpu(given, rules())
    assert all(Status(int(status)).converged for status in found.status)
    eps = np.finfo(np.float32).eps
    assert_within(found.cost, expected.cost, 64 * eps * (given.y**2).sum((1, 2)))
    bound = 64 * eps * conditions(given, expected.w)
    assert_within(found.w, expected.w, bound[:, None] * np.abs(expected.w))


@pytest.mark.parametrize(("k", "grid"), [(1, "equidistant"), (2, "own")])
@pytest.mark.parametrize("name", MODELS)
def test_polished_it_ends_where_a_search_in_double_does(driver, name, k, grid):
    given = problems(name, 64, 5, k, grid=grid)
    found, expected = search(driver, given, arithmetic=POLISHED, orders=(0, 2)), on_cpu(given, rules())
    np.testing.assert_array_equal(found.status, expected.status)
    assert_within(found.cost, expected.cost, 2e-8 * expected.cost)  # what the tolerance on the cost leaves open, twice
    closer = on_cpu(replace(given, w0=found.w.copy()), rules(cost_tolerance=1e-15, initial=1e-6))
    assert_within(found.w, closer.w, 1e-4 * np.abs(closer.w))
    assert (closer.evaluations < 6).all()


def degenerate():
    """Six problems of which the odd ones are spoiled: a NaN, an infinity, nothing but zeros."""
    given = problems("decays", 40, 7)
    given.y[1, 7], given.y[3, 0], given.y[5] = np.nan, np.inf, 0.0
    return given


@pytest.mark.parametrize("arithmetic", [DOUBLE, SINGLE, POLISHED])
def test_spoiled_data_end_with_a_status_and_leave_the_others_alone(driver, arithmetic):
    clean = search(driver, problems("decays", 40, 7), arithmetic=arithmetic, orders=(0,))
    found = search(driver, degenerate(), arithmetic=arithmetic)
    np.testing.assert_array_equal(found.status[[1, 3]], Status.NONFINITE)
    assert found.status[5] == Status.UNDETERMINED
    np.testing.assert_array_equal(found.rows[::2], clean.rows[::2])
    if arithmetic == DOUBLE:
        expected = on_cpu(degenerate(), rules())
        np.testing.assert_array_equal(found.status, expected.status)
        np.testing.assert_array_equal(found.evaluations, expected.evaluations)


@pytest.mark.parametrize("arithmetic", [DOUBLE, SINGLE, POLISHED])
@pytest.mark.parametrize(
    ("start", "status"),
    [
        ([2.0, 2.0], small_fits.BEYOND),
        ([1e300, 2.0], small_fits.BEYOND),
        ([0.0, 2.0], Status.NONFINITE),
        ([np.nan, 2.0], Status.NONFINITE),
    ],
)
def test_a_start_that_is_not_usable_has_a_status(driver, start, status, arithmetic):
    """Columns that are not independent are left to the caller, who can truncate."""
    given = problems("decays", 40, 5)
    given.w0[2] = start
    found = search(driver, given, arithmetic=arithmetic)
    clean = search(driver, given.some([0, 1, 3, 4]), arithmetic=arithmetic, orders=(0,))
    assert found.status[2] == status
    np.testing.assert_array_equal(found.rows[[0, 1, 3, 4]], clean.rows)
    np.testing.assert_array_equal(on_cpu(given, rules()).status[2], status)


@pytest.mark.parametrize("arithmetic", [DOUBLE, SINGLE, POLISHED])
def test_constant_data_end(driver, arithmetic):
    """Two rates that both go to zero: how is left to rounding."""
    given = problems("rates", 33, 2)
    start = search(driver, given, rules(max_iterations=0), arithmetic=arithmetic, orders=(0,)).cost
    given.y[:] = 3.0
    found = search(driver, given, arithmetic=arithmetic)
    assert (found.status != 0).all()
    assert (found.cost < start).all()


def test_what_does_not_fit_is_named(driver):
    size = (1, 20, 17, 3, 1, 2)
    phi, d, y, pairs = given_columns(size)
    with pytest.raises(KernelError, match=r"small_advance: n 20, i 17, k 1, m 3, p 2; .*i to 16, k to 8, m to 48"):
        one_trial(driver, size, phi, d, y, pairs)


@pytest.mark.parametrize("sync", SYNCS)
def test_no_barrier_can_be_left_out(driver, sync):
    """In some order some problem is wrong, differs between orders, or waits for ever."""

    def survives(given, the_rules):
        try:
            expected = on_cpu(given, the_rules)
            found = search(driver, given, the_rules, drop=sync, in_turn=2, seconds=6, orders=range(9))
            np.testing.assert_array_equal(found.status, expected.status)
            if (expected.status > 0).all():
                assert_same_search(found, expected, given)
        except (AssertionError, KernelError):
            return False
        return True

    many, few = problems("gaussians", 70, 21, 2, noise=0.1), problems("decays", 40, 5, grid="own", ridge=1e-3)
    refused = rules(condition_limit=0.99 * conditions(few, few.w0).min())
    close = replace(few, w0=np.full((5, 2), [2.0, 2.02]))  # refined
    cases = [(close, rules(max_iterations=0)), (few, refused), (few, rules(**COARSE)), (many, rules(**COARSE))]
    assert not all(survives(*case) for case in cases)
