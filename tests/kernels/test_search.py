"""The decision of a search in compiled code against its reference in plain Python, and what every rule is for."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from tests.search.test_loop import Exponentials, T, data
from varpro import _cpu
from varpro.fitting.options import fit_damping
from varpro.kernels.search import NUMBERS, Decision, Rules
from varpro.kernels.search.reference import ReferenceDecision
from varpro.problems.separable import SeparableProblem
from varpro.result import Status
from varpro.search.damping import DampingRule
from varpro.search.loop import search
from varpro.search.termination import Termination, rules_of

FIT = rules_of(fit_damping(0.3, 0.5), Termination(cost_tolerance=1e-14, step_tolerance=1e-12))
NETWORK = rules_of(DampingRule(), Termination(confirmed=False, cost_tolerance=1e-3), diagonal_floor=1e-8)
FLOORED = rules_of(DampingRule(smallest=1e-3, initial=1e-2), Termination(max_iterations=5, cost_tolerance=0.0))
RULES = {"fit": FIT, "network": NETWORK, "floored": FLOORED}


def spread(rng, *shape):
    """Numbers of every order of size, some of them zero."""
    values = 10.0 ** rng.uniform(-15, 15, shape)
    values[rng.random(shape) < 0.1] = 0.0
    return values


def any_numbers(rng, count):
    """States that a search may be in, and some that it may not."""
    numbers = np.zeros(count, dtype=NUMBERS)
    sizes = "cost size damping reach trial_damping predicted effect promised inaudible reachable"
    for name in sizes.split():
        numbers[name] = spread(rng, count)
    numbers["terms"] = numbers["size"] * rng.choice([1.0, 1e6], count)
    numbers["growth"], numbers["iterations"] = 2.0 ** rng.integers(1, 9, count), rng.integers(0, 7, count)
    for name in ("shortened", "last", "fresh", "solved", "unseen"):
        numbers[name] = rng.integers(0, 2, count)
    numbers["stage"] = rng.integers(0, 4, count)
    return numbers


def assert_same(one, other):
    for name in NUMBERS.names:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-13, err_msg=name)


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize("natural", [True, False])
def test_a_look_at_a_step_is_the_references(rules, natural):
    rng = np.random.default_rng(3)
    count, p = 4000, 3
    numbers, rows = any_numbers(rng, count), np.flatnonzero(rng.random(count) < 0.8)
    gradient = spread(rng, count, p)
    w, diagonal, delta = spread(rng, count, p), spread(rng, count, p) + 1e-20, spread(rng, len(rows), p)
    scales = np.where(rng.random((count, p)) < 0.1, np.inf, 1.0 / (w + 1e-20)) if natural else None
    step = SimpleNamespace(delta=delta, solved=rng.random(len(rows)) < 0.9, predicted=spread(rng, len(rows)))
    expected = numbers.copy()
    Decision().look(rules, numbers, rows, w, scales, gradient, diagonal, step)
    ReferenceDecision().look(rules, expected, rows, w, scales, gradient, diagonal, step)
    assert_same(numbers, expected)
    assert len(np.unique(numbers["stage"])) == 4, "every stage should be met"
    assert {Status.RUNNING, Status.COST_TOLERANCE, Status.STALLED} <= set(numbers["status"])


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_beginning_opening_and_judging_are_the_references(rules):
    rng = np.random.default_rng(4)
    count, p = 4000, 3
    cost, terms, size = (spread(rng, count) for _ in range(3))
    cost[::50], cost[1::50] = np.nan, np.inf
    np.testing.assert_array_equal(
        Decision().begin(rules, cost, terms, size), ReferenceDecision().begin(rules, cost, terms, size)
    )
    numbers = any_numbers(rng, count)
    near = rng.random(count) < 0.5
    cost[near] = numbers["cost"][near] * (1.0 + spread(rng, int(near.sum())) * rng.choice([-1e-15, 1e-15], near.sum()))
    expected = numbers.copy()
    for decide, given in ((Decision(), numbers), (ReferenceDecision(), expected)):
        decide.judge(rules, given, cost, terms)
    assert_same(numbers, expected)
    assert {Status.RUNNING, Status.COST_TOLERANCE} <= set(numbers["status"])
    gradient, curvature, natural = (spread(rng, count, p) for _ in range(3))
    curvature[::20, 0] = np.inf
    for decide, given in ((Decision(), numbers), (ReferenceDecision(), expected)):
        decide.open(rules, given, gradient, curvature, natural)
    assert_same(numbers, expected)
    assert {Status.GRADIENT_TOLERANCE, Status.UNDETERMINED} <= set(numbers["status"])


COARSE = {
    "rounding": 1 / 16, "cost_tolerance": 1 / 4, "step_tolerance": 1 / 4, "gradient_tolerance": 1 / 4,
    "undamped": 1 / 16, "smallest": 1 / 64, "largest": 16.0, "initial": 1.0, "step_bound": 1.0, "least_gain": 1 / 4,
    "sure": 1 / 4,
    "sure_shrink": 1 / 4, "max_iterations": 3.0,
}  # fmt: skip


def powers(rng, *shape):
    """Powers of four, whose roots and products are exact, and zeros."""
    return np.where(rng.random(shape) < 0.15, 0.0, 4.0 ** rng.integers(-3, 3, shape))


@pytest.mark.parametrize("confirmed", [0.0, 1.0])
@pytest.mark.parametrize("natural", [True, False])
def test_where_two_numbers_are_equal_both_decide_alike(natural, confirmed):
    """Every threshold is met exactly, again and again: what is at a limit and what is beyond it is told apart."""
    rules = Rules(**FIT.by_name() | COARSE | {"confirmed": confirmed})
    rng, count = np.random.default_rng(6), 3000
    begun = [
        decide.begin(rules, *powers(np.random.default_rng(1), 3, 500)) for decide in (Decision(), ReferenceDecision())
    ]
    assert_same(*begun)
    numbers = np.zeros(count, dtype=NUMBERS)
    sizes = "cost size damping reach trial_damping predicted effect promised inaudible reachable terms"
    for name in sizes.split():
        numbers[name] = powers(rng, count)
    numbers["growth"], numbers["iterations"] = 2.0, rng.integers(1, 5, count)
    for name in ("shortened", "last", "fresh", "solved", "unseen"):
        numbers[name] = rng.integers(0, 2, count)
    numbers["stage"] = rng.integers(0, 4, count)
    w, diagonal, delta, gradient, curvature = (powers(rng, count, 1) for _ in range(5))
    scales = np.where(rng.random((count, 1)) < 0.1, np.inf, powers(rng, count, 1)) if natural else None
    step = SimpleNamespace(delta=delta, solved=rng.random(count) < 0.9, predicted=powers(rng, count))
    cost, terms = np.where(rng.random(count) < 0.3, numbers["cost"], powers(rng, count)), powers(rng, count)
    found = []
    for decide in (Decision(), ReferenceDecision()):
        looked, judged, opened = (numbers.copy() for _ in range(3))
        decide.look(rules, looked, np.arange(count), w, scales, gradient, diagonal, step)
        decide.judge(rules, judged, cost, terms)
        decide.open(rules, opened, gradient, curvature, scales)
        found.append(np.concatenate([looked, judged, opened]))
    assert_same(*found)
    assert len(set(found[0]["status"])) >= 5


@pytest.mark.parametrize("decision", [Decision(), ReferenceDecision()], ids=["compiled", "reference"])
@pytest.mark.parametrize(
    "reason", ["the promise is below cost_tolerance", "promises no longer fall", "the step is short"]
)
def test_a_last_step_that_gains_far_more_than_promised_is_not_the_end(decision, reason):
    """A parameter on a plateau promises nothing, and the linear model is wrong where the step leads."""
    state = np.zeros(2, dtype=NUMBERS)
    state["cost"], state["size"], state["terms"], state["iterations"], state["last"], state["solved"] = 1, 1, 1, 5, 1, 1
    state["predicted"], state["effect"], state["promised"] = {
        "the promise is below cost_tolerance": (FIT.cost_tolerance / 10, 1.0, np.inf),
        "promises no longer fall": (FIT.rounding, 1.0, FIT.rounding),
        "the step is short": (1e3 * FIT.cost_tolerance, 0.0, np.inf),
    }[reason]
    decision.judge(FIT, state, np.array([1.0 - state["predicted"][0], 1.0 - 1e-5]), np.ones(2))
    assert list(state["accepted"]) == [1, 1]
    assert state["status"][0] == (Status.STEP_TOLERANCE if "short" in reason else Status.COST_TOLERANCE)
    assert state["status"][1] == Status.RUNNING


@pytest.mark.parametrize("noise", [1e-3, 0.02, 0.5])
def test_whole_searches_are_the_references_trial_by_trial(noise):
    y = np.stack([data([1.0, 3.0], noise, seed) for seed in range(6)])
    starts = np.random.default_rng(1).uniform([0.6, 2.2], [1.6, 5.0], (6, 2))
    found = [
        search(
            SeparableProblem(model=Exponentials(T), y=y), starts, damping=fit_damping(0.3, 0.5),
            termination=Termination(cost_tolerance=1e-12), decision=decision,
        )
        for decision in (Decision(), ReferenceDecision())
    ]  # fmt: skip
    assert len(found[0].history) > 25
    for one, other in zip(found[0].history, found[1].history, strict=True):
        assert (one.problem, one.iteration, one.accepted) == (other.problem, other.iteration, other.accepted)
        assert one.damping == pytest.approx(other.damping, rel=1e-9)
    np.testing.assert_allclose(found[0].w, found[1].w, rtol=1e-6)
    np.testing.assert_array_equal(found[0].status, found[1].status)


def test_only_the_states_that_are_given_are_decided():
    """A row too many would be written into what lies behind."""
    rng = np.random.default_rng(8)
    count, p = 5, 2
    states = any_numbers(rng, count + 1)
    last, given, decide = states[count:].copy(), states[:count], Decision()
    w, rows = spread(rng, count, p) + 1e-3, np.array([0, 2, 3])
    step = SimpleNamespace(delta=w[rows], solved=np.ones(3, dtype=bool), predicted=np.ones(3))
    for call in (
        lambda: decide.open(FIT, given, w, w, None),
        lambda: decide.look(FIT, given, rows, w, None, w, w, step),
        lambda: decide.judge(FIT, given, np.ones(count), np.ones(count)),
        lambda: _cpu.search_begin(FIT.compiled, bare(given), *np.ones((3, count))),
    ):
        before = given.copy()
        call()
        assert (given != before).any(), "decided in place"
        np.testing.assert_array_equal(states[count:], last)


def bare(numbers):
    """The rows that the binding takes."""
    return numbers.view(np.float64).reshape(len(numbers), -1)


def test_rules_cross_the_boundary_by_name():
    given = FIT.by_name()
    assert set(given) == set(_cpu.search_rules)
    with pytest.raises(ValueError, match="rule sure is missing"):
        _cpu.SearchRules(**{name: value for name, value in given.items() if name != "sure"})
    with pytest.raises(ValueError, match=f"{len(given) + 1} rules are given; there are {len(given)}"):
        _cpu.SearchRules(**given, another=1.0)


@pytest.mark.parametrize("changed", sorted(Rules.__dataclass_fields__.keys() - {"compiled", "condition_limit"}))
def test_every_rule_is_read(changed):
    """By both: a rule that is not read, or read as another, changes nothing or something else."""
    rng = np.random.default_rng(5)
    count, p = 4000, 2
    given = FIT.by_name()
    others = {"max_iterations": 3.0, "confirmed": 0.0}
    other = Rules(**given | {changed: others.get(changed, 1e-3 if given[changed] > 0.01 else 0.3)})
    numbers, w = any_numbers(rng, count), spread(rng, count, p)
    step = SimpleNamespace(delta=w * 0.1, solved=np.ones(count, dtype=bool), predicted=spread(rng, count))
    cost = numbers["cost"] * rng.uniform(0.0, 1.2, count)
    ends = []
    for rules in (FIT, other):
        state = numbers.copy()
        begun = Decision().begin(rules, np.ones(count), np.ones(count), np.ones(count))
        Decision().open(rules, state, w * 1e-14, w, None)
        Decision().look(rules, state, np.arange(count), w, None, w * 1e-14, w + 1e-20, step)
        judged = state.copy()
        Decision().judge(rules, judged, cost, numbers["size"])
        ends.append(np.stack([begun, state, judged]))
    differ = not np.array_equal(ends[0], ends[1])
    assert differ or changed in ("diagonal_floor", "diagonal_memory"), "read where the scaling is made"


def test_the_names_stand_in_the_order_of_the_structs():
    """The binding takes a row of doubles for the struct."""
    from tests.cuda.host import ROOT

    text = (ROOT / "csrc/kernels/search.hpp").read_text()
    body = text[text.index("struct SearchNumbers {") : text.index("};", text.index("struct SearchNumbers {"))]
    fields = [name for line in re.findall(r"double ([^;]+);", body) for name in re.findall(r"\w+", line)]
    assert tuple(fields) == _cpu.search_numbers == NUMBERS.names
    body = text[text.index("struct SearchRules {") : text.index("};", text.index("struct SearchRules {"))]
    fields = [name for line in re.findall(r"double ([^;]+);", body) for name in re.findall(r"\w+", line)]
    assert tuple(fields) == _cpu.search_rules
