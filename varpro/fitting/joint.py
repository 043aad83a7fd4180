"""`varpro.fit_global`: several data sets fitted together, with parameters and amplitudes shared or of their own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal

import numpy as np

from varpro.arrays import Array, ArrayLike
from varpro.errors import ConfigError, DataError, ShapeError
from varpro.fitting.data import make_data
from varpro.fitting.joint_model import Layout, Part, joint_model, joint_rows, lay_out
from varpro.fitting.joint_result import GlobalFitResult
from varpro.fitting.joint_start import Start, given_start, guessed_starts, joint_bounds
from varpro.fitting.model import Function
from varpro.fitting.options import FitOptions
from varpro.fitting.solve import fit_as

Sets = Sequence[Sequence[ArrayLike]] | Mapping[str, Sequence[ArrayLike]]
Names = Sequence[str] | Literal["all"]
OF_A_SET = ("weights", "mask", "derivative", "names", "linear_names", "fixed_term", "fixed_term_derivative")
"""Options of `varpro.fit` that belong to one set, or are handled here."""
OPTIONS = tuple(f.name for f in fields(FitOptions) if f.name not in OF_A_SET)


def fit_global(
    sets: Sets,
    model: Function | Sequence[Function],
    w0: Start = None,
    *,
    shared: Names = "all",
    linked: Names = (),
    scales: bool = False,
    names: Sequence[str] | None = None,
    **options: Any,
) -> GlobalFitResult:
    """Fit several data sets at once, with one covariance over all.

    sets : [(t, y), (t, y, weights), ...] or {label: (t, y), ...}; each set has its own length and points, and y (N,) or
        (N, K) with the same K in all.  Weights are 1 / error, so that sets of different precision count as they should.
    model : one for all sets, or one for each: ready models, or functions (t, w) -> (N, I).
    w0 : (P,) the start of one model's parameters, for every set; {name: value or one for each set}; None for ready
        models, which guess.
    shared : names of the parameters that have one value for all sets that have them; every other becomes name[label],
        with labels 0, 1, ... for a list.
    linked : names of the columns whose amplitudes are the same in all sets; scales : up to a factor scale[label] for
        each set but the first.
    names : of the parameters of a function.  options : those of `varpro.fit`, except those of single values.  Bounds,
        fixed and tied parameters go by the joint names; the bare name of a parameter means that of every set.

    Raises ConfigError if the sets share nothing, ShapeError or DataError for a set that cannot be fitted.
    """
    unknown = sorted(options.keys() - set(OPTIONS))
    if unknown:
        raise TypeError(f"fit_global takes no {unknown[0]}; its options are {', '.join(OPTIONS)}")
    parts = _parts(sets, model, w0, names)
    together, same = _named(parts, shared, "shared"), _named(parts, linked, "linked")
    if not together and not same:
        raise ConfigError(f"the {len(parts)} sets share no parameter and link no amplitude; fit them one by one")
    layout = lay_out(parts, together, same, scales=scales)
    joint = joint_model(parts, layout)
    asked = options.get("bounds")
    given_starts = w0.values() if isinstance(w0, Mapping) else [w0]
    if any(np.iscomplexobj(np.asarray(value)) for value in given_starts):
        raise ConfigError("w0 is complex; a joint fit searches real parameters, such as a rate and a frequency")
    for option in ("bounds", "fixed", "tied"):
        options[option] = _spread(options.get(option), layout)
    _require_single(options["fixed"])
    if isinstance(asked, Mapping):  # bounds by a bare name are not those of a set's parameter that follows others
        follow = set(options["tied"] or ()) - set(asked)
        options["bounds"] = {name: pair for name, pair in options["bounds"].items() if name not in follow}
    start, guesses = (None, guessed_starts(joint)) if w0 is None else (given_start(joint, w0), [])
    options["bounds"] = joint_bounds(joint, options["bounds"], options["fixed"], options["tied"])
    y, weights = (np.concatenate([getattr(part, which) for part in parts]) for which in ("y", "weights"))
    flat = all(np.ndim(given[1]) == 1 for given in _listed(sets)[1])
    settings = FitOptions(
        **options,
        weights=None if (weights == 1).all() else weights[:, 0] if (weights == weights[:, :1]).all() else weights,
        names=layout.parameters,
        linear_names=layout.columns,
    )
    t, right = joint_rows(parts), y[:, 0] if flat else y
    fit = fit_as(GlobalFitResult, joint, t, right, start, settings, guesses)
    fit.labels = tuple(part.label for part in parts)
    return fit


def _listed(sets: Sets) -> tuple[list[str], list[Sequence[ArrayLike]]]:
    labels = [str(label) for label in sets] if isinstance(sets, Mapping) else [str(s) for s in range(len(sets))]
    return labels, list(sets.values()) if isinstance(sets, Mapping) else list(sets)


def _parts(
    sets: Sets, model: Function | Sequence[Function], w0: Start, names: Sequence[str] | None
) -> tuple[Part, ...]:
    """The sets, checked.  Raises ConfigError, ShapeError, DataError."""
    labels, given = _listed(sets)
    if len(given) < 2:
        raise ConfigError(f"a joint fit takes 2 sets or more, not {len(given)}; use varpro.fit for one")
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"two sets are called {label!r}; their labels need to differ as text")
    each = list(model) if isinstance(model, Sequence) else [model] * len(given)
    if len(each) != len(given):
        raise ConfigError(f"there are {len(given)} sets and {len(each)} models; give one model, or one for each set")
    parts = tuple(_part(label, own, f, w0, names) for label, own, f in zip(labels, given, each, strict=True))
    wide = {part.y.shape[1] for part in parts}
    if len(wide) > 1:
        raise ShapeError(
            f"the sets have {', '.join(map(str, sorted(wide)))} right-hand sides; all need the same number"
        )
    if len({part.t.shape[1:] for part in parts}) > 1:
        raise ShapeError("some sets have several predictors in t and others one; all need the same number")
    return parts


def _part(label: str, given: Sequence[ArrayLike], model: Function, w0: Start, names: Sequence[str] | None) -> Part:
    if not isinstance(given, tuple | list) or not 2 <= len(given) <= 3:
        raise ConfigError(f"set {label} needs (t, y) or (t, y, weights)")
    try:
        data = make_data(given[0], given[1], batch=False, weights=given[2] if len(given) == 3 else None)
    except (ShapeError, DataError) as error:
        raise type(error)(f"set {label}: {error}") from error
    own: Sequence[str] | None = getattr(model, "parameter_names", None)
    if own is not None and names is not None and len(own) != len(names):
        raise ConfigError(f"names has {len(names)} entries; the model of set {label} has {', '.join(own)}")
    listed = own if names is None else names
    if listed is None:
        if w0 is None or isinstance(w0, Mapping):
            raise ConfigError("a function needs names= for its parameters, or w0 as numbers")
        listed = [f"w_{p}" for p in range(np.shape(w0)[-1])]
    columns = getattr(model, "column_names", None)
    if columns is None:
        trial = np.asarray(model(data.t, _trial(tuple(listed), w0)))
        if trial.ndim != 2:
            raise ShapeError(f"the model returned shape {trial.shape} for set {label}; it needs (N, I)")
        columns = [f"a_{i}" for i in range(trial.shape[1])]
    derivative = (
        (np.asarray(model.pairs), model.columns) if hasattr(model, "pairs") and hasattr(model, "columns") else None
    )
    return Part(
        label, model, data.t, data.y[0], data.total_weight()[0] * data.weight_unit, tuple(listed), tuple(columns),
        derivative, data.clock,
    )  # fmt: skip


def _trial(names: tuple[str, ...], w0: Start) -> Array:
    """A point at which a function is called to count its columns."""
    if isinstance(w0, Mapping):
        missing = [name for name in names if name not in w0]
        if missing:
            raise ConfigError(f"w0 has no {missing[0]!r}; it needs {', '.join(names)}")
        return np.array([np.ravel(np.asarray(w0[name]))[0] for name in names], dtype=float)
    if w0 is None:
        raise ConfigError("w0 is missing: give starting values, or use ready models of varpro.models, which guess")
    return np.atleast_2d(np.asarray(w0, dtype=float))[0]


def _named(parts: Sequence[Part], given: Names, option: str) -> tuple[str, ...]:
    """The parameters (columns, for "linked") that are meant.  Raises ConfigError."""
    of = [part.columns if option == "linked" else part.parameters for part in parts]
    common = [n for n in dict.fromkeys(n for own in of for n in own) if sum(n in own for own in of) > 1]
    if isinstance(given, str):
        if given != "all":
            raise ConfigError(f"{option} is {given!r}; give a list of names, or 'all'")
        return tuple(common)
    for name in given:
        if name not in common:
            there = ", ".join(common) or "none"
            raise ConfigError(f"{option}: {name!r} is in fewer than two sets; in several are {there}")
    return tuple(given)


def _spread(option: Any, layout: Layout) -> Any:
    """An option by name, with the bare name of a parameter that each set has for itself replaced by all of them."""

    def meant(name: object) -> Sequence[object]:
        if not isinstance(name, str) or name in layout.parameters:
            return [name]
        own = [label for label in layout.parameters if label.startswith(f"{name}[")]
        return own or [name]

    if isinstance(option, Mapping):
        return {label: _within(value, label, layout) for name, value in option.items() for label in meant(name)}
    if isinstance(option, list | tuple) and option and all(isinstance(name, str) for name in option):
        return [label for name in option for label in meant(name)]
    return meant(option) if isinstance(option, str) else option


def _within(rule: Any, label: object, layout: Layout) -> Any:
    """A rule of `tied` for a set's own parameter: bare names in it mean those of the same set.  Anything else stays."""
    if not isinstance(label, str) or not label.endswith("]") or "[" not in label:
        return rule
    own = label[label.index("[") :]

    def named(text: str) -> str:
        whole = re.sub(r"[^\W\d]\w*(?![\w\[])", lambda m: m[0] + own if m[0] + own in layout.parameters else m[0], text)
        return text if text in layout.parameters else whole

    if isinstance(rule, str):
        return named(rule)
    if isinstance(rule, tuple | list) and rule and isinstance(rule[0], str):
        return (named(rule[0]), *rule[1:])
    return rule


def _require_single(fixed: Any) -> None:
    """Raise ConfigError for several values of one parameter, which a joint fit has no problems for."""
    for name, value in fixed.items() if isinstance(fixed, Mapping) else ():
        if np.ndim(value):
            raise ConfigError(
                f"fixed: the value of {name!r} is {value!r}; it needs a number, or one for each name[label]"
            )
