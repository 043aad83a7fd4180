"""Derivatives by secants: exact where columns are parabolas, dropped after a step that fails, never the last word."""

import numpy as np
import pytest

from varpro.kernels import small_fits
from varpro.kernels.small_fits import LINEARISE, Pairs, Past, States
from varpro.search.damping import DampingRule
from varpro.search.termination import Termination, rules_of

T = np.linspace(0.1, 1.0, 23)
PAIRS = Pairs(np.array([0, 1], dtype=np.int32), np.array([0, 1], dtype=np.int32))
RULES = rules_of(DampingRule(initial=1.0), Termination())
RIGHT, START = [1.1, 1.4], np.array([[0.7, 2.0], [1.5, 1.0]])
N_LINEAR = 3


def columns(w: np.ndarray) -> np.ndarray:
    """Two parabolas in w and an offset, (b, N, 3)."""
    first, second = w[:, :1] * T + (w[:, :1] * T) ** 2, 1.0 + w[:, 1:] * T**3 + w[:, 1:] ** 2 * T**4
    return np.stack([first, second, np.ones_like(first)], axis=-1)


def slopes(w: np.ndarray) -> np.ndarray:
    """Their derivatives, (b, N, 2)."""
    return np.stack([T + 2.0 * w[:, :1] * T**2, T**3 + 2.0 * w[:, 1:] * T**4], axis=-1)


class Stepped:
    """The searches of both problems, one call of the kernel at a time."""

    def __init__(self) -> None:
        noise = 1e-3 * np.random.default_rng(0).standard_normal((2, len(T)))
        self.y = (columns(np.array([RIGHT, RIGHT])) @ [1.0, 2.0, -1.0] + noise)[:, :, None]
        self.rows = np.arange(2)
        self.states = States(START, N_LINEAR, 1)
        self.past = Past(self.states, len(T), 2)

    def call(self, phi: np.ndarray | None, d: np.ndarray | None) -> None:
        small_fits.secants(phi, d, self.y, self.rows, PAIRS, self.states, self.past, self.rows, RULES)

    def begin(self) -> None:
        """The start, where derivatives are asked for and given, so that a trial comes next."""
        self.call(columns(self.states.trial), None)
        assert (self.states.asks == LINEARISE).all()
        self.call(None, slopes(self.states.w))
        assert (self.states.asks != LINEARISE).all()

    def step(self) -> None:
        self.call(columns(self.states.trial), None)


def test_slopes_of_parabolas_are_exact_after_every_step() -> None:
    searched, compared = Stepped(), 0
    searched.begin()
    while True:
        searched.step()
        if (searched.states.asks == LINEARISE).any():
            break
        w = searched.states.w.copy()
        exact = small_fits.from_arrays(columns(w), slopes(w), searched.y, searched.rows, PAIRS, 2)
        np.testing.assert_allclose(searched.states.h, exact.h, rtol=1e-8)
        np.testing.assert_allclose(searched.states.gradient, exact.gradient, rtol=1e-6, atol=1e-12)
        compared += 1
    assert compared >= 2  # one step from a derivative, one from a secant


def test_a_rejected_secant_step_is_taken_back_and_derivatives_are_asked_for() -> None:
    searched = Stepped()
    searched.begin()
    searched.step()
    assert (searched.past.rough == 1).all()
    w, damping = searched.states.w.copy(), searched.states.numbers["damping"].copy()
    searched.call(columns(searched.states.trial) * np.sign(np.sin(40.0 * T))[None, :, None], None)
    assert (searched.states.asks == LINEARISE).all()
    np.testing.assert_array_equal(searched.states.w, w)
    np.testing.assert_array_equal(searched.states.trial, w)
    np.testing.assert_array_equal(searched.states.numbers["damping"], damping)
    assert (searched.states.evaluations == 3).all()


def test_a_step_rejected_with_true_derivatives_is_damped_more() -> None:
    searched = Stepped()
    searched.begin()
    damping = searched.states.numbers["damping"].copy()
    searched.call(columns(searched.states.trial) * np.sign(np.sin(40.0 * T))[None, :, None], None)
    assert (searched.states.asks != LINEARISE).all()
    assert (searched.states.numbers["damping"] > damping).all()


def test_no_search_ends_on_secants() -> None:
    searched = Stepped()
    searched.begin()
    for _ in range(60):
        if (searched.states.status != 0).all():
            break
        rough = searched.past.rough == 1
        assert (searched.states.status[rough] == 0).all()
        assert (searched.states.numbers["last"][rough] == 0).all()
        asking = searched.states.asks == LINEARISE
        for some, given in ((asking, True), (~asking, False)):
            rows = np.flatnonzero(some & (searched.states.status == 0))
            if len(rows):
                w = searched.states.trial[rows]
                phi, d = (None, slopes(w)) if given else (columns(w), None)
                small_fits.secants(phi, d, searched.y, rows, PAIRS, searched.states, searched.past, rows, RULES)
    assert (searched.states.status == 1).all()
    w = searched.states.w.copy()
    exact = small_fits.from_arrays(columns(w), slopes(w), searched.y, searched.rows, PAIRS, 2)
    steps = np.linalg.solve(exact.h, exact.gradient[:, :, None])[:, :, 0]
    promised = 0.5 * np.einsum("bp,bp->b", steps, exact.gradient)  # of the step that is still left
    assert (promised <= 1e-8 * exact.cost).all()


def test_derivatives_are_kept_as_given_where_columns_are_nearly_alike() -> None:
    """There D is projected in place, by orthogonal factorisation."""
    searched = Stepped()
    phi = columns(START)
    phi[:, :, 1] = phi[:, :, 0] * (1.0 + 1e-6 * T**2)
    searched.call(phi, None)
    searched.call(None, slopes(START))
    np.testing.assert_array_equal(searched.past.slopes, slopes(START).transpose(0, 2, 1))


def test_arrays_of_other_shapes_are_refused() -> None:
    searched = Stepped()
    with pytest.raises(small_fits.ShapeError, match=r"phi has shape \(2, 22, 3\), d None"):
        searched.call(columns(START)[:, 1:], None)
    with pytest.raises(small_fits.ShapeError, match=r"d has shape \(2, 22, 2\); without phi it needs \(2, 23, 2\)"):
        searched.call(None, slopes(START)[:, 1:])
    with pytest.raises(small_fits.ShapeError, match="d has shape None"):
        searched.call(None, None)


@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize("n", [1, 7, 16, 37])
@pytest.mark.parametrize("by_columns", [False, True])
def test_difference_quotients_are_those_of_numpy(dtype: type, n: int, by_columns: bool) -> None:
    rng = np.random.default_rng(n)
    up, base = (rng.standard_normal((b, n, 3)).astype(dtype) for b in (4, 6))
    if dtype is complex:
        up += 1j * rng.standard_normal(up.shape)
    if by_columns:
        base = np.ascontiguousarray(base.mT).mT
    rows, columns, places = np.array([5, 0, 0, 3]), np.array([2, 0]), np.array([1, 4])
    inverse, d = rng.standard_normal((4, 2)), np.full((4, 5, n), 7.0, dtype=dtype)
    assert small_fits.differences(up, base, rows, columns, places, inverse, d)
    expected = (up[:, :, columns] - base[rows][:, :, columns]) * inverse[:, None]
    np.testing.assert_allclose(d[:, places], expected.mT, rtol=1e-14)  # a product may be fused into the difference
    assert (d[:, [0, 2, 3]] == 7.0).all()


@pytest.mark.parametrize("row", [0, 15, 18])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_quotient_without_a_value_is_told(row: int, value: float) -> None:
    up, base, d = np.ones((2, 19, 2)), np.zeros((2, 19, 2)), np.zeros((2, 1, 19))
    up[1, row, 1] = value
    given = np.arange(2), np.array([1]), np.array([0]), np.ones((2, 1)), d
    assert not small_fits.differences(up, base, *given)
    up[1, row, 1], up[1, row, 0] = 0.0, value  # another column
    assert small_fits.differences(up, base, *given)


def test_differences_of_unlike_arrays_are_refused() -> None:
    up, d = np.ones((2, 5, 2)), np.zeros((2, 1, 5))
    given = np.arange(2), np.array([1]), np.array([0]), np.ones((2, 1))
    with pytest.raises(small_fits.ShapeError, match=r"base \(2, 4, 2\)"):
        small_fits.differences(up, up[:, 1:], *given, d)
    with pytest.raises(small_fits.ShapeError, match="one dtype"):
        small_fits.differences(up, up.astype(complex), *given, d)
    with pytest.raises(small_fits.ShapeError, match="contiguous"):
        small_fits.differences(up, up, *given, np.zeros((2, 5, 1)).mT[:, :, ::-1])
