"""Several data sets as one problem of the one-pass kernel: columns that are 0 outside the rows of their set."""

import numpy as np
import pytest

from tests.kernels.contract import EPS, assert_within
from varpro.errors import ShapeError
from varpro.kernels import small_fits
from varpro.kernels.small_fits.reference import from_arrays_reference
from varpro.models import Constant, Exponentials, Gaussians, Lorentzians, Polynomial

FIELDS = ("a", "cost", "terms", "h", "gradient", "natural")
SETS = {
    "decays of unlike lengths": ([(Exponentials(2, offset=True), 80), (Exponentials(2, offset=True), 35)], [1.0, 3.0]),
    "sets shorter than a vector": ([(Exponentials(1), 3), (Exponentials(1, offset=True), 5)], [2.0]),
    "powers and lines": ([(Polynomial(1), 9), (Gaussians(1), 41), (Lorentzians(1), 7)], [5.0, 1.5]),
    "rates, one set a row long": ([(Exponentials(1, rates=True), 66), (Constant(), 1)], [0.4]),
}
"""Models with their numbers of points, all of the same parameters w."""


def joined(name, b=3, k=2):
    """(program, spans, t, w, y, pairs, phi, d) with the columns of each set in rows of their own."""
    sets, start = SETS[name]
    rng = np.random.default_rng(len(name))
    n, w = sum(count for _, count in sets), np.array(start) * rng.uniform(0.9, 1.1, (b, len(start)))
    program, spans, pairs, blocks, first, before = [], [], [], [], 0, 0
    t = np.concatenate([np.linspace(0.3, 9.0, count) + 0.1 * s for s, (_, count) in enumerate(sets)])
    for model, count in sets:
        rows, size = slice(first, first + count), len(model.column_names)
        program += model.program()
        spans += [(rows.start, rows.stop)] * size
        pairs += [(j + before, p) for j, p in model.pairs]
        own = w[:, : len(model.parameter_names)]
        blocks.append((rows, [model(t[rows], v) for v in own], [model.columns(t[rows], v) for v in own]))
        first, before = first + count, before + size
    phi, d, m = np.zeros((b, n, before)), np.zeros((b, n, len(pairs))), 0
    before = 0
    for rows, values, slopes in blocks:
        phi[:, rows, before : before + values[0].shape[1]] = values
        d[:, rows, m : m + slopes[0].shape[1]] = slopes
        before, m = before + values[0].shape[1], m + slopes[0].shape[1]
    y = phi @ rng.uniform(1, 2, (b, before, k)) + 0.3 * rng.standard_normal((b, n, k))
    table = small_fits.Pairs(*np.array(pairs, dtype=np.int32).reshape(-1, 2).T.copy())
    return small_fits.encode(tuple(program)), np.array(spans, dtype=np.int64), t[None], w, y, table, phi, d


@pytest.mark.parametrize("options", [{}, {"kaufman": True}, {"ridge": 0.1}], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SETS)
def test_blocks_of_columns_against_orthogonal_factorisation(name, weighted, options):
    program, spans, t, w, y, pairs, phi, d = joined(name)
    every, n = np.arange(len(y)), y.shape[1]
    weights = np.random.default_rng(1).uniform(0.5, 2.0, (1, n)) if weighted else None
    expected = from_arrays_reference(phi, d, y, every, pairs, w.shape[1], weights=weights, **options)
    found = small_fits.from_program(program, t, w, y, every, pairs, weights=weights, spans=spans, **options)
    rounding = 64 * n * EPS * expected.condition.max()
    for field in FIELDS:
        one, other = getattr(found, field), getattr(expected, field)
        assert_within(one, other, rounding * max(np.abs(other).max(), 1.0))


@pytest.mark.parametrize("name", SETS)
def test_bounded_coefficients_of_blocks(name):
    program, spans, t, w, y, pairs, phi, d = joined(name, k=1)
    every, limits = np.arange(len(y)), (np.full(len(program), 1.2), np.full(len(program), 1.6))
    expected = from_arrays_reference(phi, d, y, every, pairs, w.shape[1], limits=limits)
    found = small_fits.from_program(program, t, w, y, every, pairs, spans=spans, limits=limits)
    rounding = 64 * y.shape[1] * EPS * expected.condition.max()
    for field in ("a", "cost", "h", "gradient"):
        one, other = getattr(found, field), getattr(expected, field)
        assert_within(one, other, rounding * max(np.abs(other).max(), 1.0))


def test_a_set_that_overflows_spoils_no_later_evaluation():
    """D is projected in place, and what is not finite spreads; the next problem finds zeros outside its sets again."""
    program, spans, t, w, y, pairs, *_ = joined("decays of unlike lengths")
    every = np.arange(len(y))
    alone = small_fits.from_program(program, t, w, y, every, pairs, spans=spans)
    w[1] = -1e-3, 3.0
    found = small_fits.from_program(program, t, w, y, every, pairs, spans=spans)
    assert not found.condition[1] < 1e10
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(found, field)[2], getattr(alone, field)[2])


def test_spans_of_all_rows_change_nothing():
    model, t = Exponentials(2, offset=True), np.linspace(0, 10, 61)[None]
    w, y = np.array([[1.0, 3.0]]), np.random.default_rng(0).standard_normal((1, 61, 1))
    pairs, program = small_fits.Pairs(*model.pairs.astype(np.int32).T.copy()), small_fits.encode(model.program())
    spans = np.array([[0, 61]] * 3)
    one, other = (
        small_fits.from_program(program, t, w, y, np.arange(1), pairs, spans=given) for given in (None, spans)
    )
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        (np.zeros((2, 2), dtype=np.int64), r"shape \(2, 2\).*\(3, 2\)"),
        (np.zeros((3, 2)), "float64.*int64"),
        (np.asfortranarray(np.zeros((3, 2), dtype=np.int64)), "C order"),
        (np.array([[0, 5], [-1, 5], [0, 5]]), r"-1.*between 0 and 20 rows"),
        (np.array([[0, 5], [6, 5], [0, 5]]), "first <= end"),
        (np.array([[0, 5], [0, 21], [0, 5]]), "21.*between 0 and 20 rows"),
    ],
)
def test_spans_outside_the_rows_are_refused(spans, said):
    model, t, y = Exponentials(2, offset=True), np.linspace(0, 10, 20)[None], np.ones((1, 20, 1))
    pairs, program = small_fits.Pairs(*model.pairs.astype(np.int32).T.copy()), small_fits.encode(model.program())
    with pytest.raises(ShapeError, match=said):
        small_fits.from_program(program, t, np.ones((1, 2)), y, np.arange(1), pairs, spans=spans)
