"""The NIST problems as separable models: derivatives, and the certified answers from the linear half alone."""

import numpy as np
import pytest

from tests.fit.nist import PROBLEMS, Array, NistData, NistProblem, load
from tests.fit.nist_files import KEPT

every_problem = pytest.mark.parametrize("name", sorted(PROBLEMS))
both_starts = pytest.mark.parametrize("start", [0, 1])
# Its residuals are the rounding of double precision in the certified fit itself: no RSS of ours can repeat them.
ROUNDING_NOISE = {"Lanczos1"}


def digits(ours: Array | float, certified: Array | float) -> float:
    return float(np.min(-np.log10(np.abs(np.subtract(ours, certified) / certified) + 1e-16)))


def linear_fit(problem: NistProblem, data: NistData) -> tuple[Array, Array, float]:
    """(w, a, RSS) with w certified and a from least squares over unit columns."""
    w = problem.start(data.certified)
    columns = problem.model(data.x, w)
    scale = np.linalg.norm(columns, axis=0)
    fixed = 0.0 if problem.fixed_term is None else problem.fixed_term(data.x, w)
    a = np.linalg.lstsq(columns / scale, problem.transform(data.y) - fixed, rcond=None)[0] / scale
    return w, a, float(np.sum((problem.transform(data.y) - problem.predict(data.x, w, a)) ** 2))


def complex_steps(function, x: Array, w: Array) -> Array:
    """The derivative with respect to every parameter, on a last axis."""
    steps = 1e-30 * np.maximum(np.abs(w), 1e-8)
    return np.stack([np.imag(function(x, w + 1j * h * e)) / h for h, e in zip(steps, np.eye(len(w)), strict=True)], -1)


def assert_equal_to_rounding(ours: Array, reference: Array) -> None:
    scale = np.max(np.abs(reference), axis=0)
    assert np.all(np.abs(ours - reference) <= 1e-12 * scale)


def test_there_are_27():
    assert len(PROBLEMS) == 27
    assert {path.stem for path in KEPT.glob("*.json")} == set(PROBLEMS)


@every_problem
def test_the_data_have_the_sizes_of_the_problem_and_agree_with_themselves(name: str):
    problem, data = PROBLEMS[name], load(name)
    observations, parameters = len(data.y), len(data.certified)
    assert data.x.shape == ((observations, 2) if name == "Nelson" else (observations,))
    assert sorted([*problem.linear, *problem.nonlinear]) == list(range(1, parameters + 1))
    assert [len(start) for start in data.starts] == [parameters, parameters]
    assert data.rsd == pytest.approx(np.sqrt(data.rss / data.dof), rel=1e-9)
    assert np.all(data.deviations > 0)


@every_problem
@both_starts
def test_the_derivatives_are_those_of_a_complex_step_and_no_pair_is_missing(name: str, start: int):
    problem, data = PROBLEMS[name], load(name)
    w = problem.start(data.starts[start])
    columns = problem.model(data.x, w)
    assert columns.shape == (len(data.y), len(problem.linear))
    ours = np.zeros((*columns.shape, len(w)))
    ours[:, problem.pairs[:, 0], problem.pairs[:, 1]] = problem.columns(data.x, w)
    assert_equal_to_rounding(ours, complex_steps(problem.model, data.x, w))
    assert len(np.unique(problem.pairs, axis=0)) == len(problem.pairs)


def test_the_fixed_term_of_roszman1_has_its_derivative():
    problem, data = PROBLEMS["Roszman1"], load("Roszman1")
    for b in (*data.starts, data.certified):
        w = problem.start(b)
        assert_equal_to_rounding(problem.fixed_columns(data.x, w), complex_steps(problem.fixed_term, data.x, w))


@every_problem
def test_starts_and_full_parameters_are_inverse_maps(name: str):
    problem, data = PROBLEMS[name], load(name)
    for b in (*data.starts, data.certified):
        w, a = problem.start(b), problem.coefficients(b)
        np.testing.assert_allclose(problem.full(w, a), b, rtol=1e-14)
        theta, split = np.concatenate([w, a]), len(w)
        steps = 1e-6 * np.diag(np.abs(theta))
        halves = [[problem.full((theta + h)[:split], (theta + h)[split:]) for h in (step, -step)] for step in steps]
        slopes = np.transpose([(up - down) / (2 * h) for (up, down), h in zip(halves, np.diag(steps), strict=True)])
        np.testing.assert_allclose(problem.jacobian(w, a), slopes, rtol=1e-7, atol=1e-7 * np.max(np.abs(slopes)))


@every_problem
def test_the_linear_half_reproduces_the_certified_parameters_and_rss(name: str):
    problem, data = PROBLEMS[name], load(name)
    w, a, rss = linear_fit(problem, data)
    assert digits(problem.full(w, a), data.certified) >= 6
    if name in ROUNDING_NOISE:
        assert rss < 1e-19
    else:
        assert digits(rss, data.rss) >= 7


@every_problem
def test_the_certified_deviations_follow_by_the_delta_method(name: str):
    problem, data = PROBLEMS[name], load(name)
    w, a, _ = linear_fit(problem, data)
    design = problem.derivative(data.x, w, a)
    scale = np.linalg.norm(design, axis=0)
    root = np.linalg.inv(np.linalg.qr(design / scale, mode="r")) / scale[:, None]
    deviations = data.rsd * np.linalg.norm(problem.jacobian(w, a) @ root, axis=1)
    assert digits(deviations, data.deviations) >= 5


@every_problem
def test_equal_minima_are_taken_to_the_certified_one(name: str):
    problem, data = PROBLEMS[name], load(name)
    certified = data.certified
    np.testing.assert_array_equal(problem.match(certified), certified)
    other = certified.copy()
    for number, flips in problem.even:
        other[np.subtract([number, *flips], 1)] *= -1
    if problem.permuted:
        blocks = np.subtract(problem.permuted, 1)
        other[blocks.ravel()] = other[np.roll(blocks, 1, axis=0).ravel()]
    values = [problem.predict(data.x, problem.start(b), problem.coefficients(b)) for b in (certified, other)]
    np.testing.assert_allclose(values[1], values[0], rtol=1e-12)
    np.testing.assert_array_equal(problem.match(other), certified)
    order, _ = problem.symmetry(other)
    np.testing.assert_array_equal(np.abs(other)[order], np.abs(certified))
