"""A ridge by generalised cross-validation.

    V(mu) = n ||Y - Phi A(mu)||^2 / (n - trace H(mu))^2,   H(mu) = Phi (Phi^T Phi + mu I)^-1 Phi^T

over the n observations: rows are weighted, those of weight 0 are left out, complex values count as two.  Where every
right-hand side has its own weights, it has its own Phi and H, and the traces add up.  With bounds on the amplitudes H
is that of the columns inside their bounds.  Golub, Heath and Wahba, Technometrics 21 (1979) 215-223.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.optimize

from varpro.arrays import Array
from varpro.fitting.run import run
from varpro.fitting.spec import Spec
from varpro.problems.bounded_amplitudes import bounded_solutions
from varpro.result import Status
from varpro.search.loop import Observer

TURNS, SETTLED = 20, 1e-3
"""Most alternations between ridge and parameters, and the relative change of the ridge at which both have settled."""
GRID = np.linspace(-34.0, 5.0, 60)
"""log(mu / s_1^2), from a mu lost in rounding to one that leaves no amplitude; s_1 is the largest singular value."""
EPS = float(np.finfo(np.float64).eps)


def cross_validated(spec: Spec, u0: Array, observe: Observer | None) -> tuple[Spec, Array]:
    """The ridge from generalised cross-validation and the parameters found with it, in turns until both have settled.

    The ridge stays fixed while w is searched, so that each search minimises one function.
    """

    def chosen(spec: Spec, u: Array) -> tuple[Spec, float]:
        ridge = gcv_ridge(replace(spec, linear=replace(spec.linear, ridge=0.0)), u)
        return replace(spec, linear=replace(spec.linear, ridge=ridge)), ridge

    return in_turns(spec, u0, observe, chosen, turns=TURNS, settled=SETTLED)


def in_turns(
    spec: Spec,
    u0: Array,
    observe: Observer | None,
    chosen: Callable[[Spec, Array], tuple[Spec, float]],
    *,
    turns: int,
    settled: float,
) -> tuple[Spec, Array]:
    """Choose a ridge, search with it, choose again, until its relative change is `settled`, at most `turns` times.

    chosen : the specification with the ridge that is best at u (1, F), and that ridge.
    """
    u, before = u0, -1.0
    for _ in range(turns):
        spec, ridge = chosen(spec, u)
        if abs(ridge - before) <= settled * ridge:
            break
        before, found = ridge, run(spec, u, observe=observe)
        if found.status_of() in (Status.NONFINITE, Status.INVALID_DATA, Status.TOO_FEW_POINTS):
            break
        u = found.u
    return spec, u


@dataclass(frozen=True)
class _System:
    """Observations that share one Phi, expressed in the singular vectors of Phi."""

    phi: Array
    """The weighted columns, (n, I)."""
    y: Array
    """The weighted observations, (n, k)."""
    s: Array
    """The singular values of Phi, (r,)."""
    inside: Array
    """The part of y in range(Phi), U^T y (r, k)."""
    outside: float
    """The rest of y, ||y - U U^T y||^2."""

    @classmethod
    def of(cls, phi: Array, y: Array) -> "_System":
        u, s, _ = np.linalg.svd(phi, full_matrices=False)
        inside = u.T @ y
        return cls(phi, y, s, inside, float(np.sum((y - u @ inside) ** 2)))

    def misfit(self, mu: float) -> tuple[float, float]:
        """||r||^2 and n - trace H; the latter is computed without subtracting nearly equal numbers."""
        keep = mu / (self.s**2 + mu)
        left = len(self.phi) - len(self.s) + float(np.sum(keep))
        return self.outside + float(np.sum((keep[:, None] * self.inside) ** 2)), self.y.shape[1] * left

    def bounded_misfit(self, mu: float, lower: Array, upper: Array) -> tuple[float, float]:
        """The same for the solution within bounds."""
        count = self.phi.shape[1]
        rows, below = np.vstack([self.phi, np.sqrt(mu) * np.eye(count)]), np.zeros((count, self.y.shape[1]))
        right = np.vstack([self.y, below]).T
        a, passive = bounded_solutions(np.broadcast_to(rows, (len(right), *rows.shape)), right, lower, upper)
        left = 0.0
        for mine in passive:
            s = np.linalg.svd(self.phi[:, mine], compute_uv=False) if mine.any() else np.zeros(0)
            left += len(self.phi) - len(s) + float(np.sum(mu / (s**2 + mu)))
        return float(np.sum((self.y - self.phi @ a.T) ** 2)), left


def gcv_ridge(spec: Spec, u: Array) -> float:
    """mu that minimises V for the linear problem of a specification without a ridge, at u (1, F); 0 where Phi is 0 or
    not finite."""
    systems = _systems(spec, u)
    largest = max((float(one.s[0]) for one in systems if len(one.s)), default=0.0)
    if not (np.isfinite(largest) and largest > 0):
        return 0.0
    least = EPS**2 * sum(float(np.sum(one.y**2)) for one in systems)
    lower, upper = spec.linear.lower, spec.linear.upper

    def score(log_mu: float) -> float:
        mu = largest**2 * np.exp(log_mu)
        if lower is None or upper is None:
            parts = [one.misfit(mu) for one in systems]
        else:
            parts = [one.bounded_misfit(mu, lower, upper) for one in systems]
        squares, left = (sum(values) for values in zip(*parts, strict=True))
        return float(np.log(squares + least) - 2 * np.log(left)) if squares + least > 0 and left > 0 else 0.0

    best = GRID[int(np.argmin([score(g) for g in GRID]))]
    found = scipy.optimize.minimize_scalar(score, bounds=(best - 1, best + 1), method="bounded")
    return float(largest**2 * np.exp(found.x))


def _systems(spec: Spec, u: Array) -> list[_System]:
    """The observations grouped by shared Phi; empty where Phi is not finite."""
    one, data = np.zeros(1, dtype=int), spec.data
    phi, y = spec.basis.basis(u, one)[0], spec.y[0]
    weights = np.ones(data.y.shape[1:]) if data.weights is None else data.total_weight()[0]
    weights = np.concatenate([weights, weights]) if spec.complex_data else weights
    if not np.isfinite(phi).all():
        return []
    each = [(phi, y, weights[:, 0])]
    if data.separate:  # spec.y is weighted, Phi is not
        each = [(w[:, None] * phi, y[:, k : k + 1], w) for k, w in enumerate(weights.T)]
    systems = []
    for columns, right, weight in each:
        used = weight > 0
        free, rest = columns[used], right[used]
        if spec.pinned:
            free, rest = free[:, :-1], rest - free[:, -1:]
        if len(free):
            systems.append(_System.of(free, rest))
    return systems
