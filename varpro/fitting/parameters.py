"""The map from the parameters that are searched to those of the model: fixed, tied and bounded ones.

w = T u + c,  u the free parameters;  a pair (j, p) of D becomes (j, f) with factor T[p, f]
w_p = g_p(w), an expression of several parameters;  (j, p) becomes (j, f) with factor dw_p / du_f for each f in it

All problems of a batch share T; c may differ, since a fixed parameter may have another value in each problem.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from varpro.arrays import Array, ArrayLike
from varpro.errors import ConfigError, ShapeError
from varpro.fitting.expressions import Expression, expressions_among, require_unbounded, require_values

Key = int | str
Fixed = Mapping[Key, ArrayLike] | Iterable[Key] | Key | None
Tie = str | int | tuple[Key] | tuple[Key, float] | tuple[Key, float, float]
Tied = Mapping[Key, Tie] | None
Ends = ArrayLike | Sequence[float | None] | None
Scale = ArrayLike | Mapping[Key, float] | None
Bounds = tuple[Ends, Ends] | Mapping[Key, tuple[float | None, float | None]] | None


@dataclass(frozen=True)
class Parameters:
    """The affine map from the F free parameters to the P of the model."""

    names: tuple[str, ...]
    source: Array
    """The free parameter that w_p follows, (P,); -1 if it is fixed."""
    factor: Array
    """The factor of each parameter on its source, (P,)."""
    offset: Array
    """The offset of each parameter, (1 or B, P)."""
    lower: Array
    """Lower bounds of the free parameters, (F,), combined with those of the parameters that follow them; so `upper`."""
    upper: Array
    free: Array
    """The model parameters that are searched themselves, (F,)."""
    limits: tuple[Array, Array]
    """The bounds as they were given, (P,) twice."""
    expressions: tuple[tuple[int, Expression], ...] = ()
    """The parameters that follow an expression, each after those that it names; their source is -1."""

    @cached_property
    def n_free(self) -> int:
        """Number of free parameters."""
        return int(self.source.max(initial=-1)) + 1

    @cached_property
    def plain(self) -> bool:
        """Whether the map is the identity."""
        return self.n_free == len(self.source)

    @cached_property
    def bounded(self) -> bool:
        """Whether any bound is finite."""
        return bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())

    def expand(self, u: Array, problems: Array | None = None) -> Array:
        """w (b, P) for u (b, F) of problems (b,); None means all problems."""
        if self.plain:
            return u
        w = self._affine(u, problems)
        for p, expression in self.expressions:
            w[:, p] = expression.at(w)[0]
        return w

    def slopes(self, u: Array, problems: Array | None = None) -> Array:
        """dw / du (b, P, F) at u (b, F) of problems (b,); (1, P, F), which is T, if nothing follows an expression."""
        if not self.expressions:
            return self.matrix[None]
        w, out = self._affine(u, problems), np.repeat(self.matrix[None], len(u), axis=0)
        for p, expression in self.expressions:
            w[:, p], parts = expression.at(w)
            for q, part in parts.items():
                out[:, p] += part[:, None] * out[:, q]
        return out

    @cached_property
    def depends(self) -> Array:
        """(P, F) bool: whether a parameter moves with a free one."""
        out: Array = self.matrix != 0
        for p, expression in self.expressions:
            for q in expression.names:
                out[p] |= out[q]
        return out

    def _affine(self, u: Array, problems: Array | None) -> Array:
        offset = self.offset if problems is None or len(self.offset) == 1 else self.offset[problems]
        w: Array = u @ self.matrix.T + offset
        return w

    def of(self, problems: Array) -> "Parameters":
        """The map of some problems, (b,)."""
        return self if len(self.offset) == 1 else replace(self, offset=self.offset[problems])

    @property
    def matrix(self) -> Array:
        """T, (P, F)."""
        out = np.zeros((len(self.source), self.n_free))
        follows = np.flatnonzero(self.source >= 0)
        out[follows, self.source[follows]] = self.factor[follows]
        return out


def make_parameters(
    w0: Array,
    *,
    names: Sequence[str] | None,
    bounds: Bounds = None,
    fixed: Fixed = None,
    tied: Tied = None,
    natural: tuple[Array, Array] | None = None,
) -> Parameters:
    """Check the options against the starting values w0 (B, P) and build the map.  Raises ConfigError, ShapeError.

    natural : (P,) lower and upper bounds beyond which the model only repeats itself; they hold where the caller's
        bounds leave room for them.
    """
    count = w0.shape[1]
    labels = _names(names, count)
    if bounds is None and fixed is None and not tied:
        return _all_free(labels, natural)
    source, factor, offset = np.full(count, -2), np.ones(count), np.zeros((len(w0), count))
    for p, value in _fixed_values(fixed, labels, w0).items():
        source[p], factor[p], offset[:, p] = -1, 0.0, value
    rules = {_index(key, labels, "tied"): rule for key, rule in (tied or {}).items()}
    expressions = expressions_among(rules, labels, source == -1)
    ties = {p: _tie(rule, labels) for p, rule in rules.items() if p not in dict(expressions)}
    for p, (q, _, _) in ties.items():
        if source[p] == -1 or q in rules or p == q:
            why = "is fixed, too" if source[p] == -1 else "follows a parameter that is tied itself"
            raise ConfigError(f"tied: {labels[p]} {why}; tie it to a free parameter, and only once")
    for p, _ in expressions:
        source[p], factor[p] = -1, 0.0
    own = [p for p in range(count) if source[p] == -2 and p not in ties]
    source[own] = np.arange(len(own))
    for p, (q, scale, shift) in ties.items():
        source[p], factor[p], offset[:, p] = source[q], scale * factor[q], scale * offset[:, q] + shift
    if not own:
        raise ConfigError("every parameter is fixed or tied; leave one free, or solve the linear problem with numpy")
    limits = _bounds(bounds, labels)
    require_unbounded(expressions, limits, labels)
    lower, upper = _free_bounds(limits, labels, own, ties, source)
    if natural is not None:
        lower, upper = _with_natural(lower, upper, natural, own)
    if (offset == offset[:1]).all():
        offset = offset[:1]
    out = Parameters(labels, source, factor, offset, lower, upper, np.array(own, dtype=int), limits, expressions)
    require_values(expressions, out._affine(w0[:, own], None), labels)
    return out


def _all_free(labels: tuple[str, ...], natural: tuple[Array, Array] | None) -> Parameters:
    """The map that leaves every parameter free."""
    count = len(labels)
    every, high = np.arange(count), np.full(count, np.inf)
    low = -high
    lower, upper = low, high
    if natural is not None:
        lower, upper = _with_natural(lower, upper, natural, list(range(count)))
    return Parameters(labels, every, np.ones(count), np.zeros((1, count)), lower, upper, every, (low, high))


def _with_natural(lower: Array, upper: Array, natural: tuple[Array, Array], own: list[int]) -> tuple[Array, Array]:
    """Bounds narrowed by the model's own, for each free parameter whose interval that does not empty."""
    low, high = np.maximum(lower, natural[0][own]), np.minimum(upper, natural[1][own])
    return np.where(low < high, low, lower), np.where(low < high, high, upper)


def _names(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    labels = tuple(f"w_{p}" for p in range(count)) if names is None else tuple(names)
    if len(labels) != count or len(set(labels)) != count:
        raise ConfigError(f"names has {len(labels)} entries, {len(set(labels))} of them different; w0 has {count}")
    return labels


def _index(key: Key, labels: tuple[str, ...], option: str) -> int:
    if isinstance(key, str):
        if key not in labels:
            raise ConfigError(f"{option}: no parameter is called {key!r}; there are {', '.join(labels)}")
        return labels.index(key)
    if not -len(labels) <= key < len(labels):
        raise ConfigError(f"{option}: no parameter {key}; there are {len(labels)}, counted from 0")
    return int(key) % len(labels)


def _fixed_values(fixed: Fixed, labels: tuple[str, ...], w0: Array) -> dict[int, Array]:
    """The value, or the values (B,), of each fixed parameter: those given, or each problem's starting value."""
    if fixed is None:
        return {}
    if isinstance(fixed, (str, int)):
        fixed = [fixed]
    if not isinstance(fixed, Mapping):
        return {p: w0[:, p] for p in (_index(key, labels, "fixed") for key in fixed)}
    out: dict[int, Array] = {}
    for key, value in fixed.items():
        given = np.asarray(value)
        if given.dtype.kind not in "iuf" or given.shape not in ((), (len(w0),)) or not np.isfinite(given).all():
            each = "" if len(w0) == 1 else f", or {len(w0)} of them, one for each problem"
            raise ConfigError(f"fixed: the value of {key!r} is {value!r}; it needs a finite number{each}")
        out[_index(key, labels, "fixed")] = given.astype(float)
    return out


def _tie(rule: Tie, labels: tuple[str, ...]) -> tuple[int, float, float]:
    """(source, factor, offset) from "a", ("a", factor) or ("a", factor, offset)."""
    parts = tuple(rule) if isinstance(rule, (tuple, list)) else (rule,)
    if not 1 <= len(parts) <= 3 or not isinstance(parts[0], (str, int, np.integer)):
        raise ConfigError(f"tied: {rule!r} is no rule; give a parameter, then a factor and an offset if you like")
    numbers = [np.asarray(part) for part in (*parts[1:], *(1.0, 0.0)[len(parts) - 1 :])]
    for part, number in zip(parts[1:], numbers, strict=False):
        if number.dtype.kind not in "iuf" or number.shape or not np.isfinite(number):
            raise ConfigError(f"tied: {rule!r} has {part!r} for a factor or an offset; each is a finite number")
    factor, offset = (float(number) for number in numbers)
    if factor == 0:
        raise ConfigError("tied: a factor of 0 fixes the parameter; use fixed= for that")
    return _index(parts[0], labels, "tied"), factor, offset


def _free_bounds(
    limits: tuple[Array, Array],
    labels: tuple[str, ...],
    own: list[int],
    ties: Mapping[int, tuple[int, float, float]],
    source: Array,
) -> tuple[Array, Array]:
    """(F,) twice: the bounds of each free parameter, narrowed by those of its followers."""
    lower, upper = limits
    empty = np.flatnonzero(~(lower < upper) & (source >= 0))  # a fixed parameter needs no room
    if empty.size:
        p = int(empty[0])
        raise ConfigError(
            f"bounds of {labels[p]}: {lower[p]:g} to {upper[p]:g} is empty; the lower must be below the upper"
        )
    low, high = lower[own], upper[own]
    for p, (_, scale, shift) in ties.items():  # a bound on a tied parameter is one on its source
        f = source[p]
        if f < 0:
            continue
        ends = sorted(((lower[p] - shift) / scale, (upper[p] - shift) / scale))
        low[f], high[f] = max(low[f], ends[0]), min(high[f], ends[1])
        if not low[f] < high[f]:
            raise ConfigError(
                f"bounds of {labels[p]}, {lower[p]:g} to {upper[p]:g}, ask {labels[own[f]]} to be within "
                f"{ends[0]:g} to {ends[1]:g}, which its other bounds exclude; mend them, or do not tie the two"
            )
    return low, high


def _bounds(bounds: Bounds, labels: tuple[str, ...]) -> tuple[Array, Array]:
    """(P,) twice, from None, (lower, upper) or {name: (lower, upper)}."""
    count = len(labels)
    lower, upper = np.full(count, -np.inf), np.full(count, np.inf)
    if bounds is None:
        return lower, upper
    if isinstance(bounds, Mapping):
        for key, pair in bounds.items():
            p = _index(key, labels, "bounds")
            try:
                low, high = pair
                lower[p], upper[p] = -np.inf if low is None else low, np.inf if high is None else high
            except (TypeError, ValueError) as error:
                raise ShapeError(f"bounds of {key!r} are {pair!r}; give (lower, upper), None for no limit") from error
    else:
        try:
            below, above = bounds
            lower[:], upper[:] = _ends(below, -np.inf), _ends(above, np.inf)
        except (TypeError, ValueError) as error:
            raise ShapeError(
                f"bounds must be (lower, upper), each a number or {count} numbers, or a mapping name: (lower, upper)"
            ) from error
    if np.isnan(lower).any() or np.isnan(upper).any():
        raise ConfigError("bounds hold NaN; use -inf and inf for none")
    return lower, upper


def _ends(given: Ends, none: float) -> Array:
    """A number or numbers; None, alone or among them, means no limit."""
    if given is None:
        return np.array(none)
    if isinstance(given, (list, tuple)):
        return np.array([none if end is None else end for end in given], dtype=float)
    return np.array(given, dtype=float)
