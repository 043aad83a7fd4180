"""A whole network under cross-entropy against explicit matrices, differences, and SciPy's minimum over the layer."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import scipy.special

from tests.oracle import central_differences, relative_error
from tests.search.test_whole_network import KIND_SHAPES, ONE, network
from varpro.linalg.conjugate_gradients import conjugate_gradients
from varpro.models.units import features
from varpro.problems.network_entropy import EntropyNetwork
from varpro.problems.network_jacobian import LayerJacobian
from varpro.search.damping import DampingRule
from varpro.search.loop import search
from varpro.search.termination import Termination

RIDGE = 1e-2


def entropy(kind="local-bilinear", shape=(1, 7, 6), **options):
    squares, w = network(kind, shape, **options)
    names = ("units", "sigma", "sample", "dtype", "max_products", "cg_tolerance", "held_bytes")
    same = {name: getattr(squares, name) for name in names}
    return EntropyNetwork(**same, ridge=RIDGE, layer_tolerance=1e-15), w


def rows_of(problem, w):
    """Phi, Y of the sample."""
    used = problem.sample.order[: problem.sample.rows]
    return features(problem.units, w, problem.sigma, problem.sample.images[used]), problem.sample.y[used]


def reference(problem, w):
    """(F, A) at the minimum over A, by SciPy."""
    phi, y = rows_of(problem, w)

    def f(flat):
        a = flat.reshape(phi.shape[1], -1)
        z = phi @ a
        value = np.mean(scipy.special.logsumexp(z, axis=1) - np.sum(z * y, axis=1)) + 0.5 * RIDGE * np.sum(a**2)
        slope = phi.T @ (scipy.special.softmax(z, axis=1) - y) / len(y) + RIDGE * a
        return value, slope.ravel()

    start = np.zeros(phi.shape[1] * y.shape[1])
    found = scipy.optimize.minimize(f, start, jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 10_000})
    return found.fun, found.x.reshape(phi.shape[1], -1)


def matrices(problem, w, evaluation):
    """J (n K, P) at a fixed A by differences, W (n K, n K), Phi for all outputs (n K, I K)."""
    phi, y = rows_of(problem, w)
    a, k = evaluation.a, y.shape[1]
    j = central_differences(lambda v: (rows_of(problem, v)[0] @ a).ravel(), w)
    p = scipy.special.softmax(phi @ a, axis=1)
    weights = np.zeros((len(y), k, len(y), k))
    for n, q in enumerate(p):
        weights[n, :, n] = np.diag(q) - np.outer(q, q)
    return j, weights.reshape(j.shape[0], -1), np.kron(phi, np.eye(k)), p


@pytest.mark.parametrize(("kind", "shape"), KIND_SHAPES)
def test_the_cost_is_the_minimum_over_the_layer_and_the_gradient_that_of_the_cost(kind, shape):
    problem, w = entropy(kind, shape)
    current = problem.evaluate(w[None], ONE)
    cost, a = reference(problem, w)
    assert current.cost[0] == pytest.approx(cost, rel=1e-12)
    np.testing.assert_allclose(current.a, a, atol=1e-6 * np.abs(a).max())
    slope = central_differences(lambda v: problem.evaluate(v[None], ONE).cost, w)[0]
    assert relative_error(problem.linearise(current).gradient[0], slope) < 1e-6


@pytest.mark.parametrize("held_bytes", [0, 10**9])
@pytest.mark.parametrize(("kind", "shape"), KIND_SHAPES)
def test_products_are_those_of_the_matrix_that_follows_the_layer(kind, shape, held_bytes):
    problem, w = entropy(kind, shape, held_bytes=held_bytes)
    current = problem.evaluate(w[None], ONE)
    j, weights, phi, _ = matrices(problem, w, current)
    n = problem.sample.rows
    of_layer = phi.T @ weights @ phi / n + RIDGE * np.eye(phi.shape[1])
    h = j.T @ weights @ (j - phi @ np.linalg.solve(of_layer, phi.T @ weights @ j / n)) / n
    made = LayerJacobian(problem, current)
    v = np.random.default_rng(5).standard_normal(len(w))
    assert made.held == bool(held_bytes)
    assert relative_error(problem.product(current, v, made if held_bytes else None), h @ v) < 1e-6


@pytest.mark.parametrize(("kind", "shape"), KIND_SHAPES)
def test_blocks_of_units_weigh_rows_by_how_uncertain_they_are(kind, shape):
    held, w = entropy(kind, shape, held_bytes=10**9)
    current = held.evaluate(w[None], ONE)
    j, _, _, p = matrices(held, w, current)
    exact = j.T @ ((p * (1 - p)).reshape(-1, 1) * j) / len(p)
    for where, blocks in held.linearise(current).unit_blocks:
        for own, block in zip(where, blocks, strict=True):
            assert relative_error(block, exact[np.ix_(own, own)]) < 1e-6
    apart = replace(held, held_bytes=0)
    alike = j.T @ (np.repeat(np.mean(p * (1 - p), axis=1), p.shape[1])[:, None] * j) / len(p)
    for where, blocks in apart.linearise(apart.evaluate(w[None], ONE)).unit_blocks:
        for own, block in zip(where, blocks, strict=True):
            assert relative_error(block, alike[np.ix_(own, own)]) < 1e-6


def test_a_search_goes_down_at_every_step_and_the_gradient_fades():
    problem, w = entropy(kind="bilinear", shape=(2, 4, 5), rows=40)
    before = problem.linearise(problem.evaluate(w[None], ONE))
    found = search(
        problem,
        w[None],
        damping=DampingRule(initial=1e-2, smallest=1e-6, largest=1e6),
        termination=Termination(max_iterations=40, cost_tolerance=0.0, step_tolerance=0.0, confirmed=False),
    )
    costs = [record.cost for record in found.history if record.accepted]
    assert all(late < early for early, late in itertools.pairwise(costs))
    after = problem.linearise(found.evaluation)
    assert np.linalg.norm(after.gradient) < 0.05 * np.linalg.norm(before.gradient)
    assert costs[-1] < 0.5 * costs[0]


def test_the_step_solves_the_damped_equations():
    problem, w = entropy()
    model = problem.linearise(problem.evaluate(w[None], ONE))
    step = model.solve(np.array([0.1])).delta[0]
    rest = model.apply(step) + 0.1 * model.diagonal[0] * step + model.gradient[0]
    assert np.linalg.norm(rest) < 1e-8 * np.linalg.norm(model.gradient)


def test_a_model_that_is_not_finite_costs_infinity_and_knowing_nothing_costs_log_k():
    problem, w = entropy()
    assert problem.evaluate(np.full((1, len(w)), np.nan), ONE).cost[0] == np.inf
    assert problem.size(ONE)[0] == pytest.approx(np.log(3))
    assert problem.evaluate(w[None], ONE).cost[0] < np.log(3)


def test_single_precision_agrees():
    problem, w = entropy()
    single = replace(problem, dtype=np.float32, layer_tolerance=1e-6, cg_tolerance=0.1)
    wide, narrow = problem.evaluate(w[None], ONE), single.evaluate(w[None], ONE)
    assert narrow.cost[0] == pytest.approx(wide.cost[0], rel=1e-5)
    v = np.random.default_rng(5).standard_normal(len(w))
    assert relative_error(single.product(narrow, v), problem.product(wide, v)) < 2e-2
    assert conjugate_gradients(narrow.solver.product, narrow.solver.precondition, np.ones(narrow.a.size),
                               max_products=100, tolerance=1e-2).products < 30  # fmt: skip
