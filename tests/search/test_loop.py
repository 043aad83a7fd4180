"""The search loop on problems with known answers, in batches, and where it must fail with a named status."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from varpro.errors import ConfigError
from varpro.problems.separable import SeparableProblem
from varpro.result import Status
from varpro.search.damping import DampingRule
from varpro.search.loop import search
from varpro.search.termination import Termination


@dataclass
class Exponentials:
    """phi_j = exp(-t / w_j) and a constant, for B problems on one grid."""

    t: np.ndarray
    columns = np.array([0, 1], dtype=np.int32)
    parameters = None

    def basis(self, w, problems):
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            decays = np.exp(-self.t[None, :, None] / w[:, None, :])
        return np.concatenate([decays, np.ones((len(w), len(self.t), 1))], axis=2)

    def jacobian(self, w, problems, dtype):
        t = self.t[None, :, None]
        return (np.exp(-t / w[:, None, :]) * t / w[:, None, :] ** 2).astype(dtype)


T = np.linspace(0, 12.5, 101)
RULE = DampingRule(initial=1e-2)
TIGHT = Termination(max_iterations=100, cost_tolerance=1e-15, gradient_tolerance=1e-15)


def data(tau, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    y = Exponentials(T).basis(np.array([tau]), None)[0] @ np.array([[4.0, 1.0], [2.5, -3.0], [1.0, 0.5]])
    return y + noise * rng.standard_normal(y.shape)


def solve(y, w0, termination=TIGHT, **options):
    problem = SeparableProblem(model=Exponentials(T), y=y, **options)
    return search(problem, w0, damping=RULE, termination=termination)


@pytest.mark.parametrize("kaufman", [False, True])
def test_exact_data_give_back_the_exact_decay_times(kaufman):
    found = solve(data([1.0, 3.0])[None], np.array([[2.0, 6.5]]), kaufman=kaufman)
    np.testing.assert_allclose(found.w[0], [1.0, 3.0], rtol=1e-6)
    assert Status(found.status[0]).converged
    np.testing.assert_allclose(found.evaluation.a[0], [[4.0, 1.0], [2.5, -3.0], [1.0, 0.5]], rtol=1e-5)


def test_batch_equals_one_by_one_and_the_order_is_kept():
    taus = [(1.0, 3.0), (0.5, 5.0), (2.0, 2.5), (0.8, 7.0), (1.5, 4.0)]
    y = np.stack([data(tau, 0.01, seed) for seed, tau in enumerate(taus)])
    w0 = np.tile([2.0, 6.5], (5, 1))
    together = solve(y, w0)
    assert len(set(together.iterations)) > 1, "the problems should need different numbers of iterations"
    for b in range(5):
        alone = solve(y[b : b + 1], w0[b : b + 1])
        np.testing.assert_array_equal(together.w[b], alone.w[0])
        np.testing.assert_array_equal(together.evaluation.a[b], alone.evaluation.a[0])
        assert (together.status[b], together.iterations[b], together.evaluations[b]) == (
            alone.status[0],
            alone.iterations[0],
            alone.evaluations[0],
        )


@pytest.mark.parametrize("kind", [int, np.float32])
def test_a_model_is_called_with_doubles_whatever_the_start_is_given_in(kind):
    """One that makes its arrays like w would otherwise lose digits, or all behind the point."""

    class Strict(Exponentials):
        def basis(self, w, problems):
            assert w.dtype == np.float64
            return super().basis(w, problems)

    y = data([1.0, 3.0])[None]
    starts = (np.array([[2, 6]], dtype=dtype) for dtype in (kind, float))
    found, expected = (
        search(SeparableProblem(model=Strict(T), y=y), w0, damping=RULE, termination=TIGHT) for w0 in starts
    )
    np.testing.assert_array_equal(found.w, expected.w)


def test_history_never_rises_and_ends_at_the_result():
    found = solve(data([1.0, 3.0], 0.05)[None], np.array([[0.2, 20.0]]))
    costs = [record.cost for record in found.history]
    assert all(b <= a for a, b in itertools.pairwise(costs))
    assert costs[-1] == found.cost[0]
    assert len(found.history) == found.evaluations[0] - 1


def test_a_start_that_is_not_finite_is_flagged_and_its_neighbours_are_bitwise_untouched():
    y = np.stack([data([1.0, 3.0], 0.01, s) for s in range(3)])
    w0 = np.array([[2.0, 6.5], [2.0, -1e-3], [2.0, 6.5]])
    found, clean = solve(y, w0), solve(y[[0, 2]], w0[[0, 2]])
    assert found.status[1] == Status.NONFINITE
    np.testing.assert_array_equal(found.w[[0, 2]], clean.w)


def test_right_hand_sides_that_are_not_a_number_are_flagged():
    y = data([1.0, 3.0])[None].copy()
    y[0, 3, 0] = np.nan
    assert solve(y, np.array([[2.0, 6.5]])).status[0] == Status.NONFINITE


def test_trials_that_overflow_raise_the_damping_instead_of_ending_the_search():
    class Overflowing(Exponentials):
        refused = 0

        def basis(self, w, problems):
            phi = super().basis(w, problems)
            if w[0, 0] > 2.2:
                self.refused += 1
                phi[:] = np.inf
            return phi

    model = Overflowing(T)
    problem = SeparableProblem(model=model, y=data([1.0, 3.0])[None])
    found = search(problem, np.array([[2.0, 0.1]]), damping=RULE, termination=TIGHT)
    assert np.isfinite(found.cost[0])
    assert any(np.isnan(record.gain) and not record.accepted for record in found.history) == (model.refused > 0)


def test_limits_have_names():
    y, w0 = data([1.0, 3.0], 0.1)[None], np.array([[0.1, 30.0]])
    assert solve(y, w0, Termination(max_iterations=2)).status[0] == Status.ITERATIONS
    assert solve(y, w0, Termination(max_iterations=2)).iterations[0] == 2
    assert solve(y, w0, Termination(max_iterations=0)).status[0] == Status.ITERATIONS
    assert solve(y, w0, Termination(cost_tolerance=0.5)).status[0] == Status.COST_TOLERANCE


def test_two_equal_starting_values_leave_the_ridge_between_them():
    """At w_1 = w_2 the basis has rank 2; a truncated projector still gives a finite gradient."""
    found = solve(data([1.0, 3.0], 0.01)[None], np.array([[2.0, 2.0]]))
    assert (
        found.cost[0]
        < 0.6 * solve(data([1.0, 3.0], 0.01)[None], np.array([[2.0, 2.0]]), Termination(max_iterations=0)).cost[0]
    )


def test_every_status_tells_what_to_do():
    assert all(status.message.endswith(".") and status.label for status in Status)


@pytest.mark.parametrize("options", [{"initial": 0.0}, {"smallest": -1.0}, {"initial": 1e20}])
def test_impossible_damping_is_refused(options):
    with pytest.raises(ConfigError, match="damping"):
        DampingRule(**options)


@pytest.mark.parametrize("name", ["cost_tolerance", "step_tolerance", "gradient_tolerance"])
@pytest.mark.parametrize("value", [-1e-9, np.nan])
def test_impossible_tolerances_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=f"{name} is {value}; it needs 0 or more"):
        Termination(**{name: value})
    Termination(**{name: 0.0})


def test_impossible_limits_and_rules_are_refused_with_their_value():
    with pytest.raises(ConfigError, match="max_iterations is -1; it needs 0 or more"):
        Termination(max_iterations=-1)
    for value in (0.0, 1.0, -0.5, np.nan):
        with pytest.raises(ConfigError, match=f"sure_shrink is {value}"):
            DampingRule(sure_shrink=value)
    for value in (0.0, -1.0, np.nan):
        with pytest.raises(ConfigError, match=f"step_bound is {value}"):
            DampingRule(step_bound=value)


def test_the_defaults_of_the_rules_are_those_of_their_sources():
    """Nielsen's third, and a damping between limits that no sound problem meets."""
    rule = DampingRule()
    assert (rule.sure_shrink, rule.smallest, rule.initial, rule.largest) == (1 / 3, 1e-12, 1e-2, 1e12)
    assert (rule.step_bound, rule.diagonal_memory, rule.sure, rule.least_gain) == (np.inf, 0.0, 0.05, 1e-4)
    stop = Termination()
    assert (stop.max_iterations, stop.cost_tolerance, stop.step_tolerance) == (100, 1e-8, 1e-10)
    assert (stop.gradient_tolerance, stop.confirmed) == (1e-14, True)
