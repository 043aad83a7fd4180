"""What every form of a fit's problem says about itself."""

import numpy as np
import pytest

import varpro
from varpro.problems.compressed import CompressedProblem
from varpro.problems.separate import SeparateProblem

T = np.linspace(0.0, 6.0, 53)
W0 = np.array([0.3, 1.9])


def decays(t, w):
    return np.stack([np.exp(-w[0] * t), np.exp(-w[1] * t), np.ones_like(t)], axis=1)


def observations(k):
    rng = np.random.default_rng(k)
    return decays(T, W0) @ rng.uniform(1.0, 3.0, (3, k)) + 0.02 * rng.standard_normal((len(T), k))


FORMS = {
    "one": (observations(1), {}),
    "bounded amplitudes": (observations(2), {"linear": "nonnegative"}),
    "right-hand sides that miss other rows": (np.where(np.eye(len(T), 3) > 0, np.nan, observations(3)), {}),
    "compressed": (observations(401), {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_size_of_a_problem_is_that_of_its_columns_and_derivatives(form):
    """Which decides how many problems of a batch go side by side."""
    y, options = FORMS[form]
    problem = varpro.fit(decays, T, y, W0, **options)._solution.spec.problem
    one = np.zeros(1, dtype=int)
    arrays = (problem.basis.basis(W0[None], one), problem.basis.jacobian(W0[None], one))
    assert isinstance(problem, CompressedProblem) == (form == "compressed")
    each = y.shape[1] if isinstance(problem, SeparateProblem) else 1
    assert problem.numbers == each * sum(a.size for a in arrays)


def test_the_rank_is_the_least_of_the_right_hand_sides_wherever_their_values_lie():
    """A column that is zero in the late rows is missed by a right-hand side that has values only there."""

    def early_and_late(t, w):
        return np.stack([np.exp(-w[0] * t), np.where(t < 3.0, t, 0.0)], axis=1)

    y = early_and_late(T, [0.4]) @ np.array([[2.0, 1.0, 3.0], [1.0, 0.5, 0.0]])
    y += 0.01 * np.random.default_rng(0).standard_normal(y.shape)
    whole = varpro.fit(early_and_late, T, y, [0.5])
    late = varpro.fit(early_and_late, T, np.where((T < 3.0)[:, None] & (np.arange(3) == 2), np.nan, y), [0.5])
    assert (whole.rank, late.rank) == (2, 1)
