"""The reference: SciPy's best of several starts on the amplitude-eliminated problem, in natural units.

    m(u, b) = F(w) + Phi(w) (a0 + Z b),   w = T u + c,   f(u) = min_b ||W (y - m)||^2 + mu ||a||^2

b free, or within bounds; complex data are split into real and imaginary parts.  Value and Jacobian of the reduced
residual (Golub and Pereyra 1973) come from the SVD of the scaled columns; scipy.optimize.least_squares searches.
Nothing of varpro is used here.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.optimize

from campaign_fits.linear import Factor, solve

Array = np.ndarray
EPS = float(np.finfo(float).eps)


@dataclass
class Point:
    """The reduced problem at u."""

    u: Array
    objective: float
    residual: Array
    """(m,) weighted, of all right-hand sides, ridge rows included"""
    b: Array
    """(J, K) free amplitudes, real"""
    jacobian: Array | None = None
    """(m, F)"""


@dataclass
class Reduced:
    """One data set; rows that are excluded are left out already from `y` and by `rows`."""

    columns: Any
    slopes: Any
    pairs: Any
    t: Array
    rows: Array
    """(n,) indices of the rows that count"""
    y: Array
    """(n, K)"""
    weights: Array
    """(n, 1) shared by all right-hand sides, or (n, K)"""
    matrix: Array
    """(P, F) w = matrix u + constant, real parameters"""
    constant: Array
    lower: Array
    """(F,)"""
    upper: Array
    size: Array
    """(F,) natural scale of u"""
    fixed_term: Any = None
    fixed_slopes: Any = None
    complex_w: bool = False
    complex_data: bool = False
    low: Array | None = None
    """(I,) bounds of amplitudes"""
    high: Array | None = None
    equality: tuple[Array, Array] | None = None
    ridge: float = 0.0
    absolute: bool = False
    _seen: dict[bytes, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.n_columns = self.columns(self.t, self.w_of(self.inside(self.size))).shape[-1]
        self.start_amplitudes, self.mixing = np.zeros(self.n_real), np.eye(self.n_real)
        if self.equality is not None:
            c, d = self.equality
            self.start_amplitudes = np.linalg.lstsq(c, d, rcond=None)[0]
            self.mixing = np.linalg.svd(c)[2][len(d) :].T

    @property
    def n_real(self) -> int:
        return self.n_columns * (2 if self.complex_data else 1)

    @property
    def constrained(self) -> bool:
        return self.low is not None

    def inside(self, u: Array) -> Array:
        return np.clip(u, self.lower, self.upper)

    def w_of(self, u: Array) -> Array:
        w = self.matrix @ u + self.constant
        half = len(w) // 2
        return w[:half] + 1j * w[half:] if self.complex_w else w

    def basis(self, u: Array, slopes: bool) -> tuple[Array, Array, Array, Array]:
        """Phi (n', I'), F (n',), dPhi (F, n', I'), dF (F, n'): real, not weighted, n' = n or 2 n."""
        w = self.w_of(u)
        with np.errstate(all="ignore"):
            phi = np.asarray(self.columns(self.t, w))[self.rows]
            fixed = self.fixed_term(self.t, w)[self.rows] if self.fixed_term else np.zeros(len(self.rows))
            if not slopes:
                return self._real(phi), self._split(fixed), np.empty(0), np.empty(0)
            d = np.asarray(self.slopes(self.t, w))[self.rows]
            by_fixed = self.fixed_slopes(self.t, w)[self.rows] if self.fixed_term else None
        n_w = len(w)
        by_w = np.zeros((n_w, *phi.shape), dtype=d.dtype)
        for m, (j, p) in enumerate(self.pairs):
            by_w[p, :, j] += d[:, m]
        if self.complex_w:
            by_w = np.concatenate([by_w, 1j * by_w])
        by_w = np.stack([self._real(part) for part in by_w])
        by_u = np.tensordot(self.matrix.T, by_w, axes=1)
        f_by_u = np.zeros((len(u), len(by_u[0]))) if by_fixed is None else self.matrix.T @ self._split(by_fixed).T
        return self._real(phi), self._split(fixed), by_u, f_by_u

    def _split(self, values: Array) -> Array:
        return np.concatenate([values.real, values.imag]) if self.complex_data else values

    def _real(self, phi: Array) -> Array:
        if not self.complex_data:
            return phi
        return np.block([[phi.real, -phi.imag], [phi.imag, phi.real]])

    def groups(self) -> list[tuple[Array, list[int]]]:
        """(weights (n', 1), right-hand sides that share them)."""
        k = self.y.shape[1]
        wide = np.concatenate([self.weights] * 2) if self.complex_data else self.weights
        if wide.shape[1] == 1 and not self.constrained:
            return [(wide, list(range(k)))]
        return [(wide[:, [q if wide.shape[1] > 1 else 0]], [q]) for q in range(k)]

    def point(self, u: Array, slopes: bool = True) -> Point:
        """Objective, residual and Jacobian at u."""
        key = u.tobytes()
        if key in self._seen and (self._seen[key].jacobian is not None or not slopes):
            return self._seen[key]
        if len(self._seen) > 8:
            self._seen.clear()
        found = self._point(u, slopes)
        self._seen[key] = found
        return found

    def _point(self, u: Array, slopes: bool) -> Point:
        phi, fixed, by_u, f_by_u = self.basis(u, slopes)
        y = self._split(self.y)
        m = (len(y) + (len(self.mixing) if self.ridge else 0)) * y.shape[1]
        finite = np.isfinite(phi).all() and np.isfinite(fixed).all() and (not slopes or np.isfinite(by_u).all())
        if not finite:
            bad = np.full(m, 1e3 * np.abs(self.weights).max() * (np.abs(y).max() or 1.0))
            return Point(u, np.inf, bad, np.zeros((self.mixing.shape[1], y.shape[1])), np.zeros((m, len(u))))
        residuals, jacobians, b = [], [], np.empty((self.mixing.shape[1], y.shape[1]))
        for weight, group in self.groups():
            a = weight * (phi @ self.mixing)
            rhs = weight * (y[:, group] - (fixed + phi @ self.start_amplitudes)[:, None])
            if self.ridge:
                a = np.concatenate([a, np.sqrt(self.ridge) * np.eye(a.shape[1])])
                rhs = np.concatenate([rhs, np.zeros((a.shape[1], len(group)))])
            coefficients, passive, factor = solve(a, rhs, self.low, self.high)
            b[:, group] = coefficients
            r = rhs - a @ coefficients
            residuals.append(r)
            if slopes:
                full = self.start_amplitudes[:, None] + self.mixing @ coefficients
                jacobians.append(self._jacobian(factor, passive, weight, r, full, by_u, f_by_u))
        residual = np.concatenate([r.T.ravel() for r in residuals])
        jacobian = np.concatenate(jacobians) if slopes else None
        return Point(u, float(residual @ residual), residual, b, jacobian)

    def _jacobian(
        self, factor: Factor, passive: Array, weight: Array, r: Array, full: Array, by_u: Array, f_by_u: Array
    ) -> Array:
        """(m k, F) of the reduced residual of one group: -P (F_p + D_p a) - (Phi^+)^T D_p^T r."""
        n, k, n_free = len(weight), full.shape[1], len(by_u)
        slope = np.zeros((len(r), k * n_free))
        slope[:n] = weight * np.moveaxis(by_u @ full + f_by_u[:, :, None], 0, 2).reshape(n, -1)
        slope -= factor.left @ (factor.left.T @ slope)
        inner = (self.mixing[:, passive].T @ (by_u.transpose(0, 2, 1) @ (weight * r[:n]))).transpose(1, 2, 0)
        slope += factor.pseudoinverse.T @ inner.reshape(len(inner), k * n_free)
        return -slope.reshape(len(r), k, n_free).transpose(1, 0, 2).reshape(-1, n_free)

    def search(self, u0: Array, limit: int = 200) -> Point | None:
        """SciPy's solution from u0; None where it fails."""
        u0 = self.inside(np.asarray(u0, dtype=float))
        first = self.point(u0)
        if not np.isfinite(first.objective):
            return None
        free = self._run(u0, np.ones(len(u0), bool), limit, "lm")
        if free is None or not ((free.u < self.lower) | (free.u > self.upper)).any():
            return free
        boxed = self._run(u0, np.ones(len(u0), bool), limit, "trf")
        if boxed is None:
            return None
        span = 1e-4 * np.maximum(np.abs(self.size), 1e-300)
        low, high = boxed.u < self.lower + span, boxed.u > self.upper - span
        pinned = np.where(low, self.lower, np.where(high, self.upper, boxed.u))
        other = self._run(pinned, ~(low | high), limit, "lm") if (low | high).any() else None
        if other is not None and not ((other.u < self.lower) | (other.u > self.upper)).any():
            return min(boxed, other, key=lambda p: p.objective)
        return boxed

    def _run(self, u0: Array, free: Array, limit: int, method: str) -> Point | None:
        if not free.any():
            return self.point(u0)
        size = self.size[free]

        def whole(v: Array) -> Array:
            u = u0.copy()
            u[free] = v * size
            return u

        box = (self.lower[free] / size, self.upper[free] / size) if method == "trf" else (-np.inf, np.inf)
        try:
            found = scipy.optimize.least_squares(
                lambda v: self.point(whole(v)).residual,
                u0[free] / size,
                lambda v: self.point(whole(v)).jacobian[:, free] * size,
                bounds=box,
                method=method,
                x_scale="jac",
                ftol=1e-13,
                xtol=1e-11,
                gtol=1e-15,
                max_nfev=limit,
            )
        except (ValueError, np.linalg.LinAlgError):
            return None
        return self.point(whole(found.x)) if np.isfinite(found.cost) else None

    def amplitudes(self, b: Array) -> Array:
        """(I, K) real amplitudes of the user's columns."""
        return self.start_amplitudes[:, None] + self.mixing @ b

    def objective_at(self, u: Array, a: Array) -> tuple[float, float]:
        """rss and rss with the ridge at u and real amplitudes a (I', K), as they are."""
        phi, fixed, _, _ = self.basis(u, False)
        wide = np.concatenate([self.weights] * 2) if self.complex_data else self.weights
        with np.errstate(all="ignore"):
            r = wide * (self._split(self.y) - fixed[:, None] - phi @ a)
            rss = float(np.sum(r**2))
            return rss, rss + self.ridge * float(np.sum(a**2))

    def rounding(self, u: Array, a: Array, resolution: Array) -> tuple[float, float]:
        """Sizes of what rounding does to the residual: of its arithmetic and of fixed parameters, and of the free ones.

        resolution (P,) : the last digits of w.  Those of free parameters move the point along the model, where the cost
        is flat: only the square of the second counts.
        """
        phi, _, by_u, f_by_u = self.basis(u, True)
        wide = np.concatenate([self.weights] * 2) if self.complex_data else self.weights
        terms = np.sqrt(sum(np.sum((wide * phi[:, [j]] * a[j]) ** 2) for j in range(len(a))))
        size = terms + float(np.linalg.norm(wide * self._split(self.y)))
        slopes = np.array([np.linalg.norm(wide * (d @ a + f[:, None])) for d, f in zip(by_u, f_by_u, strict=True)])
        steps = slopes @ np.abs(u)
        free = np.array([resolution[column != 0].max() for column in self.matrix.T])
        return EPS * (size + steps) + self._fixed_rounding(u, a, resolution), float(slopes @ free)

    def _fixed_rounding(self, u: Array, a: Array, resolution: Array) -> float:
        """What the last digits of the parameters that follow no free one do to the residual."""
        fixed = ~(self.matrix != 0).any(axis=1)
        if not fixed.any():
            return 0.0
        moved = replace(self, constant=self.constant + np.where(fixed, resolution, 0.0))
        wide = np.concatenate([self.weights] * 2) if self.complex_data else self.weights
        (phi, f, _, _), (other, g, _, _) = self.basis(u, False), moved.basis(u, False)
        return float(np.linalg.norm(wide * ((other - phi) @ a + (g - f)[:, None])))
