"""Searches without the Gauss-Newton matrix: the gradient, with and without squashed outputs, and values alone."""

from itertools import pairwise

import numpy as np
import pytest

from tests.oracle import central_differences, relative_error
from tests.search.test_loop import Exponentials, T, data
from varpro.models.units import BilinearUnits, ConvolutionalUnits
from varpro.models.units.convolution_options import ConvolutionOptions
from varpro.problems.descent import STEEPNESS, DescentProblem, squashed
from varpro.problems.separable import SeparableProblem
from varpro.result import Status
from varpro.search.damping import DampingRule
from varpro.search.derivative_free import search_values
from varpro.search.loop import search
from varpro.search.termination import Termination

ONE = np.arange(1)


def problem_of(sort=DescentProblem, kind="bilinear", seed=0, **options):
    """A problem whose units move one or several columns, and a start."""
    rng = np.random.default_rng(seed)
    images, labels = rng.random((61, 1, 6, 6)), np.arange(61) % 3
    images[labels == 1, :, :3] *= 0.5
    images[labels == 2, :, :, :3] *= 0.5
    units = BilinearUnits.create((1, 6, 6), 4, rng)
    if kind == "convolutional":
        units = ConvolutionalUnits.create((1, 6, 6), 2, rng, ConvolutionOptions(filter=(3,), cells=2))
    w0 = units.start(rng, images)[None]
    return sort(model=units.bind(images, "tanh"), y=np.eye(3)[labels][None], **options), w0


@pytest.mark.parametrize("kind", ["bilinear", "convolutional"])
@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_the_gradient_is_that_of_the_functional(kind, squash, ridge):
    problem, w0 = problem_of(kind=kind, squash=squash, ridge=ridge)
    found = problem.linearise(problem.evaluate(w0, ONE)).gradient[0]
    expected = central_differences(lambda w: problem.evaluate(w[None], ONE).cost, w0[0])[0]
    assert relative_error(found, expected) < 1e-7


@pytest.mark.parametrize(
    ("sort", "options"),
    [(SeparableProblem, {}), (SeparableProblem, {"rank_tolerance": 0.2}), (DescentProblem, {}),
     (DescentProblem, {"squash": True, "ridge": 0.3}), (DescentProblem, {"rank_tolerance": 0.2})],
)  # fmt: skip
def test_some_problems_of_a_batch_are_those_of_the_whole(sort, options):
    """Wherever the others have ended, and whatever their right-hand sides are."""
    rng, some = np.random.default_rng(5), np.array([1, 3])
    w = rng.uniform([0.5, 2.0], [1.5, 5.0], (4, 2))
    problem = sort(
        model=Exponentials(T), y=np.stack([data(taus, 0.1, seed) for seed, taus in enumerate(w[::-1])]), **options
    )
    whole, part = problem.evaluate(w, np.arange(4)), problem.evaluate(w[some], some)
    assert len(set(whole.cost)) == 4
    np.testing.assert_allclose(part.cost, whole.cost[some], rtol=1e-12)
    np.testing.assert_allclose(problem.size(some), problem.size(np.arange(4))[some], rtol=1e-14)
    one, other = problem.linearise(part).gradient, problem.linearise(whole).gradient[some]
    assert relative_error(one, other) < 1e-9


def test_the_gradient_is_that_of_levenberg_and_marquardt_even_where_phi_is_truncated():
    for tolerance in (None, 0.7):
        plain, w0 = problem_of(SeparableProblem, rank_tolerance=tolerance)
        descent, _ = problem_of(rank_tolerance=tolerance)
        both = [p.linearise(p.evaluate(w0, ONE)).gradient for p in (plain, descent)]
        assert relative_error(both[1], both[0]) < 1e-10
        assert bool(plain.evaluate(w0, ONE).rank[0] < 5) is (tolerance is not None)


def test_squashed_outputs_keep_the_order_and_the_middle():
    o = np.linspace(-3, 4, 57)
    s = squashed(o)
    np.testing.assert_allclose(s, 1 / (1 + np.exp(-STEEPNESS * (o - 0.5))), rtol=0, atol=4 * np.finfo(float).eps)
    assert (np.diff(s) > 0).all()
    assert squashed(np.array(0.5)) == 0.5
    assert central_differences(squashed, np.array([0.5]))[0, 0] == pytest.approx(1.0, rel=1e-8)


@pytest.mark.parametrize("squash", [False, True])
def test_descent_lowers_the_cost_whatever_the_units_of_the_data(squash):
    costs = []
    for scale in (1.0, 2.0**20) if not squash else (1.0,):
        problem, w0 = problem_of(squash=squash)
        problem = DescentProblem(model=problem.model, y=scale * problem.y, squash=squash)
        stop = Termination(max_iterations=60, cost_tolerance=0.0, confirmed=False)
        found = search(problem, w0, damping=DampingRule(initial=0.1), termination=stop)
        accepted = [record.cost for record in found.history if record.accepted]
        assert all(b <= a for a, b in pairwise(accepted))
        first = problem.evaluate(w0, ONE).cost[0]
        assert found.cost[0] < 0.7 * first
        costs.append(found.cost[0] / first)
    assert costs == pytest.approx([costs[0]] * len(costs), rel=1e-6)


def test_several_problems_descend_as_each_alone():
    first, w0 = problem_of()
    y = np.concatenate([first.y, 3.0 * first.y])

    class Twice:
        columns, parameters = first.model.columns, None

        def basis(self, w, problems):
            return np.concatenate([first.model.basis(v[None], ONE) for v in w])

        def jacobian(self, w, problems, dtype):
            return np.concatenate([first.model.jacobian(v[None], ONE, dtype) for v in w])

    stop = Termination(max_iterations=9, cost_tolerance=0.0, confirmed=False)
    rule = DampingRule(initial=0.1)
    starts = np.concatenate([w0, 0.7 * w0])
    both = search(DescentProblem(model=Twice(), y=y), starts, damping=rule, termination=stop)
    for b in range(2):
        alone = DescentProblem(model=first.model, y=y[b : b + 1])
        np.testing.assert_allclose(
            both.cost[b], search(alone, starts[b : b + 1], damping=rule, termination=stop).cost[0], rtol=1e-9
        )


@pytest.mark.parametrize("squash", [False, True])
def test_values_alone_lower_the_cost_within_the_limit(squash):
    problem, w0 = problem_of(squash=squash)
    first = problem.evaluate(w0, ONE).cost[0]
    found = search_values(problem, w0, evaluations=400, cost_tolerance=0.0)
    assert found.evaluations[0] == 400
    assert found.status[0] == Status.ITERATIONS
    assert found.cost[0] < 0.9 * first
    assert problem.evaluate(found.w, ONE).cost[0] == found.cost[0]
    assert found.history[0].cost == first
    assert found.history[-1].cost == found.cost[0]
    assert {record.damping for record in found.history} == {0.0}, "nothing is damped"
    assert [record.iteration for record in found.history] == list(range(len(found.history)))


def test_values_alone_end_when_a_sweep_gains_little():
    problem, w0 = problem_of()
    found = search_values(problem, w0, evaluations=10_000, cost_tolerance=0.2)
    assert found.status[0] == Status.COST_TOLERANCE
    assert found.evaluations[0] < 10_000


def test_a_start_that_is_not_finite_is_told():
    problem, w0 = problem_of()
    found = search_values(problem, np.full_like(w0, np.nan), evaluations=50, cost_tolerance=0.0)
    assert found.status[0] == Status.NONFINITE
