"""All NIST StRD problems from both starts: certified parameters, standard errors and residual sums."""

import numpy as np
import pytest

import varpro
from tests.fit.nist import PROBLEMS, load
from tests.fit.test_nist_problems import digits

ROUNDING_NOISE = {"Lanczos1"}  # its residual, and so its certified errors, are the rounding of the data
BUDGET = 750
"""Evaluations of the basis over the first start of all problems; unseparated MINPACK takes 2861."""


def fitted(name, start, **options):
    problem, data = PROBLEMS[name], load(name)
    return problem, data, varpro.fit(
        problem.model,
        data.x,
        problem.transform(data.y),
        problem.start(data.starts[start]),
        derivative=(problem.pairs, problem.columns),
        fixed_term=problem.fixed_term,
        fixed_term_derivative=problem.fixed_columns,
        **options,
    )  # fmt: skip


def in_nist_numbering(problem, fit):
    """(b, standard errors): by the delta method where the separable form is another parameterisation."""
    b = problem.full(fit.nonlinear, fit.linear)
    order, sign = problem.symmetry(b)
    move = problem.jacobian(fit.nonlinear, fit.linear)
    errors = np.sqrt(np.einsum("ij,jk,ik->i", move, fit.covariance, move))
    return sign * b[order], errors[order]


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_certified_parameters_errors_and_rss(name, start):
    problem, data, fit = fitted(name, start)
    b, errors = in_nist_numbering(problem, fit)
    assert fit.success or name in ROUNDING_NOISE, fit.message  # a cost that is noise may stall, with all digits
    assert fit.derivative == "analytic"
    assert fit.dof == data.dof
    assert digits(b, data.certified) >= 6
    if name not in ROUNDING_NOISE:
        assert digits(fit.rss, data.rss) >= 9
        assert digits(errors, data.deviations) >= 4
        assert fit.sigma == pytest.approx(data.rsd, rel=1e-6)


@pytest.mark.parametrize("name", sorted(set(PROBLEMS) - {"MGH10"}))
def test_without_the_second_term_of_the_jacobian(name):
    """Kaufman's matrix; MGH10 from the second start only is the next test."""
    problem, data, fit = fitted(name, 1, jacobian="kaufman")
    b, _ = in_nist_numbering(problem, fit)
    assert digits(b, data.certified) >= 6


@pytest.mark.parametrize("name", ["MGH10"])
def test_without_the_second_term_on_the_steepest_problem(name):
    problem, data, fit = fitted(name, 1, jacobian="kaufman")
    assert digits(in_nist_numbering(problem, fit)[0], data.certified) >= 6


def test_the_first_starts_take_few_evaluations():
    total = sum(fitted(name, 0)[2].nfev for name in PROBLEMS)
    assert total <= BUDGET


@pytest.mark.parametrize("name", ["Misra1a", "Thurber", "ENSO", "Roszman1"])
def test_derivatives_found_by_the_library_serve_as_well(name):
    problem, data = PROBLEMS[name], load(name)
    fit = varpro.fit(
        problem.model, data.x, problem.transform(data.y), problem.start(data.starts[1]), fixed_term=problem.fixed_term
    )
    assert fit.derivative == "complex-step"
    assert digits(in_nist_numbering(problem, fit)[0], data.certified) >= 6
