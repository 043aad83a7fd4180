"""The interface between a search and any kind of problem: evaluate, linearise, renew, size.

A network of thousands of parameters, a million small fits and a functional for another library's optimiser all
implement it; the search knows nothing else about them.
"""

from typing import Protocol, TypeVar

from varpro.arrays import Array
from varpro.arrays.batch import Batched
from varpro.gauss_newton import Step


class Evaluated(Batched, Protocol):
    """What is known of b problems at one w; a frozen dataclass whose arrays have the problem as first axis."""

    @property
    def problems(self) -> Array:
        """The numbers of the problems, (b,)."""

    @property
    def w(self) -> Array:
        """The parameters, (b, P)."""

    @property
    def cost(self) -> Array:
        """The cost, (b,); infinite where the model is not finite."""

    @property
    def terms(self) -> Array:
        """1/2 (sum_j ||phi_j|| ||a_j||)^2, (b,), the size of the terms that add up to the model; 0 where not known."""

    @property
    def rank(self) -> Array:
        """The numerical rank of Phi, (b,)."""


class Linearisation(Batched, Protocol):
    """A quadratic model of the cost around an evaluation."""

    @property
    def gradient(self) -> Array:
        """The gradient of the cost, (b, P)."""

    @property
    def diagonal(self) -> Array:
        """The scaling of the damping, (b, P)."""

    @property
    def natural(self) -> Array | None:
        """The change of each parameter that changes its columns by their own size, (b, P); None if not known."""

    @property
    def curvature(self) -> Array:
        """diag H, (b, P); infinite where a bound holds a parameter."""

    def solve(self, damping: Array) -> Step:
        """The damped step for damping (b,)."""


Evaluation_ = TypeVar("Evaluation_", bound=Evaluated)


class Problem(Protocol[Evaluation_]):
    """B least-squares problems of one shape, from which the linear parameters are eliminated."""

    def evaluate(self, w: Array, problems: Array) -> Evaluation_:
        """The cost of problems (b,) at w (b, P), and what it was computed from."""

    def linearise(self, current: Evaluation_) -> Linearisation:
        """Gradient and Gauss-Newton matrix at an evaluation."""

    def renew(self, current: Evaluation_) -> Evaluation_:
        """The same iterate on the data of the next iteration; `current` itself if the data are fixed."""

    def size(self, problems: Array) -> Array:
        """(b,) 1/2 ||Y||^2, in the units of the cost."""
