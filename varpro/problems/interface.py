"""What a search asks of a problem, whatever its kind: evaluate, linearise, renew, size.

A network of thousands of parameters, a million small fits and a functional of another library's optimiser all answer
it; the search knows nothing else of them.
"""

from typing import Protocol, TypeVar

from varpro.arrays import Array
from varpro.gauss_newton import Step


class Evaluated(Protocol):
    """What is known of b problems at one w; a frozen dataclass whose arrays lead with the problem."""

    @property
    def problems(self) -> Array:
        """(b,) numbers of the problems"""

    @property
    def w(self) -> Array:
        """(b, P)"""

    @property
    def cost(self) -> Array:
        """(b,), infinite where the model is not finite"""

    @property
    def terms(self) -> Array:
        """(b,) 1/2 (sum_j ||phi_j|| ||a_j||)^2, what the model is summed of; 0 where that is not known"""

    @property
    def rank(self) -> Array:
        """(b,) numerical rank of Phi"""


class Linearisation(Protocol):
    """A quadratic model of the cost around an evaluation."""

    @property
    def gradient(self) -> Array:
        """(b, P)"""

    @property
    def diagonal(self) -> Array:
        """(b, P) scaling of the damping"""

    @property
    def natural(self) -> Array | None:
        """(b, P) the change of each parameter that changes its columns by their own size; None where not known"""

    @property
    def curvature(self) -> Array:
        """(b, P) diag H; infinite where a bound holds a parameter"""

    def solve(self, damping: Array) -> Step:
        """The damped step for damping (b,)."""


Evaluation_ = TypeVar("Evaluation_", bound=Evaluated)


class Problem(Protocol[Evaluation_]):
    """B least-squares problems of one shape, from which the linear parameters are eliminated."""

    def evaluate(self, w: Array, problems: Array) -> Evaluation_:
        """Cost, and what it was made of, of problems (b,) at w (b, P)."""

    def linearise(self, current: Evaluation_) -> Linearisation:
        """Gradient and Gauss-Newton matrix at an evaluation."""

    def renew(self, current: Evaluation_) -> Evaluation_:
        """The same iterate on the data of the next iteration; `current` itself where the data are fixed."""

    def size(self, problems: Array) -> Array:
        """(b,) 1/2 ||Y||^2, in the units of the cost."""
