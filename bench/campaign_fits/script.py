"""A failure as a program that stands by itself: model, data, call, and the objective beside SciPy's best."""

import inspect
import textwrap
from typing import Any

import numpy as np

from campaign_fits.calls import Call, call
from campaign_fits.errors import deviations
from campaign_fits.families.family import stack
from campaign_fits.judge import Best, Case
from campaign_fits.problem import Problem
from campaign_fits.units import InUnits, Units, natural_units

Array = np.ndarray


def script(case: Case, units_name: str, b: int) -> str:
    """The text."""
    problem = case.problem
    natural = natural_units(problem.family, problem.draw)
    units = natural if units_name == natural.name else problem.units
    verdict = case.verdicts[units_name][b]
    asked = call(problem, units)
    head = (
        f'"""{verdict.kind}, {verdict.cause}: {problem.family.name}, {", ".join(problem.options.names())}\n\n'
        f"Seed {problem.seed}, problem {problem.index}, data set {b}, units: {units.name}.\n"
        f'{textwrap.fill(verdict.detail, 110)}\n"""\n\n'
        "from __future__ import annotations\n\nimport numpy as np\nimport scipy.special\n\n"
        "import varpro\nfrom varpro import models\n\nnan, inf = np.nan, np.inf\n"
    )
    body = [head, _functions(problem, units, asked), _arrays(asked), _call(asked), _checks(problem, units, b)]
    return "\n".join(part for part in body if part)


def _functions(problem: Problem, units: Units, asked: Call) -> str:
    family = problem.family
    if problem.options.ready:
        text = repr(asked.model)
        if family.equidistant:
            text = f"models.Exponentials(1, convolve={_text(asked.model.convolve)}, offset=True)"
            return f"model = {text}\n"
        model = "model = " + " + ".join(f"models.{part}" for part in text.split(" + ")) + "\n"
        if family.fixed_term is None:
            return model
    functions = [stack, family.columns, family.slopes]
    if family.equidistant:
        functions.insert(1, inspect.getmodule(family.columns).response)
    if family.fixed_term is not None:
        functions += [family.fixed_term, family.fixed_slopes]
    text = "\n\n".join(inspect.getsource(f) for f in functions)
    needed = [asked.model, *asked.options.get("derivative", ())[1:]]
    needed += [asked.options[k] for k in ("fixed_term", "fixed_term_derivative") if k in asked.options]
    if any(isinstance(f, InUnits) for f in needed):
        values = {name: getattr(units, name) for name in ("origin", "time", "scale", "shift")}
        fields = "\n".join(f"    {name} = {_text(value)}" for name, value in values.items())
        text += f"\n\n{inspect.getsource(InUnits)}\n\nclass Units:\n{fields}\n"
    return text + f"\nmodel = {_model_text(asked.model)}\n"


def _model_text(function: Any) -> str:
    if not isinstance(function, InUnits):
        return function.__name__
    return (
        f"InUnits({function.function.__name__}, Units, {_text(function.column)}, {function.style!r}, "
        f"{function.absolute!r})"
    )


def _text(value: Any) -> str:
    """Exactly, as Python."""
    if isinstance(value, np.ma.MaskedArray):
        return f"np.ma.array({_text(value.data)}, mask={_text(value.mask)})"
    if isinstance(value, np.ndarray):
        return f"np.array({value.tolist()!r})"
    if isinstance(value, tuple):
        return "(" + "".join(_text(v) + ", " for v in value) + ")"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {_text(v)}" for k, v in value.items()) + "}"
    if callable(value):
        return _model_text(value)
    return repr(value.item() if isinstance(value, np.generic) else value)


def _arrays(asked: Call) -> str:
    return f"t = {_text(asked.t)}\ny = {_text(asked.y)}\nw0 = {_text(asked.w0)}\n"


def _call(asked: Call) -> str:
    options = "".join(f"    {name}={_text(value)},\n" for name, value in asked.options.items())
    return f"fit = varpro.{'fit_batch' if asked.batch else 'fit'}(\n    model, t, y, w0,\n{options})\n"


def _checks(problem: Problem, units: Units, b: int) -> str:
    """What was expected, at SciPy's best."""
    best = Best(problem, b)
    if best.empty:
        return f"fit = fit[{b}]\nprint(fit)\n" if problem.options.batch else "print(fit)\n"
    best.more()
    if best.point is None:
        return "print(fit)\n"
    reduced = best.reduced
    w = reduced.matrix @ best.point.u + reduced.constant
    a = reduced.amplitudes(best.point.b)
    d = deviations(reduced, best.point.u, best.point.b)
    errors = np.sqrt(np.diagonal(units.covariance(d.covariance, w, a)))
    scale = 1.0 if problem.options.weights else units.y_unit**2
    rss = reduced.objective_at(best.point.u, a)[0] * scale
    pick = f"[{b}]" if problem.options.batch else ""
    return (
        f"fit = fit{pick}\nprint(fit.success, fit.status, fit.message)\n"
        f'print("rss", fit.rss, "best", {rss!r})\n'
        f'print("w", fit.nonlinear, "best", {units.parameters(w).tolist()!r})\n'
        f'print("errors of w, a", fit.stderr_nonlinear, fit.stderr_linear, "expected", {errors.tolist()!r})\n'
    )
