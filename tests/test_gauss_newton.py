"""The Hadamard form against central differences of the residual."""

import numpy as np
import pytest

from tests.models.unit_options import options_of
from tests.oracle import augmented_residual, central_differences, relative_error, symmetric
from varpro.gauss_newton import scaling
from varpro.models import BilinearUnits, LocalBilinearUnits, QuadraticUnits
from varpro.problems.separable import SeparableProblem

DIFFERENCES = 3e-7
"""Central differences with step 1e-5 carry (1e-5)^2 from truncation and eps / 1e-5 from rounding."""
ONE = np.arange(1)

CASES = [
    pytest.param(QuadraticUnits, (1, 5, 5), 4, 3, "tanh", id="quadratic"),
    pytest.param(QuadraticUnits, (3, 4, 4), 3, 2, "logistic", id="colour quadratic"),
    pytest.param(QuadraticUnits, (1, 1, 1), 1, 1, "tanh", id="one pixel, one unit, one output"),
    pytest.param(BilinearUnits, (1, 4, 7), 3, 2, "logistic", id="bilinear, L != R"),
    pytest.param(LocalBilinearUnits, (1, 6, 5), 3, 1, "tanh", id="local"),
]


def small_problem(kind, shape, count, n_outputs, sigma, *, rows=37, **options):
    rng = np.random.default_rng(3)
    images = rng.random((rows, *shape))
    units = kind.create(shape, count, rng, options_of(kind.kind))
    w = units.start(rng, images) + 0.1 * rng.standard_normal(units.n_parameters)
    y = rng.standard_normal((1, rows, n_outputs))
    bound = units.bind(images, sigma)
    return SeparableProblem(model=bound, y=y, **options), bound.lower(w)


def residual_of(problem):
    def residual(w):
        return augmented_residual(problem.model.basis(w[None], ONE)[0], problem.y[0], problem.ridge)

    return residual


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize(("kind", "shape", "count", "outputs", "sigma"), CASES)
def test_full_matrix_and_gradient_equal_central_differences(kind, shape, count, outputs, sigma, ridge):
    problem, w = small_problem(kind, shape, count, outputs, sigma, ridge=ridge)
    normal = problem.linearise(problem.evaluate(w[None], ONE))
    jacobian = central_differences(residual_of(problem), w)
    assert relative_error(symmetric(normal.h[0]), jacobian.T @ jacobian) < DIFFERENCES
    assert relative_error(normal.gradient[0], jacobian.T @ residual_of(problem)(w)) < DIFFERENCES


def test_kaufman_leaves_out_a_positive_semidefinite_part_and_keeps_the_gradient():
    options = {"kind": QuadraticUnits, "shape": (1, 5, 5), "count": 4, "n_outputs": 3, "sigma": "tanh"}
    full_problem, w = small_problem(**options)
    kaufman_problem, _ = small_problem(**options, kaufman=True)
    full = full_problem.linearise(full_problem.evaluate(w[None], ONE))
    kaufman = kaufman_problem.linearise(kaufman_problem.evaluate(w[None], ONE))
    np.testing.assert_array_equal(full.gradient, kaufman.gradient)
    dropped = np.linalg.eigvalsh(symmetric(full.h[0]) - symmetric(kaufman.h[0]))
    assert dropped[0] > -1e-12 * dropped[-1]
    assert dropped[-1] > 1e-3 * np.trace(kaufman.h[0])


def test_kaufman_equals_the_projected_derivative_part_of_the_jacobian():
    problem, w = small_problem(BilinearUnits, (1, 4, 3), 3, 2, "tanh", kaufman=True)
    evaluation = problem.evaluate(w[None], ONE)
    d = problem.model.jacobian(w[None], ONE, "float64")[0]
    u = np.linalg.qr(problem.model.basis(w[None], ONE)[0])[0]
    columns = [
        np.outer(d[:, m] - u @ (u.T @ d[:, m]), evaluation.a[0, j]).ravel() for m, j in enumerate(problem.model.columns)
    ]
    jacobian = np.stack(columns, axis=1)
    assert relative_error(symmetric(problem.linearise(evaluation).h[0]), jacobian.T @ jacobian) < 1e-12


def test_truncated_pseudo_inverse_is_used_everywhere():
    """Two equal units: the basis is rank deficient and stays so along the directions that move both alike."""
    problem, w = small_problem(QuadraticUnits, (1, 5, 5), 4, 3, "tanh")
    table = w.reshape(-1, 4)
    table[:, 1] = table[:, 0]
    evaluation = problem.evaluate(table.reshape(1, -1), ONE)
    assert evaluation.rank[0] == 4
    assert evaluation.cost[0] == pytest.approx(0.5 * np.sum(residual_of(problem)(table.ravel()) ** 2), rel=1e-12)
    gradient = problem.linearise(evaluation).gradient[0].reshape(-1, 4)

    def along(t):
        moved = table.copy()
        moved[2, :2] += t[0]
        moved[3, 2] += t[1]
        return 0.5 * np.array([np.sum(residual_of(problem)(moved.ravel()) ** 2)])

    slopes = central_differences(along, np.zeros(2))[0]
    assert gradient[2, :2].sum() == pytest.approx(slopes[0], rel=1e-6)
    assert gradient[3, 2] == pytest.approx(slopes[1], rel=1e-6)


def test_single_precision_matrix_keeps_the_double_gradient_and_the_step():
    double, w = small_problem(QuadraticUnits, (1, 8, 8), 6, 3, "tanh", rows=203)
    single = SeparableProblem(model=double.model, y=double.y, gn_precision="float32")
    evaluation = double.evaluate(w[None], ONE)
    steps = [p.linearise(evaluation).solve(np.array([1e-2])).delta[0] for p in (double, single)]
    assert steps[0] @ steps[1] / np.linalg.norm(steps[0]) / np.linalg.norm(steps[1]) > 1 - 1e-6


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_the_scaling_of_the_damping_is_the_diagonal_above_a_share_of_its_largest_entry(unit):
    diagonal = unit * np.array([[4.0, 1e-12, 0.0], [1e-3, 2e-3, 1e-3]])
    np.testing.assert_allclose(
        scaling(diagonal, 1e-8), unit * np.array([[4.0, 4e-8, 4e-8], [1e-3, 2e-3, 1e-3]]), rtol=1e-14
    )
    bare = scaling(diagonal, 0.0)
    np.testing.assert_array_equal(bare[:, :2], diagonal[:, :2])
    assert 0 < bare[0, 2] < 1e-100, "a parameter without effect is damped all the same, and least"
    assert scaling(np.empty((2, 0))).shape == (2, 0)
