"""A problem may change its data between two steps, as a growing sample does."""

from typing import Any

import numpy as np

from tests.fit.test_small_residuals import Decays, T
from varpro.problems.separable import SeparableProblem
from varpro.search.damping import DampingRule
from varpro.search.loop import search
from varpro.search.termination import Termination


class Growing:
    """A few rows of the data until the first step, then all of them, whose cost is a hundred times as large."""

    def __init__(self) -> None:
        clean = Decays().basis(np.array([1.0, 2.0])) @ np.array([2.7, 3.4, 12.0])
        noise = np.random.default_rng(0).standard_normal(len(T))
        self.quiet, self.loud = (
            SeparableProblem(model=Decays(), y=(clean + size * noise)[None, :, None], diagonal_floor=0.0)
            for size in (1e-3, 1e-1)
        )
        self.now = self.quiet

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)

    def renew(self, current: Any) -> Any:
        if self.now is self.loud:
            return current
        self.now = self.loud
        return self.now.evaluate(current.w, current.problems)


def test_the_cost_of_an_iterate_is_that_on_the_new_data() -> None:
    start = np.array([[0.9, 2.3]])
    rules = {"damping": DampingRule(), "termination": Termination(max_iterations=60)}
    found = search(Growing(), start, **rules)  # type: ignore[arg-type]
    alone = search(Growing().loud, start, **rules)
    assert found.cost[0] <= alone.cost[0] * 1.01
