"""Batches: frozen dataclasses whose arrays all have the problem as first axis; anything that is not an array is shared.

Masks and orders are on the host, and so is every small array that a decision depends on; large arrays may be on a
device.
"""

from collections.abc import Callable
from dataclasses import Field, fields, is_dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from varpro.arrays import Array, beside, namespace


class Batched(Protocol):
    """A dataclass, whatever its fields."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Batch = TypeVar("Batch", bound=Batched)
T = TypeVar("T")


def _map(function: Callable[..., Any], first: T, *others: T) -> T:
    if hasattr(first, "ndim"):
        return function(first, *others)
    if not is_dataclass(first) or isinstance(first, type):
        return first
    names = [f.name for f in fields(first)]
    return replace(first, **{n: _map(function, getattr(first, n), *(getattr(o, n) for o in others)) for n in names})


def take(mask: Array, batch: Batch) -> Batch:
    """The problems where mask (b,) is True."""
    if mask.all():
        return batch
    rows = np.flatnonzero(mask)  # a device goes through a whole array for a mask, through the rows alone for numbers
    return _map(lambda a: a[beside(rows, a)], batch)


def choose(mask: Array, yes: Batch, no: Batch) -> Batch:
    """`yes` where mask (b,) is True, else `no`; not copied if one of them supplies everything."""
    if mask.all():
        return yes
    if not mask.any():
        return no

    def pick(a: Array, b: Array) -> Array:
        chosen: Array = namespace(a).where(beside(mask.reshape(-1, *[1] * (a.ndim - 1)), a), a, b)
        return chosen

    return _map(pick, yes, no)


def scatter(mask: Array, whole: Batch, part: Batch) -> Batch:
    """`whole` with the problems where mask (b,) is True replaced by those of `part`, in order."""

    rows = np.flatnonzero(mask)

    def put(a: Array, b: Array) -> Array:
        a = a.copy()
        a[beside(rows, a)] = b
        return a

    return part if mask.all() else _map(put, whole, part)


def join(parts: list[Batch], order: Array) -> Batch:
    """The parts one after another, then reordered by `order` (B,)."""
    if len(parts) == 1:
        return parts[0]
    return _map(lambda *a: namespace(a[0]).concatenate(a)[beside(order, a[0])], *parts)


def changed(batch: Batch, **arrays: Array) -> Batch:
    """The batch with some of its arrays replaced."""
    return replace(batch, **arrays)
