"""A problem as a call of varpro.fit or fit_batch in a system of units, and what came out, in natural units again."""

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import varpro
from campaign_fits.problem import Problem
from campaign_fits.units import InUnits, Units
from varpro.errors import VarproError

Array = np.ndarray
LONG_AGO = 1e5
"""Natural times at which every exponential is 0 in the arithmetic of the machine."""


@dataclass
class Call:
    """What the user writes."""

    model: Any
    t: Array
    y: Any
    w0: Array | None
    batch: bool
    options: dict[str, Any] = field(default_factory=dict)

    def run(self) -> Any:
        """The result of varpro."""
        function = varpro.fit_batch if self.batch else varpro.fit
        return function(self.model, self.t, self.y, self.w0, **self.options)


@dataclass
class Found:
    """One fitted data set; arrays in natural units but for the errors, which are in the user's."""

    success: bool
    status: str
    message: str
    w: Array
    """(P,) real parameters"""
    a: Array
    """(I', K) real amplitudes: of complex ones real, then imaginary parts"""
    rss: float
    """as reported, in natural units"""
    errors: Array
    """standard errors of w, then a (I', K) flattened, in the user's units"""
    evaluations: int


def call(problem: Problem, units: Units) -> Call:
    """The problem in these units."""
    o, family = problem.options, problem.family
    model: Any = family.ready(problem.draw) if o.ready and family.ready else _function(problem, units, family.columns)
    options: dict[str, Any] = {}
    pairs = np.array(family.pairs)
    if not o.ready and o.derivative:
        slope = units.column[pairs[:, 0]] / units.scale[pairs[:, 1]]
        options["derivative"] = (pairs, InUnits(family.slopes, units, slope))
    if family.fixed_term is not None:
        options["fixed_term"] = InUnits(family.fixed_term, units, np.array(units.y_unit))
        if "derivative" in options:
            options["fixed_term_derivative"] = InUnits(family.fixed_slopes, units, units.y_unit / units.scale)
    y, more = _data(problem, units)
    options |= more
    options |= _limits(problem, units)
    if o.kaufman:
        options["jacobian"] = "kaufman"
    if o.multistart:
        options["multistart"] = o.multistart
    w0 = None if o.guess else _start(problem, units)
    t = units.of(problem.t) + (LONG_AGO * units.time if o.nothing == "underflow" else 0.0)
    return Call(model, t, y, w0, bool(o.batch), options)


def _function(problem: Problem, units: Units, function: Any) -> Any:
    style = problem.options.style
    if units.natural and style == "plain":
        return function
    even = tuple(p.positive for p in problem.family.parameters)
    return InUnits(function, units, units.column, style, even)


def _data(problem: Problem, units: Units) -> tuple[Any, dict[str, Any]]:
    """y in its container, weights and mask."""
    o, options = problem.options, {}
    y = problem.y * units.y_unit
    y = y[..., 0] if y.shape[2] == 1 else y
    y = y if o.batch else y[0]
    valid = problem.valid[:, 0] if (problem.valid == problem.valid[:, :1]).all() else problem.valid
    wide = np.broadcast_to(valid if valid.ndim == y.ndim or o.batch else valid[:, None], y.shape)
    if problem.weights is not None:
        options["weights"] = problem.weights / units.y_unit if o.weights else problem.weights
    if o.weights == "absolute":
        options["absolute_sigma"] = True
    if o.missing == "nan":
        y = np.where(wide, y, np.nan)
    if o.missing == "mask":
        options["mask"] = valid
        if problem.index % 3 == 0 and not wide.all():
            y = np.where(wide, y, np.inf)
    if o.missing == "masked array":
        y = np.ma.array(y, mask=~wide)
    return y, options


def _limits(problem: Problem, units: Units) -> dict[str, Any]:
    o, options = problem.options, {}
    if o.bounds:
        options["bounds"] = _box(problem, units)
    if o.fixed is not None:
        p = o.fixed
        options["fixed"] = [p] if problem.index % 2 else {p: float(units.parameters(problem.draw.w)[p])}
    if o.tied:
        follower, leader, factor, offset = o.tied
        options["tied"] = {
            follower: (leader, factor * units.scale[follower] / units.scale[leader], offset * units.scale[follower])
        }
    if o.linear == "nonnegative":
        options["linear"] = "nonnegative"
    if o.linear == "bounded":
        options["linear"] = (problem.low * units.y_unit / units.column, problem.high * units.y_unit / units.column)
    if problem.equality is not None:
        c, d = problem.equality
        options["linear_equality"] = (c * units.column, d * units.y_unit)
    if o.ridge:
        mu = problem.references[0].ridge / (units.y_unit**2 if o.weights else 1.0)
        equal = (units.column == units.column[0]).all()
        options["ridge"] = mu * units.column[0] ** 2 if equal else np.diag(np.sqrt(mu) * units.column)
    return options


def _box(problem: Problem, units: Units) -> tuple[Array, Array]:
    ends = np.stack([units.parameters(problem.lower), units.parameters(problem.upper)])
    return ends.min(axis=0), ends.max(axis=0)


def _start(problem: Problem, units: Units) -> Array:
    w0 = np.clip(units.parameters(problem.start), *_box(problem, units))
    half = len(w0) // 2
    return w0[:half] + 1j * w0[half:] if problem.family.complex_w else w0


def run(problem: Problem, units: Units) -> list[Found] | str:
    """What varpro finds for each data set, or the text of the error that it raised."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            result = call(problem, units).run()
            if not problem.options.batch:
                return [_found(problem, units, result, slice(None), result.success, result.status, result.message)]
            return [
                _found(problem, units, result, b, bool(result.success[b]), result.status[b], result.messages[b])
                for b in range(len(result))
            ]
        except (VarproError, ArithmeticError, ValueError, IndexError, TypeError, AttributeError, KeyError) as error:
            return f"{type(error).__name__}: {error}"
        except np.linalg.LinAlgError as error:
            return f"LinAlgError: {error}"


def _found(problem: Problem, units: Units, result: Any, b: Any, success: bool, status: Any, message: str) -> Found:
    n_rhs = problem.options.right_hand_sides

    def parts(values: Any, is_complex: bool, wide: int) -> Array:
        """(wide, ...) real: real, then imaginary parts."""
        array = np.asarray(values)
        if is_complex and len(array) < wide:
            array = np.concatenate([array.real, array.imag])
        return array

    family = problem.family
    w = units.natural_parameters(parts(result.nonlinear[b], family.complex_w, len(units.scale)))
    if not problem.options.ready and problem.options.style == "absolute":
        w = np.where([p.positive for p in family.parameters], np.abs(w), w)
    n_a = len(units.column) * (2 if family.complex_data else 1)
    column = np.tile(units.column_at(w), n_a // len(units.column))[:, None]
    linear = parts(result.linear[b], family.complex_data, n_a).reshape(n_a, n_rhs)
    errors = [
        parts(result.stderr_nonlinear[b], family.complex_w, len(units.scale)),
        parts(result.stderr_linear[b], family.complex_data, n_a).reshape(n_a * n_rhs),
    ]
    scale = 1.0 if problem.options.weights else units.y_unit**2
    rss, nfev = (np.asarray(values)[b] if problem.options.batch else values for values in (result.rss, result.nfev))
    label = varpro.Status(int(status)).label
    return Found(
        success, label, str(message), w, linear * column / units.y_unit, float(rss) / scale,
        np.concatenate(errors), int(nfev),
    )  # fmt: skip
