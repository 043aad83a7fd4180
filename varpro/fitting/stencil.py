"""Difference formulas for the derivative of a model's columns, and the points at which they need the model.

    central, 4th order    (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / (12 h)              error  h^4 f^(5) / 30
    sided, 4th order      (-25 f(0) + 48 f(h) - 36 f(2h) + 16 f(3h) - 3 f(4h)) / (12 h)      h^4 f^(5) / 5
    central, 2nd order    (f(h) - f(-h)) / (2 h)                                             h^2 f''' / 6
    sided, 2nd order      (-3 f(0) + 4 f(h) - f(2h)) / (2 h)                                 h^2 f''' / 3

The sided ones are for points near a bound or the end of the model's domain.  Fornberg, Math. Comp. 51 (1988) 699-706.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.kernels import small_fits

Values = Callable[[Array, Array], Array]
"""(w (b, P), problems (b,)) -> columns (b, N, I)"""
Index = slice | Array
STACKED = 1 << 15
"""Most numbers for which points are evaluated in one call; beyond that the cost of a call is small beside its work."""


@dataclass(frozen=True)
class Rule:
    """A central formula, and the sided one of the same order with as many points."""

    nodes: Array
    """The nodes in steps, (2, K): central, sided."""
    slope: Array
    """The weights of the first derivative at the points other than w, (2, K)."""
    slope_base: tuple[float, float]
    third: Array
    """The weights of h^3 f''', (2, K); zeros if the formula cannot tell."""
    third_base: tuple[float, float]


FOURTH = Rule(
    np.array([[1.0, -1.0, 2.0, -2.0], [1.0, 2.0, 3.0, 4.0]]),
    np.array([[8.0, -8.0, -1.0, 1.0], [48.0, -36.0, 16.0, -3.0]]) / 12.0,
    (0.0, -25.0 / 12.0),
    np.array([[-2.0, 2.0, 1.0, -1.0], [18.0, -24.0, 14.0, -3.0]]) / 2.0,
    (0.0, -2.5),
)
SECOND = Rule(
    np.array([[1.0, -1.0], [1.0, 2.0]]),
    np.array([[0.5, -0.5], [2.0, -0.5]]),
    (0.0, -1.5),
    np.zeros((2, 2)),
    (0.0, 0.0),
)


@dataclass(frozen=True)
class Group:
    """Parameters that are displaced together, because no column depends on two of them."""

    parameters: Index
    places: Array
    """The positions of their pairs."""
    pairs: Index
    """The same positions as an index."""
    columns: Index
    """The columns of the pairs."""
    of_pair: Array
    """The parameter of each pair."""


@dataclass(frozen=True)
class Plan:
    """Which displacements give the derivatives of all pairs (M, 2): column, parameter.

    Curtis, Powell and Reid, IMA J. Appl. Math. 13 (1974) 117-119.
    """

    pairs: Array
    groups: tuple[Group, ...]
    parameters: Array
    """The parameters that have a pair."""

    @classmethod
    def of(cls, pairs: Array, *, together: bool = True) -> "Plan":
        """The groups found greedily; together=False displaces each parameter by itself."""
        taken: list[tuple[list[int], set[int]]] = []
        parameters = np.unique(pairs[:, 1])
        for p in parameters:
            columns = set(pairs[pairs[:, 1] == p, 0].tolist())
            for members, used in taken if together else ():
                if not used & columns:
                    members.append(int(p))
                    used |= columns
                    break
            else:
                taken.append(([int(p)], columns))
        return cls(pairs, tuple(_group(pairs, members) for members, _ in taken), parameters)


def _group(pairs: Array, members: list[int]) -> Group:
    mine = np.array([m for m, p in enumerate(pairs[:, 1].tolist()) if p in members], dtype=int)
    return Group(as_slice(np.array(members)), mine, as_slice(mine), as_slice(pairs[mine, 0]), pairs[mine, 1])


def as_slice(index: Array) -> Index:
    """A slice if the places are consecutive, since it copies nothing."""
    if len(index) and np.array_equal(index, np.arange(index[0], index[0] + len(index))):
        return slice(int(index[0]), int(index[0]) + len(index))
    return index


@dataclass(frozen=True)
class Slopes:
    """What the points of a formula say about the pairs, in units of the columns."""

    d: Array
    """The first derivatives, (b, N, M)."""
    third: Array
    """h^3 f''' up to its sign, (b, N, M)."""
    size: Array
    """The largest value of each pair's column among the points, (b, M)."""
    gap: Array
    """The largest difference of the column between a point and w, (b, M); 0 if the column at w is not given."""


class Quotients:
    """Difference quotients as they come, group by group, each column of D contiguous."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.finite, self._columns = plan, True, np.empty(0)

    @property
    def d(self) -> Array:
        """D, (b, N, M)."""
        return self._columns.mT

    def add(self, group: Group, up: Array, base: Array, rows: Array, width: Array) -> None:
        """The pairs of a group from up (b, N, I) and base[rows], whose parameters differ by width (b, P)."""
        if not self._columns.size:
            self._columns = np.empty((len(up), len(self.plan.pairs), up.shape[1]), dtype=up.dtype)
        if not up.dtype == base.dtype == self._columns.dtype:  # a function that is complex at some w only
            up, base, self._columns = (a.astype(complex) for a in (up, base, self._columns))
        columns, inverse = self.plan.pairs[group.places, 0], 1.0 / width.real[:, group.of_pair]  # steps are real
        self.finite &= small_fits.differences(up, base, rows, columns, group.places, inverse, self._columns)


def place(w: Array, h: Array, lower: Array, upper: Array, rule: Rule) -> tuple[Array, Array]:
    """Steps that w + h can represent, and the side (b, P) of the formula: 0 central, 1 above, -1 below.  No point of it
    leaves the bounds.

    w, h (b, P), h > 0; lower, upper (P,).
    """
    reach, far = np.abs(rule.nodes).max(axis=1)
    h = np.maximum(h, np.spacing(np.abs(w)))
    above, below = upper - w.real, w.real - lower
    sided = np.minimum(above, below) < reach * h
    side = np.where(sided, np.where(above >= below, 1, -1), 0)
    h = np.where(sided, np.minimum(h, np.maximum(above, below) / (far + 1.0)), h)
    return representable(w, h, side), side


def representable(w: Array, h: Array, side: Array) -> Array:
    """The steps that w + h really takes after rounding."""
    return np.abs((w + np.where(side < 0, -h, h)) - w)


def points(values: Values, moved: list[Array], problems: Array, *, stacked: bool) -> Iterator[Array]:
    """The columns at each of the points (b, P), in one call or one after another."""
    if not stacked or len(moved) == 1:
        for w in moved:
            yield values(w, problems)
        return
    all_of_them = values(np.concatenate(moved), np.tile(problems, len(moved)))
    yield from all_of_them.reshape(len(moved), len(problems), *all_of_them.shape[1:])


def slopes(
    values: Values, w: Array, problems: Array, h: Array, side: Array, rule: Rule, plan: Plan, *, stacked: bool,
    base: Array | None = None,
) -> Slopes:  # fmt: skip
    """First and third derivatives of the pairs at w (b, P) with the steps and sides of `place`."""
    sided, signed = (side != 0).astype(int), np.where(side < 0, -h, h)
    if base is None and sided.any():
        base = values(w, problems)
    displaced = []
    for group in plan.groups:
        for k in range(rule.nodes.shape[1]):
            moved = w.copy()
            moved[:, group.parameters] += (rule.nodes[sided, k] * signed)[:, group.parameters]
            displaced.append(moved)
    found = points(values, displaced, problems, stacked=stacked)
    d: Array = np.empty(0)
    third = size = gap = d
    for group in plan.groups:
        f = [next(found)[:, :, group.columns] for _ in range(rule.nodes.shape[1])]
        if not d.size:
            d = np.empty((len(w), f[0].shape[1], len(plan.pairs)), dtype=f[0].dtype)
            third, size, gap = np.empty_like(d), *(np.zeros((len(w), len(plan.pairs))) for _ in range(2))
        own = None if base is None else base[:, :, group.columns]
        d[:, :, group.pairs], third[:, :, group.pairs] = _combined(f, own, rule, sided[:, group.of_pair])
        d[:, :, group.pairs] /= signed[:, None, group.of_pair]
        size[:, group.pairs] = np.maximum(largest(f[0]), largest(f[1]))
        if own is not None:
            size[:, group.pairs] = np.maximum(size[:, group.pairs], largest(own))
            gap[:, group.pairs] = largest(f[0] - own)
    return Slopes(d, third, size, gap)


def _combined(f: list[Array], base: Array | None, rule: Rule, sided: Array) -> tuple[Array, Array]:
    """First and third derivatives times h and h^3, (b, N, m), from the values at the nodes; sided (b, m)."""
    if not sided.any():
        near = f[0] - f[1]
        if rule is SECOND:
            return 0.5 * near, np.zeros_like(near)
        far = f[2] - f[3]
        return (8.0 / 12.0) * near - far / 12.0, 0.5 * far - near
    assert base is not None
    first = base * np.take(rule.slope_base, sided)[:, None]
    third = base * np.take(rule.third_base, sided)[:, None]
    for k, values in enumerate(f):
        first = first + values * rule.slope[sided, k][:, None]
        third = third + values * rule.third[sided, k][:, None]
    return first, third


def largest(f: Array) -> Array:
    """(b, J) largest finite absolute value over the rows of (b, N, J); no squares, so that nothing underflows."""
    size: Array = np.abs(f)
    most: Array = size.max(axis=1, initial=0.0)
    if not np.isfinite(most).all():
        most = np.where(np.isfinite(size), size, 0.0).max(axis=1, initial=0.0)
    return most
