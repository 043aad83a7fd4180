"""Damped steps: the precision that is asked for, and no step where there is no factor."""

import numpy as np
import pytest

from varpro.kernels import gauss_newton as kernel
from varpro.linalg.damped import damped_step


def system(b=3, p=70):
    rng = np.random.default_rng(0)
    root = rng.standard_normal((b, p, p))
    return root @ root.mT + np.eye(p), rng.uniform(0.5, 2, (b, p)), rng.uniform(0.1, 1, b), rng.standard_normal((b, p))


@pytest.mark.parametrize("single", [False, True])
def test_the_step_is_that_of_the_precision_asked_for(single):
    h, d, damping, rhs = system()
    step, solved = damped_step(h, d, damping, rhs, single=single)
    np.testing.assert_array_equal(step, kernel.damped_solve(h, d, damping, rhs, single=single)[0])
    assert not np.array_equal(step, kernel.damped_solve(h, d, damping, rhs, single=not single)[0])
    assert solved.all()
    for b in range(3):
        exact = np.linalg.solve(h[b] + damping[b] * np.diag(d[b]), rhs[b])
        np.testing.assert_allclose(step[b], exact, rtol=1e-8, atol=1e-10)


def test_a_problem_without_a_factor_has_no_step_and_the_others_have_theirs():
    h, d, damping, rhs = system()
    alone = damped_step(h, d, damping, rhs)[0]
    h[1] = -h[1]
    step, solved = damped_step(h, d, 0.0 * damping, rhs)
    assert solved.tolist() == [True, False, True]
    assert not step[1].any()
    step, _ = damped_step(h, d, damping, rhs)
    np.testing.assert_array_equal(step[[0, 2]], alone[[0, 2]])
