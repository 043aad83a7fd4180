"""Results without what does not pickle: a lambda or a local function stays behind, all else travels."""

import pickle
from dataclasses import replace

from varpro.fitting.model import Function
from varpro.fitting.solution import Solution


def portable(solution: Solution) -> Solution:
    """A copy that pickles; functions that do not are replaced by None."""
    model = solution.spec.model
    functions = {name: getattr(model, name) for name in ("function", "columns_function", "numeric_function")}
    kept = {name: function if _travels(function) else None for name, function in functions.items()}
    return replace(solution, spec=replace(solution.spec, model=replace(model, **kept)))


def _travels(function: Function | None) -> bool:
    try:
        pickle.dumps(function)
    except Exception:  # pickle raises whatever the object raises
        return False
    return True
