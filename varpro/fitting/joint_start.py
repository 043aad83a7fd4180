"""Where a joint fit begins, and the bounds that its models set by themselves."""

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from varpro.arrays import Array, ArrayLike
from varpro.errors import ConfigError, DataError, ShapeError
from varpro.fitting.joint_model import JointModel, Part
from varpro.fitting.model import Guesses
from varpro.models.guesses import amplitudes

Start = ArrayLike | Mapping[str, ArrayLike] | None
"""The start of one model's parameters, for every set; by name; or none."""


def given_start(joint: JointModel, w0: ArrayLike | Mapping[str, ArrayLike]) -> Array:
    """The caller's start (P,) of all joint parameters.  Raises ConfigError, ShapeError, DataError."""
    start = _by_name(joint, w0) if isinstance(w0, Mapping) else _by_set(joint, np.asarray(w0, dtype=float))
    if not np.isfinite(start).all():
        raise DataError("w0 holds NaN or infinite values; every start must be finite")
    return start


def guessed_starts(joint: JointModel) -> list[list[Array]]:
    """Combinations (P,) of the sets' own guesses, by their kind: the medians; what is shared from one set and the rest
    from each set's own; everything from one set.  Of each kind one is searched from: a set that is too short for its
    own guess may lead it into a valley without a bottom.  Raises ConfigError."""
    guesses: list[dict[str, float]] = []
    for part in joint.parts:
        if not isinstance(part.function, Guesses):
            raise ConfigError("w0 is missing: give starting values, or use ready models of varpro.models, which guess")
        kept = np.where(part.weights > 0, part.y, np.nan)
        guess = np.asarray(part.function.guess(part.t, kept), dtype=float)
        guesses.append(dict(zip(part.parameters, guess.tolist(), strict=True)))
    each = {name: [g[name] for g in guesses if name in g] for name in dict.fromkeys(n for g in guesses for n in g)}
    middle = {name: statistics.median(values) for name, values in each.items()}
    out = [[_combined(joint, guesses, middle, everything=True)]]
    for everything in (False, True):
        trials = [_combined(joint, guesses, common, everything=everything) for common in guesses]
        if not np.array_equal(trials, out[-1]):  # where all is shared, the two kinds are one
            out.append(trials)
    return out


def _combined(
    joint: JointModel, guesses: list[dict[str, float]], common: Mapping[str, float], *, everything: bool
) -> Array:
    """The joint start in which shared parameters, or all, are those of `common` where it has them."""
    out = np.ones(_unscaled(joint))
    for s, part in enumerate(joint.parts):
        for name, p in zip(part.parameters, joint.layout.of_parameters[s], strict=True):
            shared = joint.parameter_names[p] == name
            out[p] = common.get(name, guesses[s][name]) if shared or everything else guesses[s][name]
    return _with_scales(joint, out)


def _unscaled(joint: JointModel) -> int:
    """The number of parameters that are no scales, which come last."""
    return len(joint.parameter_names) - sum(place >= 0 for place in joint.layout.scales)


def _with_scales(joint: JointModel, w: Array) -> Array:
    """The start with a scale for each set: the ratio of its linked amplitudes to those of the first set."""
    if len(w) == len(joint.parameter_names):
        return w
    full = np.concatenate([w, np.ones(len(joint.parameter_names) - len(w))])
    linked = [_amplitudes(joint, part, full, s) for s, part in enumerate(joint.parts)]
    for s, place in enumerate(joint.layout.scales):
        if place >= 0:
            common = [j for j in linked[s] if j in linked[0]]
            a = np.array([linked[s][j] for j in common]).ravel()
            b = np.array([linked[0][j] for j in common]).ravel()
            with np.errstate(all="ignore"):
                ratio = np.vdot(b, a).real / np.vdot(b, b).real if len(common) else 1.0
            full[place] = ratio if np.isfinite(ratio) and ratio != 0 else 1.0
    return full


def _amplitudes(joint: JointModel, part: Part, w: Array, s: int) -> dict[int, Array]:
    """The amplitudes (K,) of the linked columns of one set by itself, by their joint place."""
    weight = part.weights.max(axis=1)[:, None]
    with np.errstate(all="ignore"):
        phi = np.asarray(part.function(part.t, w[joint.layout.of_parameters[s]]))
    if not np.isfinite(phi).all():
        return {}
    a = amplitudes(weight * phi, weight * part.y)
    columns, linked = joint.layout.of_columns[s], joint.layout.scaled[s]
    return {int(j): a[i] for i, j in enumerate(columns) if linked[i]}


def _by_name(joint: JointModel, w0: Mapping[str, ArrayLike]) -> Array:
    """{joint name: value}, or {bare name: value or one for each set}."""
    out, seen = np.full(len(joint.parameter_names), np.nan), set()
    for s, part in enumerate(joint.parts):
        for name, p in zip(part.parameters, joint.layout.of_parameters[s], strict=True):
            whole = joint.parameter_names[p]
            key = whole if whole in w0 else name
            if key in w0:
                values = np.ravel(np.asarray(w0[key], dtype=float))
                if len(values) not in (1, len(joint.parts)):
                    raise ShapeError(f"w0 of {key!r} has {len(values)} values; give 1, or {len(joint.parts)}")
                if np.isnan(out[p]):
                    out[p] = values[s if len(values) > 1 else 0]
                seen.add(key)
    out = _with_scales(joint, out[: _unscaled(joint)]) if np.isfinite(out[: _unscaled(joint)]).all() else out
    for p, name in enumerate(joint.parameter_names):
        if name in w0:
            out[p] = float(np.ravel(w0[name])[0])
            seen.add(name)
    unknown = sorted(set(w0) - seen)
    if unknown:
        raise ConfigError(f"w0: no parameter is called {unknown[0]!r}; there are {', '.join(joint.parameter_names)}")
    missing = [name for name, value in zip(joint.parameter_names, out, strict=True) if np.isnan(value)]
    if missing:
        raise ConfigError(f"w0 has no {missing[0]!r}; it needs {', '.join(joint.parameter_names)}")
    return out


def _by_set(joint: JointModel, w0: Array) -> Array:
    """(P_s,) for every set, or (S, P_s)."""
    table = np.atleast_2d(w0)
    if table.shape[0] not in (1, len(joint.parts)):
        raise ShapeError(f"w0 has {table.shape[0]} rows; give one start, or one for each of {len(joint.parts)} sets")
    out = np.full(_unscaled(joint), np.nan)
    for s, part in enumerate(joint.parts):
        row, places = table[s if len(table) > 1 else 0], joint.layout.of_parameters[s]
        if len(row) != len(part.parameters):
            wanted = ", ".join(part.parameters)
            raise ShapeError(f"w0 has {len(row)} values for set {part.label}, whose model takes {wanted}")
        out[places] = np.where(np.isnan(out[places]), row, out[places])
    return _with_scales(joint, out)


def joint_bounds(joint: JointModel, bounds: Any, fixed: Any, tied: Any) -> Any:
    """The caller's bounds, and where they leave a parameter open, those that the models set by themselves."""
    if bounds is not None and not isinstance(bounds, Mapping):
        return bounds
    found: dict[int, list[tuple[float, float]]] = {}
    for s, part in enumerate(joint.parts):
        own = _natural(part)
        for p, low, high in zip(joint.layout.of_parameters[s], *own, strict=True) if own is not None else ():
            found.setdefault(int(p), []).append((low, high))
    out: dict[Any, Any] = dict(bounds or {})
    given: Iterable[Any] = fixed if isinstance(fixed, Mapping | list | tuple) else [fixed]
    taken = {*out, *given, *(tied or {})}
    for p, pairs in found.items():
        name, (low, high) = joint.parameter_names[p], (min(a for a, _ in pairs), max(b for _, b in pairs))
        if name not in taken and p not in taken and (np.isfinite(low) or np.isfinite(high)):
            out[name] = (low, high)
    return out or None


def _natural(part: Part) -> tuple[Array, Array] | None:
    if part.t.ndim != 1 or not hasattr(part.function, "natural_bounds"):
        return None
    kept = part.t[(part.weights > 0).any(axis=1)]
    natural: tuple[Array, Array] | None = part.function.natural_bounds(kept) if len(kept) else None
    return natural
