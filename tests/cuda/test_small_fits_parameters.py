"""Searches of small problems inside a box, of parameters that are held or follow others, and of complex data, against
the CPU's."""

from dataclasses import replace

import numpy as np
import pytest

from tests.cuda.small import (
    COARSE,
    DOUBLE,
    MODELS,
    POLISHED,
    SINGLE,
    assert_same_search,
    launch,
    on_cpu,
    problems,
    rules,
    search,
)
from tests.kernels.contract import assert_within
from varpro.kernels import small_fits
from varpro.result import Status


def boxed(name, n, b, k=1, **options):
    """Problems whose first true parameters, within 5 % of w, lie on both sides of the upper bound."""
    given, w = problems(name, n, b, k, **options), np.array(MODELS[name][1])
    box = 0.5 * w, np.append(w[0], np.full(len(w) - 1, np.inf))
    return replace(given, box=box, w0=np.clip(given.w0, *box))


LINKS = {  # model, source, factor, offset; a held parameter has another value in each problem
    "a decay tied": ("decays", [0, 0], [1.0, 4.0], [0.0, 0.3]),
    "a decay held": ("decays", [-1, 0], [0.0, 1.0], [0.9, 0.0]),
    "one decay for two": ("rates", [0, 0], [1.0, 0.25], [0.0, 0.0]),
    "a centre held, one width": ("gaussians", [-1, 0, 1, 0], [0.0, 1.0, 1.0, 1.7], [3.0, 0.0, 0.0, 0.1]),
    "a width held": ("lorentzians", [0, -1], [-1.0, 0.0], [0.5, 1.0]),
    "across models": ("sum", [0, 0, -1], [1.0, 1.5, 0.0], [0.0, 0.5, 0.7]),
}


def linked(case, n, b, k=1, **options):
    """Data of the model, of which the links can show a part only."""
    name, source, factor, offset = LINKS[case]
    given = problems(name, n, b, k, **options)
    source, factor = np.array(source, dtype=np.int32), np.array(factor)
    offset = np.array(offset) + 0.01 * (source < 0) * np.random.default_rng(n).standard_normal((b, len(source)))
    followed = [int(np.flatnonzero(source == f)[0]) for f in range(source.max() + 1)]
    w0 = (given.w0[:, followed] - offset[:, followed]) / factor[followed]
    return replace(given, w0=w0, links=small_fits.Links(source, factor, offset))


@pytest.mark.parametrize(("n", "k", "weighted", "grid"), [(17, 1, None, "equidistant"), (65, 2, "own", "own")])
@pytest.mark.parametrize("name", MODELS)
def test_a_search_in_a_box_is_the_cpus_trial_by_trial(driver, name, n, k, weighted, grid):
    given, the_rules = boxed(name, n, 7, k, weighted=weighted, grid=grid), rules(**COARSE)
    found = search(driver, given, the_rules)
    assert (found.status > 0).all()
    assert_same_search(found, on_cpu(given, the_rules), given)
    assert ((found.w >= given.box[0]) & (found.w <= given.box[1])).all()
    on_bound = (found.w == given.box[1]).any(axis=1)
    assert on_bound.any()
    assert not on_bound.all()


@pytest.mark.parametrize(("n", "k", "weighted"), [(17, 1, None), (33, 1, "shared"), (65, 2, "own")])
@pytest.mark.parametrize("case", LINKS)
def test_a_search_of_linked_parameters_is_the_cpus_trial_by_trial(driver, case, n, k, weighted):
    given, the_rules = linked(case, n, 5, k, weighted=weighted, noise=0.05), rules(**COARSE)
    found = search(driver, given, the_rules)
    assert (found.status > 0).all()
    assert_same_search(found, on_cpu(given, the_rules), given)


def with_imaginary_parts(given):
    """The same columns at the same points, with amplitudes of their own; the weights are those of the real parts."""
    noise = 0.05 * np.random.default_rng(5).standard_normal(given.y.shape)
    weights = None if given.weights is None else np.concatenate([given.weights, given.weights], axis=1)
    return replace(given, y=np.concatenate([given.y, noise - 0.7 * given.y], axis=1), weights=weights, parts=2)


@pytest.mark.parametrize(
    ("n", "k", "weighted", "grid"),
    [(9, 1, None, "equidistant"), (33, 2, "shared", "own"), (64, 1, "own", "equidistant"), (71, 1, None, "irregular")],
)
@pytest.mark.parametrize("name", MODELS)
def test_a_search_of_complex_data_is_the_cpus_trial_by_trial(driver, name, n, k, weighted, grid):
    given = with_imaginary_parts(problems(name, n, 5, k, weighted=weighted, grid=grid))
    the_rules = rules(**COARSE)
    found = search(driver, given, the_rules)
    assert (found.status > 0).all()
    assert_same_search(found, on_cpu(given, the_rules), given)


def test_complex_data_in_a_box_with_a_parameter_that_follows(driver):
    given, the_rules = with_imaginary_parts(linked("a centre held, one width", 41, 7, noise=0.05)), rules(**COARSE)
    free = on_cpu(given, the_rules).w
    lower, upper = free.min(axis=0) - 1.0, np.median(free, axis=0)
    given = replace(given, box=(lower, upper), w0=np.clip(given.w0, lower, upper))
    found = search(driver, given, the_rules)
    assert (found.w == upper).any()
    assert_same_search(found, on_cpu(given, the_rules), given)


@pytest.mark.parametrize("case", ["a decay tied", "a centre held, one width"])
def test_box_and_links_together(driver, case):
    given, the_rules = linked(case, 41, 7, noise=0.05), rules(**COARSE)
    free = on_cpu(given, the_rules).w
    lower, upper = free.min(axis=0) - 1.0, np.median(free, axis=0)
    given = replace(given, box=(lower, upper), w0=np.clip(given.w0, lower, upper))
    found = search(driver, given, the_rules)
    assert (found.w == upper).any()
    assert_same_search(found, on_cpu(given, the_rules), given)


def test_links_that_change_nothing_change_no_bit(driver):
    given = problems("gaussians", 45, 3, weighted="shared")
    count = given.w0.shape[1]
    same = small_fits.Links(np.arange(count, dtype=np.int32), np.ones(count), np.zeros((1, count)))
    alike = replace(given, links=same)
    one, other = (search(driver, each, orders=(0,)) for each in (given, alike))
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(on_cpu(given, rules()).rows, on_cpu(alike, rules()).rows)


def test_a_box_that_nothing_reaches_changes_no_decision(driver):
    given = problems("decays", 40, 5)
    wide = replace(given, box=(np.full(2, -np.inf), np.full(2, 1e6)))
    assert_same_search(search(driver, wide, rules(**COARSE)), search(driver, given, rules(**COARSE)), given)


@pytest.mark.parametrize("name", ["decays", "sum"])
def test_trial_steps_in_a_box_are_the_cpus(driver, name):
    given, the_rules = boxed(name, 41, 7, noise=0.05), rules(**COARSE)
    states, expected = given.states(), given.states()
    rows = np.arange(7)
    while len(rows):
        phi, d = given.columns(states.trial[rows], rows)
        moved = launch(
            driver, "small_advance", given, the_rules, states, phi=phi, d=d, problems=rows, rows=rows, count=len(rows)
        )
        assert all(np.array_equal(one.rows, moved[0].rows) for one in moved)
        states.rows[:] = moved[0].rows
        phi, d = given.columns(expected.trial[rows], rows)
        small_fits.advance(phi, d, given.y, rows, given.pairs, expected, rows, the_rules, box=given.box)
        np.testing.assert_array_equal(states.status, expected.status)
        rows = np.flatnonzero(states.status == 0)
    assert_same_search(states, expected, given)


@pytest.mark.parametrize("arithmetic", [SINGLE, POLISHED])
@pytest.mark.parametrize(
    "altered",
    [
        lambda: boxed("decays", 100, 6),
        lambda: linked("a decay tied", 100, 6),
        lambda: with_imaginary_parts(problems("decays", 75, 6)),
    ],
)
def test_in_single_precision_it_ends_near_the_minimum(driver, altered, arithmetic):
    """A cost within 64 eps of float of the least, relative to that of the data; polished, as close as a search in
    double."""
    given = altered()
    found, expected = search(driver, given, arithmetic=arithmetic), on_cpu(given, rules())
    assert all(Status(int(status)).converged for status in found.status)
    size = 64 * np.finfo(np.float32).eps * (given.y**2).sum((1, 2))
    assert_within(found.cost, expected.cost, size if arithmetic == SINGLE else 2e-8 * expected.cost)


@pytest.mark.parametrize("arithmetic", [DOUBLE, SINGLE, POLISHED])
def test_a_problem_depends_on_itself_alone_bitwise(driver, arithmetic):
    given = linked("a centre held, one width", 40, 9, noise=0.05, grid="own", weighted="own")
    given = replace(given, box=(np.full(2, -np.inf), np.full(2, 7.0)))
    together = search(driver, given, arithmetic=arithmetic, orders=(0,))
    for in_turn in (1, 2, 9):
        other = search(driver, given, arithmetic=arithmetic, orders=(2,), in_turn=in_turn)
        np.testing.assert_array_equal(other.rows, together.rows)
    for b in (0, 4, 8):
        alone = search(driver, given.some([b]), arithmetic=arithmetic, orders=(1,))
        np.testing.assert_array_equal(alone.rows, together.rows[b : b + 1])
