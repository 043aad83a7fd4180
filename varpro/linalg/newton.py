"""Newton's method for smooth convex functions; its steps come from preconditioned conjugate gradients.

    H s = -g to a relative residual of min(forcing, sqrt(|g| / |g_0|)), then the longest of s, s/2, s/4, ... for which

    f(x + t s) <= f(x) + ARMIJO t g^T s

The end is the Newton decrement: -g^T s / 2 is the decrease that the quadratic model still promises.  Nocedal and
Wright, Numerical Optimization (2006), algorithm 7.1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from varpro.arrays import Array
from varpro.linalg.conjugate_gradients import conjugate_gradients

ARMIJO = 1e-4
"""The least share of the promised decrease; Nocedal and Wright's value."""
HALVINGS = 40
"""Halvings of a step before the search along it gives up: 2^-40 is far below the rounding of a step in fp32."""


class Convex(Protocol):
    """A convex function of x (P,) at one x."""

    @property
    def value(self) -> float:
        """The value; infinite or NaN where there is none."""

    @property
    def gradient(self) -> Array:
        """The gradient, (P,)."""

    def product(self, v: Array) -> Array:
        """H v (P,), with H symmetric and positive semidefinite."""

    def precondition(self, r: Array) -> Array:
        """M^-1 r (P,), with M near H."""


F = TypeVar("F", bound=Convex)


@dataclass(frozen=True, slots=True)
class Minimum(Generic[F]):
    """Where the iteration ended."""

    x: Array
    at: F
    """The function at x."""
    converged: bool
    """Whether the promised decrease fell below the tolerance; otherwise a limit or the rounding ended the iteration."""
    iterations: int
    products: int


def minimise(
    evaluate: Callable[[Array], F],
    x: Array,
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 100,
    max_products: int = 500,
    forcing: float = 0.3,
) -> Minimum[F]:
    """Minimise a convex function from x (P,).

    tolerance : the promised decrease at which to stop, relative to the value.  max_products : the most per step.
    """
    at, products, first = evaluate(x), 0, None
    for iteration in range(max_iterations):
        size = float(np.linalg.norm(at.gradient))
        first = size if first is None else first
        if size == 0:
            return Minimum(x, at, True, iteration, products)
        found = conjugate_gradients(
            at.product,
            at.precondition,
            -at.gradient,
            max_products=max_products,
            tolerance=min(forcing, float(np.sqrt(size / first))),
        )
        products += found.products
        promised = -float(at.gradient @ found.x)
        if not promised > 0:  # no curvature is left along the gradient: it is rounding
            return Minimum(x, at, False, iteration, products)
        if 0.5 * promised <= tolerance * abs(at.value):
            return Minimum(x, at, True, iteration, products)
        length = 1.0
        for _ in range(HALVINGS):
            trial = evaluate(x + length * found.x)
            if trial.value <= at.value - ARMIJO * length * promised:
                break
            length *= 0.5
        else:
            return Minimum(x, at, False, iteration, products)
        x, at = x + length * found.x, trial
    return Minimum(x, at, False, max_iterations, products)
