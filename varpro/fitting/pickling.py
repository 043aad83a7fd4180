"""Results without what does not pickle: a lambda or a local function stays behind, everything else travels."""

import pickle
from dataclasses import replace

from varpro.fitting.model import Function, left_behind
from varpro.fitting.solution import Solution


def portable(solution: Solution) -> Solution:
    """A copy that pickles; a function that does not is replaced by one that raises ConfigError."""
    model = solution.spec.model
    travelling = replace(
        model,
        function=_travelling(model.function),
        columns_function=None if model.columns_function is None else _travelling(model.columns_function),
        numeric_function=None if model.numeric_function is None else _travelling(model.numeric_function),
    )
    return replace(solution, spec=replace(solution.spec, model=travelling))


def _travelling(function: Function) -> Function:
    try:
        pickle.dumps(function)
    except Exception:  # pickle raises whatever the object raises
        return left_behind
    return function
