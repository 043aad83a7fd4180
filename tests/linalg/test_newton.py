"""Newton's method on convex functions with a known minimum, and the cross-entropy's derivatives."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.optimize

from tests.oracle import central_differences, relative_error
from varpro.linalg.cross_entropy import cross_entropy, curvature, softmax
from varpro.linalg.newton import minimise

EPS = np.finfo(float).eps


@dataclass
class Quadratic:
    """(x - c)^T H (x - c) / 2 + 1."""

    h: np.ndarray
    c: np.ndarray
    x: np.ndarray

    @property
    def value(self):
        return 1 + 0.5 * (self.x - self.c) @ self.h @ (self.x - self.c)

    @property
    def gradient(self):
        return self.h @ (self.x - self.c)

    def product(self, v):
        return self.h @ v

    def precondition(self, r):
        return r / np.diag(self.h)


class Logistic:
    """sum log(1 + exp(-x_p)) + x_p^2 / 2, flat far out, where a full Newton step from a far start overshoots."""

    def __init__(self, x):
        self.value = float(np.sum(np.logaddexp(0, -x) + 1e-3 * x**2))
        s = 1 / (1 + np.exp(x))
        self.gradient = -s + 2e-3 * x
        self.h = s * (1 - s) + 2e-3

    def product(self, v):
        return self.h * v

    def precondition(self, r):
        return r / self.h


def test_a_quadratic_is_minimised_to_the_rounding():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((9, 9))
    h, c = root @ root.T + np.eye(9), rng.standard_normal(9)
    found = minimise(lambda x: Quadratic(h, c, x), np.zeros(9), tolerance=1e-20)
    assert found.at.value - 1 <= 64 * EPS
    np.testing.assert_allclose(found.x, c, atol=np.sqrt(64 * EPS))


def test_the_promised_decrease_ends_the_iteration():
    loose = minimise(Logistic, np.full(4, -30.0), tolerance=1e-3)
    tight = minimise(Logistic, np.full(4, -30.0), tolerance=1e-12)
    assert loose.converged
    assert tight.converged
    assert loose.iterations < tight.iterations
    assert loose.at.value - tight.at.value <= 2e-3 * tight.at.value
    assert np.abs(tight.at.gradient).max() < 1e-5 * np.abs(Logistic(np.full(4, -30.0)).gradient).max()


def test_every_step_decreases_the_value_from_a_far_start():
    values = []

    def evaluate(x):
        at = Logistic(x)
        values.append(at.value)
        return at

    found = minimise(evaluate, np.full(3, 400.0))
    assert found.converged
    assert found.at.value == min(values)


def test_a_limit_on_iterations_is_no_convergence():
    assert not minimise(Logistic, np.full(4, -30.0), max_iterations=1, tolerance=1e-12).converged


class Wall(Quadratic):
    """A parabola around c that has no value anywhere but at its start: no step along any direction can be taken."""

    @property
    def value(self):
        return 5.0 if not self.x.any() else np.nan


class Uphill(Quadratic):
    """A curvature that is none: the step that it promises leads nowhere."""

    def product(self, v):
        return -v


def test_a_search_along_a_step_that_finds_no_lower_value_is_no_convergence():
    h, c = np.diag([1.0, 2.0]), np.array([3.0, 4.0])
    found = minimise(lambda x: Wall(h, c, x), np.zeros(2))
    assert not found.converged
    assert not found.x.any()
    assert (found.iterations, found.at.value) == (0, 5.0)
    assert found.products > 0


def test_a_function_without_curvature_is_no_convergence():
    h, c = np.diag([1.0, 2.0]), np.array([3.0, 4.0])
    found = minimise(lambda x: Uphill(h, c, x), np.zeros(2))
    assert not found.converged
    assert not found.x.any()


def test_limits_on_iterations_and_products_are_counted():
    found = minimise(Logistic, np.full(4, -30.0), max_iterations=3, max_products=1, tolerance=1e-15)
    assert (found.converged, found.iterations) == (False, 3)
    assert found.products <= 3
    assert minimise(Logistic, np.full(4, -30.0), max_iterations=0).products == 0


def test_the_first_step_that_lowers_the_value_enough_is_taken():
    """A full step where it serves; the longest of its halves that does where it does not."""
    tried = []

    def evaluate(x):
        tried.append(x[0])
        return Logistic(x)

    minimise(evaluate, np.array([-8.0]), max_iterations=1, forcing=1e-12, tolerance=0.0)
    start, *steps = tried
    lengths = np.array(steps) - start
    np.testing.assert_allclose(lengths, lengths[0] * 0.5 ** np.arange(len(lengths)), rtol=1e-9)
    at, slope = Logistic(np.array([start])), Logistic(np.array([start])).gradient[0]
    enough = [Logistic(np.array([x])).value <= at.value + 1e-4 * slope * (x - start) for x in steps]
    assert enough == [False] * (len(steps) - 1) + [True]
    assert len(steps) > 3


def test_a_start_at_the_minimum_is_kept():
    h, c = np.diag([1.0, 2.0]), np.array([3.0, 4.0])
    found = minimise(lambda x: Quadratic(h, c, x), c)
    assert found.converged
    assert found.iterations == found.products == 0


@pytest.mark.parametrize("soft", [False, True])
def test_derivatives_of_the_cross_entropy(soft):
    rng = np.random.default_rng(1)
    z, u = rng.standard_normal((2, 5, 3))
    t = rng.dirichlet(np.ones(3), 5) if soft else np.eye(3)[[0, 2, 1, 1, 0]]
    value, p = cross_entropy(z, t)
    assert value == pytest.approx(-np.sum(t * np.log(softmax(z))), rel=16 * EPS)
    slope = central_differences(lambda x: np.array([cross_entropy(x.reshape(z.shape), t)[0]]), z.ravel())
    assert relative_error((p - t).ravel(), slope[0]) < 1e-7
    second = central_differences(lambda x: (softmax(x.reshape(z.shape)) - t).ravel(), z.ravel())
    assert relative_error(curvature(p, u).ravel(), second @ u.ravel()) < 1e-7


def test_boehnings_bound_holds():
    rng = np.random.default_rng(2)
    p, u = softmax(3 * rng.standard_normal((50, 4))), rng.standard_normal((50, 4))
    bound = 0.5 * (np.sum(u**2, axis=1) - np.sum(u, axis=1) ** 2 / 4)
    assert np.all(np.sum(u * curvature(p, u), axis=1) <= bound * (1 + 16 * EPS))


def test_large_logits_do_not_overflow_and_the_minimum_is_that_of_another_solver():
    value, p = cross_entropy(np.array([[1e300, 0.0], [-1e4, 1e4]]), np.eye(2))
    assert value == 0.0
    np.testing.assert_array_equal(p, np.eye(2))
    start = np.array([2.0, -1.0])
    other = scipy.optimize.minimize(lambda x: Logistic(x).value, start, jac=lambda x: Logistic(x).gradient, tol=1e-12)
    assert minimise(Logistic, start, tolerance=1e-14).at.value == pytest.approx(other.fun, rel=1e-9)


def test_the_value_is_summed_in_double_precision():
    """The logarithms of 30,000 rows in single precision; their sum keeps nine digits."""
    logits = np.random.default_rng(3).standard_normal((30_000, 4)).astype(np.float32)
    targets = np.zeros_like(logits)
    targets[:, 1] = 1.0
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = np.log(np.exp(shifted).sum(axis=1))
    exact = math.fsum(logs.tolist()) - math.fsum(shifted[:, 1].tolist())
    assert cross_entropy(logits, targets)[0] == pytest.approx(exact, rel=1e-9)
