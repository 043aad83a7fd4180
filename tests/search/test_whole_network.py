"""Matrix-free products and gradients of a whole network against the explicit Jacobian."""

from dataclasses import replace

import numpy as np
import pytest

from tests.models.halves import Halves
from tests.models.unit_options import options_of
from tests.oracle import augmented_residual, central_differences, relative_error
from varpro.distributed.communicator import SerialCommunicator
from varpro.linalg.conjugate_gradients import conjugate_gradients
from varpro.models.units import UNITS, features
from varpro.problems.network import WholeNetwork
from varpro.problems.sample import Sample
from varpro.search.damping import DampingRule
from varpro.search.loop import search
from varpro.search.termination import Termination

ONE = np.arange(1)


def made(kind, shape, count, rng):
    return UNITS[kind].create(shape, count, rng, options_of(kind))


def network(kind="local-bilinear", shape=(1, 7, 6), rows=61, count=4, threads=1, **options):
    rng = np.random.default_rng(11)
    images = rng.random((rows, *shape))
    units = Halves.create(shape, count, rng) if kind == "halves" else made(kind, shape, count, rng)
    contrast = images[:, 0, 1, 1] * images[:, 0, 2, 2] - images[:, 0, 1, 2] * images[:, 0, 2, 1]
    labels = np.digitize(contrast, [-0.15, 0.15])
    sample = Sample(images, np.eye(3)[labels], rng.permutation(rows), rows, SerialCommunicator(), threads=threads)
    settings = {"units": units, "sigma": "tanh", "sample": sample, "ridge": 1e-3}
    solving = {"dtype": np.float64, "max_products": 200, "cg_tolerance": 1e-12}
    return WholeNetwork(**settings, **{**solving, **options}), units.start(rng, images)


def residual_of(problem):
    def residual(w):
        sample = problem.sample
        used = sample.order[: sample.rows]
        phi = features(problem.units, w, problem.sigma, sample.images[used])
        return augmented_residual(phi, sample.y[used], problem.ridge * sample.rows)

    return residual


KIND_SHAPES = [
    ("local-bilinear", (1, 7, 6)),
    ("bilinear", (2, 4, 5)),
    ("quadratic", (1, 5, 5)),
    ("quadratic", (3, 4, 4)),
    ("halves", (1, 4, 6)),
]


@pytest.mark.parametrize(("kind", "shape"), KIND_SHAPES)
def test_gradient_and_cost_equal_those_of_the_augmented_residual(kind, shape):
    problem, w = network(kind, shape)
    evaluation = problem.evaluate(w[None], ONE)
    residual = residual_of(problem)
    assert evaluation.cost[0] == pytest.approx(0.5 * np.sum(residual(w) ** 2) / problem.sample.rows, rel=1e-12)
    jacobian = central_differences(residual, w)
    gradient = problem.linearise(evaluation).gradient[0]
    assert relative_error(gradient, jacobian.T @ residual(w) / problem.sample.rows) < 3e-7


@pytest.mark.parametrize(("kind", "shape"), KIND_SHAPES)
def test_products_are_those_of_kaufmans_matrix(kind, shape):
    problem, w = network(kind, shape)
    evaluation = problem.evaluate(w[None], ONE)
    images = problem.sample.images[problem.sample.order]
    bound = problem.units.bind(images, "tanh")
    d, phi = bound.jacobian(w[None], ONE, "float64")[0], bound.basis(w[None], ONE)[0]
    mu = problem.ridge * problem.sample.rows
    root = np.linalg.qr(np.vstack([phi, np.sqrt(mu) * np.eye(phi.shape[1])]))[0]
    tall = np.vstack([d, np.zeros((phi.shape[1], d.shape[1]))])
    projected = tall - root @ (root.T @ tall)
    by_pair = np.stack(
        [np.outer(projected[:, m], evaluation.a[j]).ravel() for m, j in enumerate(bound.columns)], axis=1
    )
    parameters = np.arange(len(w)) if bound.parameters is None else bound.parameters
    jacobian = by_pair @ np.eye(len(w))[parameters]
    v = np.random.default_rng(0).standard_normal(len(w))
    expected = jacobian.T @ (jacobian @ v) / problem.sample.rows
    assert relative_error(problem.product(evaluation, v), expected) < 1e-10
    assert problem.products.value == 1, "what a report calls products"


@pytest.mark.parametrize(("kind", "shape"), KIND_SHAPES)
def test_the_full_operator_is_that_of_the_differentiated_residual(kind, shape):
    problem, w = network(kind, shape, kaufman=False)
    model = problem.linearise(problem.evaluate(w[None], ONE))
    jacobian = central_differences(residual_of(problem), w)
    v = np.random.default_rng(0).standard_normal(len(w))
    assert relative_error(model.apply(v), jacobian.T @ (jacobian @ v) / problem.sample.rows) < 3e-7
    problem = replace(problem, kaufman=True)
    kaufman = problem.linearise(problem.evaluate(w[None], ONE))
    assert relative_error(kaufman.gradient, model.gradient) < 1e-10
    np.testing.assert_array_equal(kaufman.apply(v), problem.product(model.evaluation, v))


@pytest.mark.parametrize(("kind", "shape"), KIND_SHAPES)
@pytest.mark.parametrize("kaufman", [True, False])
def test_unit_blocks_are_those_of_the_matrix_without_its_projection(kind, shape, kaufman):
    problem, w = network(kind, shape, kaufman=kaufman)
    evaluation = problem.evaluate(w[None], ONE)
    model = problem.linearise(evaluation)
    sample = problem.sample
    bound = problem.units.bind(sample.images[sample.order], "tanh")
    d = bound.jacobian(w[None], ONE, "float64")[0]
    parameters = np.eye(len(w))[slice(None) if bound.parameters is None else bound.parameters]
    by_pair = (d.T @ d) * (evaluation.a @ evaluation.a.T)[np.ix_(bound.columns, bound.columns)]
    if not kaufman:
        phi = features(problem.units, w, "tanh", sample.images[sample.order])
        c = phi.T @ phi + problem.ridge * sample.rows * np.eye(phi.shape[1])
        g = d.T @ (sample.y[sample.order] - phi @ evaluation.a)
        by_pair += np.linalg.inv(c)[np.ix_(bound.columns, bound.columns)] * (g @ g.T)
    whole = parameters.T @ by_pair @ parameters / sample.rows
    for where, blocks in model.unit_blocks:
        for own, block in zip(where, blocks, strict=True):
            assert relative_error(block, whole[np.ix_(own, own)]) < 1e-9


def test_the_cg_step_solves_the_damped_system():
    problem, w = network()
    evaluation = problem.evaluate(w[None], ONE)
    model = problem.linearise(evaluation)
    step = model.solve(np.array([0.1]))
    applied = model.apply(step.delta[0]) + 0.1 * model.diagonal[0] * step.delta[0]
    assert relative_error(applied, -model.gradient[0]) < 1e-8
    quadratic = -model.gradient[0] @ step.delta[0] - 0.5 * step.delta[0] @ model.apply(step.delta[0])
    assert step.predicted[0] == pytest.approx(quadratic, rel=1e-6)


def test_predicted_reduction_is_right_for_a_truncated_solve_too():
    problem, w = network(max_products=3, cg_tolerance=0.0)
    evaluation = problem.evaluate(w[None], ONE)
    model = problem.linearise(evaluation)
    s = model.solve(np.array([0.05])).delta[0]
    quadratic = -model.gradient[0] @ s - 0.5 * s @ model.apply(s)
    assert model.solve(np.array([0.05])).predicted[0] == pytest.approx(quadratic, rel=1e-9)


def test_single_precision_products_agree_with_double():
    double, w = network(rows=700, count=12)
    single, _ = network(rows=700, count=12, dtype=np.float32)
    v = np.random.default_rng(0).standard_normal(len(w))
    expected = double.product(double.evaluate(w[None], ONE), v)
    assert relative_error(single.product(single.evaluate(w[None], ONE), v), expected) < 1e-4


def test_threads_do_not_change_a_bit():
    one, w = network(rows=4700, dtype=np.float32)
    four, _ = network(rows=4700, dtype=np.float32, threads=4)
    a, b = (p.evaluate(w[None], ONE) for p in (one, four))
    assert a.cost[0] == b.cost[0]
    np.testing.assert_array_equal(one.linearise(a).gradient, four.linearise(b).gradient)


def test_refining_lowers_the_cost_while_the_sample_grows_to_all_rows():
    problem, w = network(rows=900, count=6, max_products=20, cg_tolerance=0.1)
    start = problem.evaluate(w[None], ONE).cost[0]
    problem.sample.rows, problem.sample.growth = 200, 2.0
    seen = []
    problem = replace(problem, observe_iterate=lambda p, e: seen.append(p.sample.rows))
    found = search(
        problem,
        w[None],
        damping=DampingRule(initial=1e-2, smallest=1e-3),
        termination=Termination(max_iterations=8, cost_tolerance=0.0),
    )
    assert problem.sample.rows == 900
    assert seen == sorted(seen)
    assert found.cost[0] < 0.9 * start


def test_conjugate_gradients_stop_at_the_tolerance_and_the_limit():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((30, 30))
    a, b = root @ root.T + np.eye(30), rng.standard_normal(30)
    exact = conjugate_gradients(lambda v: a @ v, lambda r: r, b, max_products=200, tolerance=1e-12)
    np.testing.assert_allclose(exact.x, np.linalg.solve(a, b), rtol=1e-8)
    assert conjugate_gradients(lambda v: a @ v, lambda r: r, b, max_products=5, tolerance=0.0).products == 5
    loose = conjugate_gradients(lambda v: a @ v, lambda r: r, b, max_products=200, tolerance=0.3)
    assert loose.products < exact.products
    assert loose.relative_residual <= 0.3
